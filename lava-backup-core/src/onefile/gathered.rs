//! The metadata of a backup that is one file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{BLOCKS, scratch_dir};
use crate::backend::Blob;
use crate::document;
use crate::entry::Entry;
use crate::error::{At, Error, ErrorKind, Result};
use crate::frame::{self, FrameName};
use crate::index::{self, Form, Index};
use crate::layout;
use crate::piece;
use crate::pipeline::Sink;
use crate::scratch;
use crate::seal::{SEAL_FORMAT, Seal};
use crate::store::refuse_unknown;
use crate::tarstream::{self, Scan};

/// The metadata of one file, decoded, and where in it each member lies.
pub(super) struct Gathered {
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
    pub(super) members: BTreeMap<String, (u64, u64)>,
}

impl Gathered {
    pub(super) fn new(place: &Path) -> Result<Self> {
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
    pub(super) fn piece(&mut self, frames: usize, bytes: &[u8]) -> Result<()> {
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

    pub(super) fn read(&self, file: &str, limit: u64) -> Result<Vec<u8>> {
        let blob = self.blob(file)?.ok_or_else(|| self.lacks(file))?;
        if blob.len() > limit {
            let what = format!("{file} has {} bytes, more than {limit}", blob.len());
            return Err(Error::damaged(&self.place, what));
        }
        let mut bytes = vec![0; usize::try_from(blob.len()).unwrap_or(usize::MAX)];
        blob.read_exact_at(&mut bytes, 0).at("read", &self.place)?;
        Ok(bytes)
    }

    pub(super) fn lacks(&self, file: &str) -> Error {
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
    pub(super) fn block(&self, name: FrameName) -> Result<Option<Part>> {
        self.blob(&format!("{BLOCKS}{}", name.file()))
    }

    /// The index is that of the seal; gives the frames in which its blocks lie.
    pub(super) fn check_index(&self, seal: &Seal) -> Result<Vec<FrameName>> {
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
    pub(super) fn index_form(&self) -> Result<Form> {
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

    pub(super) fn blob(&self, file: &str) -> Result<Option<Part>> {
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

    /// The seal, checked as a document, and its digest.
    pub(super) fn seal(&self) -> Result<(Seal, String)> {
        let text = self.read(layout::SEAL, document::LIMIT)?;
        let (seal, digest): (Seal, _) = document::read(&self.place, &text, SEAL_FORMAT)?;
        refuse_unknown(&self.place, &seal.requires)?;
        Ok((seal, digest))
    }

    /// Metadata elsewhere would be content of some member to every tar.
    pub(super) fn misplaced(&self, frames: usize) -> Error {
        let what = format!(
            "expected metadata in one place, before all frames or before the end of the stream; \
             found some after {frames} frames"
        );
        Error::damaged(&self.place, what)
    }

    /// Checks that these are the frames that the seal leads to, in their order,
    /// and that the metadata lies between two members.
    pub(super) fn check_frames(&self, seal: &Seal, found: &[FrameName]) -> Result<()> {
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
pub(super) struct Part {
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) length: u64,
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
