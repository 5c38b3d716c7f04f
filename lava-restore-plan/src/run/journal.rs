//! What happened in a run, written down before and after it happened.
//!
//! A line is a JSON object whose last member is `digest`, the BLAKE3 of the line up to the comma
//! before it. `after` is the digest of the line before, in the first line that of the plan: so no
//! line can be changed, left out or put elsewhere without a trace. (That lines are missing at the
//! end is not to be seen in a file alone. What they tell of is then done again.)
//!
//! A line is on the disk before the run goes on. If power is lost while it is written, all of it may
//! be missing but parts of its end, or its end: it has no newline then, or NUL bytes for what is
//! missing. Such a last line was never relied on, and is cut off.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::error::{At, Error, ErrorKind, Result};
use super::record::Entry;

/// No journal is longer: a run of a large lab has some hundred kilobytes.
const LIMIT: u64 = 256 << 20;

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place, from 0.
    pub n: u64,
    /// When it was written, in the words of the caller's clock.
    pub at: String,
    /// What happened.
    pub entry: Entry,
    /// The digest of the record before.
    pub after: String,
}

/// The journal of one run.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// How long it is, without what a failed write may have left.
    length: u64,
    head: String,
    records: Vec<Record>,
    torn: u64,
    broken: bool,
}

impl Journal {
    /// Opens the journal that is there, or a new one; cuts off a last line that is torn.
    ///
    /// # Errors
    /// `Damaged` if a line is not as it was written, and `Io`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .at("open", path)?;
        let mut bytes = Vec::new();
        let read = (&mut file).take(LIMIT).read_to_end(&mut bytes);
        if read.at("read", path)? as u64 == LIMIT {
            let what = format!("read {}: it is no journal, it is too long", path.display());
            return Err(Error::new(ErrorKind::Damaged, what));
        }
        let (records, head, whole) = read_all(path, &bytes)?;
        let mut journal = Self {
            path: path.to_owned(),
            file,
            length: whole.bytes,
            head,
            records,
            torn: (bytes.len() as u64).saturating_sub(whole.bytes),
            broken: false,
        };
        if whole.lacks_newline {
            journal.write(b"\n")?;
        } else if journal.torn > 0 {
            journal.cut().at("cut off the torn end of", path)?;
        }
        Ok(journal)
    }

    /// The records of the journal that is there, if one is; it is left as it is.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub(crate) fn look(path: &Path) -> Result<Vec<Record>> {
        match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            read => Ok(read_all(path, &read.at("read", path)?)?.0),
        }
    }

    /// Its records, in their order.
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    /// The bytes of a torn last line that were cut off.
    pub(crate) fn torn(&self) -> u64 {
        self.torn
    }

    /// The digest of its last record, or what stands for it before the first.
    pub(crate) fn head(&self) -> &str {
        &self.head
    }

    /// What the first record is to come after.
    pub(crate) fn anchor(&mut self, digest: &str) {
        if self.records.is_empty() {
            digest.clone_into(&mut self.head);
        }
    }

    /// Adds a record; it lasts when this returns.
    ///
    /// # Errors
    /// `Io`; then the record is not there.
    pub(crate) fn append(&mut self, at: String, entry: Entry) -> Result<&Record> {
        let record = Record {
            n: self.records.len() as u64,
            at,
            entry,
            after: self.head.clone(),
        };
        let (line, digest) = line(&record)?;
        self.write(line.as_bytes())?;
        self.head = digest;
        let at = self.records.len();
        self.records.push(record);
        Ok(&self.records[at])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.broken {
            let what = format!("write {}: an earlier write failed", self.path.display());
            return Err(Error::new(ErrorKind::Io, what));
        }
        let written = self.file.write_all(bytes);
        match written.and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What of it is there must not come before the next record.
                self.broken = self.cut().is_err();
                Err(error).at("write", &self.path)
            }
        }
    }

    fn cut(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.sync_all()
    }
}

/// The part of a file that is whole records.
struct Whole {
    bytes: u64,
    lacks_newline: bool,
}

fn read_all(path: &Path, bytes: &[u8]) -> Result<(Vec<Record>, String, Whole)> {
    let mut records: Vec<Record> = Vec::new();
    let mut head = String::new();
    let mut whole = Whole {
        bytes: 0,
        lacks_newline: false,
    };
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\n");
        let is_last = whole.bytes as usize + line.len() == bytes.len();
        let read = read_line(text.unwrap_or(line), &records, &head);
        match (read, text.is_some()) {
            (Ok((record, digest)), ended) => {
                records.push(record);
                head = digest;
                whole.bytes += line.len() as u64;
                whole.lacks_newline = !ended;
            }
            (Err(_), false) => break,
            (Err(_), true) if is_last && line.contains(&0) => break,
            (Err(why), true) => {
                let place = format!("line {} of {}", records.len() + 1, path.display());
                return Err(Error::new(
                    ErrorKind::Damaged,
                    format!("trust {place}: {why}"),
                ));
            }
        }
    }
    Ok((records, head, whole))
}

const DIGEST: &str = ",\"digest\":\"";
/// A BLAKE3 digest in hexadecimal.
const HEX: usize = 64;

/// Reads one line, which must follow these records.
fn read_line(
    line: &[u8],
    before: &[Record],
    head: &str,
) -> std::result::Result<(Record, String), &'static str> {
    let changed = "it is not as it was written";
    let text = std::str::from_utf8(line).map_err(|_| changed)?;
    let rest = text.strip_suffix("\"}").ok_or(changed)?;
    let (rest, digest) = rest
        .len()
        .checked_sub(HEX)
        .and_then(|at| rest.split_at_checked(at))
        .ok_or(changed)?;
    let body = rest.strip_suffix(DIGEST).ok_or(changed)?;
    if blake3::hash(body.as_bytes()).to_hex().as_str() != digest {
        return Err(changed);
    }
    let record: Record = serde_json::from_str(text)
        .map_err(|_| "another version of this program wrote it, and this one can't read it")?;
    let follows = record.n == before.len() as u64 && (before.is_empty() || record.after == head);
    match follows {
        true => Ok((record, digest.to_owned())),
        false => Err("it does not follow the line before it"),
    }
}

/// The line of a record, and its digest.
fn line(record: &Record) -> Result<(String, String)> {
    let text = serde_json::to_string(record)
        .map_err(|e| Error::new(ErrorKind::Io, format!("write down a record: {e}")))?;
    let body = text.strip_suffix('}').unwrap_or(&text);
    let digest = blake3::hash(body.as_bytes()).to_hex().to_string();
    Ok((format!("{body}{DIGEST}{digest}\"}}\n"), digest))
}

#[cfg(test)]
mod tests;
