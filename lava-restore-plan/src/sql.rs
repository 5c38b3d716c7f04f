//! Every line of SQL that a plan may hold.
//!
//! A query that begins with `SELECT` may still change something, so gates are not held against a
//! pattern but against these: whatever is not made here is not allowed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name;
use crate::release::Encoding;

/// A question about LAVA's database, which changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// How many jobs are between the queue and their end.
    ActiveJobs(Encoding),
    /// The ids of the jobs in the queue.
    Queue(Encoding),
    /// How many devices could be given a job.
    DevicesThatTakeJobs(Encoding),
    /// How many devices there are.
    Devices,
    /// How many migrations it has had.
    Migrations,
    /// Whether the next job's id is at least this.
    NextJobIdIsAtLeast(u64),
    /// How many workers of this name asked for work in the last two minutes and were taken.
    WorkerOnline(String),
}

impl Query {
    /// As psql takes it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::ActiveJobs(encoding) => count_where("testjob", active_jobs(*encoding)),
            Self::Queue(encoding) => {
                let waiting = match encoding {
                    Encoding::StateAndHealth => "state = 0",
                    Encoding::Status => "status = 0",
                };
                format!("SELECT id FROM lava_scheduler_app_testjob WHERE {waiting} ORDER BY id")
            }
            Self::DevicesThatTakeJobs(encoding) => count_where("device", awake_devices(*encoding)),
            Self::Devices => "SELECT count(*) FROM lava_scheduler_app_device".to_owned(),
            Self::Migrations => "SELECT count(*) FROM django_migrations".to_owned(),
            Self::NextJobIdIsAtLeast(id) => format!(
                "SELECT last_value + is_called::int >= {id} FROM lava_scheduler_app_testjob_id_seq"
            ),
            Self::WorkerOnline(worker) => format!(
                "SELECT count(*) FROM lava_scheduler_app_worker WHERE hostname = '{worker}' AND \
                 state = 0 AND last_ping > now() - interval '2 minutes'"
            ),
        }
    }

    /// The question that a text is, if it is one of these.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        const ENCODINGS: [Encoding; 2] = [Encoding::StateAndHealth, Encoding::Status];
        let number = |rest: &str| rest.split(' ').next()?.parse().ok();
        let mut known = vec![Self::Devices, Self::Migrations];
        for encoding in ENCODINGS {
            known.extend([
                Self::ActiveJobs(encoding),
                Self::Queue(encoding),
                Self::DevicesThatTakeJobs(encoding),
            ]);
        }
        let next = text.split_once(" >= ").and_then(|(_, rest)| number(rest));
        known.extend(next.map(Self::NextJobIdIsAtLeast));
        let worker = text.split('\'').nth(1).filter(|name| name::is_plain(name));
        known.extend(worker.map(|name| Self::WorkerOnline(name.to_owned())));
        known.into_iter().find(|query| query.text() == text)
    }
}

/// A change to LAVA's database that no command of its release makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", content = "with", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Statement {
    /// Ends every job that is between the queue and its end, up to 2018.1.
    EndJobs(Encoding),
    /// Takes every device that is not retired out of service, up to 2017.12.
    OfflineDevices,
    /// Calls every worker offline, until it is heard of; from 2018.1.
    WorkersOffline,
    /// Gives the next job this id, if it would have a lower one.
    NextJobId(u64),
}

impl Statement {
    /// As psql takes it.
    #[must_use]
    pub fn text(self) -> String {
        let update = |table: &str, set: &str, of: &str| {
            format!("UPDATE lava_scheduler_app_{table} SET {set} WHERE {of}")
        };
        match self {
            // Status 3 is incomplete; so is health 2, of a job whose state 5 is finished.
            Self::EndJobs(encoding @ Encoding::Status) => update(
                "testjob",
                "status = 3, end_time = now()",
                active_jobs(encoding),
            ),
            Self::EndJobs(encoding @ Encoding::StateAndHealth) => update(
                "testjob",
                "state = 5, health = 2, end_time = now()",
                active_jobs(encoding),
            ),
            Self::OfflineDevices => update("device", "status = 0", awake_devices(Encoding::Status)),
            // State 0 is online, 1 offline.
            Self::WorkersOffline => update("worker", "state = 1", "state = 0"),
            Self::NextJobId(id) => format!(
                "SELECT setval('lava_scheduler_app_testjob_id_seq', greatest({id}, last_value + \
                 is_called::int), false) FROM lava_scheduler_app_testjob_id_seq"
            ),
        }
    }

    /// The statement that a text is, if it is one of these.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let id = text.strip_prefix("SELECT setval('lava_scheduler_app_testjob_id_seq', greatest(");
        let id = id.and_then(|rest| rest.split(',').next()?.parse().ok());
        let known = [
            Self::EndJobs(Encoding::Status),
            Self::EndJobs(Encoding::StateAndHealth),
            Self::OfflineDevices,
            Self::WorkersOffline,
        ];
        let mut known = known.into_iter().chain(id.map(Self::NextJobId));
        known.find(|statement| statement.text() == text)
    }
}

fn count_where(table: &str, of: &str) -> String {
    format!("SELECT count(*) FROM lava_scheduler_app_{table} WHERE {of}")
}

/// Up to 2017.12 a job has status 1 while it runs and 5 while it is cancelled.
fn active_jobs(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::StateAndHealth => "state IN (1, 2, 3, 4)",
        Encoding::Status => "status IN (1, 5)",
    }
}

/// Up to 2017.12 a device is offline with status 0 and retired with 4.
fn awake_devices(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::StateAndHealth => "health NOT IN (4, 5)",
        Encoding::Status => "status NOT IN (0, 4)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_known_by_its_whole_text() {
        for query in [
            Query::ActiveJobs(Encoding::Status),
            Query::Queue(Encoding::StateAndHealth),
            Query::DevicesThatTakeJobs(Encoding::Status),
            Query::Devices,
            Query::Migrations,
            Query::NextJobIdIsAtLeast(7),
            Query::WorkerOnline("rack-a.example".into()),
        ] {
            assert_eq!(Query::parse(&query.text()), Some(query));
        }
        for hostile in [
            "SELECT pg_terminate_backend(1)",
            "SELECT count(*) FROM lava_scheduler_app_device, lo_unlink(1)",
            "SELECT setval('lava_scheduler_app_testjob_id_seq', 1)",
            &Query::WorkerOnline("a' OR pg_sleep(9)::text = '".into()).text(),
        ] {
            assert_eq!(Query::parse(hostile), None, "{hostile}");
            assert_eq!(Statement::parse(hostile), None, "{hostile}");
        }
    }

    #[test]
    fn a_statement_is_no_query() {
        for statement in [
            Statement::EndJobs(Encoding::Status),
            Statement::EndJobs(Encoding::StateAndHealth),
            Statement::OfflineDevices,
            Statement::WorkersOffline,
            Statement::NextJobId(9),
        ] {
            assert_eq!(Statement::parse(&statement.text()), Some(statement));
            assert_eq!(Query::parse(&statement.text()), None);
        }
    }
}
