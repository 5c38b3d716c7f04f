//! The sealed list of an index's blocks, and one block of it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Fetch, HEADER, MAX_LINE, digest_of_reference};
use crate::backend::Blob;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::FrameName;
use crate::piece::{self, Holds, Prelude};

/// Blocks of an index of 10⁹ entries: what the list of them may take.
const MAX_BLOCKS: usize = 1 << 20;

/// The blocks of an index. The list of them is the sealed one, so a block that
/// has the name it says is a sealed block, whatever became of the others.
pub(super) struct Blocks {
    place: PathBuf,
    file: Box<dyn Blob>,
    fetch: Fetch,
    list: Vec<Prelude>,
    /// The text of the first block, which says the format.
    first: Vec<u8>,
    #[cfg(test)]
    pub(super) decoded: AtomicUsize,
}

/// The entries of one block in order; after one that is none, nothing.
pub(super) type Block = Vec<Result<Entry>>;

/// The list of blocks, if it is the one that `digest` seals.
fn sealed(place: &Path, file: &dyn Blob, digest: &str) -> Result<Vec<Prelude>> {
    let list = piece::survey(place, file, MAX_BLOCKS)?;
    let mut names = blake3::Hasher::new();
    for prelude in &list {
        match prelude.holds {
            Holds::Content => names.update(prelude.name.as_bytes()),
            Holds::Reference => names.update(&digest_of_reference(prelude.name, prelude.length)),
            Holds::Metadata => {
                let at = prelude.offset;
                let what = format!("at byte {at}: expected a block, found a piece of metadata");
                return Err(Error::damaged(place, what));
            }
        };
    }
    if names.finalize().to_hex().as_str() != digest {
        let what = format!(
            "its {} blocks are not those that the seal names",
            list.len()
        );
        return Err(Error::damaged(place, what));
    }
    Ok(list)
}

/// The frames in which blocks lie.
pub(super) fn references(place: &Path, file: &dyn Blob, digest: &str) -> Result<Vec<FrameName>> {
    let list = sealed(place, file, digest)?;
    let references = list.iter().filter(|p| p.holds == Holds::Reference);
    Ok(references.map(|p| p.name).collect())
}

impl Blocks {
    pub(super) fn open(
        place: &Path,
        file: Box<dyn Blob>,
        digest: &str,
        fetch: Fetch,
    ) -> Result<Self> {
        let list = sealed(place, &*file, digest)?;
        let mut blocks = Self {
            place: place.to_owned(),
            file,
            fetch,
            list,
            first: Vec::new(),
            #[cfg(test)]
            decoded: AtomicUsize::new(0),
        };
        if blocks.list.is_empty() {
            return Err(Error::damaged(place, "holds no block"));
        }
        blocks.first = blocks.decode(0)?;
        if !blocks.first.starts_with(HEADER.as_bytes()) {
            let line = blocks
                .first
                .split(|b| *b == b'\n')
                .next()
                .unwrap_or_default();
            let line = String::from_utf8_lossy(&line[..line.len().min(80)]);
            return Err(Error::new(
                ErrorKind::TooNew,
                place,
                format!("has a first line of another format: {line:?}"),
            ));
        }
        Ok(blocks)
    }

    /// How many there are: at least one.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The entries of one block.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] if its bytes are not those that were sealed.
    pub(super) fn block(&self, number: usize) -> Result<Block> {
        let text = self.text(number)?;
        let mut entries = Block::with_capacity(text.len() / 256);
        for line in text.split_inclusive(|b| *b == b'\n') {
            let entry = self.entry(number, line);
            let failed = entry.is_err();
            entries.push(entry);
            if failed {
                break;
            }
        }
        Ok(entries)
    }

    /// The first entry of a block; `None` if it has none, as the first may.
    pub(super) fn first(&self, number: usize) -> Result<Option<Entry>> {
        let text = self.text(number)?;
        let line = text.split_inclusive(|b| *b == b'\n').next();
        line.map(|line| self.entry(number, line)).transpose()
    }

    pub(super) fn disorder(&self, entry: &Entry, what: &str) -> Error {
        Error::damaged(&self.place, format!("its entry {} {what}", entry.path))
    }

    /// The lines of entries in one block.
    fn text(&self, number: usize) -> Result<Cow<'_, [u8]>> {
        match number {
            0 => Ok(Cow::Borrowed(&self.first[HEADER.len()..])),
            _ => self.decode(number).map(Cow::Owned),
        }
    }

    fn decode(&self, number: usize) -> Result<Vec<u8>> {
        #[cfg(test)]
        self.decoded.fetch_add(1, Ordering::Relaxed);
        let prelude = &self.list[number];
        if prelude.holds == Holds::Reference {
            return (self.fetch)(prelude.name);
        }
        let stored = prelude.stored(&self.place, &*self.file)?;
        prelude.decode(&self.place, &stored)
    }

    fn entry(&self, number: usize, line: &[u8]) -> Result<Entry> {
        if line.last() != Some(&b'\n') {
            return Err(Error::damaged(&self.place, "has a line that does not end"));
        }
        if line.len() > MAX_LINE {
            let what = format!(
                "has a line of {} bytes, not of {MAX_LINE} at most",
                line.len()
            );
            return Err(Error::damaged(&self.place, what));
        }
        let mut entry: Entry = serde_json::from_slice(line).map_err(|e| {
            let what = format!("has a bad entry: {e}");
            match e.to_string().contains("unknown variant") {
                true => Error::new(ErrorKind::TooNew, &self.place, what),
                false => Error::damaged(&self.place, what),
            }
        })?;
        let prelude = &self.list[number];
        if prelude.holds == Holds::Reference {
            let counted = entry.frame.checked_add(prelude.length);
            let beyond = || self.disorder(&entry, "lies beyond every frame");
            entry.frame = counted.ok_or_else(beyond)?;
        }
        match entry.contradiction() {
            Some(what) => Err(self.disorder(&entry, what)),
            None => Ok(entry),
        }
    }
}
