//! The index of a backup from its frames alone.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::index::{Form, IndexWriter};
use crate::seal::{Seal, Section};
use crate::tarstream::Scan;

/// Takes the frames of a backup in order, and writes the index that it must
/// have: the seal's digest of it is then a proof of every header and content.
pub(crate) struct Rebuild<W> {
    place: PathBuf,
    scan: Scan,
    index: IndexWriter<W>,
    frames: u64,
    bytes: u64,
    sections: BTreeMap<String, Section>,
}

impl<W: Write + Send + 'static> Rebuild<W> {
    pub(crate) fn new(place: PathBuf, out: W, form: Form) -> Result<Self> {
        Ok(Self {
            scan: Scan::new(),
            index: IndexWriter::new(place.clone(), out, form)?,
            place,
            frames: 0,
            bytes: 0,
            sections: BTreeMap::new(),
        })
    }

    /// Takes the uncompressed bytes of the next frame.
    pub(crate) fn frame(&mut self, bytes: &[u8]) -> Result<()> {
        let (index, sections) = (&mut self.index, &mut self.sections);
        self.scan.frame(self.frames, bytes, &mut |entry| {
            Section::add(sections, &entry);
            index.push(&entry)
        })?;
        self.frames += 1;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Ends it; gives the index, if it is the one that the seal names.
    pub(crate) fn finish(self, seal: &Seal) -> Result<W> {
        self.scan.finish()?;
        let (entries, digest, out) = self.index.finish()?;
        let archive = &seal.archive;
        let found = (self.frames, self.bytes, entries, &digest);
        let sealed = (
            archive.frames,
            archive.bytes,
            archive.entries,
            &archive.index_digest,
        );
        match found == sealed && self.sections == seal.sections {
            true => Ok(out),
            false => Err(Error::damaged(
                self.place,
                "what the frames hold is not what the seal says",
            )),
        }
    }
}
