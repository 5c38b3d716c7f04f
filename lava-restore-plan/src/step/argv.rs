//! The commands that actions stand for.

use super::{Action, Connection, Reference};
use crate::sql::{Query, Statement};

/// The configuration of apache's that closes LAVA to all but workers.
pub const WORKERS_ONLY: &str = "lava-backup-workers-only";

/// All of PostgreSQL's clusters on Debian.
pub(crate) const SERVER: &str = "postgresql.service";

/// What systemd has reached on every host that it has started.
pub(crate) const SYSINIT: &str = "sysinit.target";

/// Before names of units: prints a line for each that runs, comes up or goes down, and
/// nothing for one that is down, whether it ended well or failed.
pub(crate) const RUNNING: [&str; 5] = [
    "systemctl",
    "list-units",
    "--plain",
    "--no-legend",
    "--state=active,reloading,refreshing,activating,deactivating",
];

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
            // Timers first: one whose time has come starts its service while that is stopped, which
            // ends the stop (measured). What starts all the same is seen by the gate after them.
            Self::StopUnits { units } => {
                let (timers, others): (Vec<_>, Vec<_>) =
                    units.iter().cloned().partition(|unit| is_timer(unit));
                let stopped = [timers, others]
                    .into_iter()
                    .filter(|units| !units.is_empty());
                let stop = stopped.map(|units| with(&["systemctl", "stop"], &units));
                stop.chain([with(&["systemctl", "mask"], units)]).collect()
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

fn is_timer(unit: &str) -> bool {
    unit.ends_with(".timer")
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
        assert_eq!(
            argv,
            [
                ["systemctl", "stop", "lava-worker.service"],
                ["systemctl", "mask", "lava-worker.service"]
            ]
        );
        let units = ["apt-daily.service", "apt-daily.timer"].map(str::to_owned);
        let all = units.to_vec();
        assert_eq!(
            Action::StopUnits { units: all }.argv(),
            [
                words(&["systemctl", "stop", "apt-daily.timer"]),
                words(&["systemctl", "stop", "apt-daily.service"]),
                words(&["systemctl", "mask", "apt-daily.service", "apt-daily.timer"]),
            ]
        );
    }
}
