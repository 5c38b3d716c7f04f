//! What is happening in a run, for whoever watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lava_restore_plan::render::command;
use lava_restore_plan::run::Event;

use super::drill_times::DrillTimes;
use crate::progress::Progress;
use crate::text;

/// The bytes that a step moves, by its id.
pub(super) type Sizes = BTreeMap<String, u64>;

/// Tells it on standard error.
#[derive(Clone)]
pub(super) struct Shown {
    progress: Arc<Progress>,
    quiet: bool,
    /// What is at work, and for how many minutes that was told.
    doing: Arc<Mutex<(String, u64)>>,
    pub(super) sizes: Sizes,
    pub(super) drill_times: DrillTimes,
}

impl Shown {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            progress: Arc::new(Progress::new(quiet)),
            quiet,
            doing: Arc::default(),
            sizes: Sizes::new(),
            drill_times: DrillTimes::default(),
        }
    }

    pub(super) fn say(&self, line: &str) {
        if !self.quiet {
            self.progress.line(&text::printable(line));
        }
    }

    /// Does something with a terminal that nothing moves on.
    pub(super) fn quietly<T>(&self, act: impl FnOnce() -> T) -> T {
        self.progress.aside(act)
    }

    pub(super) fn event(&self, event: Event<'_>) {
        match event {
            Event::LookingAgain(step) => {
                self.say(&format!("does what was done last still hold? {}", step.id))
            }
            Event::NotAgain(gate, took) => self.say(&format!(
                "  not asked again, for it took {} the last time: {}",
                seconds(took),
                gate.id
            )),
            Event::Step {
                step,
                place,
                of,
                next,
            } => {
                self.say(&format!("step {place} of {of}: {}", step.id));
                let size = self.sizes.get(&step.id);
                let size = size.map(|bytes| format!(" ({})", text::bytes(*bytes)));
                self.say(&format!("  {}{}", step.title, size.unwrap_or_default()));
                if let Some(words) = self.drill_times.words(&step.id) {
                    self.say(&format!("  {words}"));
                }
                let next = next.map_or("the end".to_owned(), |next| next.id.clone());
                self.say(&format!("  then: {next}"));
            }
            Event::Asking(gate, before) => self.begins(&format!("gate {}", gate.id), before),
            Event::Running(argv, before) => self.begins(&format!("run  {}", command(argv)), before),
            Event::AtWork(elapsed) => self.at_work(elapsed),
            Event::Printed(line) => self.say(&format!("  | {line}")),
            Event::Done(_, took) => self.say(&format!("  done in {}", seconds(took))),
            Event::Verified(path) => {
                self.say(&format!("evidence that it is verified: {}", path.display()))
            }
            _ => {}
        }
    }

    fn begins(&self, what: &str, before: Option<Duration>) {
        let before = before.map(|took| format!(" (took {} the last time)", seconds(took)));
        let line = text::printable(&format!("  {what}{}", before.unwrap_or_default()));
        self.say(&line);
        self.progress.say(line.trim());
        *self.doing() = (line.trim().to_owned(), 0);
    }

    fn at_work(&self, elapsed: Duration) {
        let mut doing = self.doing();
        self.progress
            .say(format!("{} of {}", seconds(elapsed), doing.0));
        let minutes = elapsed.as_secs() / 60;
        if minutes > doing.1 && self.progress.is_hidden() {
            self.say(&format!("  still at work after {}", seconds(elapsed)));
            doing.1 = minutes;
        }
    }

    fn doing(&self) -> MutexGuard<'_, (String, u64)> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds(duration: Duration) -> String {
    text::duration(text::milliseconds(duration))
}
