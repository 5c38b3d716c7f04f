//! How the program ends: exit codes, and failures for people.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

/// The exit codes, which scripts may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Exit {
    /// Done; the answer is yes.
    Done = 0,
    /// Could not do it: I/O, a connection, a tool that failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Refused: incompatible, unsafe, not equivalent.
    Refused = 3,
    /// A plan was written whose target must be prepared first.
    Prepare = 4,
    /// A backup is incomplete or damaged, or its drill failed.
    Damaged = 5,
    /// A plan is out of date.
    Stale = 6,
    /// A gate did not hold.
    Gate = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the program could not do as asked.
#[derive(Clone, Debug)]
pub struct Failure {
    /// How to end.
    pub exit: Exit,
    /// What could not be done, and why: a sentence without its full stop.
    pub message: String,
    /// What to do next, where we know.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of that kind.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Tells it on standard error.
    pub fn print(&self) -> ExitCode {
        let mut text = format!("lava-backup: {}\n", crate::text::printable(&self.message));
        if let Some(hint) = &self.hint {
            text += &format!("  {hint}\n");
        }
        // A terminal that is gone changes nothing in how we end.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        self.exit.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Says what could not be done when something underneath failed.
pub(crate) trait CouldNot<T> {
    /// `act` completes "could not …".
    fn could_not(self, act: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> CouldNot<T> for Result<T, E> {
    fn could_not(self, act: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|e| {
            let mut failure = e.into();
            failure.message = format!("could not {act}: {}", failure.message);
            failure
        })
    }
}

impl From<lava_backup_core::Error> for Failure {
    fn from(error: lava_backup_core::Error) -> Self {
        use lava_backup_core::ErrorKind as Kind;
        let exit = match error.kind() {
            Kind::TooNew | Kind::Refused | Kind::Exists => Exit::Refused,
            Kind::Damaged => Exit::Damaged,
            Kind::Ambiguous | Kind::BadName => Exit::Usage,
            _ => Exit::Failed,
        };
        let failure = Self::new(exit, error.to_string());
        match error.kind() {
            Kind::StoreMissing => failure.hint("`lava-backup init --store DIR` makes a store"),
            Kind::TooNew => {
                failure.hint("use the version of lava-backup that wrote it, or a later one")
            }
            _ => failure,
        }
    }
}

impl From<lava_backup_pg::Error> for Failure {
    fn from(error: lava_backup_pg::Error) -> Self {
        use lava_backup_pg::ErrorKind as Kind;
        let exit = match error.kind() {
            Kind::Refused | Kind::HoldsData | Kind::LowSequence => Exit::Refused,
            Kind::Differs | Kind::Dump => Exit::Damaged,
            _ => Exit::Failed,
        };
        let failure = Self::new(exit, error.to_string());
        match error.kind() {
            Kind::HoldsData => failure.hint("a database that holds data is kept under another name and replaced with --replace-data"),
            Kind::LowSequence => failure.hint("if the lab was like that, restore it so with --low-sequences and mend it with setval()"),
            Kind::Locked => failure.hint("try again when that has ended"),
            _ => failure,
        }
    }
}

impl From<lava_backup_debian::Error> for Failure {
    fn from(error: lava_backup_debian::Error) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}

impl From<lava_restore_plan::Error> for Failure {
    fn from(error: lava_restore_plan::Error) -> Self {
        use lava_restore_plan::ErrorKind as Kind;
        let failure = Self::new(Exit::Failed, error.to_string());
        match error.kind() {
            Kind::Malformed => failure.hint(
                "docs/ci.md has a document to begin with, `lava-backup facts` writes one, and \
                 schemas/ says what it may hold",
            ),
            Kind::UnknownSchema => {
                failure.hint("write it anew with this version of lava-backup, or use the other one")
            }
            _ => failure,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}
