//! A backup in one file: a `.tar.zst` of pieces, which holds the seal, the lists
//! and the frames, and which nothing but `zstd` and `tar` is needed to restore.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::backend::Blob;
use crate::backup::Backup;
use crate::error::{At, Error, Result};
use crate::frame;
use crate::layout;
use crate::piece::{self, Holds};

mod emit;
mod file;
mod gathered;
mod metadata;
mod receive;

pub(crate) use emit::Emitter;
pub(crate) use file::OneFile;
use gathered::Gathered;
pub(crate) use metadata::Metadata;
pub(crate) use receive::spool;
pub use receive::{Imported, Received, import, verify_stream};

/// The blocks of the index, as the frames in which they lie in a store.
const BLOCKS: &str = "blocks/";
/// Uncompressed bytes of a piece of metadata.
const PIECE: usize = 4 << 20;

/// Where big files that have no name are put while one file is written or read.
pub(crate) fn scratch_dir() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// Writes a backup as one file: its seal and lists, its evidence, and then its
/// frames.
///
/// # Errors
/// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) if a list or a frame is;
/// [`ErrorKind::Io`](crate::ErrorKind::Io). What was written by then is no
/// backup.
pub fn export(backup: &Backup, out: &mut dyn Write) -> Result<()> {
    let frames = backup.frames()?;
    // The first pass finds damage in the index before anything is written.
    for entry in backup.index()? {
        entry?;
    }
    let backend = backup.store().backend();
    let mut files = vec![layout::SEAL.to_owned(), layout::FRAME_LIST.to_owned()];
    files.push(layout::INDEX.to_owned());
    let below = layout::backup(backup.id());
    backup.evidence()?;
    backend.list(&format!("{below}{}", layout::EVIDENCE), &mut |found| {
        files.extend(found.key.strip_prefix(&below).map(str::to_owned));
        Ok(())
    })?;
    let blocks = backup.index_frames()?;
    let blocks = blocks.iter().map(|name| format!("{BLOCKS}{}", name.file()));
    files.extend(blocks);
    files.sort();
    files.dedup();
    let mut metadata = Metadata::new(out);
    for file in &files {
        let key = match file.strip_prefix(BLOCKS) {
            Some(block) => format!("{}{block}", layout::FRAMES),
            None => format!("{below}{file}"),
        };
        let missing = || Error::damaged(backend.place(&key), "is missing");
        let blob = backend.open(&key)?.ok_or_else(missing)?;
        let length = blob.len();
        metadata.member(file, length, &mut BlobReader::new(&*blob))?;
    }
    metadata.finish()?;
    for name in frames {
        let stored = backup.store().stored_frame(name)?;
        piece::write(out, Holds::Content, name, &stored).at("write", "the exported file")?;
    }
    out.flush().at("write", "the exported file")
}

/// Reads a blob from its beginning.
pub(crate) struct BlobReader<'b> {
    blob: &'b dyn Blob,
    at: u64,
}

impl<'b> BlobReader<'b> {
    pub(crate) fn new(blob: &'b dyn Blob) -> Self {
        Self { blob, at: 0 }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.len().saturating_sub(self.at);
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        self.blob.read_exact_at(&mut buffer[..length], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// A reference where only what can be restored alone may stand.
fn reference(place: &Path, prelude: &piece::Prelude) -> Error {
    let what = format!(
        "at byte {}: names a frame and does not hold it",
        prelude.offset
    );
    Error::damaged(place, what)
}

/// The decoded bytes of a piece.
fn decode(place: &Path, prelude: &piece::Prelude, stored: &[u8]) -> Result<Vec<u8>> {
    let place = place.join(format!("byte {}", prelude.offset));
    frame::decode(&place, prelude.name, stored)
}
