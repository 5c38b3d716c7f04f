use std::fmt;

use crate::{Plan, Suite};

/// What befalls a lab while a plan is run on it, and how its people decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fate {
    /// What happens, and when. Of two at one moment the first comes first.
    pub incidents: Vec<Incident>,
    /// Whoever is asked ends the queued jobs; otherwise they are kept.
    pub cancels_queue: bool,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incident {
    /// Just before this part of the run, or to it.
    pub at: Moment,
    /// What it is.
    pub what: Event,
}

/// A part of a step: a gate that is asked, a command that is run, a person who answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Moment {
    /// The step's id.
    pub step: String,
    /// Which part of it, from 0: the gates before its commands, these, the answer of a person where
    /// one is asked, the gates after them.
    pub part: usize,
}

/// Something that can happen to a run or to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The run is cut off before this part.
    Crash,
    /// The run is cut off while this command is half done; before it, where it is no command.
    CrashWithin,
    /// The command exits 0 and has done nothing.
    Pretend,
    /// The command exits 0 and has done half of its work; all of it or nothing, where there are no
    /// halves.
    Skimp,
    /// A host is booted.
    Reboot {
        /// Its id.
        host: String,
    },
    /// What changes packages by itself does so, if any of it runs on a host: LAVA's packages become
    /// newer, but for those on hold.
    Timer {
        /// The host's id.
        host: String,
    },
    /// Somebody upgrades a host, by hand or by a tool: LAVA's packages become newer, but for those
    /// on hold.
    Upgrade {
        /// The host's id.
        host: String,
    },
    /// Somebody, or another unit, starts a unit. Nothing happens when it is masked.
    Start {
        /// The host's id.
        host: String,
        /// The unit.
        unit: String,
    },
    /// A unit falls, and does so again whenever it is started.
    Fall {
        /// The host's id.
        host: String,
        /// The unit; `apache2.service` too.
        unit: String,
    },
    /// A host turns out to be of another suite.
    Suite {
        /// The host's id.
        host: String,
        /// The suite.
        suite: Suite,
    },
    /// From now on a host's commands run in a chroot, where systemd is not asked.
    Chroot {
        /// The host's id.
        host: String,
    },
    /// dpkg has left off in the middle of a package.
    HalfDone {
        /// The host's id.
        host: String,
        /// The package.
        package: String,
    },
    /// The backup's configuration of PostgreSQL turns out not to suit a host: it asks for more memory,
    /// or names a directory that is not there.
    OtherServer {
        /// The host's id.
        host: String,
    },
    /// A worker's secret is no longer the one that its master knows.
    OtherSecret {
        /// The host's id.
        host: String,
    },
}

impl Fate {
    /// Nothing but this.
    #[must_use]
    pub fn of(at: Moment, what: Event) -> Self {
        Self::default().and(at, what)
    }

    /// And this, too.
    #[must_use]
    pub fn and(mut self, at: Moment, what: Event) -> Self {
        self.incidents.push(Incident { at, what });
        self
    }
}

impl Moment {
    /// Part `part` of the step of this id.
    #[must_use]
    pub fn new(step: impl Into<String>, part: usize) -> Self {
        Self {
            step: step.into(),
            part,
        }
    }

    /// Every moment of a plan, in order.
    pub fn all(plan: &Plan) -> impl Iterator<Item = Self> {
        plan.steps.iter().flat_map(|step| {
            let asked = usize::from(step.action.choices().is_some());
            let parts = step.pre.len() + step.argv.len() + asked + step.post.len();
            (0..parts).map(|part| Self::new(&step.id, part))
        })
    }

    /// Every moment of a plan at which a command of an action is run.
    pub fn commands(plan: &Plan) -> impl Iterator<Item = Self> {
        plan.steps.iter().flat_map(|step| {
            let parts = step.pre.len()..step.pre.len() + step.argv.len();
            parts.map(|part| Self::new(&step.id, part))
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part {} of {}", self.part, self.step)
    }
}
