//! Reads a dump in PostgreSQL's custom format (`pg_dump -Fc -Z0`) while it passes by.
//!
//! [`DumpReader`] is fed with slices of any length, keeps what it must know and never the data: the
//! dump can be on its way into an archive, and its size makes no difference. An [`Observer`] is told
//! what comes; [`DumpContents`] says at the end what the dump held: of each table its columns, its
//! rows counted and a digest of them. A dump that is cut, at any byte, or that lacks data it
//! announces, is an error. A byte changed inside of a value is none, for the format has no
//! checksums: the digest is what tells.
//!
//! In memory are the names of the tables with data and their columns, 256 MiB at most, one entry of
//! the table of contents and, for tables the observer wants to see, one row.
//!
//! Not read: the directory and tar formats, data compressed by `pg_dump`, dumps made with
//! `--inserts`, text that is not UTF-8. Each is an error that names the option.
//!
//! ```
//! use lava_backup_pg::archive::{DumpReader, Observer, TableInfo, copy_text};
//!
//! #[derive(Default)]
//! struct Names(Vec<String>);
//!
//! impl Observer for Names {
//!     fn wants(&mut self, table: &TableInfo) -> bool {
//!         table.name == "device"
//!     }
//!     fn row(&mut self, _: &TableInfo, row: &[u8]) {
//!         let name = copy_text::fields(row).next().flatten().unwrap_or_default();
//!         self.0.push(String::from_utf8_lossy(&name).into_owned());
//!     }
//! }
//!
//! let dump = include_bytes!("../tests/data/small.dump");
//! let mut names = Names::default();
//! let mut reader = DumpReader::new();
//! for piece in dump.chunks(100) {
//!     reader.feed(piece, &mut names)?;
//! }
//! let contents = reader.finish()?;
//! assert_eq!(names.0, ["qemu-01", "qemu-02"]);
//! assert_eq!(contents.table("public", "device").map(|t| t.rows), Some(2));
//! # Ok::<(), lava_backup_pg::archive::ArchiveError>(())
//! ```
//!
//! In reading order: [`DumpReader`], [`Observer`], [`TableInfo`], [`TableSummary`],
//! [`DumpContents`], [`copy_text`], [`ArchiveError`].

mod contents;
pub(crate) mod copy_statement;
pub mod copy_text;
mod error;
mod header;
mod ledger;
mod opening;
mod parts;
mod rows;
mod scan;
#[cfg(test)]
mod tests;
mod toc;

use std::convert::Infallible;
use std::task::{Poll, ready};

pub use contents::{DumpContents, SequenceSet, TableInfo, TableSummary};
pub use error::{ArchiveError, ArchiveErrorKind};
pub use header::{ArchiveVersion, DumpHeader, DumpTime};
#[doc(hidden)]
pub use parts::fuzz_parts;
pub(crate) use parts::{Parts, Splitter, TableOfContents};
pub use toc::{Section, TocEntry};

use crate::digest::{DigestKey, TableHasher};
use ledger::{Block, Ledger};
use opening::{Opened, Opening};
use rows::RowReader;
use scan::{Input, Scan};

/// The longest row that an observer is shown unless the reader is told otherwise, in bytes.
pub const DEFAULT_ROW_LIMIT: usize = 64 * 1024 * 1024;

/// Is told what passes by. Each method does nothing unless implemented; `()` is an observer that
/// needs nothing but the [`DumpContents`].
///
/// Calls come in the order of the dump: all entries, then for each table its beginning, whether it
/// is wanted, its rows, its end. After an error nothing more is told, so a table that began may
/// have no end.
pub trait Observer {
    /// An entry of the table of contents.
    fn entry(&mut self, entry: &TocEntry) {
        let _ = entry;
    }

    /// The data of a table begins, `offset` bytes into the dump: a good place to cut it, so that a
    /// table that grew leaves those after it as they were.
    fn table_begins(&mut self, table: &TableInfo, offset: u64) {
        let _ = (table, offset);
    }

    /// Whether to be shown the rows of this table, asked once, when it begins.
    fn wants(&mut self, table: &TableInfo) -> bool {
        let _ = table;
        false
    }

    /// A row of a wanted table: a line of COPY text without its newline, for
    /// [`copy_text::fields`].
    fn row(&mut self, table: &TableInfo, row: &[u8]) {
        let _ = (table, row);
    }

    /// All rows of a table have passed.
    fn table_ends(&mut self, summary: &TableSummary) {
        let _ = summary;
    }
}

impl Observer for () {}

/// Reads a dump that is pushed into it piece by piece.
#[derive(Debug)]
pub struct DumpReader {
    scan: Scan,
    stage: Stage,
    offset: u64,
    row_limit: usize,
    failed: Option<ArchiveError>,
    ledger: Ledger,
    /// A table without rows.
    no_rows: TableHasher,
}

/// Where in the dump the reader is.
#[derive(Debug)]
enum Stage {
    Opening(Opening),
    BlockType,
    BlockNumber { block: u8, at: u64 },
    Table { rows: Box<RowReader>, chunk: usize },
    LargeObjects,
    LargeObject { chunk: usize },
}

/// The bytes that data blocks begin with.
const BLOCK_TABLE: u8 = 1;
const BLOCK_LARGE_OBJECTS: u8 = 3;

impl DumpReader {
    /// A reader that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            scan: Scan::default(),
            stage: Stage::Opening(Opening::new()),
            offset: 0,
            row_limit: DEFAULT_ROW_LIMIT,
            failed: None,
            ledger: Ledger::new(TableHasher::unkeyed()),
            no_rows: TableHasher::unkeyed(),
        }
    }

    /// Digests rows with a key that nobody knew while they could be chosen, in place of without
    /// one: far faster, but digests of two dumps then say nothing about each other. To be called
    /// before anything is fed.
    #[must_use]
    pub fn with_digest_key(mut self, key: &DigestKey) -> Self {
        self.no_rows = TableHasher::keyed(key);
        self.ledger = Ledger::new(self.no_rows.clone());
        self
    }

    /// Sets the greatest length of a row of a wanted table, in bytes, in place of
    /// [`DEFAULT_ROW_LIMIT`]. Rows that nobody wants to see may have any length.
    #[must_use]
    pub fn with_row_limit(mut self, bytes: usize) -> Self {
        self.row_limit = bytes;
        self
    }

    /// How many bytes have been fed and understood.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What stands before the table of contents, once it has been read.
    #[must_use]
    pub fn header(&self) -> Option<&DumpHeader> {
        self.ledger.header.as_ref()
    }

    /// Takes the next bytes of the dump. How it is cut into slices makes no difference to what is
    /// told and found, nor to an error.
    ///
    /// # Errors
    ///
    /// When the bytes are not those of a dump that can be read; then every later call gives the
    /// same error.
    pub fn feed(&mut self, slice: &[u8], observer: &mut impl Observer) -> Result<(), ArchiveError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut input = Input {
            rest: slice,
            offset: self.offset,
        };
        let outcome = self.advance(&mut input, observer);
        self.offset = input.offset;
        match outcome {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(error)) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The dump is over: what it held.
    ///
    /// # Errors
    ///
    /// When nothing was fed, when the dump ends inside of anything, when data that its table of
    /// contents announces did not come, or when [`feed`](Self::feed) failed before.
    pub fn finish(self) -> Result<DumpContents, ArchiveError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let inside = match self.stage {
            Stage::Opening(_) if self.offset == 0 => {
                return Err(ArchiveError::new(ArchiveErrorKind::Empty, 0));
            }
            Stage::Opening(opening) => opening.place(),
            Stage::BlockType => return self.ledger.finish(self.offset),
            Stage::BlockNumber { .. } => "the head of a data block",
            Stage::Table { .. } => "the data of a table",
            Stage::LargeObjects | Stage::LargeObject { .. } => "the large objects",
        };
        Err(ArchiveError::new(
            ArchiveErrorKind::Truncated { inside },
            self.offset,
        ))
    }

    /// Goes on until the input is used up.
    fn advance(
        &mut self,
        input: &mut Input<'_>,
        observer: &mut impl Observer,
    ) -> Poll<Result<Infallible, ArchiveError>> {
        let Self {
            scan,
            stage,
            ledger,
            row_limit,
            no_rows,
            ..
        } = self;
        loop {
            match stage {
                Stage::Opening(opening) => match ready!(opening.read(scan, input))? {
                    Opened::Header(header) => ledger.header = Some(header),
                    Opened::Count(entries) => ledger.entries = entries,
                    Opened::Entry(entry) => {
                        observer.entry(&entry);
                        ledger.keep(entry, input.offset)?;
                    }
                    Opened::All => *stage = Stage::BlockType,
                },
                Stage::BlockType => {
                    let [block] = ready!(scan.bytes::<1>(input));
                    if ![BLOCK_TABLE, BLOCK_LARGE_OBJECTS].contains(&block) {
                        let what = "the type of a data block";
                        let at = scan.start();
                        return Poll::Ready(Err(ArchiveError::malformed(
                            what, "1 or 3", block, at,
                        )));
                    }
                    *stage = Stage::BlockNumber {
                        block,
                        at: scan.start(),
                    };
                }
                Stage::BlockNumber { block, at } => {
                    let id = ready!(scan.int(input))?;
                    *stage = match (*block, ledger.open(id, *at)?) {
                        (BLOCK_TABLE, Block::Table(table)) => {
                            observer.table_begins(&table, *at);
                            let wanted = observer.wants(&table);
                            let rows = RowReader::new(table, no_rows.clone(), wanted, *row_limit);
                            let rows = Box::new(rows);
                            Stage::Table { rows, chunk: 0 }
                        }
                        (BLOCK_LARGE_OBJECTS, Block::LargeObjects) => Stage::LargeObjects,
                        _ => {
                            let what = "the type of a data block";
                            let expected = format!("that of entry {id}");
                            return Poll::Ready(Err(ArchiveError::malformed(
                                what, expected, *block, *at,
                            )));
                        }
                    };
                }
                Stage::Table {
                    rows,
                    chunk: chunk @ 0,
                } => {
                    *chunk = ready!(scan.count(input, CHUNK, u64::MAX))?;
                    if *chunk == 0 {
                        let summary = rows.finish(scan.start())?;
                        observer.table_ends(&summary);
                        ledger.tables.push(summary);
                        *stage = Stage::BlockType;
                    }
                }
                Stage::Table { rows, chunk } => {
                    *chunk -= rows.read(input, *chunk, observer)?;
                    if *chunk > 0 {
                        return Poll::Pending;
                    }
                }
                Stage::LargeObjects => {
                    // An oid above 2^31 is written as a negative number; 0 ends the list.
                    match ready!(scan.int(input))? {
                        0 => *stage = Stage::BlockType,
                        oid => {
                            ledger.large_objects.begin(oid as u32);
                            *stage = Stage::LargeObject { chunk: 0 };
                        }
                    }
                }
                Stage::LargeObject { chunk: chunk @ 0 } => {
                    *chunk = ready!(scan.count(input, CHUNK, u64::MAX))?;
                    if *chunk == 0 {
                        ledger.large_objects.end();
                        *stage = Stage::LargeObjects;
                    }
                }
                Stage::LargeObject { chunk } => {
                    let bytes = input.take(*chunk);
                    ledger.large_objects.add(bytes);
                    *chunk -= bytes.len();
                    if *chunk > 0 {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

const CHUNK: &str = "the length of a chunk";

impl Default for DumpReader {
    fn default() -> Self {
        Self::new()
    }
}
