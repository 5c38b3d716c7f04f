//! Whoever confirms: a file, or a person at the terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use lava_restore_plan::run::{Answers, Confirmed, Interrupt, Person};
use lava_restore_plan::{Action, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Shown;
use crate::text;

pub(super) struct Asking {
    answers: Answers,
    file: Option<String>,
    interrupt: Interrupt,
    shown: Shown,
}

impl Asking {
    pub(super) fn new(
        answers: Answers,
        file: Option<&Path>,
        interrupt: Interrupt,
        shown: &Shown,
    ) -> Self {
        Self {
            answers,
            file: file.map(|path| format!("the file {}", path.display())),
            interrupt,
            shown: shown.clone(),
        }
    }

    /// A line that somebody types; `None` if nobody can, or a signal came first.
    fn line(&self, terminal: &mut File, prompt: &str) -> Option<String> {
        terminal.write_all(prompt.as_bytes()).ok()?;
        let mut line = Vec::new();
        loop {
            let mut ready = [PollFd::new(&*terminal, PollFlags::IN)];
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: 200_000_000,
            };
            match poll(&mut ready, Some(&wait)) {
                Ok(0) | Err(rustix::io::Errno::INTR) if self.interrupt.sent().is_none() => continue,
                Ok(found) if found > 0 => {}
                _ => return None,
            }
            let mut byte = [0];
            // A terminal gives whole lines, and nothing at the end of input or once it is closed.
            match terminal.read(&mut byte) {
                Ok(1) if byte[0] == b'\n' => break,
                Ok(1) if line.len() < 4096 => line.push(byte[0]),
                Ok(1) => {}
                _ => return None,
            }
        }
        Some(String::from_utf8_lossy(&line).trim().to_owned())
    }
}

impl Person for Asking {
    fn ask(&mut self, step: &Step, possible: &[String]) -> Option<Confirmed> {
        let question = match &step.action {
            Action::Confirm { ask } => ask,
            _ => &step.why,
        };
        if let Some(answer) = self.answers.of(step) {
            let by = self.file.clone().unwrap_or_default();
            self.shown
                .say(&format!("  {question}\n  answered in {by}: {answer}"));
            return Some(Confirmed {
                answer: answer.to_owned(),
                by,
            });
        }
        let mut terminal = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        self.shown.quietly(|| {
            let choice = match possible {
                [only] => format!("type {only} to confirm"),
                several => format!("type one of: {}", several.join(" ")),
            };
            let choice = format!("{choice}; nothing, to stop here\n> ");
            let mut prompt = format!("\n{question}\n{choice}");
            let answer = loop {
                let answer = self.line(&mut terminal, &text::printable(&prompt))?;
                if possible.contains(&answer) {
                    break answer;
                }
                if answer.is_empty() {
                    return None;
                }
                prompt = format!("that is none of them: {choice}");
            };
            let usual = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
            let usual = usual.unwrap_or_default();
            let prompt = match usual.is_empty() {
                true => "your name: ".to_owned(),
                false => text::printable(&format!("your name [{usual}]: ")),
            };
            let name = self.line(&mut terminal, &prompt)?;
            let by = if name.is_empty() { usual } else { name };
            (!by.is_empty()).then_some(Confirmed { answer, by })
        })
    }
}
