//! One line of JSON for each file, in blocks that are compressed, sealed and
//! read each on its own.

mod blocks;
mod search;
#[cfg(test)]
mod tests;
mod writer;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::ahead::Ahead;
use crate::backend::Blob;
use crate::entry::Entry;
use crate::error::Result;
use crate::frame::FrameName;
use crate::order;
use crate::path::MemberPath;
use blocks::{Block, Blocks};
use search::Search;
pub(crate) use writer::{Form, IndexWriter};

/// The first line of every index.
const HEADER: &str = "{\"format\":\"lava-backup-index/1\"}\n";
/// No line is longer: a path of 64 KiB and attributes of 256 KiB, each byte
/// written as three, and 4096 extents.
const MAX_LINE: usize = 2 << 20;
/// A block ends after the line that makes its text as long as this.
const BLOCK: usize = 512 << 10;
/// Parsing takes far longer than giving out, but a machine has other work too.
const THREADS: usize = 2;

/// Reads an index, or a part of it: an iterator over its entries in the order of
/// the archive.
///
/// Each entry is one that was sealed, comes after the one before, and lies where
/// the content of the one before has ended. Blocks are decoded ahead, on threads
/// of their own.
pub struct Index {
    blocks: Arc<Blocks>,
    source: Source,
    current: std::vec::IntoIter<Result<Entry>>,
    order: Order,
    /// What is given out: all, or a member and what is below it.
    within: Option<MemberPath>,
    failed: bool,
}

/// Gives the bytes of a frame, checked: of a block that lies in one.
pub(crate) type Fetch = Arc<dyn Fn(FrameName) -> Result<Vec<u8>> + Send + Sync>;

/// What a reference counts for in the digest of an index.
fn digest_of_reference(name: FrameName, base: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(&base.to_le_bytes());
    *hasher.finalize().as_bytes()
}

/// The frames in which blocks of an index lie.
pub(crate) fn frames(place: &Path, file: Box<dyn Blob>, digest: &str) -> Result<Vec<FrameName>> {
    blocks::references(place, &*file, digest)
}

/// Where the next block comes from.
enum Source {
    Ahead(Ahead<usize, Result<Block>>),
    /// A single block is not worth a thread.
    Here(Range<usize>),
}

impl Index {
    /// Opens an index whose blocks are those that `digest` seals.
    pub(crate) fn open(
        place: &Path,
        file: Box<dyn Blob>,
        digest: &str,
        fetch: Fetch,
    ) -> Result<Self> {
        let blocks = Arc::new(Blocks::open(place, file, digest, fetch)?);
        let all = 0..blocks.len();
        Ok(Self::of(blocks, all, None))
    }

    /// Opens an index at a member and what is below it; other blocks are decoded
    /// only to find these.
    pub(crate) fn open_at(
        place: &Path,
        file: Box<dyn Blob>,
        digest: &str,
        fetch: Fetch,
        within: &MemberPath,
    ) -> Result<Self> {
        let blocks = Arc::new(Blocks::open(place, file, digest, fetch)?);
        let range = Search::new(&blocks).range(within)?;
        Ok(Self::of(blocks, range, Some(within.clone())))
    }

    /// The entry of one member, if there is one.
    pub(crate) fn find(
        place: &Path,
        file: Box<dyn Blob>,
        digest: &str,
        fetch: Fetch,
        path: &MemberPath,
    ) -> Result<Option<Entry>> {
        let blocks = Blocks::open(place, file, digest, fetch)?;
        Search::new(&blocks).entry(path)
    }

    fn of(blocks: Arc<Blocks>, range: Range<usize>, within: Option<MemberPath>) -> Self {
        let source = if range.len() < 2 {
            Source::Here(range)
        } else {
            let blocks = Arc::clone(&blocks);
            let decode = move |number| blocks.block(number);
            Source::Ahead(Ahead::of(range.collect(), THREADS, decode))
        };
        Self {
            blocks,
            source,
            current: Vec::new().into_iter(),
            order: Order::default(),
            within,
            failed: false,
        }
    }

    fn next_entry(&mut self) -> Result<Option<Entry>> {
        loop {
            let Some(entry) = self.current.next() else {
                let block = match &mut self.source {
                    Source::Ahead(ahead) => ahead.next(),
                    Source::Here(range) => range.next().map(|number| self.blocks.block(number)),
                };
                match block {
                    Some(block) => self.current = block?.into_iter(),
                    None => return Ok(None),
                }
                continue;
            };
            let entry = entry?;
            self.order
                .follow(&entry)
                .map_err(|what| self.blocks.disorder(&entry, &what))?;
            if self.within.as_ref().is_none_or(|w| entry.path.is_within(w)) {
                return Ok(Some(entry));
            }
        }
    }
}

impl Iterator for Index {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let entry = self.next_entry();
        self.failed = entry.is_err();
        entry.transpose()
    }
}

/// The order that entries must have.
#[derive(Default)]
struct Order {
    paths: order::Order,
    last: Option<(u64, u64)>,
}

impl Order {
    /// Takes one entry more; says what is wrong where it can't come next.
    fn follow(&mut self, entry: &Entry) -> Result<(), String> {
        self.paths.next(&entry.path, entry.kind)?;
        let place = (entry.frame, entry.offset);
        if self.last.is_some_and(|last| last >= place) {
            return Err("does not lie after the entry above it".into());
        }
        self.last = Some(place);
        Ok(())
    }
}
