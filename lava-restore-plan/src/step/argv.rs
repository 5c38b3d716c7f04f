//! The commands that actions stand for.

use super::{Action, Connection, Reference};
use crate::sql::{Query, Statement};

/// The configuration of apache's that closes LAVA to all but workers.
pub const WORKERS_ONLY: &str = "lava-backup-workers-only";

/// All of PostgreSQL's clusters on Debian.
pub(crate) const SERVER: &str = "postgresql.service";

/// The patterns by which systemd is told to forget that units failed: LAVA's, and what changes
/// packages by itself.
pub(crate) const FAILURES: [&str; 3] = ["apt-daily*", "lava-*", "unattended-upgrades*"];

/// Finds what workers of any era remember of jobs: their list is a few directories down.
pub(crate) const REMEMBERED_JOBS: [&str; 6] = [
    "find",
    "/var/lib/lava/dispatcher",
    "-maxdepth",
    "4",
    "-name",
    "db.sqlite3",
];

/// Behind that: each is put aside.
pub(crate) const PUT_ASIDE: [&str; 6] = [
    "-exec",
    "mv",
    "--backup=numbered",
    "{}",
    "{}.before_restore",
    ";",
];

impl Action {
    /// The commands it stands for, in order.
    #[must_use]
    pub fn argv(&self) -> Vec<Vec<String>> {
        match self {
            Self::Check | Self::Confirm { .. } | Self::AwaitHost { .. } => vec![],
            Self::DecideQueue { on } => vec![on.ask(&Query::Queue(on.encoding))],
            Self::InstallPackages { from, packages } => vec![from.install(packages)],
            Self::ReviewLogs { units } => {
                let mut line = words(&["journalctl", "-q", "--no-pager", "-b", "-p", "err"]);
                for unit in units {
                    line.extend(["-u".to_owned(), unit.clone()]);
                }
                vec![line]
            }
            Self::DisableSite { site } => vec![words(&["a2dissite", "-q", site]), reload()],
            Self::GuardSites { program } => vec![
                words(&[program, "admit", "workers"]),
                words(&["a2enconf", "-q", WORKERS_ONLY]),
            ],
            Self::AdmitWorkers { site } => {
                let mut lines = enable(site.as_deref());
                lines.push(reload());
                lines
            }
            Self::AdmitAll { site } => {
                let mut lines = enable(site.as_deref());
                lines.extend([words(&["a2disconf", "-q", WORKERS_ONLY]), reload()]);
                lines
            }
            // Measured: a timer that is masked while it runs ends as `failed`, not `inactive`. What
            // might start between the two commands is seen by the gate after them. One that had
            // failed before, or fails to stop in peace, would be neither of the two either: that is
            // forgotten. Of units that are not loaded systemd knows nothing and minds only names
            // that are no pattern.
            Self::StopUnits { units } => {
                let mut lines = vec![
                    with(&["systemctl", "stop"], units),
                    with(&["systemctl", "mask"], units),
                ];
                let of = |pattern: &&&str| units.iter().any(|unit| is_of(unit, pattern));
                let patterns: Vec<&str> = FAILURES.iter().filter(of).copied().collect();
                if !patterns.is_empty() {
                    let line = ["systemctl", "reset-failed"].into_iter().chain(patterns);
                    lines.push(line.map(str::to_owned).collect());
                }
                lines
            }
            Self::ReleaseUnits { units } => vec![
                with(&["systemctl", "unmask"], units),
                words(&["systemctl", "daemon-reload"]),
            ],
            Self::StartUnits { units } => {
                let start = |unit: &String| words(&["systemctl", "start", unit]);
                units.iter().map(start).collect()
            }
            Self::UnholdPackages { packages } => vec![with(&["apt-mark", "unhold"], packages)],
            Self::HoldPackages { packages } => vec![with(&["apt-mark", "hold"], packages)],
            Self::Extract {
                from,
                paths,
                exclude,
            } => vec![from.extract(paths, exclude, false)],
            Self::RestoreDatabase { from, replace_data } => {
                let mut line = from.database("restore");
                if *replace_data {
                    line.push("--replace-data".to_owned());
                }
                vec![line]
            }
            Self::RestartServer => vec![words(&["systemctl", "restart", SERVER])],
            Self::FailJobs { jobs } => {
                let fail =
                    |id: &u64| words(&["lava-server", "manage", "jobs", "fail", &id.to_string()]);
                jobs.iter().map(fail).collect()
            }
            Self::Change { on, statement } => vec![on.change(*statement)],
            Self::ForgetJobs => vec![[words(&REMEMBERED_JOBS), words(&PUT_ASIDE)].concat()],
            Self::MaintainAllDevices => vec![words(&["lava-server", "manage", "maintenance"])],
            Self::MaintainDevices { devices } => {
                let update = ["lava-server", "manage", "devices", "update"];
                let health = ["--health".to_owned(), "MAINTENANCE".to_owned()];
                let line = |name: &String| {
                    let mut line = with(&update, std::slice::from_ref(name));
                    line.extend(health.clone());
                    line
                };
                devices.iter().map(line).collect()
            }
        }
    }
}

impl Reference {
    pub(crate) fn extract(&self, paths: &[String], exclude: &[String], check: bool) -> Vec<String> {
        let mut line = self.command(&["extract"]);
        line.extend(paths.iter().cloned());
        for path in exclude {
            line.extend(["--exclude".to_owned(), path.clone()]);
        }
        line.extend(words(&["--root", "/"]));
        line.push(if check { "--check" } else { "--replace" }.to_owned());
        line
    }

    pub(crate) fn database(&self, verb: &str) -> Vec<String> {
        let mut line = self.command(&["database", verb]);
        line.extend(words(&["--root", "/"]));
        line
    }

    fn install(&self, packages: &[String]) -> Vec<String> {
        let mut line = self.command(&["packages", "install"]);
        line.extend(packages.iter().cloned());
        line
    }

    fn command(&self, verb: &[&str]) -> Vec<String> {
        let mut line = vec![self.program.clone()];
        line.extend(words(verb));
        line.extend(words(&["--store", &self.store, &self.backup]));
        line
    }
}

impl Connection {
    pub(crate) fn ask(&self, query: &Query) -> Vec<String> {
        self.psql(&query.text())
    }

    fn change(&self, statement: Statement) -> Vec<String> {
        self.psql(&statement.text())
    }

    fn psql(&self, sql: &str) -> Vec<String> {
        let mut line = words(&["runuser", "-u", "postgres", "--", "psql", "-XAtq"]);
        if let Some(port) = self.port {
            line.extend(["-p".to_owned(), port.to_string()]);
        }
        line.extend(words(&["-d", &self.database, "-c", sql]));
        line
    }
}

/// Whether a unit is one of those that one of [`FAILURES`] means.
pub(crate) fn is_of(unit: &str, pattern: &str) -> bool {
    unit.starts_with(pattern.trim_end_matches('*'))
}

fn enable(site: Option<&str>) -> Vec<Vec<String>> {
    let line = |site| words(&["a2ensite", "-q", site]);
    site.into_iter().map(line).collect()
}

fn reload() -> Vec<String> {
    words(&["systemctl", "reload", "apache2.service"])
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) fn with(start: &[&str], rest: &[String]) -> Vec<String> {
    let mut line = words(start);
    line.extend(rest.iter().cloned());
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::UNATTENDED;
    use crate::release::{RELEASES, Release};

    #[test]
    fn a_devices_name_is_positional() {
        let action = Action::MaintainDevices {
            devices: vec!["qemu-00".into()],
        };
        let line = words(&[
            "lava-server",
            "manage",
            "devices",
            "update",
            "qemu-00",
            "--health",
            "MAINTENANCE",
        ]);
        assert_eq!(action.argv(), [line]);
    }

    #[test]
    fn units_are_stopped_before_they_are_masked() {
        let argv = Action::StopUnits {
            units: vec!["lava-worker.service".into()],
        }
        .argv();
        assert_eq!([&argv[0][1], &argv[1][1]], ["stop", "mask"]);
        assert_eq!(argv[2], ["systemctl", "reset-failed", "lava-*"]);

        let timers = ["apt-daily.timer", "apt-daily-upgrade.service"].map(str::to_owned);
        let timers = Action::StopUnits {
            units: timers.to_vec(),
        };
        let forget = ["systemctl", "reset-failed", "apt-daily*"];
        assert_eq!(timers.argv()[2], forget);
    }

    #[test]
    fn whatever_a_plan_stops_may_have_failed() {
        let of_release = |release: &'static Release| {
            let units = release.master_units.iter().chain(release.optional_units);
            units.copied().chain([release.worker_unit])
        };
        for unit in RELEASES.iter().flat_map(of_release).chain(UNATTENDED) {
            assert!(FAILURES.iter().any(|of| is_of(unit, of)), "{unit}");
        }
    }
}
