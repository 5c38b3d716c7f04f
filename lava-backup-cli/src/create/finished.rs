//! Does every finished job have its log?

use std::collections::BTreeSet;

use lava_backup_core::Entry;
use lava_backup_pg::Snapshot;

use crate::collect;
use crate::exit::Failure;

/// The jobs that were finished at the instant of the snapshot, until their logs
/// are seen.
#[derive(Default)]
pub(super) struct FinishedJobs(BTreeSet<u64>);

impl FinishedJobs {
    /// From a database that is LAVA's; another has none.
    pub(super) fn of(snapshot: &mut Snapshot) -> Result<Self, Failure> {
        let sql = "SELECT id FROM public.lava_scheduler_app_testjob WHERE state = 5";
        let rows = collect::rows(snapshot, sql)?.unwrap_or_default();
        let id = |row: lava_backup_pg::Row| row.first()?.as_deref()?.parse().ok();
        Ok(Self(rows.into_iter().filter_map(id).collect()))
    }

    /// `…/job-output/YYYY/MM/DD/ID/output.yaml`, or `…/job-output/job-ID/…`
    /// from before 2017.
    pub(super) fn saw(&mut self, entry: &Entry) {
        let mut parts: Vec<&[u8]> = entry.path.components().collect();
        let name = parts.pop();
        if !matches!(name, Some(b"output.yaml" | b"output.yaml.xz")) {
            return;
        }
        let id = parts.pop().and_then(|id| std::str::from_utf8(id).ok());
        let id = id.and_then(|id| id.strip_prefix("job-").unwrap_or(id).parse().ok());
        if let Some(id) = id {
            self.0.remove(&id);
        }
    }

    pub(super) fn lacking(&self) -> u64 {
        self.0.len() as u64
    }
}
