//! What can go wrong while a lab is laid out.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Why a lab could not be made, and at which path.
///
/// Its text fits after "could not …".
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    path: PathBuf,
    source: Option<io::Error>,
}

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The directory holds something already.
    NotEmpty,
    /// The file system refused.
    Io,
    /// `xz` is not installed, or failed.
    Xz,
}

impl Error {
    pub(crate) fn not_empty(path: &Path) -> Self {
        Self {
            kind: ErrorKind::NotEmpty,
            path: path.into(),
            source: None,
        }
    }

    pub(crate) fn xz(path: &Path, source: io::Error) -> Self {
        Self {
            kind: ErrorKind::Xz,
            path: path.into(),
            source: Some(source),
        }
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where it went wrong.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Give an [`io::Error`] its place.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error {
            kind: ErrorKind::Io,
            path: path.into(),
            source: Some(source),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.kind {
            ErrorKind::NotEmpty => write!(out, "lay out a lab in {path}: it is not empty"),
            ErrorKind::Io => write!(out, "write {path}"),
            ErrorKind::Xz => write!(out, "pack the logs below {path} with xz"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
