use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The host that a plan is run on: the one at hand, or one that is made up.
pub trait Host {
    /// Runs a command to its end, and that of everything it started and that still holds its
    /// output, telling what it prints as it comes. It gets nothing to read.
    ///
    /// A program that is not there is told of as an exit with 127, one that may not be run as
    /// one with 126, as a shell does.
    ///
    /// # Errors
    /// `Interrupted` if the run was asked to stop before the command began; what kept us from
    /// following it.
    fn run(&mut self, argv: &[String], tell: &mut dyn FnMut(Told<'_>)) -> io::Result<Exited>;

    /// Lets some time pass; less, if the run is asked to stop.
    fn pause(&mut self, time: Duration);

    /// The signal that asked the run to stop, if one did.
    fn stop(&self) -> Option<i32>;

    /// The time, as the journal is to say it.
    fn now(&self) -> String;
}

/// What is told of a command while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Told<'t> {
    /// It printed this.
    Printed(Stream, &'t [u8]),
    /// It is still at work, after this long.
    AtWork(Duration),
}

/// Where a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exited {
    /// By itself, with this status.
    Exit(u8),
    /// By a signal of this number.
    Signal(i32),
}

impl std::fmt::Display for Exited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
        }
    }
}
