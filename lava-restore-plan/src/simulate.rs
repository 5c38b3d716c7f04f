//! A lab that exists in memory alone, on which a plan can be tried.
//!
//! [`Lab`] is made from what a plan is made from. [`Lab::run`] runs a plan's steps on it as a
//! runner would on real hosts: it asks each gate's command and does each action's commands, told by
//! their words, so what is tried is what would be run. After every command the lab goes on living:
//! services do what they do with the database that they find, workers ask for work, users submit
//! jobs as soon as they can reach LAVA. What may not happen is kept as [`Harm`]; what a restored
//! lab still misses is what [`Lab::lacks`] says. So a planner, or a rule that you add to one, can
//! be held against "never a harm, and at the end nothing lacks, or a gate has stopped with a
//! reason", whatever [`Fate`] has in store.
//!
//! It is pure and deterministic: no clock, no process, no host. Mischance is data.
//!
//! ```
//! use lava_restore_plan::simulate::{End, Fate, Journal, Lab};
//! use lava_restore_plan::{Host, Intent, Options, plan};
//!
//! # fn try_it(hosts: Vec<Host>) -> Result<(), lava_restore_plan::Error> {
//! let options = Options::default();
//! let plan = plan(hosts.clone(), Intent::RestoreMaster, &options);
//! let mut lab = Lab::new(hosts, Intent::RestoreMaster, &options);
//! let end = lab.run(&plan, &mut Journal::default(), &Fate::default())?;
//! assert_eq!(end, End::Done);
//! assert!(lab.harms().is_empty() && lab.lacks().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # What is modelled
//!
//! - **Packages**: versions, dpkg's states, holds. To configure lava-server makes the installer's
//!   database where there is none and migrates the one that is there, starts every service that is
//!   not masked and puts LAVA's site into apache. apt refuses to change what is on hold.
//! - **Services**: running, enabled, masked; a machine that boots starts what is enabled. A service
//!   of LAVA's falls when the password in its settings is not that of its database's role.
//! - **The database**: none, the installer's, another lab's or the backup's; its migrations,
//!   devices, jobs, workers and the next job's id, in the encoding of its release.
//! - **PostgreSQL** reads its configuration when it starts, by a plan or with its host; [`Fate`] says
//!   whether the backup's suits the host.
//! - **Hardware** is driven by a scheduler that runs while a device takes jobs, and by whatever
//!   hands out jobs while one is between the queue and its end.
//! - **Files**: which members of the backup are in place. Those that open LAVA's site, hold the
//!   database's password, say who a worker is or what makes a host that host count as what they are.
//! - **Users** reach LAVA when apache serves its site to all and gunicorn runs; apache serves what
//!   was enabled when it was started or reloaded. They may when nothing lacks any more.
//! - **Workers** are online when their master can be reached and knows their name, their secret and
//!   their version. What one remembers of jobs has to be forgotten before users come in.
//! - **Timers** and people upgrade what is not on hold, when [`Fate`] says so.
//! - **People** do what a step asks them to do and believe all that they read: a plan that leans on
//!   somebody's eyes is not held up here.
//!
//! # What is not
//!
//! The content of files and rows, disks that fill, time that passes (a gate with patience is asked
//! once), the network between hosts, whose names in it are taken to be moved with them, more than
//! one server of PostgreSQL, configuration of the target's that the backup does not have, jobs that
//! still run on a device while their master is replaced, and mistakes of LAVA's beyond those that
//! [`release`](crate::release) knows.

mod database;
mod fate;
mod files;
mod goal;
mod host;
mod packages;
mod run;
mod shell;
mod world;

use std::fmt;

pub use fate::{Event, Fate, Incident, Moment};
pub use host::Host;
pub use run::{End, Journal};

use crate::{Intent, Options};

/// The hosts of a lab, in memory.
#[derive(Clone, Debug)]
pub struct Lab {
    hosts: Vec<Host>,
    intent: Intent,
    next_job_id: Option<u64>,
    harms: Vec<Harm>,
    /// Users came in when nothing lacked any more: from here on the lab is its admins' again.
    is_open: bool,
    /// Where a run is.
    now: Moment,
}

/// Something happened that a restore may never do, or let happen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Harm {
    /// The host's id.
    pub host: String,
    /// What it is.
    pub kind: HarmKind,
    /// The part of the run after which it was seen.
    pub at: Moment,
    /// What happened, in a few words.
    pub what: String,
}

/// The kinds of [`Harm`]. After any of them the lab counts as damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HarmKind {
    /// lava-server was configured with the restored database, which migrated it.
    Migrated,
    /// A service that uses the database ran while it was loaded.
    WrittenWhileLoaded,
    /// A service ran on the restored database with code of another set of migrations.
    OtherCode,
    /// The restored database drove a device.
    HardwareDriven,
    /// Users came in while something still lacked.
    OpenedEarly,
    /// A drill reached somebody outside.
    ReachedOut,
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, at, what, .. } = self;
        write!(f, "{what} on {host}, after {at}")
    }
}

impl Lab {
    /// The lab that hosts are in before anything is done to them.
    ///
    /// The arguments are those of [`plan`](crate::plan()), and so are the hosts' ids. What a target's
    /// facts do not say is taken as it would be worst for the restore: of a database that nobody
    /// could ask, that it holds a lab; of a worker, that it remembers jobs and that its secret is
    /// not the backup's. A drill's host has no network; every other one reaches a mirror that has
    /// every version of the backup's packages.
    #[must_use]
    pub fn new(mut hosts: Vec<crate::Host>, intent: Intent, options: &Options) -> Self {
        let planned = crate::host::cast(&mut hosts);
        let hosts = hosts.into_iter().zip(planned);
        Self {
            hosts: hosts
                .map(|(host, planned)| Host::new(host, planned, intent))
                .collect(),
            intent,
            next_job_id: options.next_job_id,
            harms: Vec::new(),
            is_open: false,
            now: Moment::default(),
        }
    }

    /// The host of this id.
    #[must_use]
    pub fn host(&self, id: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.id() == id)
    }

    /// The hosts as they are now, to make another plan for them: each with its backup and the facts
    /// that a collector would find.
    #[must_use]
    pub fn hosts(&self) -> Vec<crate::Host> {
        self.hosts.iter().map(Host::found).collect()
    }

    /// Something happens while no plan is run.
    pub fn happen(&mut self, event: &Event) {
        self.befall(event);
        self.live();
    }

    /// The host of this id, to make something of it that facts do not say.
    #[must_use]
    pub fn host_mut(&mut self, id: &str) -> Option<&mut Host> {
        self.hosts.iter_mut().find(|host| host.id() == id)
    }

    /// What happened that may not happen, in the order in which it did.
    #[must_use]
    pub fn harms(&self) -> &[Harm] {
        &self.harms
    }

    fn master(&self) -> Option<&Host> {
        self.hosts.iter().find(|host| host.is_master())
    }
}
