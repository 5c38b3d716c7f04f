//! What a command answers: one document, the same for `--json` and for people.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use crate::exit::{CouldNot, Exit, Failure};
use crate::text;

/// The answer of a command.
pub struct Answer {
    exit: Exit,
    json: serde_json::Value,
    text: String,
    aside: bool,
}

impl Answer {
    /// A document, and the same for a person: whole lines.
    pub(crate) fn new(exit: Exit, document: &impl Serialize, text: impl Into<String>) -> Self {
        Self {
            exit,
            json: serde_json::to_value(document).unwrap_or_default(),
            text: text::printable(&text.into()),
            aside: false,
        }
    }

    /// A document, and a text for a program: as it is, byte for byte.
    pub(crate) fn verbatim(exit: Exit, document: &impl Serialize, text: String) -> Self {
        let mut answer = Self::new(exit, document, "");
        answer.text = text;
        answer
    }

    /// The same, told on standard error: standard output is taken.
    pub(crate) fn aside(mut self) -> Self {
        self.aside = true;
        self
    }

    /// The document.
    pub fn json(&self) -> &serde_json::Value {
        &self.json
    }

    /// How the program is to end.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn print(&self, json: bool) -> ExitCode {
        let text = if json {
            format!("{:#}\n", self.json)
        } else {
            self.text.clone()
        };
        let mut out: Box<dyn Write> = match self.aside {
            true => Box::new(std::io::stderr()),
            false => Box::new(std::io::stdout().lock()),
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Whoever read us has seen enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => self.exit.into(),
            Err(e) => {
                Failure::new(Exit::Failed, format!("could not write the answer: {e}")).print()
            }
            Ok(()) => self.exit.into(),
        }
    }
}

/// What became of text that was written bit by bit: `false` if whoever read us
/// has seen enough.
pub(crate) fn is_read(written: std::io::Result<()>) -> Result<bool, Failure> {
    match written {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => other
            .map(|()| true)
            .map_err(Failure::from)
            .could_not("write the answer"),
    }
}
