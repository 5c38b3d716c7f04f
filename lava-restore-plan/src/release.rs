//! What is known of LAVA's releases, as data.
//!
//! A row stands for a range of releases that look alike to a backup and a restore. What is really
//! there is asked of the host first; a row is what to ask for, and the fallback.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::LavaVersion;

/// What of LAVA's site workers and boards use, and nobody else, since 2020.09: workers ask with
/// their tokens, and boards fetch what the master's own worker made for them.
pub const WORKERS_SITE: &[&str] = &["/scheduler/internal/v1/", "/tmp/"];

/// What LAVA answers to anybody since 2020.09, with its version.
pub const VERSION_PAGE: &str = "/api/v0.2/system/version/";

/// What LAVA answers to a worker that it does not know, with an error, since 2020.09.
pub const NO_WORKER_PAGE: &str = "/scheduler/internal/v1/workers/";

/// A range of LAVA releases that look alike to a backup and a restore.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Release {
    /// The first release of the range, year and month.
    pub since: (u16, u8),
    /// The first release after the range.
    pub before: (u16, u8),
    /// The master's units that use the database, in the order in which they are started; all are
    /// enabled by the packages.
    pub master_units: &'static [&'static str],
    /// Units that the packages install and do not enable.
    pub optional_units: &'static [&'static str],
    /// The worker's unit.
    pub worker_unit: &'static str,
    /// How a worker proves who it is.
    pub worker_identity: WorkerIdentity,
    /// Where the settings are, in the order in which LAVA reads them. A name that ends in `/`
    /// stands for the `*.yaml` below it.
    pub settings: &'static [&'static str],
    /// Device configuration outside the database.
    pub device_config: &'static [&'static str],
    /// What else a backup takes from the master.
    pub master_paths: &'static [&'static str],
    /// What a backup takes from a worker.
    pub worker_paths: &'static [&'static str],
    /// How states are written in the database.
    pub encoding: Encoding,
    /// What `lava-server manage maintenance` does without `--force`.
    pub maintenance: Command,
    /// What `lava-server manage maintenance --force` does.
    pub maintenance_force: Command,
    /// What `lava-server manage jobs fail ID` does.
    pub jobs_fail: Command,
    /// Whether `lava-server-gunicorn` is also what workers talk to, so that it hands out jobs.
    pub gunicorn_serves_workers: bool,
}

/// How a worker proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerIdentity {
    /// Its host name, and ZMQ CURVE certificates when encryption is on.
    Certificates,
    /// Its name and a token that equals the one in the master's database.
    Token,
}

/// How states are written in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Encoding {
    /// One `status` column; up to 2017.12.
    Status,
    /// The columns `state` and `health`; from 2018.1. See [`JobState`] and [`DeviceHealth`].
    StateAndHealth,
}

/// What a command of LAVA does in a range of releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// What it says.
    Works,
    /// There is no such command.
    Absent,
    /// It stops with an error.
    Crashes,
    /// It says that it did, and did not.
    Pretends,
}

/// A job's state since 2018.1, in the order of its number in the database.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobState {
    /// 0: in the queue.
    Submitted,
    /// 1: a device is being found for it.
    Scheduling,
    /// 2: a device is reserved; any worker may start it.
    Scheduled,
    /// 3: a worker runs it, or runs it again when it has forgotten it.
    Running,
    /// 4: a worker is to stop it.
    Canceling,
    /// 5: over.
    Finished,
}

impl JobState {
    /// Every state, by number.
    pub const ALL: [Self; 6] = [
        Self::Submitted,
        Self::Scheduling,
        Self::Scheduled,
        Self::Running,
        Self::Canceling,
        Self::Finished,
    ];

    /// The state with this number in the database.
    #[must_use]
    pub fn of(number: usize) -> Option<Self> {
        Self::ALL.get(number).copied()
    }
}

/// A device's health since 2018.1, in the order of its number in the database.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum DeviceHealth {
    /// 0: it takes jobs.
    Good,
    /// 1: a health check decides.
    Unknown,
    /// 2: health checks all the time.
    Looping,
    /// 3: a health check failed.
    Bad,
    /// 4: an admin works on it.
    Maintenance,
    /// 5: gone.
    Retired,
}

impl DeviceHealth {
    /// Every health, by number.
    pub const ALL: [Self; 6] = [
        Self::Good,
        Self::Unknown,
        Self::Looping,
        Self::Bad,
        Self::Maintenance,
        Self::Retired,
    ];

    /// The health with this number in the database.
    #[must_use]
    pub fn of(number: usize) -> Option<Self> {
        Self::ALL.get(number).copied()
    }

    /// Whether LAVA may give the device a job.
    #[must_use]
    pub fn takes_jobs(self) -> bool {
        !matches!(self, Self::Maintenance | Self::Retired)
    }
}

const SETTINGS_JSON: &[&str] = &[
    "/etc/lava-server/instance.conf",
    "/etc/lava-server/secret_key.conf",
    "/etc/lava-server/settings.conf",
];

const SETTINGS_YAML: &[&str] = &[
    "/etc/lava-server/instance.conf",
    "/etc/lava-server/secret_key.conf",
    "/etc/lava-server/settings.conf",
    "/etc/lava-server/settings.yaml",
    "/etc/lava-server/settings.d/",
];

const TEMPLATES: &[&str] = &["/etc/lava-server/dispatcher-config/device-types"];
const TEMPLATES_AND_CHECKS: &[&str] = &[
    "/etc/lava-server/dispatcher-config/device-types",
    "/etc/lava-server/dispatcher-config/health-checks",
];
const DEVICE_FILES: &[&str] = &[
    "/etc/lava-server/dispatcher-config/devices",
    "/etc/lava-server/dispatcher-config/device-types",
    "/etc/lava-server/dispatcher-config/health-checks",
    "/etc/lava-server/dispatcher.d",
];

const MASTER_PATHS: &[&str] = &[
    "/etc/lava-server",
    "/etc/lava-dispatcher",
    "/etc/lava-coordinator",
    "/etc/apache2",
    "/etc/postgresql",
    "/etc/default",
    "/etc/systemd/system",
    "/etc/apt",
    "/var/lib/lava-server",
    "/var/log/lava-server",
];

const WORKER_PATHS_SLAVE: &[&str] = &[
    "/etc/lava-dispatcher/lava-slave",
    "/etc/lava-dispatcher/lava-dispatcher.conf",
    "/etc/lava-dispatcher/certificates.d",
    "/etc/lava-coordinator",
    "/etc/ser2net.conf",
    "/etc/udev/rules.d",
    "/etc/default",
];

const WORKER_PATHS_WORKER: &[&str] = &[
    "/etc/lava-dispatcher",
    "/etc/lava-dispatcher-host",
    "/var/lib/lava/dispatcher/worker/token",
    "/etc/lava-coordinator",
    "/etc/ser2net.conf",
    "/etc/ser2net.yaml",
    "/etc/udev/rules.d",
    "/etc/default",
];

/// 2016.12, the oldest release known here, with the V1 scheduler beside the dispatcher's master.
const BASELINE: Release = Release {
    since: (2016, 12),
    before: (2017, 4),
    master_units: &[
        "lava-publisher.service",
        "lava-server.service",
        "lava-master.service",
        "lava-server-gunicorn.service",
    ],
    optional_units: &[],
    worker_unit: "lava-slave.service",
    worker_identity: WorkerIdentity::Certificates,
    settings: SETTINGS_JSON,
    device_config: TEMPLATES,
    master_paths: MASTER_PATHS,
    worker_paths: WORKER_PATHS_SLAVE,
    encoding: Encoding::Status,
    maintenance: Command::Absent,
    maintenance_force: Command::Absent,
    jobs_fail: Command::Absent,
    gunicorn_serves_workers: false,
};

/// Health checks are files.
const R2017_4: Release = Release {
    since: (2017, 4),
    before: (2017, 7),
    device_config: TEMPLATES_AND_CHECKS,
    maintenance: Command::Works,
    maintenance_force: Command::Works,
    ..BASELINE
};

/// Device dictionaries are files.
const R2017_7: Release = Release {
    since: (2017, 7),
    before: (2017, 12),
    device_config: DEVICE_FILES,
    ..R2017_4
};

/// The V1 scheduler is gone, lava-logs has come.
const R2017_12: Release = Release {
    since: (2017, 12),
    before: (2018, 1),
    master_units: &[
        "lava-publisher.service",
        "lava-logs.service",
        "lava-master.service",
        "lava-server-gunicorn.service",
    ],
    ..R2017_7
};

/// State and health; `maintenance` still asks for the status.
const R2018_1: Release = Release {
    since: (2018, 1),
    before: (2018, 2),
    encoding: Encoding::StateAndHealth,
    maintenance: Command::Crashes,
    maintenance_force: Command::Crashes,
    ..R2017_12
};

const R2018_2: Release = Release {
    since: (2018, 2),
    before: (2019, 1),
    jobs_fail: Command::Works,
    ..R2018_1
};

/// Debian 10. `--force` stops before anything is saved.
const R2019_1: Release = Release {
    since: (2019, 1),
    before: (2019, 3),
    maintenance: Command::Works,
    ..R2018_2
};

/// `--force` prints the jobs and does not save them.
const R2019_3: Release = Release {
    since: (2019, 3),
    before: (2020, 5),
    maintenance_force: Command::Pretends,
    ..R2019_1
};

/// Settings are YAML, layered.
const R2020_5: Release = Release {
    since: (2020, 5),
    before: (2020, 9),
    settings: SETTINGS_YAML,
    ..R2019_3
};

/// HTTP in place of ZMQ: gunicorn is what workers talk to.
const R2020_9: Release = Release {
    since: (2020, 9),
    before: (2020, 10),
    master_units: &[
        "lava-publisher.service",
        "lava-scheduler.service",
        "lava-server-gunicorn.service",
    ],
    optional_units: &["lava-docker-worker.service"],
    worker_unit: "lava-worker.service",
    worker_identity: WorkerIdentity::Token,
    worker_paths: WORKER_PATHS_WORKER,
    gunicorn_serves_workers: true,
    ..R2020_5
};

/// Debian 11 and 12 are in here.
const R2020_10: Release = Release {
    since: (2020, 10),
    before: (2023, 10),
    optional_units: &["lava-celery-worker.service", "lava-docker-worker.service"],
    ..R2020_9
};

/// `--force` saves at last, for running jobs alone.
const R2023_10: Release = Release {
    since: (2023, 10),
    before: (2026, 11),
    maintenance_force: Command::Works,
    ..R2020_10
};

/// Every row, oldest first; each ends where the next begins.
pub const RELEASES: &[Release] = &[
    BASELINE, R2017_4, R2017_7, R2017_12, R2018_1, R2018_2, R2019_1, R2019_3, R2020_5, R2020_9,
    R2020_10, R2023_10,
];

impl Release {
    /// The row of a version; `None` outside 2016.12 to 2026.10.
    #[must_use]
    pub fn of(version: &LavaVersion) -> Option<&'static Self> {
        let at = version.year_month();
        RELEASES
            .iter()
            .find(|release| release.since <= at && at < release.before)
    }

    /// Whether a unit is one of LAVA's that must be still while the database is replaced. The
    /// coordinator is not: it knows no database, and ending it breaks MultiNode jobs elsewhere.
    #[must_use]
    pub fn stops(&self, unit: &str) -> bool {
        self.master_units.contains(&unit)
            || self.optional_units.contains(&unit)
            || unit == self.worker_unit
            || is_docker_worker_instance(unit)
    }

    /// Whether a unit reads or writes LAVA's database.
    #[must_use]
    pub fn uses_database(&self, unit: &str) -> bool {
        self.master_units.contains(&unit) || unit == "lava-celery-worker.service"
    }

    /// Whether a unit finds devices for jobs, and for health checks with no job waiting.
    #[must_use]
    pub fn schedules(&self, unit: &str) -> bool {
        // Up to 2017.11 two daemons do, each for the jobs of its own pipeline.
        let known = [
            "lava-master.service",
            "lava-scheduler.service",
            "lava-server.service",
        ];
        self.master_units.contains(&unit) && known.contains(&unit)
    }

    /// Whether a unit hands jobs to workers.
    #[must_use]
    pub fn hands_out_jobs(&self, unit: &str) -> bool {
        match self.gunicorn_serves_workers {
            true => unit == "lava-server-gunicorn.service",
            false => unit == "lava-master.service",
        }
    }

    /// Whether a unit is a worker.
    #[must_use]
    pub fn is_worker(&self, unit: &str) -> bool {
        unit == self.worker_unit
            || unit == "lava-docker-worker.service"
            || is_docker_worker_instance(unit)
    }

    /// Where a unit stands in the order of starting: publisher and scheduler, then what asks them
    /// for work, and gunicorn last of all, for it lets users and workers in.
    #[must_use]
    pub fn start_rank(&self, unit: &str) -> usize {
        let last = self.master_units.len();
        match self.master_units.iter().position(|known| *known == unit) {
            Some(at) if at + 1 == last => last + 3,
            Some(at) => at,
            None if unit == self.worker_unit => last + 1,
            None if self.optional_units.contains(&unit) => last,
            None => last + 2,
        }
    }
}

/// Since 2023.10 there may be an instance for each docker worker of a host.
fn is_docker_worker_instance(unit: &str) -> bool {
    let name = unit.strip_prefix("lava-docker-worker@");
    name.and_then(|name| name.strip_suffix(".service"))
        .is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(version: &str) -> Option<&'static Release> {
        Release::of(&version.parse().unwrap())
    }

    #[test]
    fn rows_leave_no_gap_and_do_not_overlap() {
        for pair in RELEASES.windows(2) {
            assert_eq!(pair[0].before, pair[1].since);
            assert!(pair[0].since < pair[0].before);
        }
        assert!(of("2016.11").is_none());
        assert!(of("2016.12-1~bpo8+1").is_some());
        assert!(of("2026.10-2~bpo13+1").is_some());
        assert!(of("2026.11").is_none());
    }

    #[test]
    fn force_is_known_to_pretend_where_it_was_measured_to() {
        assert_eq!(
            of("2020.12-5+deb11u2").unwrap().maintenance_force,
            Command::Pretends
        );
        assert_eq!(
            of("2023.01-2").unwrap().maintenance_force,
            Command::Pretends
        );
        assert_eq!(
            of("2026.10-2~bpo13+1").unwrap().maintenance_force,
            Command::Works
        );
        assert_eq!(of("2018.11").unwrap().maintenance, Command::Crashes);
    }

    #[test]
    fn no_unit_of_one_protocol_is_in_a_row_of_the_other() {
        for release in RELEASES {
            let old = [
                "lava-master.service",
                "lava-slave.service",
                "lava-logs.service",
            ];
            let new = ["lava-scheduler.service", "lava-worker.service"];
            let (theirs, ours) = if release.since < (2020, 9) {
                (new.as_slice(), old.as_slice())
            } else {
                (old.as_slice(), new.as_slice())
            };
            assert!(
                theirs.iter().all(|unit| !release.stops(unit)),
                "{:?}",
                release.since
            );
            assert!(
                ours.iter().any(|unit| release.stops(unit)),
                "{:?}",
                release.since
            );
        }
    }

    #[test]
    fn gunicorn_is_the_last_to_start_in_every_release() {
        for release in RELEASES {
            let gunicorn = release.start_rank("lava-server-gunicorn.service");
            let others = release.master_units.iter().chain(release.optional_units);
            for unit in others.chain([&release.worker_unit, &"lava-docker-worker@a.service"]) {
                assert!(
                    *unit == "lava-server-gunicorn.service" || release.start_rank(unit) < gunicorn
                );
            }
        }
    }
}
