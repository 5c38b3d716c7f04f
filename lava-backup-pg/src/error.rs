use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

use postgres::error::{DbError, Severity, SqlState};

use crate::archive::ArchiveError;

/// What a server said, if it is that it refused a statement: with anything severer the session
/// is over. Not by the word for it, which is in the server's language.
pub(crate) fn refusal(error: &postgres::Error) -> Option<&DbError> {
    let is_error = |said: &&DbError| said.parsed_severity() == Some(Severity::Error);
    error.as_db_error().filter(is_error)
}

/// What this crate returns when it could not do as asked.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with what, and why.
///
/// Displays as a fragment that names the thing and the place. No password is
/// ever part of it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of failure a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server can't be reached, or lets nobody in.
    Connection,
    /// The server answered a statement with an error.
    Query,
    /// The server knows no database, schema, table or column of that name.
    Absent,
    /// A program of PostgreSQL is missing, or has the wrong version.
    Program,
    /// A program of PostgreSQL failed.
    Failed,
    /// Another session kept a table locked for longer than we wait.
    Locked,
    /// The session that held a dump's snapshot ended: the dump is void.
    Void,
    /// A dump is not what `pg_dump` writes, or not whole.
    Dump,
    /// What was asked would be unsafe, and was not done.
    Refused,
    /// What is there holds data that may not go aside unless that is said.
    HoldsData,
    /// A sequence is so low that its table holds its next value already.
    LowSequence,
    /// A restored database is not what was dumped.
    Differs,
    /// The operating system refused or failed.
    Io,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    pub(crate) fn with(
        kind: ErrorKind,
        what: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(kind, what)
        }
    }

    pub(crate) fn io(doing: &str, place: &Path, source: impl Into<io::Error>) -> Self {
        Self::with(
            ErrorKind::Io,
            format!("{doing} {}", place.display()),
            source.into(),
        )
    }

    /// What the server, or the way to it, said; `kind` if it is not that there
    /// is no such thing.
    pub(crate) fn server(
        kind: ErrorKind,
        what: impl Into<String>,
        source: postgres::Error,
    ) -> Self {
        // By the code: the words are in the language of the server.
        let absent = [
            SqlState::INVALID_CATALOG_NAME,
            SqlState::INVALID_SCHEMA_NAME,
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_COLUMN,
        ];
        let kind = match source.code() {
            Some(code) if absent.contains(code) => ErrorKind::Absent,
            _ => kind,
        };
        Self::with(kind, what, source)
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        // The causes are part of the message: the client's own says no more
        // than "db error" or "error connecting to server".
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as _)
    }
}

impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        Self::with(ErrorKind::Dump, "read the dump", error)
    }
}
