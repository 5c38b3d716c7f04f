//! Restoring a backup into throwaway surroundings, to know that it can be.

use std::path::Path;

use lava_backup_core::{Backup, Event, EvidenceDraft, Extract, MemberPath, Root};
use lava_backup_pg::{Comparison, Programs, Restore, Scratch};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::DrillArgs;
use crate::exit::{CouldNot, Exit, Failure};
use crate::progress::Progress;
use crate::throwaway::{Throwaway, Use};
use crate::{TOOL, backup_facts, clock, database, host, named, text};

/// What a drill found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Drilled {
    /// The backup.
    pub(crate) backup: String,
    /// Did everything come back as it was?
    pub(crate) passed: bool,
    /// How deep the drill went: `data`.
    pub(crate) level: String,
    /// PostgreSQL's major version that the database was restored into.
    pub(crate) postgresql: Option<u32>,
    /// Tables whose rows came back byte for byte.
    pub(crate) tables_equal: u64,
    /// Rows in them.
    pub(crate) rows: u64,
    /// Tables that did not, and sequences that are behind or too low.
    pub(crate) tables_differ: Vec<String>,
    /// Files that came back with the same digest.
    pub(crate) files_equal: u64,
    /// Bytes of content.
    pub(crate) bytes: u64,
    /// Files that did not.
    pub(crate) files_differ: Vec<String>,
    /// Milliseconds it took: a measured part of the time to restore.
    pub(crate) milliseconds: u64,
    /// What this drill did not prove.
    pub(crate) not_proved: Vec<String>,
    /// Why this could not be recorded beside the backup; `null` if it was.
    pub(crate) unrecorded: Option<String>,
}

pub(crate) fn drill(args: &DrillArgs, quiet: bool) -> Result<Answer, Failure> {
    let began = clock::now();
    let backup = backup_facts::open(&args.backup)?;
    // Nothing can be added to one: that is a note, and no failure.
    let is_file = named::is_one_file(&args.backup.store, &args.backup.backup);
    let progress = Progress::new(quiet);
    let mut drilled = Drilled {
        backup: backup.id().to_string(),
        passed: true,
        level: "data".into(),
        postgresql: None,
        tables_equal: 0,
        rows: 0,
        tables_differ: Vec::new(),
        files_equal: 0,
        bytes: 0,
        files_differ: Vec::new(),
        milliseconds: 0,
        not_proved: vec![
            "that the packages can be installed".into(),
            "that the services start".into(),
            "the owners of files: they were checked against the index alone".into(),
        ],
        unrecorded: None,
    };
    if let Some(comparison) = restore_database(&backup, &args.scratch, &progress, &mut drilled)? {
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
    restore_files(&backup, &args.scratch, &progress, &mut drilled)?;
    drop(progress);
    drilled.passed = drilled.tables_differ.is_empty() && drilled.files_differ.is_empty();
    drilled.milliseconds = began.elapsed();

    let mut record = EvidenceDraft::new("drill", &drilled.level, drilled.passed);
    record.tool = TOOL.into();
    record.began = began.rfc3339();
    record.milliseconds = drilled.milliseconds;
    record.findings = serde_json::to_value(&drilled).unwrap_or_default();
    // What was found is told all the same: a store may be mounted to be read.
    drilled.unrecorded = backup.record(record).err().map(|e| e.to_string());

    let kept = drilled.unrecorded.is_none() || is_file;
    let exit = match (drilled.passed, kept) {
        (false, _) => Exit::Damaged,
        (true, false) => Exit::Failed,
        (true, true) => Exit::Done,
    };
    let out = drilled.text();
    Ok(Answer::new(exit, &drilled, out))
}

/// Loads the dump into a cluster of its own and reads every table back.
fn restore_database(
    backup: &Backup,
    scratch: &Path,
    progress: &Progress,
    drilled: &mut Drilled,
) -> Result<Option<Comparison>, Failure> {
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
        spool: database::spool(scratch),
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
        (Ok(restored), None) => Ok(Some(restored.comparison)),
        // What is wrong with the backup is the drill's answer.
        (_, Some(e)) => Ok(Some(failed(&e.to_string()))),
        (Err(e), None) => match e.kind() {
            lava_backup_pg::ErrorKind::Differs | lava_backup_pg::ErrorKind::Failed => {
                Ok(Some(failed(&e.to_string())))
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
        let again = lava_backup_core::extract(backup, &root, &options, &mut |event| {
            if let Event::Change(change) = event {
                let differs = format!("{}: {}", change.path, change.what);
                drilled.files_differ.push(differs);
            }
        })
        .could_not("compare the files")?;
        drilled.files_equal += again.same;
    }
    Ok(())
}

impl Drilled {
    fn text(&self) -> String {
        let word = if self.passed { "passed" } else { "FAILED" };
        let mut out = format!("drill    {word} {}\n", self.backup);
        if let Some(major) = self.postgresql {
            out += &format!(
                "database {}, {}, equal byte for byte in PostgreSQL {major}\n",
                text::count(self.tables_equal, "table"),
                text::count(self.rows, "row")
            );
        }
        for table in &self.tables_differ {
            out += &format!("DIFFERS  {table}\n");
        }
        out += &format!(
            "files    {}, {}, equal\n",
            text::count(self.files_equal, "file"),
            text::bytes(self.bytes)
        );
        for file in &self.files_differ {
            out += &format!("DIFFERS  {file}\n");
        }
        out += &format!("took     {}\n", text::duration(self.milliseconds));
        for open in &self.not_proved {
            out += &format!("not proved: {open}\n");
        }
        if let Some(why) = &self.unrecorded {
            out += &format!("note: what was found could not be recorded: {why}\n");
        }
        out
    }
}
