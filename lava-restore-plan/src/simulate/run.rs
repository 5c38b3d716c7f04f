use std::collections::BTreeSet;

use super::shell::{Answer, Extent};
use super::{Event, Fate, Lab, Moment};
use crate::command::Call;
use crate::draft::names;
use crate::{Action, Error, ErrorKind, Gate, Intent, Plan, Step, Verdict};

/// Which steps of a plan are done; what a runner writes down to go on from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    done: BTreeSet<String>,
}

impl Journal {
    /// Whether a step is done, with every gate of it held.
    #[must_use]
    pub fn has(&self, step: &str) -> bool {
        self.done.contains(step)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Every step is done.
    Done,
    /// A gate did not hold or a command failed; nothing after it was run.
    Stopped {
        /// Where.
        at: Moment,
        /// What a runner says.
        why: String,
    },
    /// The run was cut off.
    CutOff {
        /// Where.
        at: Moment,
    },
}

/// One thing of a step.
enum Part<'p> {
    Gate(&'p Gate),
    Command(&'p [String]),
    Answer,
}

impl Lab {
    /// Runs the steps of a plan that are not in the journal, and writes those that are done into it.
    ///
    /// A step that was cut off is done again from its start, as its
    /// [`Resume`](crate::step::Resume) says. Harm does not end a run: see [`harms`](Self::harms).
    ///
    /// # Errors
    /// Those of [`Plan::check`], and `Stale` when the plan is bound to another backup of a host or
    /// to other facts of it than the lab was made from.
    pub fn run(&mut self, plan: &Plan, journal: &mut Journal, fate: &Fate) -> Result<End, Error> {
        plan.check()?;
        for host in &self.hosts {
            if plan.host(host.id()) != Some(&host.planned) {
                return Err(Error::new(ErrorKind::Stale, format!("host {}", host.id())));
            }
        }
        if plan.verdict == Verdict::Refuse {
            let (at, why) = (Moment::default(), "the plan is refused".to_owned());
            return Ok(End::Stopped { at, why });
        }
        for step in &plan.steps {
            if journal.has(&step.id) {
                continue;
            }
            if let Some(end) = self.run_step(step, journal, fate) {
                return Ok(end);
            }
            journal.done.insert(step.id.clone());
        }
        Ok(End::Done)
    }

    fn run_step(&mut self, step: &Step, journal: &Journal, fate: &Fate) -> Option<End> {
        for (number, part) in parts(step).enumerate() {
            let at = Moment::new(&step.id, number);
            self.now = at.clone();
            let mut done = Done::All;
            let incidents = fate.incidents.iter();
            let incidents = incidents.filter(|incident| incident.at == at);
            for event in incidents.map(|incident| &incident.what) {
                match event {
                    Event::Crash => done = Done::CutOff,
                    Event::CrashWithin => done = Done::CutOffWithin,
                    Event::Pretend => done = Done::Nothing,
                    Event::Skimp => done = Done::Half,
                    other => self.happen(other),
                }
            }
            let cut_off = End::CutOff { at: at.clone() };
            let stopped = match (&part, done) {
                (_, Done::CutOff) => return Some(cut_off),
                (Part::Command(argv), Done::CutOffWithin) => {
                    self.execute(&step.host, argv, Extent::Half);
                    self.live();
                    return Some(cut_off);
                }
                (_, Done::CutOffWithin) => return Some(cut_off),
                (Part::Command(_), Done::Nothing) => None,
                (Part::Command(argv), Done::Half) => {
                    self.execute(&step.host, argv, Extent::Half);
                    None
                }
                (Part::Command(argv), _) => {
                    let answer = self.execute(&step.host, argv, Extent::All);
                    (answer.exit != 0).then(|| {
                        format!(
                            "step {}: exit {} from: {}",
                            step.id,
                            answer.exit,
                            argv.join(" ")
                        )
                    })
                }
                (Part::Gate(gate), _) => self.ask(&step.host, gate),
                (Part::Answer, _) => self.answer(step, journal, fate),
            };
            self.live();
            if let Some(why) = stopped {
                return Some(End::Stopped { at, why });
            }
        }
        None
    }

    fn execute(&mut self, host: &str, argv: &[String], extent: Extent) -> Answer {
        const NOT_FOUND: u8 = 127;
        let Some(call) = Call::of(argv) else {
            return Answer::exit(NOT_FOUND);
        };
        if let Call::Ask {
            query: crate::sql::Query::WorkerOnline(name),
            ..
        } = &call
        {
            // Up to 2017.12 there are no such columns.
            let database = self.master().and_then(super::Host::database);
            let has_state = database.is_some_and(super::database::Content::has_state);
            let online = u8::from(self.is_online(name));
            return match has_state {
                true => Answer::says(online.to_string()),
                false => Answer::exit(1),
            };
        }
        match self.host_mut(host) {
            Some(host) => host.run(&call, extent),
            None => Answer::exit(NOT_FOUND),
        }
    }

    /// What a runner says when a gate does not hold.
    fn ask(&mut self, host: &str, gate: &Gate) -> Option<String> {
        let found = self.execute(host, &gate.argv, Extent::All);
        let wanted = &gate.expect;
        let is_text = |text: &String| *text == found.stdout;
        let holds = found.exit == wanted.exit && wanted.stdout.as_ref().is_none_or(is_text);
        (!holds).then(|| {
            format!(
                "gate {}: expected exit {} and {:?}, found exit {} and {:?}",
                gate.id, wanted.exit, wanted.stdout, found.exit, found.stdout
            )
        })
    }

    /// People do what they are asked to do, and say that they did.
    fn answer(&mut self, step: &Step, journal: &Journal, fate: &Fate) -> Option<String> {
        let is_drill = self.intent == Intent::Drill;
        match &step.action {
            Action::AwaitHost {
                host,
                step: awaited,
            } if !journal.has(awaited) => {
                return Some(format!("step {}: {awaited} is not done on {host}", step.id));
            }
            _ if is_drill => return Some(format!("step {}: there is nobody to ask", step.id)),
            _ => {}
        }
        let host = self.host_mut(&step.host)?;
        let is = |name: &str| step.id == format!("{}.{name}", host.id());
        if is(names::WORKER_IDENTITY) {
            let name = host.wanted_worker_name().map(str::to_owned);
            let worker = host.facts.worker.get_or_insert_default();
            (worker.name, worker.configured) = (name.clone(), true);
            host.worker.secret_of = name;
        }
        if let Action::DecideQueue { on } = &step.action
            && fate.cancels_queue
            && let Some(content) = host.databases.get_mut(&on.database)
        {
            content.end_queue();
        }
        host.decided.insert(step.id.clone());
        None
    }
}

/// How much of a part is done.
#[derive(Clone, Copy)]
enum Done {
    All,
    Half,
    Nothing,
    CutOff,
    CutOffWithin,
}

/// In the order in which every rendering has them.
fn parts(step: &Step) -> impl Iterator<Item = Part<'_>> {
    let asked = step.action.choices().is_some().then_some(Part::Answer);
    let before = step.pre.iter().map(Part::Gate);
    let commands = step.argv.iter().map(|argv| Part::Command(argv));
    before
        .chain(commands)
        .chain(asked)
        .chain(step.post.iter().map(Part::Gate))
}
