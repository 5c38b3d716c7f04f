use std::task::{Poll, ready};

use super::ArchiveVersion;
use super::error::ArchiveError;
use super::header::{DumpHeader, HeaderReader};
use super::scan::{Input, Scan};
use super::toc::{EntryReader, TocEntry};

const ENTRY_LIMIT: u64 = 1_000_000;

/// Reads what stands before a dump's data: its header, and its table of contents.
#[derive(Debug)]
pub(super) enum Opening {
    Header(Box<HeaderReader>),
    Count(ArchiveVersion),
    Entries {
        reader: Box<EntryReader>,
        left: usize,
    },
}

/// One thing after another that stands there.
pub(super) enum Opened {
    Header(DumpHeader),
    /// How many entries follow.
    Count(u64),
    Entry(TocEntry),
    /// Data is next.
    All,
}

impl Opening {
    pub(super) fn new() -> Self {
        Self::Header(Box::new(HeaderReader::new()))
    }

    pub(super) fn read(
        &mut self,
        scan: &mut Scan,
        input: &mut Input<'_>,
    ) -> Poll<Result<Opened, ArchiveError>> {
        Poll::Ready(Ok(match self {
            Self::Header(reader) => {
                let header = ready!(reader.read(scan, input))?;
                *self = Self::Count(header.version);
                Opened::Header(header)
            }
            Self::Count(version) => {
                let what = "the number of entries";
                let left = ready!(scan.count(input, what, ENTRY_LIMIT))?;
                let reader = Box::new(EntryReader::new(*version));
                *self = Self::Entries { reader, left };
                Opened::Count(left as u64)
            }
            Self::Entries { left: 0, .. } => Opened::All,
            Self::Entries { reader, left } => {
                let entry = ready!(reader.read(scan, input))?;
                *left -= 1;
                Opened::Entry(entry)
            }
        }))
    }

    /// What of the dump is being read, in words.
    pub(super) fn place(&self) -> &'static str {
        match self {
            Self::Header(_) | Self::Count(_) => "its header",
            Self::Entries { .. } => "its table of contents",
        }
    }
}
