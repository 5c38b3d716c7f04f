//! A backup in one file: a `.tar.zst` of pieces, which holds the seal, the lists
//! and the frames, and which nothing but `zstd` and `tar` is needed to restore.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::Blob;
use crate::backup::Backup;
use crate::document;
use crate::entry::{Class, Entry, Kind, Time};
use crate::error::{At, Error, ErrorKind, Result};
use crate::frame::{self, Encoder, FrameName};
use crate::index::{self, Form, Index};
use crate::layout;
use crate::path::{MemberPath, OWN};
use crate::piece::{self, Holds};
use crate::pipeline::Sink;
use crate::scratch;
use crate::seal::{BackupId, SEAL_FORMAT, Seal};
use crate::store::refuse_unknown;
use crate::tarstream::{self, Scan};
use crate::writer::{Meta, new_entry};

mod emit;
mod file;
mod receive;

pub(crate) use emit::Emitter;
pub(crate) use file::OneFile;
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
/// [`ErrorKind::Damaged`] if a list or a frame is; [`ErrorKind::Io`]. What was
/// written by then is no backup.
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

/// Writes the members of metadata, in pieces.
pub(crate) struct Metadata<'o> {
    out: &'o mut dyn Write,
    waiting: Vec<u8>,
    encoder: Encoder,
}

impl<'o> Metadata<'o> {
    pub(crate) fn new(out: &'o mut dyn Write) -> Self {
        Self {
            out,
            waiting: Vec::new(),
            encoder: Encoder::new(3),
        }
    }

    /// Adds one file of the backup, of this many bytes; in the order of names.
    pub(crate) fn member(&mut self, file: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        let path = MemberPath::new([OWN, b"/", file.as_bytes()].concat())?;
        let place = path.to_string();
        let mut entry = new_entry(
            path,
            Kind::File,
            Meta::private(Class::Plain, Time::default()),
        );
        entry.size = size;
        self.waiting.extend_from_slice(&tarstream::header(&entry));
        let copied = io::copy(&mut content.take(size), self).at("write", &place)?;
        if copied != size {
            return Err(Error::damaged(place, "ends before it should"));
        }
        let padding = self.waiting.len() + tarstream::padding(size);
        self.waiting.resize(padding, 0);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        self.end_piece().at("write", "the metadata")
    }

    fn end_piece(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let name = FrameName::of(&self.waiting);
        let stored = self.encoder.encode(name, &self.waiting);
        let stored = stored.map_err(io::Error::other)?;
        self.waiting.clear();
        piece::write(self.out, Holds::Metadata, name, &stored)
    }
}

impl Write for Metadata<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE.saturating_sub(self.waiting.len()));
        self.waiting.extend_from_slice(&bytes[..taken]);
        if self.waiting.len() >= PIECE {
            self.end_piece()?;
        }
        // A header may have filled the piece.
        match taken {
            0 if !bytes.is_empty() => self.write(bytes),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The metadata of one file, decoded, and where in it each member lies.
struct Gathered {
    place: PathBuf,
    /// Without a name.
    file: File,
    length: u64,
    scan: Scan,
    pieces: u64,
    /// Frames before it.
    after: Option<usize>,
    /// Where pieces begin.
    begins: Vec<u64>,
    members: BTreeMap<String, (u64, u64)>,
}

impl Gathered {
    fn new(place: &Path) -> Result<Self> {
        Ok(Self {
            place: place.to_owned(),
            file: scratch::unnamed(&scratch_dir())?,
            length: 0,
            scan: Scan::of_metadata(),
            pieces: 0,
            after: None,
            begins: Vec::new(),
            members: BTreeMap::new(),
        })
    }

    /// Takes the next piece of metadata, decoded, which comes after so many frames.
    fn piece(&mut self, frames: usize, bytes: &[u8]) -> Result<()> {
        if *self.after.get_or_insert(frames) != frames {
            return Err(self.misplaced(frames));
        }
        self.begins.push(self.length);
        let (begins, members) = (&self.begins, &mut self.members);
        let found = &mut |entry: Entry| {
            let begin = usize::try_from(entry.frame).ok();
            let begin = begin.and_then(|frame| begins.get(frame)).copied();
            let file = entry.path.in_section().map(|p| p.to_string());
            if let (Some(begin), Some(file)) = (begin, file) {
                members.insert(file, (begin + entry.offset, entry.size));
            }
            Ok(())
        };
        let scanned = self.scan.frame(self.pieces, bytes, found);
        scanned.map_err(|e| Error::new(e.kind(), &self.place, format!("metadata: {e}")))?;
        self.pieces += 1;
        self.length += bytes.len() as u64;
        self.file.write_all(bytes).at("write", &self.place)
    }

    fn read(&self, file: &str, limit: u64) -> Result<Vec<u8>> {
        let blob = self.blob(file)?.ok_or_else(|| self.lacks(file))?;
        if blob.len() > limit {
            let what = format!("{file} has {} bytes, more than {limit}", blob.len());
            return Err(Error::damaged(&self.place, what));
        }
        let mut bytes = vec![0; usize::try_from(blob.len()).unwrap_or(usize::MAX)];
        blob.read_exact_at(&mut bytes, 0).at("read", &self.place)?;
        Ok(bytes)
    }

    fn lacks(&self, file: &str) -> Error {
        match file {
            layout::SEAL => Error::new(
                ErrorKind::Damaged,
                &self.place,
                "ends before its seal, so it is no backup",
            ),
            _ => Error::damaged(&self.place, format!("holds no {file}")),
        }
    }

    /// The stored form of a block of the index.
    fn block(&self, name: FrameName) -> Result<Option<Part>> {
        self.blob(&format!("{BLOCKS}{}", name.file()))
    }

    /// The index is that of the seal; gives the frames in which its blocks lie.
    fn check_index(&self, seal: &Seal) -> Result<Vec<FrameName>> {
        let index = || {
            let index = self.blob(layout::INDEX)?;
            let index = index.ok_or_else(|| self.lacks(layout::INDEX))?;
            Ok::<_, Error>(Box::new(index))
        };
        let digest = &seal.archive.index_digest;
        let frames = index::frames(&self.place, index()?, digest)?;
        let mut blocks = BTreeMap::new();
        for name in &frames {
            let missing = || Error::damaged(&self.place, format!("lacks the block {name}"));
            blocks.insert(*name, self.block(*name)?.ok_or_else(missing)?);
        }
        let place = self.place.clone();
        let fetch = move |name: FrameName| {
            let missing = || Error::damaged(&place, format!("lacks the block {name}"));
            let block = blocks.get(&name).ok_or_else(missing)?;
            let length = usize::try_from(block.len().min(frame::MAX_STORED)).unwrap_or(0);
            let mut stored = vec![0; length];
            block.read_exact_at(&mut stored, 0).at("read", &place)?;
            frame::decode(&place, name, &stored)
        };
        let mut index = Index::open(&self.place, index()?, digest, Arc::new(fetch))?;
        index.try_for_each(|entry| entry.map(drop))?;
        Ok(frames)
    }

    /// Does the index lie in blocks of its own, as far as it is known?
    fn index_form(&self) -> Result<Form> {
        let mut first = [0; 4];
        if let Some(index) = self.blob(layout::INDEX)?
            && index.len() >= 4
        {
            index.read_exact_at(&mut first, 0).at("read", &self.place)?;
        }
        Ok(match first == piece::REFERENCE.to_le_bytes() {
            true => Form::Frames(Arc::new(Nowhere)),
            false => Form::Inline,
        })
    }

    fn blob(&self, file: &str) -> Result<Option<Part>> {
        let Some((offset, length)) = self.members.get(file).copied() else {
            return Ok(None);
        };
        let file = self.file.try_clone().at("read", &self.place)?;
        Ok(Some(Part {
            file,
            offset,
            length,
        }))
    }

    /// The seal, checked as a document; and its digest and text.
    fn seal(&self) -> Result<(Seal, String, Vec<u8>)> {
        let text = self.read(layout::SEAL, document::LIMIT)?;
        let (seal, digest): (Seal, _) = document::read(&self.place, &text, SEAL_FORMAT)?;
        refuse_unknown(&self.place, &seal.requires)?;
        Ok((seal, digest, text))
    }

    /// Metadata elsewhere would be content of some member to every tar.
    fn misplaced(&self, frames: usize) -> Error {
        let what = format!(
            "expected metadata in one place, before all frames or before the end of the stream; \
             found some after {frames} frames"
        );
        Error::damaged(&self.place, what)
    }

    /// Checks that these are the frames that the seal leads to, in their order,
    /// and that the metadata lies between two members.
    fn check_frames(&self, seal: &Seal, found: &[FrameName]) -> Result<()> {
        if !self.scan.is_between_members() {
            let what = "its metadata ends within a member";
            return Err(Error::damaged(&self.place, what));
        }
        let end = [FrameName::of(&tarstream::END)];
        match self.after {
            Some(after) if after > 0 && found.get(after..) != Some(&end) => {
                return Err(self.misplaced(after));
            }
            _ => {}
        }
        let limit = (found.len() as u64).saturating_mul(crate::backup::LINE);
        let list = self.read(layout::FRAME_LIST, limit)?;
        if blake3::hash(&list).to_hex().as_str() != seal.archive.frames_digest {
            let what = "its list of frames is not what the seal says";
            return Err(Error::damaged(&self.place, what));
        }
        let lines = list.split_inclusive(|b| *b == b'\n');
        let same = lines.clone().count() == found.len()
            && lines
                .zip(found)
                .all(|(line, name)| line.strip_suffix(b"\n") == Some(name.file().as_bytes()));
        match same {
            true => Ok(()),
            false => {
                let what = "its frames are not those of its list, in this order";
                Err(Error::damaged(&self.place, what))
            }
        }
    }
}

/// Where the blocks of an index go that is made only to be compared.
struct Nowhere;

impl Sink for Nowhere {
    fn known(&self, _name: FrameName) -> Option<u64> {
        Some(0)
    }

    fn put(&self, _number: u64, _name: FrameName, _stored: Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn rewind(&self, _number: u64) {}
}

/// A run of a file.
struct Part {
    file: File,
    offset: u64,
    length: u64,
}

impl Blob for Part {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Blob::read_exact_at(&self.file, buffer, self.offset + offset)
    }
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

/// The id of a backup, by its own seal alone.
fn id_of(seal: &Seal) -> BackupId {
    seal.id.clone()
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
