//! One step after the other.

use std::time::{Duration, Instant};

use super::error::{At, Error};
use super::evidence::{Evidence, EvidenceSchema};
use super::host::{Exited, Host, Stream, Told};
use super::output::Output;
use super::record::{Answered, Entry};
use super::{Ended, Event, Person, Report, Run, possible, redact};
use crate::{Action, Gate, Phase, Step, render};

/// A gate that took longer is not asked again only to see whether it still holds.
const CHEAP: Duration = Duration::from_secs(30);

/// A gate with patience is asked again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// So much of what a gate answered stands in the journal.
const TOLD: usize = 2000;

/// What ends a run before its steps do.
enum Stop {
    Ended(Box<Ended>),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Self::Ended(Box::new(ended))
    }
}

type Go = std::result::Result<(), Stop>;

/// What surrounds a run while it runs.
pub(super) struct Around<'a> {
    pub(super) host: &'a mut dyn Host,
    pub(super) person: &'a mut dyn Person,
    pub(super) watch: &'a mut dyn FnMut(Event<'_>),
}

impl Run<'_> {
    /// Runs the steps that are not done yet, and tells of everything as it happens.
    ///
    /// # Errors
    /// `Io`, if what happens can't be written down, or a command not be followed. That the run
    /// stopped before its end is no error: see [`Report::ended`].
    pub fn go(
        mut self,
        host: &mut dyn Host,
        person: &mut dyn Person,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> super::error::Result<Report> {
        let mut around = Around {
            host,
            person,
            watch,
        };
        let mut report = Report {
            ended: Ended::Finished,
            steps: self.steps.len(),
            done_before: self.past.done.len(),
            done: Vec::new(),
            evidence: None,
        };
        match self.all(&mut around, &mut report) {
            Ok(()) => {}
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Ended(ended)) => {
                let why = ended.to_string();
                self.record(Entry::Stopped { why }, &mut around)?;
                report.ended = *ended;
            }
        }
        if !self.past.verified.is_empty() {
            let file = Evidence::file(&self.planned.host.id);
            report.evidence = Some(self.state.dir().join(file));
        }
        Ok(report)
    }

    fn all(&mut self, around: &mut Around<'_>, report: &mut Report) -> Go {
        if self.past.finished {
            return Ok(());
        }
        if let Some(opening) = self.opening.take() {
            self.record(opening, around)?;
        }
        self.look_again(around)?;
        let steps = self.steps.clone();
        for (at, step) in steps.iter().enumerate() {
            if !self.past.done.contains(&step.id) {
                (around.watch)(Event::Step {
                    step,
                    place: at + 1,
                    of: steps.len(),
                    next: steps.get(at + 1).copied(),
                });
                self.step(step, around)?;
                report.done.push(step.id.clone());
            }
            // Also when it was killed between the two.
            let is_verified = |next: Option<&&Step>| next.is_none_or(|n| n.phase > Phase::Verify);
            let is_last = step.phase <= Phase::Verify && is_verified(steps.get(at + 1));
            if is_last || self.planned.is_awaited(&step.id) {
                self.verified(at, around)?;
            }
        }
        Ok(self.record(Entry::Finished {}, around)?)
    }

    /// The gates of the last step that is done are what the next one stands on, and much may have
    /// happened since. Once a command of the next one began they need not hold any more.
    fn look_again(&mut self, around: &mut Around<'_>) -> Go {
        let last = self.past.last_done.clone();
        let Some(step) = last.and_then(|id| self.steps.iter().find(|s| s.id == id).copied()) else {
            return Ok(());
        };
        if step.post.is_empty() {
            return Ok(());
        }
        (around.watch)(Event::LookingAgain(step));
        for gate in &step.post {
            match self.past.of_gate(&gate.id).filter(|took| *took > CHEAP) {
                Some(took) => (around.watch)(Event::NotAgain(gate, took)),
                None => self.gate(step, gate, true, around)?,
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, around: &mut Around<'_>) -> Go {
        let began = Instant::now();
        self.not_told_to_stop(Some(step), around)?;
        let begins = Entry::StepBegins {
            step: step.id.clone(),
            title: step.title.clone(),
        };
        self.record(begins, around)?;
        for gate in &step.pre {
            self.gate(step, gate, false, around)?;
        }
        for argv in &step.argv {
            self.command(step, argv, around)?;
        }
        self.confirm(step, around)?;
        for gate in &step.post {
            self.gate(step, gate, false, around)?;
        }
        let done = Entry::StepDone {
            step: step.id.clone(),
            milliseconds: milliseconds(began.elapsed()),
        };
        self.record(done, around)?;
        (around.watch)(Event::Done(step, began.elapsed()));
        Ok(())
    }

    fn gate(&mut self, step: &Step, gate: &Gate, held_before: bool, around: &mut Around<'_>) -> Go {
        self.not_told_to_stop(Some(step), around)?;
        (around.watch)(Event::Asking(gate, self.past.of_gate(&gate.id)));
        let begins = Entry::GateBegins {
            gate: gate.id.clone(),
            command: gate.argv.clone(),
        };
        self.record(begins, around)?;
        let began = Instant::now();
        let mut output = self.output(&gate.id);
        let mut patience = Duration::from_secs(gate.patience.into());
        let (ended, answer) = loop {
            let asked = Instant::now();
            let (ended, answer) = self.answer(step, gate, &mut output, around)?;
            if holds(gate, ended, &answer) || patience.is_zero() {
                break (ended, answer);
            }
            // An answer may take long itself.
            patience = patience.saturating_sub(asked.elapsed() + AGAIN);
            (around.watch)(Event::AtWork(began.elapsed()));
            around.host.pause(AGAIN);
            self.not_told_to_stop(Some(step), around)?;
        };
        let watch = &mut *around.watch;
        let kept = output.finish(&mut |line| watch(Event::Printed(line)));
        let told = |text: &[u8]| redact::text(&String::from_utf8_lossy(text), TOLD);
        let text = gate.expect.stdout.as_deref();
        let found = Answered {
            ended,
            text: text.map(|_| told(&answer)),
        };
        let expected = Answered {
            ended: Exited::Exit(gate.expect.exit),
            text: text.map(|text| told(text.as_bytes())),
        };
        let (gate_id, milliseconds) = (gate.id.clone(), milliseconds(began.elapsed()));
        if holds(gate, ended, &answer) {
            let held = Entry::GateHeld {
                gate: gate_id,
                expected,
                found,
                milliseconds,
            };
            return Ok(self.record(held, around)?);
        }
        let failed = Entry::GateFailed {
            gate: gate_id,
            expected,
            found: found.clone(),
            milliseconds,
            output: kept.name,
        };
        self.record(failed, around)?;
        // Whoever stops a command is not told that it answered wrongly.
        self.not_told_to_stop(Some(step), around)?;
        Err(Stop::from(Ended::Gate {
            step: step.id.clone(),
            gate: Box::new(gate.clone()),
            found,
            held_before,
        }))
    }

    /// How a gate's command ends, and what it prints, without the newlines at its end.
    fn answer(
        &mut self,
        step: &Step,
        gate: &Gate,
        output: &mut Output,
        around: &mut Around<'_>,
    ) -> std::result::Result<(Exited, Vec<u8>), Stop> {
        let expected = gate.expect.stdout.as_deref();
        // More than this is not what is expected, whatever it is.
        let most = expected.map_or(0, |text| text.len().max(TOLD) + (64 << 10));
        let mut answer: Vec<u8> = Vec::new();
        let watch = &mut *around.watch;
        let run = around.host.run(&gate.argv, &mut |told| match told {
            Told::Printed(Stream::Out, bytes) if expected.is_some() => {
                let room = most.saturating_sub(answer.len());
                answer.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Told::Printed(stream, bytes) => {
                output.take(stream, bytes, &mut |line| watch(Event::Printed(line)));
            }
            Told::AtWork(elapsed) => watch(Event::AtWork(elapsed)),
        });
        let ended = self.followed(run, step, around)?;
        while answer.last() == Some(&b'\n') {
            answer.pop();
        }
        Ok((ended, answer))
    }

    fn command(&mut self, step: &Step, argv: &[String], around: &mut Around<'_>) -> Go {
        self.not_told_to_stop(Some(step), around)?;
        (around.watch)(Event::Running(argv, self.past.of_command(argv)));
        let begins = Entry::CommandBegins {
            step: step.id.clone(),
            command: argv.to_vec(),
        };
        self.record(begins, around)?;
        let began = Instant::now();
        let mut output = self.output(&step.id);
        let watch = &mut *around.watch;
        let run = around.host.run(argv, &mut |told| match told {
            Told::Printed(stream, bytes) => {
                output.take(stream, bytes, &mut |line| watch(Event::Printed(line)));
            }
            Told::AtWork(elapsed) => watch(Event::AtWork(elapsed)),
        });
        let kept = output.finish(&mut |line| watch(Event::Printed(line)));
        let ended = self.followed(run, step, around)?;
        let recorded = Entry::CommandEnded {
            step: step.id.clone(),
            ended,
            milliseconds: milliseconds(began.elapsed()),
            output: kept.name.clone(),
            lost: kept.lost,
        };
        self.record(recorded, around)?;
        self.not_told_to_stop(Some(step), around)?;
        if ended == Exited::Exit(0) {
            return Ok(());
        }
        Err(Stop::from(Ended::Failed {
            step: step.id.clone(),
            command: argv.to_vec(),
            ended,
            output: kept.name.map(|name| self.state.output_dir().join(name)),
            said: kept.said,
        }))
    }

    fn confirm(&mut self, step: &Step, around: &mut Around<'_>) -> Go {
        if let Action::AwaitHost {
            host,
            step: awaited,
        } = &step.action
        {
            return self.proved(step, host, awaited, around);
        }
        let possible = possible(step);
        if possible.is_empty() {
            return Ok(());
        }
        let given = around.person.ask(step, &possible);
        let given = given.filter(|given| possible.contains(&given.answer));
        self.not_told_to_stop(Some(step), around)?;
        let Some(given) = given else {
            return Err(Stop::from(Ended::Unanswered {
                step: step.id.clone(),
                possible,
            }));
        };
        let proof = step.proof().filter(|(choice, _)| {
            let said = given.answer.rsplit('=').next();
            said == Some(*choice)
        });
        let confirmed = Entry::Confirmed {
            step: step.id.clone(),
            answer: given.answer,
            by: redact::text(&given.by, 200),
        };
        self.record(confirmed, around)?;
        match proof {
            Some((_, gate)) => self.gate(step, &gate, false, around),
            None => Ok(()),
        }
    }

    /// What another host must have done is for that host to prove, and for nobody to say.
    fn proved(&mut self, step: &Step, host: &str, awaited: &str, around: &mut Around<'_>) -> Go {
        let mut evidence = self.evidence.iter();
        let Some((_, digest)) = evidence.find(|(e, _)| e.proves(host, awaited)) else {
            return Err(Stop::from(Ended::Unproved {
                step: step.id.clone(),
                host: host.to_owned(),
                awaited: awaited.to_owned(),
            }));
        };
        let proved = Entry::Proved {
            step: step.id.clone(),
            host: host.to_owned(),
            evidence: digest.clone(),
        };
        Ok(self.record(proved, around)?)
    }

    /// Writes down that all up to this step is done and holds.
    fn verified(&mut self, last: usize, around: &mut Around<'_>) -> Go {
        let steps = &self.steps[..=last];
        let Some(step) = steps.last().map(|step| step.id.clone()) else {
            return Ok(());
        };
        if self.past.verified.contains(&step) {
            return Ok(());
        }
        let host = self.planned.host;
        let gates = steps
            .iter()
            .flat_map(|step| step.pre.iter().chain(&step.post));
        let evidence = Evidence {
            schema: EvidenceSchema::V1,
            host: host.id.clone(),
            backup: host.backup.clone(),
            seal_digest: host.seal_digest.clone(),
            plan: self.digest.clone(),
            journal: self.state.journal.head().to_owned(),
            steps: steps.iter().map(|step| step.id.clone()).collect(),
            gates: gates.map(|gate| gate.id.clone()).collect(),
            at: around.host.now(),
            tool: self.tool.clone(),
        };
        let (text, digest) = evidence.write()?;
        let path = self.state.write(&Evidence::file(&host.id), &text)?;
        let verified = Entry::Verified {
            step,
            evidence: digest,
        };
        self.record(verified, around)?;
        (around.watch)(Event::Verified(&path));
        Ok(())
    }

    /// How a command ended that was followed to its end.
    fn followed(
        &mut self,
        run: std::io::Result<Exited>,
        step: &Step,
        around: &mut Around<'_>,
    ) -> std::result::Result<Exited, Stop> {
        if run.is_err() {
            self.not_told_to_stop(Some(step), around)?;
        }
        Ok(run.at("follow a command of", step.id.as_ref())?)
    }

    fn not_told_to_stop(&mut self, step: Option<&Step>, around: &Around<'_>) -> Go {
        match around.host.stop() {
            None => Ok(()),
            Some(signal) => Err(Stop::from(Ended::Told {
                signal,
                step: step.map(|step| step.id.clone()),
            })),
        }
    }

    /// The file of one try of a step or gate: the next record's number makes it its own.
    fn output(&self, of: &str) -> Output {
        let number = self.state.records().len();
        Output::new(&self.state.output_dir(), format!("{number:05}-{of}"))
    }

    fn record(&mut self, entry: Entry, around: &mut Around<'_>) -> super::error::Result<()> {
        let at = around.host.now();
        let record = self.state.journal.append(at, entry)?;
        self.past.see(&record.entry);
        (around.watch)(Event::Recorded(record));
        Ok(())
    }
}

fn holds(gate: &Gate, ended: Exited, answer: &[u8]) -> bool {
    let expected = gate.expect.stdout.as_deref();
    ended == Exited::Exit(gate.expect.exit) && expected.is_none_or(|text| text.as_bytes() == answer)
}

fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished => f.write_str("all steps are done"),
            Self::Gate { gate, found, .. } => {
                let expected = Answered {
                    ended: Exited::Exit(gate.expect.exit),
                    text: gate.expect.stdout.clone(),
                };
                write!(
                    f,
                    "the gate {} does not hold: expected {expected}, found {found}",
                    gate.id
                )
            }
            Self::Unanswered { step, .. } => write!(f, "nobody confirmed {step}"),
            Self::Unproved { host, awaited, .. } => {
                write!(f, "there is no evidence that {awaited} is done on {host}")
            }
            Self::Failed {
                step,
                command,
                ended,
                said,
                ..
            } => {
                write!(f, "{step} failed, {ended}: {}", render::command(command))?;
                said.iter().try_for_each(|line| write!(f, ": {line}"))
            }
            Self::Told { signal, .. } => write!(f, "signal {signal} asked for it"),
        }
    }
}
