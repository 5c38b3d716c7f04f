//! What a plan consists of: steps, their actions and their gates.

mod argv;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::release::Encoding;
use crate::sql::Statement;

pub use argv::WORKERS_ONLY;
pub(crate) use argv::{PUT_ASIDE, REMEMBERED_JOBS, RUNNING, SERVER, SYSINIT, with, words};

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

impl Action {
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
