use std::fmt;

use crate::name;

/// What went wrong in this crate, where, and why.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    at: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The document is no JSON of the expected shape.
    Malformed,
    /// The document is longer than any that is read.
    TooLarge,
    /// The document says it is of a schema that this crate does not read.
    UnknownSchema,
    /// A step's command is not the one its action stands for.
    Altered,
    /// A step reads another backup than the one that the plan is bound to on its host.
    Mixed,
    /// A step or a rendered text holds an operation that no plan may hold.
    Forbidden,
    /// The plan is not for a host of this id.
    UnknownHost,
    /// The order of the steps contradicts what they need.
    Disordered,
    /// A rendering has no way to write it as it is meant.
    Unwritable,
    /// The plan was made for another backup or for other facts of a host.
    Stale,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, at: impl Into<String>) -> Self {
        Self {
            kind,
            at: at.into(),
            source: None,
        }
    }

    pub(crate) fn with_source(
        mut self,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The kind, for callers that decide on it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The document, step or text it happened at.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.at
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = &self.at;
        match self.kind {
            ErrorKind::Malformed => match &self.source {
                Some(why) => write!(f, "read {at}: {}", Shown(why.as_ref())),
                None => write!(f, "read {at}: not of its schema"),
            },
            ErrorKind::TooLarge => write!(f, "use {at}: it is longer than any that is read"),
            ErrorKind::UnknownSchema => write!(f, "read {at}: a schema this version does not know"),
            ErrorKind::Altered => write!(f, "trust {at}: its command is not what its action does"),
            ErrorKind::Mixed => write!(f, "trust {at}: it reads another backup than its host's"),
            ErrorKind::Forbidden => write!(f, "accept {at}: no plan may hold it"),
            ErrorKind::UnknownHost => write!(f, "render {at}: the plan is not for it"),
            ErrorKind::Unwritable => write!(f, "write {at}"),
            ErrorKind::Stale => {
                write!(f, "run the plan on {at}: it was made for another one")
            }
            ErrorKind::Disordered => {
                write!(f, "follow {at}: it needs a step that is not before it")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// A reader's words may quote the document; they are shown with nothing hidden, and in part.
struct Shown<'a>(&'a (dyn std::error::Error + Send + Sync));

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 300;
        f.write_str(&name::shown(&self.0.to_string(), MOST))
    }
}
