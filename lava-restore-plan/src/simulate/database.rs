//! One database of LAVA's.

use std::collections::BTreeSet;

use super::host::Whose;
use crate::Backup;
use crate::facts::{Database, Migration, ShippedMigration};
use crate::migration::{self, LAVA_APPS};
use crate::release::{DeviceHealth, Encoding, JobState};
use crate::sql::{Query, Statement};

/// What a database holds.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) whose: Whose,
    /// Its rows, as far as facts know them.
    pub(super) rows: Database,
    /// Nothing was changed since it was loaded.
    pub(super) as_dumped: bool,
    pub(super) next_job_id: u64,
    /// Its workers are online by what the backup's master heard of them last.
    calls_online: bool,
    encoding: Encoding,
    /// Jobs that were ended here.
    ended: BTreeSet<u64>,
}

impl Content {
    /// One that was there.
    pub(super) fn found(rows: Database, encoding: Encoding) -> Self {
        Self {
            whose: Whose::Target,
            as_dumped: false,
            next_job_id: rows.max_job_id.unwrap_or(0) + 1,
            calls_online: false,
            encoding,
            ended: BTreeSet::new(),
            rows,
        }
    }

    /// What lava-server makes when it is installed: the tables of its migrations, and no lab.
    pub(super) fn installed(
        name: &str,
        encoding: Encoding,
        shipped: &[ShippedMigration],
        like: &[Migration],
    ) -> Self {
        // Django ships some applications that LAVA does not install.
        let apps = like.iter().map(|m| m.app.as_str());
        let apps: BTreeSet<&str> = apps.chain(LAVA_APPS).collect();
        let applied = shipped.iter().filter(|m| apps.contains(m.app.as_str()));
        let rows = Database {
            name: name.to_owned(),
            encoding: Some("UTF8".to_owned()),
            migrations: Some(
                applied
                    .map(|m| Migration {
                        app: m.app.clone(),
                        name: m.name.clone(),
                    })
                    .collect(),
            ),
            devices_by_health: Some(Default::default()),
            jobs_by_state: Some(Default::default()),
            active_jobs: Some(vec![]),
            ..Database::default()
        };
        Self::found(rows, encoding)
    }

    /// What the dump of a backup loads.
    pub(super) fn dumped(backup: &Backup, name: &str, encoding: Encoding) -> Option<Self> {
        let dump = backup.database.as_ref()?;
        let max_job_id = match &backup.facts.database {
            crate::facts::DatabaseState::Present(database) => database.max_job_id,
            _ => None,
        };
        let active = dump.active_jobs.iter().flatten().map(|job| job.id);
        let rows = Database {
            name: name.to_owned(),
            encoding: dump.encoding.clone(),
            migrations: dump.migrations.clone(),
            devices_by_health: dump.devices_by_health.clone(),
            jobs_by_state: dump.jobs_by_state.clone(),
            max_job_id: max_job_id.max(active.max()),
            active_jobs: dump.active_jobs.clone(),
            worker_names: dump.workers.clone(),
            ..Database::default()
        };
        Some(Self {
            whose: Whose::Backup,
            as_dumped: true,
            calls_online: true,
            ..Self::found(rows, encoding)
        })
    }

    pub(super) fn is_a_lab(&self) -> bool {
        let jobs = self.rows.jobs_by_state.iter().flatten();
        self.devices().next().is_some() || jobs.map(|(_, count)| count).any(|count| *count > 0)
    }

    fn devices(&self) -> impl Iterator<Item = (DeviceHealth, &String)> {
        let by_health = self.rows.devices_by_health.iter().flatten();
        by_health.flat_map(|(health, names)| names.iter().map(|name| (*health, name)))
    }

    /// The devices that could be given a job.
    pub(super) fn awake(&self) -> impl Iterator<Item = &String> {
        let awake = self.devices().filter(|(health, _)| health.takes_jobs());
        awake.map(|(_, name)| name)
    }

    /// The devices that LAVA has to have a dictionary of.
    pub(super) fn has_devices_in_use(&self) -> bool {
        let mut devices = self.devices();
        devices.any(|(health, _)| health != DeviceHealth::Retired)
    }

    /// The jobs between the queue and their end.
    pub(super) fn active(&self) -> impl Iterator<Item = u64> {
        let jobs = self.rows.active_jobs.iter().flatten();
        let active =
            jobs.filter(|job| !matches!(job.state, JobState::Submitted | JobState::Finished));
        active.map(|job| job.id)
    }

    /// Whether code with these migrations is the code that it belongs to.
    pub(super) fn fits(&self, shipped: &[ShippedMigration]) -> bool {
        let applied = self.rows.migrations.as_deref().unwrap_or_default();
        migration::compare(applied, shipped).is_empty()
    }

    pub(super) fn migrate(&mut self, shipped: &[ShippedMigration], encoding: Encoding) {
        self.encoding = encoding;
        let applied = self.rows.migrations.get_or_insert_default();
        let missing = migration::compare(applied, shipped).missing;
        applied.extend(missing.into_iter().map(|migration| Migration {
            app: migration.app,
            name: migration.name,
        }));
        self.as_dumped = false;
    }

    /// What psql prints; `None` when the question is of another encoding, for its columns are not
    /// there.
    pub(super) fn ask(&self, query: &Query) -> Option<String> {
        let count = |encoding: Encoding, count: usize| {
            (encoding == self.encoding).then(|| count.to_string())
        };
        match query {
            Query::ActiveJobs(encoding) => count(*encoding, self.active().count()),
            Query::DevicesThatTakeJobs(encoding) => count(*encoding, self.awake().count()),
            Query::Devices => Some(self.devices().count().to_string()),
            Query::Migrations => {
                let applied = self.rows.migrations.as_deref().unwrap_or_default();
                Some(applied.len().to_string())
            }
            Query::Queue(encoding) => (*encoding == self.encoding).then(String::new),
            Query::NextJobIdIsAtLeast(id) => {
                Some(if self.next_job_id >= *id { "t" } else { "f" }.to_owned())
            }
            Query::WorkerOnline(_) => None,
        }
    }

    /// Whether psql did it.
    pub(super) fn change(&mut self, statement: Statement) -> bool {
        match statement {
            Statement::EndJobs(encoding) if encoding == self.encoding => {
                let active: Vec<u64> = self.active().collect();
                for id in active {
                    self.end_job(id);
                }
            }
            Statement::OfflineDevices if self.encoding == Encoding::Status => {
                self.maintain(|_| true);
            }
            Statement::WorkersOffline if self.encoding == Encoding::StateAndHealth => {
                self.calls_online = false;
            }
            Statement::NextJobId(id) => self.next_job_id = self.next_job_id.max(id),
            Statement::EndJobs(_) | Statement::OfflineDevices | Statement::WorkersOffline => {
                return false;
            }
        }
        self.as_dumped = false;
        true
    }

    /// Whether there is such a job; one that is over stays so.
    pub(super) fn end_job(&mut self, id: u64) -> bool {
        let jobs = self.rows.active_jobs.get_or_insert_default();
        let Some(at) = jobs.iter().position(|job| job.id == id) else {
            return self.ended.contains(&id);
        };
        let job = jobs.remove(at);
        self.ended.insert(id);
        let counts = self.rows.jobs_by_state.get_or_insert_default();
        let of_state = counts.entry(job.state).or_default();
        *of_state = of_state.saturating_sub(1);
        *counts.entry(JobState::Finished).or_default() += 1;
        self.as_dumped = false;
        true
    }

    pub(super) fn end_queue(&mut self) {
        let counts = self.rows.jobs_by_state.get_or_insert_default();
        let queued = counts.remove(&JobState::Submitted).unwrap_or(0);
        *counts.entry(JobState::Finished).or_default() += queued;
        self.as_dumped = false;
    }

    /// How many devices went into maintenance.
    pub(super) fn maintain(&mut self, which: impl Fn(&str) -> bool) -> usize {
        let by_health = self.rows.devices_by_health.get_or_insert_default();
        let mut moved = Vec::new();
        for (_, names) in by_health
            .iter_mut()
            .filter(|(health, _)| health.takes_jobs())
        {
            let (chosen, rest) = std::mem::take(names)
                .into_iter()
                .partition(|name| which(name));
            *names = rest;
            moved.extend::<Vec<String>>(chosen);
        }
        let count = moved.len();
        let there = by_health.entry(DeviceHealth::Maintenance).or_default();
        there.extend(moved);
        there.sort();
        self.as_dumped = false;
        count
    }

    /// Whether it says of workers what they do.
    pub(super) fn has_state(&self) -> bool {
        self.encoding == Encoding::StateAndHealth
    }

    /// Whether a worker counts as seen, whatever it does now.
    pub(super) fn calls_online(&self, worker: &str) -> bool {
        let known = self.rows.worker_names.iter().flatten();
        self.calls_online && known.into_iter().any(|name| name == worker)
    }

    pub(super) fn has_device(&self, name: &str) -> bool {
        self.devices().any(|(_, device)| device == name)
    }
}
