use serde::{Deserialize, Serialize};

use super::host::Exited;

/// What a record of a journal tells of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Entry {
    /// A run began.
    Begun {
        /// The digest of its plan.
        plan: String,
        /// The host of the plan that it is for.
        host: String,
        /// The backup that is brought back.
        backup: String,
        /// The digest of that backup's seal.
        seal: String,
        /// The digest of the target's facts as they were found; `null` if the plan is bound to
        /// none.
        target: Option<String>,
        /// The program, with its version.
        tool: String,
        /// The process.
        pid: u32,
    },
    /// It went on after it had stopped, or was stopped.
    Resumed {
        /// The program, with its version.
        tool: String,
        /// The process.
        pid: u32,
        /// Bytes of a torn record that were cut off.
        torn: u64,
    },
    /// A step begins.
    StepBegins {
        /// The step.
        step: String,
        /// What it is.
        title: String,
    },
    /// A gate is asked.
    GateBegins {
        /// The gate.
        gate: String,
        /// Its command.
        command: Vec<String>,
    },
    /// It holds.
    GateHeld {
        /// The gate.
        gate: String,
        /// What was to be found.
        expected: Answered,
        /// What was found.
        found: Answered,
        /// How long it took.
        milliseconds: u64,
    },
    /// It does not hold.
    GateFailed {
        /// The gate.
        gate: String,
        /// What was to be found.
        expected: Answered,
        /// What was found.
        found: Answered,
        /// How long it took.
        milliseconds: u64,
        /// The file with the rest of what it printed, if it did.
        output: Option<String>,
    },
    /// A command begins.
    CommandBegins {
        /// The step.
        step: String,
        /// The command.
        command: Vec<String>,
    },
    /// It ended.
    CommandEnded {
        /// The step.
        step: String,
        /// How.
        ended: Exited,
        /// How long it took.
        milliseconds: u64,
        /// The file with what it printed, if it did.
        output: Option<String>,
        /// Why not all of that is kept.
        lost: Option<String>,
    },
    /// A person confirmed a step, or decided.
    Confirmed {
        /// The step.
        step: String,
        /// In which words.
        answer: String,
        /// Who.
        by: String,
    },
    /// Another host proved that a step of its own is done, which a step here waits for.
    Proved {
        /// The step here.
        step: String,
        /// The host.
        host: String,
        /// The digest of its evidence.
        evidence: String,
    },
    /// A step is done: its gates hold.
    StepDone {
        /// The step.
        step: String,
        /// How long it took.
        milliseconds: u64,
    },
    /// Evidence was written that all up to a step is done, for other hosts.
    Verified {
        /// The step.
        step: String,
        /// The evidence's digest.
        evidence: String,
    },
    /// The run stops here.
    Stopped {
        /// Why.
        why: String,
    },
    /// All steps are done.
    Finished {},
}

/// What a command answered, or is to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// How it ended.
    pub ended: Exited,
    /// What it printed on standard output, without the newlines at its end; `null` where that does
    /// not matter. Secrets are left out, and what is too long is cut.
    pub text: Option<String>,
}

impl std::fmt::Display for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ended.fmt(f)?;
        match &self.text {
            Some(text) if text.is_empty() => f.write_str(", and nothing printed"),
            Some(text) => write!(f, ", and the text {text:?}"),
            None => Ok(()),
        }
    }
}
