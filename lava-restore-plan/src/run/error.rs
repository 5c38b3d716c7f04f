use std::fmt;
use std::io;
use std::path::Path;

/// Why a plan could not be run, or not here and now.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of thing is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file could not be read or written.
    Io,
    /// The plan has no steps to run, or some that no plan may hold.
    Refused,
    /// The plan has no such host.
    NoSuchHost,
    /// The target or the backup is no more what the plan was made for.
    Stale,
    /// The directory holds the run of another plan, or of another host.
    OtherPlan,
    /// There is a run of this plan already.
    Begun,
    /// There is no run to go on with.
    NotBegun,
    /// A journal or an evidence is not as it was written.
    Damaged,
    /// Others may write where only we should.
    Unsafe,
    /// What another host must have proved is not proved.
    Unproved,
    /// A file with answers can't be understood.
    Answers,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    /// The kind, for callers that decide on it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::new(ErrorKind::Refused, error.to_string())
    }
}

/// Says what was done to which file when it failed.
pub(crate) trait At<T> {
    fn at(self, act: &str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, act: &str, path: &Path) -> Result<T> {
        self.map_err(|error| Error {
            kind: ErrorKind::Io,
            what: format!("{act} {}", path.display()),
            source: Some(Box::new(error.into())),
        })
    }
}
