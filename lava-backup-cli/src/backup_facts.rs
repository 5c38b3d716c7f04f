//! What a sealed backup says of its host and its database.

use lava_backup_core::{Backup, MemberPath};
use lava_backup_pg::ServerFacts;
use lava_backup_pg::archive::DumpContents;
use lava_restore_plan::facts::DatabaseState;
use lava_restore_plan::{self as plan, Facts};
use serde::Deserialize;

use crate::args::BackupArgs;
use crate::exit::{Exit, Failure};
use crate::{named, standing};

/// Where a backup holds the secret of a worker of 2020.09 or later.
const WORKER_TOKEN: &str = "data/var/lib/lava/dispatcher/worker/token";

/// Opens the backup that a command names.
pub(crate) fn open(args: &BackupArgs) -> Result<Backup, Failure> {
    named::open(&args.store, &args.backup)
}

/// The dump of a backup: where it is, where it came from, what it holds.
#[derive(Debug, Deserialize)]
pub(crate) struct DumpDocument {
    /// The member that holds it.
    pub(crate) member: MemberPath,
    /// The server and the database it came from.
    pub(crate) server: ServerFacts,
    /// Its tables, as they were counted and digested while it was made.
    pub(crate) contents: DumpContents,
}

/// The dump of a backup; `None` if it has none.
pub(crate) fn dump(backup: &Backup) -> Result<Option<DumpDocument>, Failure> {
    let document = backup.seal().documents.get("database");
    document
        .map(|value| read(backup, "database", value))
        .transpose()
}

/// The dump of a backup that must have one.
pub(crate) fn need_dump(backup: &Backup) -> Result<DumpDocument, Failure> {
    dump(backup)?.ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            format!(
                "could not find a database in the backup {}: it was made without",
                backup.id()
            ),
        )
    })
}

/// What the host of a backup was.
pub(crate) fn facts(backup: &Backup) -> Result<Facts, Failure> {
    match backup.seal().documents.get("facts") {
        Some(value) => read(backup, "facts", value),
        None => Ok(Facts::unknown()),
    }
}

fn read<T: serde::de::DeserializeOwned>(
    backup: &Backup,
    what: &str,
    value: &serde_json::Value,
) -> Result<T, Failure> {
    serde_json::from_value(value.clone()).map_err(|e| {
        let id = backup.id();
        Failure::new(
            Exit::Damaged,
            format!("could not read the {what} in the seal of {id}: {e}"),
        )
    })
}

/// Whether it came back in its last drill; nothing is recorded beside a backup that is one file.
fn drill_passed(backup: &Backup) -> Option<bool> {
    let evidence = backup.evidence().ok()?;
    Some(standing::last_drill(&evidence)?.passed)
}

fn size(section: &lava_backup_core::Section) -> plan::Size {
    plan::Size {
        entries: section.entries,
        bytes: section.bytes,
    }
}

fn is_repacked(deb: &crate::debs::ArchivedDeb) -> bool {
    deb.origin == lava_backup_debian::DebOrigin::Repacked
}

/// The backup as far as a plan has to know it.
pub(crate) fn for_plan(backup: &Backup) -> Result<plan::Backup, Failure> {
    let facts = facts(backup)?;
    let mut paths = Vec::new();
    for entry in backup.entries_below(&crate::paths::CONFIG.parse()?)? {
        paths.push(entry?.path.to_string());
    }
    // A worker's token is data by its place.
    for entry in backup.entries_below(&WORKER_TOKEN.parse()?)? {
        paths.push(entry?.path.to_string());
    }
    let debs = crate::debs::of(backup)?.map(|debs| plan::Debs {
        lacking: debs.lacking.iter().map(|deb| deb.package.clone()).collect(),
        held: Some(debs.debs.iter().map(|deb| deb.package.clone()).collect()),
        repacked: debs
            .debs
            .iter()
            .filter(|deb| is_repacked(deb))
            .map(|deb| deb.package.clone())
            .collect(),
        closed: debs.closed,
        scope: debs.scope,
    });
    let database = dump(backup)?.map(|dump| {
        let mut known = plan::Dump {
            name: dump.server.database,
            owner: Some(dump.server.owner),
            encoding: Some(dump.server.encoding),
            tables: dump
                .contents
                .tables
                .iter()
                .map(|t| plan::DumpTable {
                    schema: t.table.schema.clone(),
                    name: t.table.name.clone(),
                    rows: t.rows,
                    digest: t.digest.to_string(),
                })
                .collect(),
            ..plan::Dump::default()
        };
        // Read in the very snapshot that the dump shows.
        if let DatabaseState::Present(database) = &facts.database {
            known.migrations = database.migrations.clone();
            known.devices_by_health = database.devices_by_health.clone();
            known.jobs_by_state = database.jobs_by_state.clone();
            known.active_jobs = database.active_jobs.clone();
            known.workers = database.worker_names.clone();
        }
        known
    });
    let seal = backup.seal();
    let lacks = seal.problems.iter().filter(|p| p.degrades);
    let mut known = plan::Backup {
        schema: plan::BackupSchema::V1,
        id: seal.id.to_string(),
        seal_digest: backup.digest().to_owned(),
        created: seal.taken.clone(),
        sections: seal.sections.keys().cloned().collect(),
        paths,
        debs,
        facts,
        database,
        degraded: lacks.map(|p| p.message.clone()).collect(),
        sizes: Some(
            seal.sections
                .iter()
                .map(|(name, held)| (name.clone(), size(held)))
                .collect(),
        ),
        drill_passed: drill_passed(backup),
    };
    known.normalise();
    Ok(known)
}
