//! Does every finished job have its log?

use std::collections::BTreeSet;

use lava_backup_core::Entry;
use lava_backup_pg::Snapshot;

use crate::exit::Failure;
use crate::{collect, text};

/// The code of what a seal says of those that left none.
pub(crate) const WITHOUT_LOG: &str = "jobs.without-log";

/// The jobs that were finished at the instant of the snapshot, until their logs
/// are seen.
#[derive(Default)]
pub(crate) struct FinishedJobs(BTreeSet<u64>);

/// Whose log it is: `…/job-output/YYYY/MM/DD/ID/output.yaml`, or `…/job-output/job-ID/…` from
/// before 2017.
pub(crate) fn job_of_log(entry: &Entry) -> Option<u64> {
    let mut parts: Vec<&[u8]> = entry.path.components().collect();
    let name = parts.pop()?;
    if ![&b"output.yaml"[..], b"output.yaml.xz"].contains(&name) {
        return None;
    }
    let id = std::str::from_utf8(parts.pop()?).ok()?;
    id.strip_prefix("job-").unwrap_or(id).parse().ok()
}

impl FinishedJobs {
    /// From a database that is LAVA's; another has none.
    pub(crate) fn of(snapshot: &mut Snapshot) -> Result<Self, Failure> {
        let sql = "SELECT id FROM public.lava_scheduler_app_testjob WHERE state = 5";
        let rows = collect::rows(snapshot, sql)?.unwrap_or_default();
        let id = |row: lava_backup_pg::Row| row.first()?.as_deref()?.parse().ok();
        Ok(rows.into_iter().filter_map(id).collect())
    }

    pub(crate) fn saw(&mut self, entry: &Entry) {
        if let Some(id) = job_of_log(entry) {
            self.0.remove(&id);
        }
    }

    /// Those whose logs were not seen, in a sentence; `None` if there is none. A drill knows by
    /// this very sentence those that the seal tells of.
    pub(crate) fn lacking(&self) -> Option<String> {
        const NAMED: usize = 20;
        if self.0.is_empty() {
            return None;
        }
        let mut ids: Vec<String> = self.0.iter().take(NAMED).map(u64::to_string).collect();
        if self.0.len() > NAMED {
            ids.push("and others".to_owned());
        }
        Some(format!(
            "{} in the database left no log on the disk, ids: {}",
            text::count(self.0.len() as u64, "finished job"),
            ids.join(", ")
        ))
    }
}

impl FromIterator<u64> for FinishedJobs {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Self {
        Self(ids.into_iter().collect())
    }
}
