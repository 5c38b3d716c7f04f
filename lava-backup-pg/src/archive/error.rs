use std::fmt;

use super::header::ArchiveVersion;

/// Why a dump could not be read, and at which byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveError {
    kind: ArchiveErrorKind,
    offset: u64,
}

/// What was wrong with a dump.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveErrorKind {
    /// Not a single byte came: `pg_dump` did not start, or failed at once.
    #[error("the dump is empty")]
    Empty,
    /// The bytes do not begin with `PGDMP`.
    #[error("not a dump in PostgreSQL's custom format: begins with \"{}\"", .found.escape_ascii())]
    NotADump {
        /// The first five bytes.
        found: [u8; 5],
    },
    /// An archive version that this reader does not know.
    #[error("archive version {found} is not between {oldest} and {newest}")]
    UnsupportedVersion {
        /// The version of the dump.
        found: ArchiveVersion,
        /// The oldest that is read.
        oldest: ArchiveVersion,
        /// The newest that is read.
        newest: ArchiveVersion,
    },
    /// The table data is compressed inside of the dump, so its rows can't be seen.
    #[error("the table data is compressed ({method}): dump with -Z0")]
    Compressed {
        /// `gzip`, `lz4`, `zstd`, or the number of a method that has no name here.
        method: String,
    },
    /// A count or a length is above what this reader takes.
    #[error("{what} is {found}, above the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The greatest that is taken.
        limit: u64,
        /// What the dump announces or holds.
        found: u64,
    },
    /// A value that `pg_dump` does not write.
    #[error("{what} is {found}, expected {expected}")]
    Malformed {
        /// Which value.
        what: &'static str,
        /// What may stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A name or statement that is not UTF-8: the database has another encoding.
    #[error("{what} is not UTF-8: dump with --encoding=UTF8, if the database knows its encoding")]
    NotUtf8 {
        /// Which text.
        what: &'static str,
    },
    /// A table whose data is not COPY text: a dump made with `--inserts`.
    #[error("the data of table {schema}.{table} is not COPY text: dump without --inserts")]
    NotCopy {
        /// The table's schema.
        schema: String,
        /// The table's name.
        table: String,
    },
    /// The dump ends early.
    #[error("the dump ends inside of {inside}")]
    Truncated {
        /// What was cut.
        inside: &'static str,
    },
    /// The dump ends where it may, but data that its table of contents announces did not come.
    #[error("{missing} of {announced} data blocks are missing, the first of them {first}")]
    MissingData {
        /// How many blocks did not come.
        missing: u64,
        /// How many the table of contents announces.
        announced: u64,
        /// What the first missing block would have held.
        first: String,
    },
}

impl ArchiveError {
    pub(super) fn new(kind: ArchiveErrorKind, offset: u64) -> Self {
        Self { kind, offset }
    }

    pub(super) fn malformed(
        what: &'static str,
        expected: impl fmt::Display,
        found: impl fmt::Display,
        offset: u64,
    ) -> Self {
        let kind = ArchiveErrorKind::Malformed {
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        };
        Self::new(kind, offset)
    }

    pub(super) fn too_large(what: &'static str, limit: u64, found: u64, offset: u64) -> Self {
        Self::new(ArchiveErrorKind::TooLarge { what, limit, found }, offset)
    }

    /// What was wrong.
    #[must_use]
    pub fn kind(&self) -> &ArchiveErrorKind {
        &self.kind
    }

    /// Where, in bytes from the beginning of the dump: the first byte of the wrong value, or the
    /// end of the dump where something is missing.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read the dump at byte {}: {}", self.offset, self.kind)
    }
}

impl std::error::Error for ArchiveError {}

/// A text of the dump as an error shows it: short, and on one line.
pub(super) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}
