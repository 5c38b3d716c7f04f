//! One line of JSON for each file, compressed, read and written as a stream.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::backend::{Blob, Spool};
use crate::entry::Entry;
use crate::error::{At, Error, ErrorKind, Result};
use crate::frame;

/// The first line of every index.
const HEADER: &str = "{\"format\":\"lava-backup-index/1\"}\n";
/// No line is longer: a path of 64 KiB and a link, each byte written as three.
const MAX_LINE: u64 = 1 << 20;

/// Writes the index of one backup.
pub(crate) struct IndexWriter {
    place: PathBuf,
    zstd: zstd::Encoder<'static, Hashing<BufWriter<Box<dyn Spool>>>>,
    content: blake3::Hasher,
    line: Vec<u8>,
    entries: u64,
}

struct Hashing<W> {
    inner: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl IndexWriter {
    pub(crate) fn new(place: PathBuf, file: Box<dyn Spool>) -> Result<Self> {
        let hashing = Hashing {
            inner: BufWriter::new(file),
            hasher: blake3::Hasher::new(),
        };
        let zstd = zstd::Encoder::new(hashing, 3).at("compress", &place)?;
        let mut index = Self {
            place,
            zstd,
            content: blake3::Hasher::new(),
            line: HEADER.as_bytes().to_vec(),
            entries: 0,
        };
        index.put_line()?;
        Ok(index)
    }

    pub(crate) fn push(&mut self, entry: &Entry) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, entry)
            .map_err(|e| Error::io(&self.place, "encode", std::io::Error::from(e)))?;
        self.line.push(b'\n');
        self.entries += 1;
        self.put_line()
    }

    fn put_line(&mut self) -> Result<()> {
        self.content.update(&self.line);
        self.zstd.write_all(&self.line).at("write", &self.place)
    }

    /// Ends the index; gives its entries, the digest of its text, and its file,
    /// not yet synced.
    pub(crate) fn finish(self) -> Result<(u64, String, Box<dyn Spool>)> {
        let digest = *self.content.finalize().as_bytes();
        let mut hashing = self.zstd.finish().at("write", &self.place)?;
        let trailer = frame::trailer(&hashing.hasher, &digest);
        hashing.inner.write_all(&trailer).at("write", &self.place)?;
        let file = hashing
            .inner
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .at("write", &self.place)?;
        let digest = blake3::Hash::from_bytes(digest).to_hex().to_string();
        Ok((self.entries, digest, file))
    }
}

/// Reads an index: an iterator over its entries in the order of the archive.
///
/// Each entry is checked to come after the one before, and to lie where the
/// content of the one before has ended.
pub struct Index {
    place: PathBuf,
    lines: BufReader<zstd::Decoder<'static, BufReader<std::io::Take<BlobReader>>>>,
    last: Option<Entry>,
    ended_sections: BTreeSet<Vec<u8>>,
    /// Of the text so far, and what it must come to.
    content: blake3::Hasher,
    digest: blake3::Hash,
    failed: bool,
}

impl Index {
    /// Opens a file whose stored bytes are checked against `digest` first.
    pub(crate) fn open(place: &Path, file: Box<dyn Blob>, digest: &str) -> Result<Self> {
        let expected = blake3::Hash::from_hex(digest)
            .map_err(|_| Error::damaged(place, "the seal's digest of it is none"))?;
        let mut file = BlobReader { blob: file, at: 0 };
        let stored = check_stored(place, &mut file, &expected)?;
        file.at = 0;
        let zstd = zstd::Decoder::new(file.take(stored)).at("read", place)?;
        let mut index = Self {
            place: place.to_owned(),
            lines: BufReader::with_capacity(1 << 16, zstd),
            last: None,
            ended_sections: BTreeSet::new(),
            content: blake3::Hasher::new(),
            digest: expected,
            failed: false,
        };
        let header = index.next_line()?.unwrap_or_default();
        if header != HEADER.as_bytes() {
            let first = String::from_utf8_lossy(&header[..header.len().min(80)]).into_owned();
            return Err(Error::new(
                ErrorKind::TooNew,
                place,
                format!("has a first line of another format: {first:?}"),
            ));
        }
        Ok(index)
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut limited = (&mut self.lines).take(MAX_LINE);
        limited
            .read_until(b'\n', &mut line)
            .map_err(|e| Error::damaged(&self.place, format!("does not decompress: {e}")))?;
        self.content.update(&line);
        match line.last() {
            // Whoever can write the store can make stored bytes that fit
            // themselves; the seal says what they must decode to.
            None if self.content.finalize() != self.digest => Err(Error::damaged(
                &self.place,
                "its text is not what the seal says",
            )),
            None => Ok(None),
            Some(b'\n') => Ok(Some(line)),
            Some(_) => Err(Error::damaged(&self.place, "has a line that does not end")),
        }
    }

    fn next_entry(&mut self) -> Result<Option<Entry>> {
        let Some(line) = self.next_line()? else {
            return Ok(None);
        };
        let entry: Entry = serde_json::from_slice(&line).map_err(|e| {
            let what = format!("has a bad entry: {e}");
            match e.to_string().contains("unknown variant") {
                true => Error::new(ErrorKind::TooNew, &self.place, what),
                false => Error::damaged(&self.place, what),
            }
        })?;
        if let Some(what) = entry.contradiction() {
            return Err(self.disorder(&entry, what));
        }
        if let Some(last) = &self.last {
            if last.path.section() != entry.path.section() {
                self.ended_sections.insert(last.path.section().to_vec());
            } else if last.path >= entry.path {
                return Err(self.disorder(&entry, "is out of order"));
            }
            if self.ended_sections.contains(entry.path.section()) {
                return Err(self.disorder(&entry, "belongs to a section that has ended"));
            }
            if (last.frame, last.offset) >= (entry.frame, entry.offset) {
                return Err(self.disorder(&entry, "does not lie after the entry above it"));
            }
        }
        self.last = Some(entry.clone());
        Ok(Some(entry))
    }

    fn disorder(&self, entry: &Entry, what: &str) -> Error {
        Error::damaged(&self.place, format!("its entry {} {what}", entry.path))
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

struct BlobReader {
    blob: Box<dyn Blob>,
    at: u64,
}
impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.blob.len() - self.at;
        let n = buffer.len().min(left as usize);
        self.blob.read_exact_at(&mut buffer[..n], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Reads the file once, and gives the length of its zstd part if every stored
/// byte is what was written.
fn check_stored(place: &Path, file: &mut BlobReader, digest: &blake3::Hash) -> Result<u64> {
    let length = file.blob.len();
    let trailer = frame::trailer(&blake3::Hasher::new(), digest.as_bytes()).len() as u64;
    let Some(stored) = length.checked_sub(trailer) else {
        return Err(Error::damaged(place, "is too short"));
    };
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(Read::by_ref(file).take(stored))
        .at("read", place)?;
    let mut found = Vec::new();
    file.take(trailer + 1)
        .read_to_end(&mut found)
        .at("read", place)?;
    if found != frame::trailer(&hasher, digest.as_bytes()) {
        return Err(Error::damaged(
            place,
            "its stored bytes are not those that were written",
        ));
    }
    Ok(stored)
}

#[cfg(any())]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::entry::{Class, Kind, Time};

    fn entry(path: &str, frame: u64) -> Entry {
        Entry {
            path: path.parse().unwrap(),
            kind: Kind::Dir,
            size: 0,
            mode: 0o755,
            user: "root".into(),
            group: "root".into(),
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            class: Class::Plain,
            blake3: None,
            link: None,
            target: None,
            extents: Vec::new(),
            attributes: None,
            frame,
            offset: 512,
        }
    }

    fn write(entries: &[Entry]) -> (tempfile::NamedTempFile, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut index = IndexWriter::new("index".into(), file.reopen().unwrap()).unwrap();
        for entry in entries {
            index.push(entry).unwrap();
        }
        let (count, digest, _) = index.finish().unwrap();
        assert_eq!(count, entries.len() as u64);
        (file, digest)
    }

    #[test]
    fn an_index_comes_back_entry_by_entry() {
        let entries = [
            entry("config/a", 0),
            entry("config/a/b", 1),
            entry("data/a", 2),
        ];
        let (file, digest) = write(&entries);
        let index = Index::open(Path::new("i"), file.reopen().unwrap(), &digest).unwrap();
        assert_eq!(index.map(Result::unwrap).collect::<Vec<_>>(), entries);
    }

    #[test]
    fn every_changed_byte_of_an_index_is_found() {
        let (file, digest) = write(&[entry("config/a", 0)]);
        let bytes = std::fs::read(file.path()).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            std::fs::write(file.path(), &bad).unwrap();
            let opened = Index::open(Path::new("i"), file.reopen().unwrap(), &digest);
            assert_eq!(
                opened.err().unwrap().kind(),
                ErrorKind::Damaged,
                "byte {at}"
            );
        }
    }

    #[test]
    fn entries_out_of_order_are_damage() {
        let (file, digest) = write(&[entry("config/b", 0), entry("config/a", 1)]);
        let mut index = Index::open(Path::new("i"), file.reopen().unwrap(), &digest).unwrap();
        assert!(index.next().unwrap().is_ok());
        assert!(index.next().unwrap().is_err());
        assert!(index.next().is_none());
    }

    #[test]
    fn an_index_that_was_changed_under_its_seal_is_found_at_its_end() {
        let (_, digest) = write(&[entry("config/a", 0)]);
        let mut other = entry("config/a", 0);
        other.mode = 0o777;
        let (forged, _) = write(&[other.clone()]);
        // The forger gives the stored bytes the trailer that fits the seal.
        let bytes = std::fs::read(forged.path()).unwrap();
        let zstd = &bytes[..bytes.len() - 40];
        let mut hasher = blake3::Hasher::new();
        hasher.update(zstd);
        let sealed = blake3::Hash::from_hex(&digest).unwrap();
        let trailer = frame::trailer(&hasher, sealed.as_bytes());
        std::fs::write(forged.path(), [zstd, &trailer].concat()).unwrap();
        let index = Index::open(Path::new("i"), forged.reopen().unwrap(), &digest).unwrap();
        let read: Vec<_> = index.collect();
        assert_eq!(
            read.last().unwrap().as_ref().unwrap_err().kind(),
            ErrorKind::Damaged
        );
    }

    #[test]
    fn an_entry_that_contradicts_itself_is_damage() {
        let fine = entry("config/a", 0);
        let bad = [
            Entry {
                mode: 0o100_644,
                ..fine.clone()
            },
            Entry {
                kind: Kind::File,
                ..fine.clone()
            },
            Entry {
                kind: Kind::Symlink,
                ..fine.clone()
            },
            Entry {
                size: 1,
                ..fine.clone()
            },
            Entry {
                blake3: Some("00".repeat(32)),
                ..fine.clone()
            },
        ];
        for bad in bad {
            let (file, digest) = write(&[bad]);
            let mut index = Index::open(Path::new("i"), file.reopen().unwrap(), &digest).unwrap();
            assert_eq!(
                index.next().unwrap().unwrap_err().kind(),
                ErrorKind::Damaged
            );
        }
    }
}
