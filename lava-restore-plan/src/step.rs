//! What a plan consists of: steps, their actions and their gates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::release::Encoding;
use crate::sql::{Query, Statement};

/// One thing to do, to check or to decide, in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Step {
    /// `HOST.PHASE.NAME`; it does not depend on the step's position.
    pub id: String,
    /// The part of the restore it belongs to.
    pub phase: Phase,
    /// The host it is for.
    pub host: String,
    /// What it is, in a line.
    pub title: String,
    /// Why it is there and why like this.
    pub why: String,
    /// What it can cost.
    pub danger: Danger,
    /// What it does.
    pub action: Action,
    /// The commands of its action, in order; each must exit 0 before the next is run.
    pub argv: Vec<Vec<String>>,
    /// The steps that must be done before it.
    pub needs: Vec<String>,
    /// What must hold before its commands are run.
    pub pre: Vec<Gate>,
    /// What must hold after them, before the next step.
    pub post: Vec<Gate>,
    /// What to do with it when a run was cut off inside it.
    pub resume: Resume,
    /// What it changes.
    pub touches: Vec<Touch>,
    /// The names of the secrets that its commands read, never the secrets.
    pub secrets: Vec<String>,
    /// The step of LAVA's manual (1 to 14) it belongs to; 2 for all that is done on a worker.
    pub manual_step: u8,
}

impl Step {
    /// Every command of it, those of its gates too.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &Vec<String>> {
        let gates = self.pre.iter().chain(&self.post);
        self.argv.iter().chain(gates.map(|gate| &gate.argv))
    }

    /// The choice that must be seen to be true when it is made, and the gate that sees it: its
    /// command is the step's own.
    pub(crate) fn proof(&self) -> Option<(&'static str, Gate)> {
        let (Action::DecideQueue { .. }, [argv]) = (&self.action, self.argv.as_slice()) else {
            return None;
        };
        let gate = Gate {
            id: format!("{}:cancelled", self.id),
            argv: argv.clone(),
            expect: Expect {
                exit: 0,
                stdout: Some(String::new()),
            },
            patience: 0,
            why: "Each of these jobs starts as soon as its device is good.".to_owned(),
        };
        Some((QUEUE_CANCELLED, gate))
    }
}

/// The parts of a restore, in their order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Keep users and their programs out.
    Isolate,
    /// The base system is the backup's and stays as it is.
    Base,
    /// The packages are the backup's and stay as they are.
    Install,
    /// The empty system works.
    Smoke,
    /// LAVA is still.
    Quiesce,
    /// The backup's database is in place.
    Database,
    /// Nothing in it can drive a device.
    Maintenance,
    /// Configuration, job output and logs are in place.
    Config,
    /// LAVA runs.
    Start,
    /// LAVA runs well.
    Verify,
    /// The master sees its workers.
    Workers,
    /// Users may come back.
    Reopen,
}

impl Phase {
    /// Its name, as in a step's id.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Isolate => "isolate",
            Self::Base => "base",
            Self::Install => "install",
            Self::Smoke => "smoke",
            Self::Quiesce => "quiesce",
            Self::Database => "database",
            Self::Maintenance => "maintenance",
            Self::Config => "config",
            Self::Start => "start",
            Self::Verify => "verify",
            Self::Workers => "workers",
            Self::Reopen => "reopen",
        }
    }
}

/// What a step can cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Danger {
    /// It only looks or asks.
    None,
    /// Users or jobs are interrupted.
    Interrupts,
    /// Files or rows on the target are replaced; what was there is kept beside.
    Replaces,
    /// It may send mail, call back or drive a device.
    ReachesOut,
}

/// What to do with a step when a run was cut off inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resume {
    /// Do it again from its start; what it had done already does no harm.
    Again,
    /// Ask again.
    Ask,
}

/// What a step changes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// Which packages may change.
    Packages,
    /// What runs.
    Services,
    /// LAVA's database.
    Database,
    /// Configuration files.
    Config,
    /// Job output and log files.
    Data,
    /// Who reaches LAVA.
    Network,
    /// Devices' health.
    Devices,
    /// Jobs' states.
    Jobs,
}

/// A read-only check with an expected answer; nothing after it runs until it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// `STEP:NAME`.
    pub id: String,
    /// The command that is asked. It changes nothing.
    pub argv: Vec<String>,
    /// Its expected answer.
    pub expect: Expect,
    /// For how many seconds it is asked again before it does not hold; 0 to ask once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub patience: u16,
    /// Why nothing may go on without it.
    pub why: String,
}

fn is_zero(seconds: &u16) -> bool {
    *seconds == 0
}

/// The expected answer of a gate's command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expect {
    /// Its exit status. Always checked, for a command that failed has often printed nothing.
    pub exit: u8,
    /// Its standard output without the newlines at its end; empty text means that nothing may be
    /// printed, `null` that anything may.
    pub stdout: Option<String>,
}

/// A sealed backup in a store, and the program that reads it, as written on command lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reference {
    /// `lava-backup`, or where it is.
    pub program: String,
    /// The store.
    pub store: String,
    /// The backup's id.
    pub backup: String,
}

/// LAVA's database on the target, asked over the local socket as `postgres`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// Its name.
    pub database: String,
    /// The server's port, when it is not the usual one.
    pub port: Option<u16>,
    /// How the release writes states in it.
    pub encoding: Encoding,
}

/// What a step does. Every command in a plan comes from one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// Nothing but its gates.
    Check,
    /// A person does or sees something, and says so.
    Confirm {
        /// What they confirm.
        ask: String,
    },
    /// A person decides what becomes of the queue, having seen it: `keep` or `cancel`.
    DecideQueue {
        /// Where the queue is.
        on: Connection,
    },
    /// A person reads the errors that units logged since the machine was booted.
    ReviewLogs {
        /// The units.
        units: Vec<String>,
    },
    /// Waits until another host's part has come so far.
    AwaitHost {
        /// The host.
        host: String,
        /// Its step, with all gates of it held.
        step: String,
    },
    /// Installs packages of the backup in exactly its versions, from its own .debs where it holds
    /// them and else from the target's sources; refused where a lab is on the target.
    InstallPackages {
        /// The backup.
        from: Reference,
        /// Their names; empty for all that the backup holds.
        packages: Vec<String>,
    },
    /// Takes a site of apache's out of service.
    DisableSite {
        /// Its name.
        site: String,
    },
    /// Closes whatever apache serves to all but workers, from its next start or reload on.
    GuardSites {
        /// `lava-backup`, or where it is.
        program: String,
    },
    /// Puts LAVA's site into service, behind that guard.
    AdmitWorkers {
        /// Its name; `None` where other sites serve LAVA.
        site: Option<String>,
    },
    /// Puts LAVA's site into service, and takes the guard away.
    AdmitAll {
        /// Its name; `None` where other sites serve LAVA.
        site: Option<String>,
    },
    /// Stops units and keeps everything from starting them.
    StopUnits {
        /// The units.
        units: Vec<String>,
    },
    /// Allows units to be started again.
    ReleaseUnits {
        /// The units.
        units: Vec<String>,
    },
    /// Starts units, one after the other.
    StartUnits {
        /// The units, in order.
        units: Vec<String>,
    },
    /// Keeps apt from changing packages.
    HoldPackages {
        /// Their names.
        packages: Vec<String>,
    },
    /// Lets apt change packages again.
    UnholdPackages {
        /// Their names.
        packages: Vec<String>,
    },
    /// Writes files of the backup to the target; what they replace is kept.
    Extract {
        /// The backup.
        from: Reference,
        /// Sections, or paths below them.
        paths: Vec<String>,
        /// Paths that stay out, with all below them.
        exclude: Vec<String>,
    },
    /// Builds the backup's database beside the target's, compares every table, and swaps them by
    /// renaming; the old one is kept.
    RestoreDatabase {
        /// The backup.
        from: Reference,
        /// The target's database holds a lab that may go aside.
        replace_data: bool,
    },
    /// Starts PostgreSQL anew, with the configuration that it finds.
    RestartServer,
    /// Ends jobs.
    FailJobs {
        /// Their ids.
        jobs: Vec<u64>,
    },
    /// Changes rows by SQL, where no command of the release does.
    Change {
        /// Where.
        on: Connection,
        /// How.
        statement: Statement,
    },
    /// Puts aside what workers of this host remember of jobs: one whose id they know is not run.
    ForgetJobs,
    /// Puts every device that is not retired into maintenance.
    MaintainAllDevices,
    /// Puts devices into maintenance, one after the other.
    MaintainDevices {
        /// Their names.
        devices: Vec<String>,
    },
}

/// The choices of [`Action::DecideQueue`].
pub(crate) const QUEUE_CHOICES: [&str; 2] = ["keep", QUEUE_CANCELLED];
const QUEUE_CANCELLED: &str = "cancel";

/// The configuration of apache's that closes LAVA to all but workers.
pub const WORKERS_ONLY: &str = "lava-backup-workers-only";

/// All of PostgreSQL's clusters on Debian.
pub(crate) const SERVER: &str = "postgresql.service";

/// Workers of any era keep their list a few directories down.
pub(crate) const FORGET_JOBS: [&str; 12] = [
    "find",
    "/var/lib/lava/dispatcher",
    "-maxdepth",
    "4",
    "-name",
    "db.sqlite3",
    "-exec",
    "mv",
    "--backup=numbered",
    "{}",
    "{}.before_restore",
    ";",
];

/// The patterns by which systemd is told to forget that units failed: LAVA's, and what changes
/// packages by itself.
pub(crate) const FAILURES: [&str; 3] = ["apt-daily*", "lava-*", "unattended-upgrades*"];

/// The same lists, looked for.
pub(crate) const REMEMBERED_JOBS: [&str; 6] = [
    "find",
    "/var/lib/lava/dispatcher",
    "-maxdepth",
    "4",
    "-name",
    "db.sqlite3",
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
            Self::ForgetJobs => vec![words(&FORGET_JOBS)],
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

    /// The words that a person may answer with beside the step's id, when the step asks one.
    #[must_use]
    pub fn choices(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::Confirm { .. } | Self::ReviewLogs { .. } | Self::AwaitHost { .. } => Some(&[]),
            Self::DecideQueue { .. } => Some(&QUEUE_CHOICES),
            _ => None,
        }
    }

    /// Whether its commands may run again and again, and change nothing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Check) || self.choices().is_some()
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
}
