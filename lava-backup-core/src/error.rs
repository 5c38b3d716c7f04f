use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What this crate returns when it could not do as asked.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and why.
///
/// Displays as a fragment that names the thing and the place; the cause, where
/// there is one, is the [`source`](std::error::Error::source).
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    place: PathBuf,
    detail: String,
    source: Option<io::Error>,
}

/// The kinds of failure a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused or failed.
    Io,
    /// There is nothing at the path of the store.
    StoreMissing,
    /// Something is at the path, and it is no store.
    NotAStore,
    /// Written by a newer format, or with a feature that this version lacks.
    TooNew,
    /// No backup, or no file in it, has the name asked for.
    NotFound,
    /// A name that stands for more than one backup.
    Ambiguous,
    /// Something is already where something new was to be made.
    Exists,
    /// Bytes are not those that were written.
    Damaged,
    /// A name or path that no archive of ours may hold.
    BadName,
    /// What was asked would be unsafe, and was not done.
    Refused,
}

impl Error {
    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file, directory or member at which it happened.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Is it that there is nothing at the place?
    pub(crate) fn is_absent(&self) -> bool {
        let kind = self.source.as_ref().map(io::Error::kind);
        kind == Some(io::ErrorKind::NotFound)
    }

    /// What happened, without the place.
    pub(crate) fn what(&self) -> String {
        printable(match &self.source {
            Some(source) => format!("could not {}: {source}", self.detail),
            None => self.detail.clone(),
        })
    }

    pub(crate) fn new(
        kind: ErrorKind,
        place: impl Into<PathBuf>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            place: place.into(),
            detail: detail.into(),
            source: None,
        }
    }

    pub(crate) fn damaged(place: impl Into<PathBuf>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged, place, detail)
    }

    pub(crate) fn io(place: impl Into<PathBuf>, doing: &str, source: impl Into<io::Error>) -> Self {
        Self {
            kind: ErrorKind::Io,
            place: place.into(),
            detail: doing.to_owned(),
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, detail) = (self.place.display(), &self.detail);
        f.write_str(&printable(match &self.source {
            Some(source) => format!("{detail} {place}: {source}"),
            None => format!("{place}: {detail}"),
        }))
    }
}

/// A text that may hold what an archive says, as a terminal may be told it:
/// what would steer it is escaped.
fn printable(text: String) -> String {
    // Those that turn the direction of writing make one name look like another.
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match steers(c) {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    out
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}

/// Attaches the place and the act to an operating system's error.
pub(crate) trait At<T> {
    /// Names what was being done, and to what, when it failed.
    fn at(self, doing: &str, place: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, doing: &str, place: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| Error::io(place.as_ref(), doing, e))
    }
}
