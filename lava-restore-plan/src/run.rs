//! Running a plan on one of its hosts, from any interruption to its end.
//!
//! A [`Run`] takes the steps of one host in their order: its gates `pre`, its commands, its gates
//! `post`. It stops at the first gate that does not hold and the first command that fails, and goes
//! on from there when it is resumed. What it is about to do, and what came of it, is written down
//! before it goes on ([`Record`], in the directory of a [`State`]): killed at any moment, a run knows
//! which steps are done, and begins the one that it was at again. A step that is begun again does no
//! harm; see [`Resume`](crate::step::Resume).
//!
//! A plan holds for what it was made for: at its first start a run is told what is there now
//! ([`Found`]) and refuses if that is anything else. Later its own steps have changed the target, so
//! only the backup's seal and the plan itself are compared.
//!
//! In the order a reader meets them: [`Planned`], one host of a plan; [`Lock`], so that there
//! is one run at a time; [`State`] and [`Run`]; [`Host`], where commands are run, which is
//! [`Commands`] but in tests; [`Person`] and [`Answers`]; [`Event`], for whoever watches;
//! [`Report`] and [`Ended`]; [`Evidence`], which lets the steps of other hosts begin.

mod answers;
mod commands;
mod error;
mod evidence;
mod host;
mod journal;
mod lock;
mod output;
mod past;
mod planned;
mod record;
mod redact;
mod state;
mod steps;

use std::path::PathBuf;
use std::time::Duration;

pub use answers::{Answers, possible};
pub use commands::{Commands, Interrupt};
pub use error::{Error, ErrorKind};
pub use evidence::{Evidence, EvidenceSchema};
pub use host::{Exited, Host, Stream, Told};
pub use journal::Record;
pub use lock::{Holders, Lock, Process};
pub use planned::{Found, Planned};
pub use record::{Answered, Entry};
pub use state::{State, plan_digest};

use error::Result;
use past::Past;

use crate::{Gate, Step};

/// A person, or what speaks for one.
pub trait Person {
    /// Asks for one of the answers that are possible to a step; `None` if there is none.
    fn ask(&mut self, step: &Step, possible: &[String]) -> Option<Confirmed>;
}

/// What a person answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// One of the possible answers, word for word.
    pub answer: String,
    /// Who gave it, for the journal.
    pub by: String,
}

/// What happens in a run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A record was written, and lasts.
    Recorded(&'e Record),
    /// The gates of the last step that is done are asked again.
    LookingAgain(&'e Step),
    /// One of them is not, for it took too long the last time.
    NotAgain(&'e Gate, Duration),
    /// A step begins.
    Step {
        /// It.
        step: &'e Step,
        /// Its place among the host's steps, from 1.
        place: usize,
        /// How many there are.
        of: usize,
        /// What comes after it.
        next: Option<&'e Step>,
    },
    /// A gate is asked; how long it took the last time.
    Asking(&'e Gate, Option<Duration>),
    /// A command begins; how long it took the last time.
    Running(&'e [String], Option<Duration>),
    /// A command is still at work.
    AtWork(Duration),
    /// A command printed a line; without secrets, and harmless to a terminal.
    Printed(&'e str),
    /// A step is done.
    Done(&'e Step, Duration),
    /// Evidence was written to this file.
    Verified(&'e std::path::Path),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// All steps of the host are done.
    Finished,
    /// A gate does not hold.
    Gate {
        /// The step.
        step: String,
        /// The gate.
        gate: Box<Gate>,
        /// What was found.
        found: Answered,
        /// Is it a gate of a step that was done, and held then?
        held_before: bool,
    },
    /// A step was not confirmed.
    Unanswered {
        /// The step.
        step: String,
        /// What it may be answered with.
        possible: Vec<String>,
    },
    /// A step waits for another host, and there is no evidence that it has come so far.
    Unproved {
        /// The step.
        step: String,
        /// The host.
        host: String,
        /// Its step.
        awaited: String,
    },
    /// A command failed.
    Failed {
        /// The step.
        step: String,
        /// The command.
        command: Vec<String>,
        /// How it ended.
        ended: Exited,
        /// The file with what it printed, if it did.
        output: Option<PathBuf>,
        /// The last lines of it, eight at most, without secrets: of its standard error, if
        /// something was printed there.
        said: Vec<String>,
    },
    /// A signal asked the run to stop.
    Told {
        /// The signal.
        signal: i32,
        /// The step that it was at.
        step: Option<String>,
    },
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How it ended.
    pub ended: Ended,
    /// Steps of the host.
    pub steps: usize,
    /// Those that were done before.
    pub done_before: usize,
    /// Those that it did, in their order.
    pub done: Vec<String>,
    /// The evidence of what is done here, for other hosts, once there is some.
    pub evidence: Option<PathBuf>,
}

/// A run of the steps of one host, about to begin or to go on.
#[derive(Debug)]
pub struct Run<'p> {
    planned: Planned<'p>,
    steps: Vec<&'p Step>,
    digest: String,
    tool: String,
    state: State,
    past: Past,
    /// What other hosts proved, by digest.
    evidence: Vec<(Evidence, String)>,
    /// What the journal says first of this run.
    opening: Option<Entry>,
}

impl<'p> Run<'p> {
    /// Begins a run in a directory that has none.
    ///
    /// # Errors
    /// `Refused` for a plan without steps for the host or with forbidden ones, `Begun` if there is a
    /// run, `OtherPlan` if that is one of another plan, `Stale` if the backup or the target is not
    /// what the plan was made for, `Io`.
    pub fn begin(planned: Planned<'p>, state: State, found: &Found, tool: &str) -> Result<Self> {
        let mut run = Self::of(planned, state, tool)?;
        if run.state.is_begun() {
            let dir = run.state.dir().display();
            let what = format!("begin in {dir}: there is a run already");
            return Err(Error::new(ErrorKind::Begun, what));
        }
        planned.still_so(found)?;
        run.state.keep_plan(planned.plan)?;
        run.state.journal.anchor(&run.digest);
        run.opening = Some(Entry::Begun {
            plan: run.digest.clone(),
            host: planned.host.id.clone(),
            backup: planned.host.backup.clone(),
            seal: found.seal_digest.clone(),
            target: found.target_digest.clone(),
            tool: tool.to_owned(),
            pid: std::process::id(),
        });
        Ok(run)
    }

    /// Goes on with the run of a directory.
    ///
    /// # Errors
    /// `NotBegun` if there is none, `OtherPlan` if it is one of another plan or host, `Stale` if the
    /// backup is not what the plan was made for, `Refused`, `Io`.
    pub fn resume(
        planned: Planned<'p>,
        state: State,
        seal_digest: &str,
        tool: &str,
    ) -> Result<Self> {
        let mut run = Self::of(planned, state, tool)?;
        if !run.state.is_begun() {
            let dir = run.state.dir().display();
            let what = format!("go on in {dir}: no run began there");
            return Err(Error::new(ErrorKind::NotBegun, what));
        }
        planned.same_seal(seal_digest)?;
        run.opening = Some(Entry::Resumed {
            tool: tool.to_owned(),
            pid: std::process::id(),
            torn: run.state.torn(),
        });
        Ok(run)
    }

    /// Takes what another host proved, with its digest, for the steps that wait for that host.
    ///
    /// # Errors
    /// `Unproved` if it is not of a run of this plan, on a host of it.
    pub fn take(&mut self, evidence: Evidence, digest: String) -> Result<()> {
        evidence.is_of(self.planned.plan, &self.digest)?;
        self.evidence.push((evidence, digest));
        Ok(())
    }

    fn of(planned: Planned<'p>, state: State, tool: &str) -> Result<Self> {
        let digest = plan_digest(planned.plan)?;
        planned.has_steps()?;
        planned.owns(state.records())?;
        Ok(Self {
            planned,
            steps: planned.steps(),
            digest,
            tool: tool.to_owned(),
            past: Past::of(state.records()),
            state,
            evidence: Vec::new(),
            opening: None,
        })
    }
}
