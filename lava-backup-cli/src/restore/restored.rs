//! What `restore` answers.

use std::collections::BTreeMap;
use std::path::Path;

use lava_restore_plan::render::command;
use lava_restore_plan::run::{
    Answered, Ended, Entry, Evidence, Exited, Planned, Record, Report, possible,
};
use lava_restore_plan::{Action, Gate, Step};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::exit::Exit;
use crate::text;

/// What `restore` did, or would do.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Restored {
    /// The digest of the plan.
    pub(crate) plan: String,
    /// The host of the plan.
    pub(crate) host: String,
    /// The backup.
    pub(crate) backup: String,
    /// How it ended: `finished`, `gate`, `unanswered`, `unproved` (by another host), `failed`, `told`
    /// (by a signal), or `dry-run`.
    pub(crate) outcome: String,
    /// Steps of the host.
    pub(crate) steps: u64,
    /// Steps that were done before.
    pub(crate) done_before: u64,
    /// Steps that were done now, in their order.
    pub(crate) done: Vec<String>,
    /// Milliseconds of each of them, its gates included, by its id.
    pub(crate) step_milliseconds: BTreeMap<String, u64>,
    /// Steps that are left to do, in their order.
    pub(crate) left: Vec<String>,
    /// Where and why it stopped before its end; `null` if it did not.
    pub(crate) stopped: Option<Stopped>,
    /// The directory of the run: its journal, and what its commands printed.
    pub(crate) state: String,
    /// The evidence that the host is verified, once it is.
    pub(crate) evidence: Option<String>,
    /// Milliseconds it took now.
    pub(crate) milliseconds: u64,
    /// Of a dry run, for people.
    #[serde(skip)]
    steps_in_words: String,
}

/// Where and why a run stopped.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Stopped {
    /// The step.
    pub(crate) step: String,
    /// The gate that does not hold, if one does not.
    pub(crate) gate: Option<String>,
    /// The command that failed, or the gate's.
    pub(crate) command: Vec<String>,
    /// What the gate was to find.
    pub(crate) expected: Option<String>,
    /// What was found, or how the command ended.
    pub(crate) found: Option<String>,
    /// Why nothing may go on without the gate.
    pub(crate) why: Option<String>,
    /// The last lines of what a failed command printed.
    pub(crate) said: Vec<String>,
    /// The file with what the command printed.
    pub(crate) output: Option<String>,
    /// What the step may be answered with: each a line of a file for `--confirm`.
    pub(crate) answers: Vec<String>,
    /// What to do now.
    pub(crate) advice: String,
}

impl Restored {
    pub(super) fn new(planned: Planned<'_>, digest: &str, dir: &Path) -> Self {
        Self {
            plan: digest.to_owned(),
            host: planned.host.id.clone(),
            backup: planned.host.backup.clone(),
            outcome: "finished".to_owned(),
            steps: planned.steps().len() as u64,
            done_before: 0,
            done: Vec::new(),
            step_milliseconds: BTreeMap::new(),
            left: Vec::new(),
            stopped: None,
            state: dir.to_string_lossy().into_owned(),
            evidence: None,
            milliseconds: 0,
            steps_in_words: String::new(),
        }
    }

    /// What a dry run says.
    pub(super) fn would(&mut self, planned: Planned<'_>, records: &[Record]) {
        let is_done = |id: &str| {
            let tells = |r: &Record| matches!(&r.entry, Entry::StepDone { step, .. } if step == id);
            records.iter().any(tells)
        };
        self.outcome = "dry-run".to_owned();
        let left = planned.steps().into_iter();
        for step in left.filter(|step| !is_done(&step.id)) {
            self.left.push(step.id.clone());
            self.steps_in_words += &in_words(step);
        }
        self.done_before = self.steps - self.left.len() as u64;
    }

    pub(super) fn report(
        &mut self,
        planned: Planned<'_>,
        report: Report,
        again: &str,
        milliseconds: u64,
    ) {
        self.done_before = report.done_before as u64;
        self.milliseconds = milliseconds;
        self.evidence = report
            .evidence
            .map(|path| path.to_string_lossy().into_owned());
        let left = planned.steps().into_iter();
        self.left = left
            .skip(report.done_before + report.done.len())
            .map(|step| step.id.clone())
            .collect();
        self.done = report.done;
        let (outcome, stopped) = stopped(report.ended, again);
        self.outcome = outcome.to_owned();
        self.stopped = stopped;
    }

    pub(super) fn answer(&self) -> Answer {
        let exit = match self.outcome.as_str() {
            "finished" | "dry-run" => Exit::Done,
            "gate" | "unanswered" | "unproved" => Exit::Gate,
            _ => Exit::Failed,
        };
        Answer::new(exit, self, self.text())
    }

    fn text(&self) -> String {
        let done = self.done_before + self.done.len() as u64;
        let of = format!("{done} of {} steps done", self.steps);
        let from = format!("{} from {}: {of}", self.host, self.backup);
        let mut out = match (&self.stopped, self.outcome.as_str()) {
            (Some(stopped), _) => line("stopped", &format!("at {}: {of}", stopped.step)),
            (None, "dry-run") => line("would", &format!("restore {from}")),
            (None, _) => {
                let took = text::duration(self.milliseconds);
                line("restored", &format!("{from}, in {took}"))
            }
        };
        out += &self.steps_in_words;
        if let Some(stopped) = &self.stopped {
            out += &stopped.text();
        }
        if let Some(evidence) = &self.evidence {
            out += &line("evidence", evidence);
        }
        out + &line("state", &self.state)
    }
}

fn line(name: &str, what: &str) -> String {
    format!("{name:<9}{what}\n")
}

impl Stopped {
    fn text(&self) -> String {
        let run = (!self.command.is_empty()).then(|| command(&self.command));
        let parts = [
            ("gate", &self.gate),
            ("command", &run),
            ("why", &self.why),
            ("expected", &self.expected),
            ("found", &self.found),
        ];
        let told = parts.iter().filter_map(|(name, part)| {
            let part = part.as_ref()?;
            Some(line(name, part))
        });
        let said = self.said.iter().map(|said| line("said", said));
        let output = self.output.iter().map(|output| line("output", output));
        let answers = self.answers.iter().map(|answer| line("answer", answer));
        let all: String = told.chain(said).chain(output).chain(answers).collect();
        all + &line("do", &self.advice)
    }
}

/// The outcome's name, and what there is to say of a stop.
fn stopped(ended: Ended, again: &str) -> (&'static str, Option<Stopped>) {
    let mut stopped = Stopped {
        step: String::new(),
        gate: None,
        command: Vec::new(),
        expected: None,
        found: None,
        why: None,
        said: Vec::new(),
        output: None,
        answers: Vec::new(),
        advice: String::new(),
    };
    let outcome = match ended {
        Ended::Finished => return ("finished", None),
        Ended::Gate {
            step,
            gate,
            found,
            held_before,
        } => {
            let expected = Answered {
                ended: Exited::Exit(gate.expect.exit),
                text: gate.expect.stdout.clone(),
            };
            stopped.step = step;
            stopped.expected = Some(expected.to_string());
            stopped.found = Some(found.to_string());
            stopped.command = gate.argv;
            stopped.why = Some(gate.why);
            stopped.gate = Some(gate.id);
            stopped.advice = match held_before {
                true => format!(
                    "it held when that step was done: find out what changed it since, put it right, then: {again}"
                ),
                false => format!("put right what it found, then: {again}"),
            };
            "gate"
        }
        Ended::Unanswered { step, possible } => {
            stopped.step = step;
            stopped.advice = format!(
                "answer on a terminal, or put one of these lines into a file, and: {again} --confirm FILE"
            );
            stopped.answers = possible;
            "unanswered"
        }
        Ended::Unproved {
            step,
            host,
            awaited,
        } => {
            let file = Evidence::file(&host);
            stopped.step = step;
            stopped.found = Some(format!("no evidence that {awaited} is done on {host}"));
            stopped.advice = format!(
                "bring {file} from there, of the run of this plan, then: {again} --evidence {file}"
            );
            "unproved"
        }
        Ended::Failed {
            step,
            command,
            ended,
            output,
            said,
        } => {
            stopped.step = step;
            stopped.command = command;
            stopped.said = said;
            stopped.found = Some(ended.to_string());
            stopped.output = output.map(|path| path.to_string_lossy().into_owned());
            stopped.advice = format!("see to what it said, then: {again}");
            "failed"
        }
        Ended::Told { signal, step } => {
            stopped.step = step.unwrap_or_default();
            stopped.found = Some(format!("signal {signal}, which asked for it"));
            stopped.advice = format!("go on with: {again}");
            "told"
        }
        other => {
            stopped.advice = other.to_string();
            "failed"
        }
    };
    (outcome, Some(stopped))
}

/// A step as a dry run tells of it.
fn in_words(step: &Step) -> String {
    let mut out = format!("step     {}: {}\n", step.id, step.title);
    let mut line = |name: &str, what: &str| out += &format!("  {name:<7}{what}\n");
    let gate = |gate: &Gate| command(&gate.argv);
    step.pre.iter().for_each(|g| line("gate", &gate(g)));
    step.argv
        .iter()
        .for_each(|argv| line("run", &command(argv)));
    match &step.action {
        Action::AwaitHost { host, step } => line("await", &format!("{step} on {host}")),
        _ => possible(step).iter().for_each(|answer| line("ask", answer)),
    }
    step.post.iter().for_each(|g| line("gate", &gate(g)));
    out
}
