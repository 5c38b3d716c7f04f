//! What went wrong, and where.

use std::fmt;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something about a Debian root could not be read.
///
/// Its text is a fragment that fits after "could not …", and names the thing and the place. It
/// never quotes a line of a source list, which may hold a password.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    what: String,
    why: String,
    source: Option<std::io::Error>,
}

/// What kind of thing went wrong, for a caller that acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A text is no package version, or no LAVA release.
    Version,
    /// A text is no codename of a suite.
    Suite,
    /// A directory is no Debian root, or the root of a derivative.
    NotDebian,
    /// A file does not have the form it must have.
    Malformed,
    /// A file, a line or a paragraph is larger than is ever needed.
    TooLarge,
    /// A path is no regular file, or its links never end.
    Path,
    /// The system refused.
    Io,
    /// A program of this machine that does a part of the work failed, or is not there.
    Tool,
}

impl Error {
    /// `what` fits after "could not"; `why` says what is wrong with it.
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            what: what.into(),
            why: why.into(),
            source: None,
        }))
    }

    #[cfg(feature = "readers")]
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::Io,
            what: what.into(),
            why: source.to_string(),
            source: Some(source),
        }))
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.what, self.0.why)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}
