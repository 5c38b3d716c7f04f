//! What the journal says of a run so far.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::host::Exited;
use super::journal::Record;
use super::record::Entry;

#[derive(Debug, Default)]
pub(super) struct Past {
    /// The steps that are done.
    pub(super) done: BTreeSet<String>,
    /// The last of them, if no command of another step began after it.
    pub(super) last_done: Option<String>,
    pub(super) finished: bool,
    /// The steps up to which evidence was written.
    pub(super) verified: BTreeSet<String>,
    gates: BTreeMap<String, u64>,
    commands: BTreeMap<Vec<String>, u64>,
    command: Vec<String>,
}

impl Past {
    pub(super) fn of(records: &[Record]) -> Self {
        let mut past = Self::default();
        records.iter().for_each(|record| past.see(&record.entry));
        past
    }

    pub(super) fn see(&mut self, entry: &Entry) {
        match entry {
            Entry::StepDone { step, .. } => {
                self.done.insert(step.clone());
                self.last_done = Some(step.clone());
            }
            Entry::GateHeld {
                gate, milliseconds, ..
            } => {
                self.gates.insert(gate.clone(), *milliseconds);
            }
            Entry::CommandBegins { command, .. } => {
                self.last_done = None;
                self.command.clone_from(command);
            }
            Entry::CommandEnded {
                ended: Exited::Exit(0),
                milliseconds,
                ..
            } => {
                let command = std::mem::take(&mut self.command);
                self.commands.insert(command, *milliseconds);
            }
            Entry::Verified { step, .. } => {
                self.verified.insert(step.clone());
            }
            Entry::Finished {} => self.finished = true,
            _ => {}
        }
    }

    /// How long a gate took when it held the last time.
    pub(super) fn of_gate(&self, id: &str) -> Option<Duration> {
        self.gates.get(id).map(|ms| Duration::from_millis(*ms))
    }

    /// How long a command took when it worked the last time.
    pub(super) fn of_command(&self, argv: &[String]) -> Option<Duration> {
        self.commands.get(argv).map(|ms| Duration::from_millis(*ms))
    }
}
