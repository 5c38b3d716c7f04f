//! Do a master's database, logs and code fit each other, as they came back?

use lava_backup_core::{Backup, Entry};
use lava_backup_pg::{Address, Snapshot};
use lava_restore_plan::facts::Migration;
use lava_restore_plan::migration;

use super::Drilled;
use crate::exit::{CouldNot, Failure};
use crate::finished::{FinishedJobs, WITHOUT_LOG};
use crate::{backup_facts, collect};

/// What a restored database says, until the files have come back too.
pub(super) struct Coherence {
    finished: FinishedJobs,
    applied: Option<Vec<Migration>>,
}

impl Coherence {
    /// Asks the database.
    pub(super) fn of(database: &Address) -> Result<Self, Failure> {
        let mut snapshot = Snapshot::take(database).could_not("read the restored database")?;
        Ok(Self {
            finished: FinishedJobs::of(&mut snapshot)?,
            applied: collect::migrations(&mut snapshot)?,
        })
    }

    /// A file has come back.
    pub(super) fn saw(&mut self, entry: &Entry) {
        self.finished.saw(entry);
    }

    /// Says whether all fits.
    pub(super) fn check(&self, backup: &Backup, drilled: &mut Drilled) -> Result<(), Failure> {
        check_logs(&self.finished, backup, drilled);
        let facts = backup_facts::facts(backup)?;
        let (Some(applied), Some(shipped)) = (&self.applied, &facts.migrations_shipped) else {
            let open = "that the migrations are the packages': they are not known";
            drilled.not_proved.push(open.into());
            return Ok(());
        };
        let mismatch = migration::compare(applied, shipped);
        let same = format!("{} rows, as the packages ship them", applied.len());
        let found = match mismatch.is_empty() {
            true => same.clone(),
            false => migration::in_words(&mismatch),
        };
        drilled.check("migrations", &same, &found);
        Ok(())
    }
}

/// Says whether a log was seen of every finished job.
pub(super) fn check_logs(finished: &FinishedJobs, backup: &Backup, drilled: &mut Drilled) {
    let found = finished.lacking().unwrap_or_else(|| "none".into());
    // `create` has told of these already.
    let problems = backup.seal().problems.iter();
    let told = problems.filter(|p| p.code == WITHOUT_LOG);
    let told = told.map(|p| p.message.as_str()).find(|m| *m == found);
    drilled.check(
        "finished jobs without a log",
        told.unwrap_or("none"),
        &found,
    );
}
