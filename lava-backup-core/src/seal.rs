use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::path::MemberPath;

/// The format that this version writes and reads.
pub(crate) const SEAL_FORMAT: &str = "lava-backup/1";

/// The manifest of a backup, written last.
///
/// Members that this version does not know are kept out of sight but count in
/// the digest; features named in `requires` that it does not know are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seal {
    /// The format of the backup.
    pub format: String,
    /// Features that a reader must know to read this backup rightly.
    pub requires: Vec<String>,
    /// The backup's id; also the name of its directory.
    pub id: BackupId,
    /// The store that it was made in.
    pub store: String,
    /// The program that made it, with its version.
    pub tool: String,
    /// The host that was backed up.
    pub host: String,
    /// The instant that it shows, RFC 3339 in UTC.
    pub taken: String,
    /// When it was sealed, RFC 3339 in UTC.
    pub sealed: String,
    /// Is everything in it that should be?
    pub outcome: Outcome,
    /// What was not as it should be, in the order met.
    pub problems: Vec<Problem>,
    /// What each section holds.
    pub sections: BTreeMap<String, Section>,
    /// The tar stream.
    pub archive: Archive,
    /// Documents of the caller: what the host was, what the database held.
    pub documents: BTreeMap<String, Value>,
}

/// Files and bytes of one section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Entries of every type.
    pub entries: u64,
    /// Bytes of content of its regular files.
    pub bytes: u64,
}

impl Section {
    /// Counts an entry in its section.
    pub(crate) fn add(sections: &mut BTreeMap<String, Self>, entry: &Entry) {
        let name = String::from_utf8_lossy(entry.path.section()).into_owned();
        let section = sections.entry(name).or_default();
        section.entries += 1;
        section.bytes = section.bytes.saturating_add(entry.size);
    }
}

/// The tar stream of a backup and its two lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// Frames in order, one that occurs twice counted twice.
    pub frames: u64,
    /// Bytes of the tar stream.
    pub bytes: u64,
    /// Bytes of its frames as stored.
    pub stored: u64,
    /// BLAKE3 of the file `frames`.
    pub frames_digest: String,
    /// Entries of the index.
    pub entries: u64,
    /// BLAKE3 of the names of the blocks of the index.
    pub index_digest: String,
}

/// Whether a backup holds all that it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It does.
    Complete,
    /// Something could not be had; `problems` names it.
    Degraded,
}

/// Something that was not as it should be while a backup was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable word for the kind of problem.
    pub code: String,
    /// The file that it concerns, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<MemberPath>,
    /// What happened, for a person.
    pub message: String,
    /// Does the backup lack something because of it?
    pub degrades: bool,
}

/// The name of a backup: letters and digits, and after the first of them `-`,
/// `_` and `.` too; at most 128 bytes.
///
/// Ids that begin with the time sort by age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

impl BackupId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BackupId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let fine = text.len() <= 128
            && text.bytes().all(plain)
            && text
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_alphanumeric());
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::new(
                ErrorKind::BadName,
                crate::path::escape(text.as_bytes()),
                "is no id of a backup",
            ))
        }
    }
}

impl TryFrom<String> for BackupId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_name_nothing_outside_its_directory() {
        for bad in ["", ".", "..", "a/b", "-x", ".hidden", "a b", "é", "a\0"] {
            assert!(bad.parse::<BackupId>().is_err(), "{bad:?}");
        }
        assert!(
            "20261122T214018Z-lab-01.example"
                .parse::<BackupId>()
                .is_ok()
        );
    }
}
