use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::Blob;
use crate::content::{Frames, Spread};
use crate::document;
use crate::entry::{Entry, Kind};
use crate::error::{At, Error, ErrorKind, Result};
use crate::evidence::{EVIDENCE_FORMAT, Evidence, EvidenceDraft};
use crate::frame::FrameName;
use crate::index::{self, Fetch, Index};
use crate::layout;
use crate::onefile::BlobReader;
use crate::path::MemberPath;
use crate::seal::{BackupId, SEAL_FORMAT, Seal};
use crate::store::{Store, refuse_unknown};

/// A sealed backup.
#[derive(Clone, Debug)]
pub struct Backup {
    store: Store,
    seal: Seal,
    digest: String,
}

impl Backup {
    pub(crate) fn open(store: &Store, id: &BackupId) -> Result<Self> {
        let key = layout::of_backup(id, layout::SEAL);
        let place = store.backend().place(&key);
        let Some(text) = document::load(&**store.backend(), &key)? else {
            let what = format!("holds no backup {:?}", id.as_str());
            return Err(Error::new(ErrorKind::NotFound, store.path(), what));
        };
        let (seal, digest): (Seal, _) = document::read(&place, &text, SEAL_FORMAT)?;
        refuse_unknown(&place, &seal.requires)?;
        if seal.id != *id {
            return Err(Error::damaged(
                &place,
                format!("is the seal of {}, not of {id}", seal.id),
            ));
        }
        Ok(Self {
            store: store.clone(),
            seal,
            digest,
        })
    }

    /// The id.
    pub fn id(&self) -> &BackupId {
        &self.seal.id
    }

    /// The seal.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The digest of the seal, which `create` printed.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where one of its files is; for messages.
    pub(crate) fn place(&self, file: &str) -> PathBuf {
        self.store.backend().place(&self.key(file))
    }

    pub(crate) fn key(&self, file: &str) -> String {
        layout::of_backup(self.id(), file)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The entries, in the order of the archive: section by section, in path
    /// order within a section.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] if a byte of the index is not what was written.
    pub fn index(&self) -> Result<Index> {
        let (place, file) = self.index_file()?;
        Index::open(&place, file, &self.seal.archive.index_digest, self.fetch())
    }

    /// The entries of a member and all that is below it, in the order of the
    /// archive; none if the backup has no such member. Takes about as long as
    /// they are many, however many others there are.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] if a byte that was looked at is not what was
    /// written.
    pub fn entries_below(&self, path: &MemberPath) -> Result<Index> {
        let (place, file) = self.index_file()?;
        let digest = &self.seal.archive.index_digest;
        Index::open_at(&place, file, digest, self.fetch(), path)
    }

    /// The frames in which blocks of the index lie.
    pub(crate) fn index_frames(&self) -> Result<Vec<FrameName>> {
        let (place, file) = self.index_file()?;
        index::frames(&place, file, &self.seal.archive.index_digest)
    }

    fn fetch(&self) -> Fetch {
        let store = self.store.clone();
        Arc::new(move |name| store.read_frame(name))
    }

    fn index_file(&self) -> Result<(PathBuf, Box<dyn Blob>)> {
        let place = self.place(layout::INDEX);
        let opened = self.store.backend().open(&self.key(layout::INDEX))?;
        let file = opened.ok_or_else(|| Error::damaged(&place, "is missing"))?;
        Ok((place, file))
    }

    /// The entry of one member.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none.
    pub fn entry(&self, path: &MemberPath) -> Result<Entry> {
        let (place, file) = self.index_file()?;
        let found = Index::find(
            &place,
            file,
            &self.seal.archive.index_digest,
            self.fetch(),
            path,
        )?;
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                path.to_string(),
                format!("the backup {} holds no such member", self.id()),
            )
        })
    }

    /// The names of the frames, in order.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] if a byte of the list is not what was written.
    pub fn frames(&self) -> Result<Vec<FrameName>> {
        let place = self.place(layout::FRAME_LIST);
        let damaged = |what: String| Err(Error::damaged(&place, what));
        let opened = self.store.backend().open(&self.key(layout::FRAME_LIST))?;
        let Some(file) = opened else {
            return damaged("is missing".into());
        };
        let (length, count) = (file.len(), self.seal.archive.frames);
        if count.checked_mul(LINE) != Some(length) {
            return damaged(format!(
                "has {length} bytes; the seal says {count} lines, of {LINE} bytes each"
            ));
        }
        // Line by line, so that no more is held than there are good ones.
        let mut lines = io::BufReader::new(BlobReader::new(&*file));
        let mut hasher = blake3::Hasher::new();
        let mut names = Vec::new();
        for number in 0..count {
            let mut line = [0; LINE as usize];
            lines.read_exact(&mut line).at("read", &place)?;
            hasher.update(&line);
            match frame_of(&line) {
                Some(name) => names.push(name),
                None => {
                    let (at, line) = (number * LINE, line.escape_ascii());
                    return damaged(format!("at byte {at}: no frame has the name \"{line}\""));
                }
            }
        }
        match hasher.finalize().to_hex().as_str() == self.seal.archive.frames_digest {
            true => Ok(names),
            false => damaged("its bytes are not those that were written".into()),
        }
    }

    /// Writes the content of a regular file to `out`, its holes as zeros, and
    /// checks it on the way.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`]; what was written by then is not to be used.
    pub fn read(&self, frames: &[FrameName], entry: &Entry, out: &mut dyn Write) -> Result<()> {
        let place = entry.path.to_string();
        if entry.kind != Kind::File {
            return Err(Error::new(ErrorKind::Refused, place, "is no regular file"));
        }
        let mut spread = Spread::new(entry)?;
        let mut told = 0;
        let mut stored = Frames::new(&self.store, frames).by_all_cores();
        stored.content(entry, &mut |mut bytes| {
            while let Some((at, run)) = spread.next(&mut bytes) {
                hole(out, at - told).at("write", &place)?;
                out.write_all(run).at("write", &place)?;
                told = at + run.len() as u64;
            }
            Ok(())
        })?;
        hole(out, entry.size - told).at("write", &place)
    }

    /// Adds a record of a check; earlier ones stay as they are.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the store can't be written.
    pub fn record(&self, draft: EvidenceDraft) -> Result<Evidence> {
        let plain = |b: u8| b.is_ascii_lowercase() || b == b'-';
        if draft.check.is_empty() || !draft.check.bytes().all(plain) {
            return Err(Error::new(
                ErrorKind::BadName,
                crate::path::escape(draft.check.as_bytes()),
                "is no name of a check",
            ));
        }
        let evidence = Evidence {
            format: EVIDENCE_FORMAT.into(),
            backup: self.id().clone(),
            seal: self.digest.clone(),
            check: draft.check,
            depth: draft.depth,
            passed: draft.passed,
            tool: draft.tool,
            began: draft.began,
            milliseconds: draft.milliseconds,
            findings: draft.findings,
        };
        let (text, digest) = document::write(&evidence)?;
        let stamp: String = evidence
            .began
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let name = format!(
            "{}{stamp}-{}-{}.json",
            layout::EVIDENCE,
            evidence.check,
            &digest[..8]
        );
        if !self.is_there() {
            let what = format!("holds no backup {:?} any more", self.id().as_str());
            return Err(Error::new(ErrorKind::NotFound, self.store.path(), what));
        }
        let backend = self.store.backend();
        match backend.put_new(&self.key(&name), text.as_bytes()) {
            // Its name holds its digest: the same was found in the same second.
            Err(e) if e.kind() == ErrorKind::Exists => Ok(evidence),
            written => written.map(|()| evidence),
        }
    }

    /// Whether the store has this backup still: it may have been let go since it was opened, and
    /// another of its id have come.
    pub fn is_there(&self) -> bool {
        match self.store.backup(self.id()) {
            Ok(found) => found.digest == self.digest,
            Err(e) => e.kind() != ErrorKind::NotFound,
        }
    }

    /// The records of checks, the earliest first.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] if one of them was changed.
    pub fn evidence(&self) -> Result<Vec<Evidence>> {
        let backend = self.store.backend();
        let mut keys = Vec::new();
        backend.list(&self.key(layout::EVIDENCE), &mut |found| {
            keys.push(found.key);
            Ok(())
        })?;
        let mut records = Vec::new();
        for key in keys {
            let place = backend.place(&key);
            let Some(text) = document::load(&**backend, &key)? else {
                continue;
            };
            let (evidence, _): (Evidence, _) = document::read(&place, &text, EVIDENCE_FORMAT)?;
            if evidence.backup != self.seal.id || evidence.seal != self.digest {
                let what = format!("is evidence of {}, not of this backup", evidence.backup);
                return Err(Error::damaged(place, what));
            }
            records.push(evidence);
        }
        Ok(records)
    }
}

/// Bytes of a line of the list of frames.
pub(crate) const LINE: u64 = 68;

/// The frame that a line of the list names, in the one spelling of it: `xargs
/// cat` would follow any other.
fn frame_of(line: &[u8]) -> Option<FrameName> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let name: FrameName = line.get(3..)?.parse().ok()?;
    (name.file() == line).then_some(name)
}

fn hole(out: &mut dyn Write, length: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(length), out).map(drop)
}
