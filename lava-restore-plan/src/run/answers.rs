use std::collections::BTreeMap;

use super::error::{Error, ErrorKind, Result};
use crate::{Plan, Step};

/// Answers to what a plan asks, given before: a line `STEP` or `STEP=CHOICE` for each.
///
/// Empty lines and those that begin with `#` say nothing; neither does one for a step that this
/// plan does not have, so that one file does for several plans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(BTreeMap<String, String>);

impl Answers {
    /// Reads a file's text.
    ///
    /// # Errors
    /// `Answers` for a line that can be no answer, a choice that its step does not have, and two
    /// answers to one step.
    pub fn parse(text: &str, plan: &Plan) -> Result<Self> {
        let mut answers = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: String| {
                let what = format!("understand line {}: {why}", number + 1);
                Error::new(ErrorKind::Answers, what)
            };
            let id = line.split('=').next().unwrap_or(line);
            if line.contains(char::is_whitespace) {
                return Err(wrong("it is not one step, or STEP=CHOICE".to_owned()));
            }
            let Some(step) = plan.steps.iter().find(|step| step.id == id) else {
                continue;
            };
            let possible = possible(step);
            if !possible.iter().any(|answer| answer == line) {
                return Err(wrong(match possible.is_empty() {
                    true => format!("{id} asks nothing"),
                    false => format!("{id} is answered by {}", possible.join(" or ")),
                }));
            }
            match answers.insert(id.to_owned(), line.to_owned()) {
                Some(other) if other != line => {
                    return Err(wrong(format!("{id} has the answer {other} already")));
                }
                _ => {}
            }
        }
        Ok(Self(answers))
    }

    /// The answer to a step.
    #[must_use]
    pub fn of(&self, step: &Step) -> Option<&str> {
        self.0.get(&step.id).map(String::as_str)
    }
}

/// What a step may be answered with, word for word; empty if it asks nothing.
#[must_use]
pub fn possible(step: &Step) -> Vec<String> {
    match step.action.choices() {
        None => Vec::new(),
        Some([]) => vec![step.id.clone()],
        Some(choices) => choices
            .iter()
            .map(|choice| format!("{}={choice}", step.id))
            .collect(),
    }
}
