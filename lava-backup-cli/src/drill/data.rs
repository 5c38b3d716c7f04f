//! Level `data`: the database into a scratch cluster, every file into a directory.

use std::path::Path;

use lava_backup_core::{Backup, Event, Extract, MemberPath, Root};
use lava_backup_pg::{Comparison, Programs, Restore, Scratch};
use lava_restore_plan::facts::Role;

use super::Drilled;
use super::coherence::Coherence;
use crate::exit::{CouldNot, Failure};
use crate::progress::Progress;
use crate::throwaway::{Throwaway, Use};
use crate::{backup_facts, database, host};

/// Restores both, and says in `drilled` what came back.
pub(super) fn drill(
    backup: &Backup,
    scratch: &Path,
    progress: &Progress,
    drilled: &mut Drilled,
) -> Result<(), Failure> {
    let mut coherence = None;
    if let Some((comparison, asked)) = restore_database(backup, scratch, progress, drilled)? {
        coherence = asked;
        drilled.tables_equal = comparison.equal;
        drilled.rows = comparison.rows;
        let differ = comparison
            .differ
            .iter()
            .map(|d| format!("{}: {}", d.table, d.what));
        let extra = comparison.extra.iter();
        let behind = comparison.sequences_behind.iter();
        let low = comparison.sequences_low.iter();
        drilled.tables_differ = differ
            .chain(extra.map(|t| format!("{t}: the dump does not have it")))
            .chain(behind.map(|s| format!("the sequence {s} is behind")))
            .chain(low.map(|s| format!("the sequence {s}")))
            .collect();
    } else {
        drilled
            .not_proved
            .push("a database: the backup has none".into());
    }
    restore_files(backup, scratch, progress, coherence.as_mut(), drilled)?;
    coherence.map_or(Ok(()), |coherence| coherence.check(backup, drilled))
}

/// Loads the dump into a cluster of its own, reads every table back, and asks a master's database.
fn restore_database(
    backup: &Backup,
    scratch: &Path,
    progress: &Progress,
    drilled: &mut Drilled,
) -> Result<Option<(Comparison, Option<Coherence>)>, Failure> {
    let Some(dump) = backup_facts::dump(backup)? else {
        return Ok(None);
    };
    progress.say("making a scratch cluster");
    let programs = Programs::at_least(dump.server.major).could_not("drill the database")?;
    let cluster = Scratch::start(&programs, scratch, host::postgres_user()?)
        .could_not("drill the database")?;
    drilled.postgresql = Some(programs.major());
    let spec = Restore {
        holds_data: database::HOLDS_DATA.into(),
        replace_data: true,
        // Told of below: what the lab has is what must come back.
        low_sequences: true,
        jobs: database::jobs(),
        ..Restore::of(&dump.server, &dump.contents, "")
    };
    let mut broken = None;
    let mut feed = database::feed(backup, &dump, &mut broken);
    let restored = lava_backup_pg::restore(cluster.superuser(), &spec, &mut feed, &mut |stage| {
        if let lava_backup_pg::Stage::Comparing(table) = stage {
            progress.say(format!("comparing {}", table.name));
        } else {
            progress.say("loading the dump");
        }
    });
    drop(feed);
    match (restored, broken) {
        (Ok(restored), None) => {
            let is_master = backup_facts::facts(backup)?.role == Role::Master;
            let address = cluster.address(&dump.server.database);
            let coherence = is_master.then(|| Coherence::of(&address)).transpose()?;
            Ok(Some((restored.comparison, coherence)))
        }
        // What is wrong with the backup is the drill's answer.
        (_, Some(e)) => Ok(Some((failed(&e.to_string()), None))),
        (Err(e), None) => match e.kind() {
            lava_backup_pg::ErrorKind::Differs | lava_backup_pg::ErrorKind::Failed => {
                Ok(Some((failed(&e.to_string()), None)))
            }
            _ => Err(e).could_not("drill the database"),
        },
    }
}

fn failed(what: &str) -> Comparison {
    Comparison {
        differ: vec![lava_backup_pg::TableDifference {
            table: "the database".into(),
            dumped: 0,
            found: None,
            what: what.to_owned(),
        }],
        ..Comparison::default()
    }
}

/// Brings every file back into a directory of its own and compares it again.
fn restore_files(
    backup: &Backup,
    scratch: &Path,
    progress: &Progress,
    mut coherence: Option<&mut Coherence>,
    drilled: &mut Drilled,
) -> Result<(), Failure> {
    let dir = Throwaway::new(scratch, Use::Drill)
        .could_not(format!("make a directory in {}", scratch.display()))?;
    let select: Vec<MemberPath> = backup
        .seal()
        .sections
        .keys()
        .filter_map(|name| name.parse().ok())
        .collect();
    for section in select {
        // Apart, for two sections may hold the same path.
        let target = dir.path().join(section.to_string());
        std::fs::create_dir(&target)?;
        let root = Root::open(&target)?;
        let mut options = Extract {
            select: vec![section],
            exclude: Vec::new(),
            complete: Vec::new(),
            dry_run: false,
            replace: false,
            keep_in: "replaced".parse()?,
            own: false,
            sync: false,
        };
        let mut done = 0u64;
        let restored = lava_backup_core::extract(backup, &root, &options, &mut |event| {
            if let Event::Bring(entry) = event {
                done += 1;
                if done.is_multiple_of(256) {
                    progress.say(format!("restoring {}", entry.path));
                }
            }
        });
        match restored {
            Ok(report) => drilled.bytes += report.bytes,
            Err(e) if e.kind() == lava_backup_core::ErrorKind::Damaged => {
                drilled.files_differ.push(e.to_string());
                continue;
            }
            Err(e) => return Err(e).could_not("restore the files"),
        }
        progress.say("comparing every file");
        options.dry_run = true;
        options.replace = true;
        let again = lava_backup_core::extract(backup, &root, &options, &mut |event| match event {
            Event::Compare(entry) => {
                if let Some(coherence) = &mut coherence {
                    coherence.saw(entry);
                }
            }
            Event::Change(change) => {
                let differs = format!("{}: {}", change.path, change.what);
                drilled.files_differ.push(differs);
            }
            _ => {}
        })
        .could_not("compare the files")?;
        drilled.files_equal += again.same;
    }
    Ok(())
}
