use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::task::{Poll, ready};

use super::error::ArchiveError;
use super::ledger::MEMORY_LIMIT;
use super::opening::{Opened, Opening};
use super::scan::{Input, Scan};
use super::toc::TocEntry;
use super::{BLOCK_TABLE, CHUNK, DumpReader, Observer, TableInfo, copy_statement};

/// Takes the parts that a dump is made of.
pub(crate) trait Parts {
    /// All that stands before the data comes first, and once.
    fn contents(&mut self, contents: &TableOfContents) -> io::Result<()>;

    /// Rows of a table, whole ones, and the statement that they follow.
    fn rows(&mut self, copy: &Arc<str>, rows: Vec<u8>) -> io::Result<()>;
}

/// A dump without its data.
#[derive(Debug, Default)]
pub(crate) struct TableOfContents {
    /// As `pg_restore` reads it.
    pub(crate) bytes: Vec<u8>,
    /// The numbers of its entries, but for those of tables' rows.
    pub(crate) others: Vec<i32>,
}

/// Takes a dump apart as it passes: its table of contents, with which `pg_restore` makes all but
/// rows, and the rows of one table after another, in pieces that many sessions can copy.
///
/// An error here is no word about the dump: it may be one that `pg_restore` alone understands, as
/// those with large objects are.
#[derive(Debug)]
pub(crate) struct Splitter {
    scan: Scan,
    stage: Stage,
    offset: u64,
    contents: TableOfContents,
    /// By the number of its entry, what the rows of a table follow.
    copies: BTreeMap<i32, Arc<str>>,
    /// Rows of the table that is passing which nobody has yet.
    rows: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    Opening(Opening),
    BlockType,
    BlockNumber,
    Chunk { copy: Arc<str>, left: usize },
}

/// How many bytes of rows are given at once, or more if a row is longer: a table is to be copied
/// by several sessions, and each piece costs one of them a moment.
const PIECE: usize = 256 << 10;
/// The longest row that is given: it is held in memory.
const ROW_LIMIT: usize = 4 << 20;
/// What `pg_dump` writes after the last row.
const END: &[u8] = b"\\.\n\n\n";

impl Splitter {
    pub(crate) fn new() -> Self {
        Self {
            scan: Scan::default(),
            stage: Stage::Opening(Opening::new()),
            offset: 0,
            contents: TableOfContents::default(),
            copies: BTreeMap::new(),
            rows: Vec::new(),
        }
    }

    /// Takes the next bytes of the dump. After an error nothing more can be fed.
    pub(crate) fn feed(&mut self, slice: &[u8], parts: &mut impl Parts) -> io::Result<()> {
        let mut input = Input {
            rest: slice,
            offset: self.offset,
        };
        if let Stage::Opening(_) = self.stage {
            let read = self.read_contents(&mut input);
            let used = slice.len() - input.rest.len();
            self.contents.bytes.extend_from_slice(&slice[..used]);
            self.offset = input.offset;
            match read {
                Poll::Pending if self.offset > MEMORY_LIMIT => {
                    return Err(strange("its table of contents is too long"));
                }
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read.map_err(strange)?,
            }
            parts.contents(&std::mem::take(&mut self.contents))?;
        }
        let read = self.read_rows(&mut input, parts);
        self.offset = input.offset;
        match read {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(e)) => Err(e),
        }
    }

    /// The dump is over: was that all of it?
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.stage {
            Stage::BlockType => Ok(()),
            _ => Err(strange("it ends too early")),
        }
    }

    fn read_contents(&mut self, input: &mut Input<'_>) -> Poll<Result<(), ArchiveError>> {
        while let Stage::Opening(opening) = &mut self.stage {
            match ready!(opening.read(&mut self.scan, input))? {
                Opened::Header(_) | Opened::Count(_) => {}
                Opened::Entry(entry) => match rows_of(&entry) {
                    Some(copy) => drop(self.copies.insert(entry.dump_id, copy.into())),
                    None => self.contents.others.push(entry.dump_id),
                },
                Opened::All => self.stage = Stage::BlockType,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn read_rows(
        &mut self,
        input: &mut Input<'_>,
        parts: &mut impl Parts,
    ) -> Poll<io::Result<Infallible>> {
        let scan = &mut self.scan;
        loop {
            self.stage = match &mut self.stage {
                Stage::Chunk { copy, left: 0 } => {
                    let left = ready!(scan.count(input, CHUNK, u64::MAX)).map_err(strange)?;
                    if left > 0 {
                        let copy = Arc::clone(copy);
                        Stage::Chunk { copy, left }
                    } else {
                        if !self.rows.ends_with(END) {
                            return Poll::Ready(Err(strange("a table has no end")));
                        }
                        self.rows.truncate(self.rows.len() - END.len());
                        let rows = std::mem::take(&mut self.rows);
                        if !rows.is_empty() {
                            parts.rows(copy, rows)?;
                        }
                        Stage::BlockType
                    }
                }
                Stage::Chunk { copy, left } => {
                    let chunk = input.take(*left);
                    *left -= chunk.len();
                    self.rows.extend_from_slice(chunk);
                    if self.rows.len() >= PIECE {
                        give_rows(&mut self.rows, copy, parts)?;
                    }
                    match *left {
                        0 => continue,
                        _ => return Poll::Pending,
                    }
                }
                Stage::BlockNumber => {
                    let number = ready!(scan.int(input)).map_err(strange)?;
                    match self.copies.get(&number) {
                        Some(copy) => Stage::Chunk {
                            copy: Arc::clone(copy),
                            left: 0,
                        },
                        None => return Poll::Ready(Err(strange("its data is not all of tables"))),
                    }
                }
                _ => match ready!(scan.bytes::<1>(input)) {
                    [BLOCK_TABLE] => Stage::BlockNumber,
                    _ => return Poll::Ready(Err(strange("its data is not all of tables"))),
                },
            }
        }
    }
}

/// The statement that the rows of an entry follow, if it has any and they are a table's.
fn rows_of(entry: &TocEntry) -> Option<&str> {
    let statement = entry.copy_stmt.as_deref().filter(|_| entry.has_data)?;
    // Here it is run as it stands.
    copy_statement::columns(statement).map(|_| statement)
}

/// Gives all whole rows but the end mark, should that have come.
fn give_rows(rows: &mut Vec<u8>, copy: &Arc<str>, parts: &mut impl Parts) -> io::Result<()> {
    let before_end = &rows[..rows.len() - END.len()];
    let Some(newline) = memchr::memrchr(b'\n', before_end) else {
        return match rows.len() {
            ..ROW_LIMIT => Ok(()),
            _ => Err(strange("a row is very long")),
        };
    };
    let mut rest = Vec::with_capacity(2 * PIECE);
    rest.extend_from_slice(&rows[newline + 1..]);
    rows.truncate(newline + 1);
    parts.rows(copy, std::mem::replace(rows, rest))
}

fn strange(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Takes a dump apart in slices of this length, for fuzzing: where [`DumpReader`] reads it too,
/// the rows are the same.
#[doc(hidden)]
pub fn fuzz_parts(dump: &[u8], slices: usize) {
    #[derive(Default)]
    struct Rows(Vec<u8>);

    impl Parts for Rows {
        fn contents(&mut self, _: &TableOfContents) -> io::Result<()> {
            Ok(())
        }

        fn rows(&mut self, _: &Arc<str>, rows: Vec<u8>) -> io::Result<()> {
            self.0.extend(rows);
            Ok(())
        }
    }

    impl Observer for Rows {
        fn wants(&mut self, _: &TableInfo) -> bool {
            true
        }

        fn row(&mut self, _: &TableInfo, row: &[u8]) {
            self.0.extend_from_slice(row);
            self.0.push(b'\n');
        }
    }

    let (mut splitter, mut parts) = (Splitter::new(), Rows::default());
    let mut slices = dump.chunks(slices.max(1));
    let taken = slices.try_for_each(|slice| splitter.feed(slice, &mut parts));
    let (mut reader, mut rows) = (DumpReader::new(), Rows::default());
    let read = reader.feed(dump, &mut rows).and_then(|()| reader.finish());
    if taken.and_then(|()| splitter.finish()).is_ok() && read.is_ok() {
        assert_eq!(parts.0, rows.0);
    }
}
