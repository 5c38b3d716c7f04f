use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::seal::BackupId;

/// The format that this version writes and reads.
pub(crate) const EVIDENCE_FORMAT: &str = "lava-backup-evidence/1";

/// The record of one check of one backup, kept beside it and never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The format of the record.
    pub format: String,
    /// The backup that was checked.
    pub backup: BackupId,
    /// The digest of its seal.
    pub seal: String,
    /// What was done: `verify`, `drill`.
    pub check: String,
    /// How deeply, in words that the check defines.
    pub depth: String,
    /// Did it hold?
    pub passed: bool,
    /// The program that checked, with its version.
    pub tool: String,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// What was found, and what the check did not look at.
    pub findings: Value,
}

/// A record that does not know its backup yet: for
/// [`Backup::record`](crate::Backup::record), which fills that in.
#[derive(Clone, Debug)]
pub struct EvidenceDraft {
    pub(crate) check: String,
    pub(crate) depth: String,
    pub(crate) passed: bool,
    /// The program that checked, with its version.
    pub tool: String,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// What was found, and what the check did not look at.
    pub findings: Value,
}

impl EvidenceDraft {
    /// Of a check, at a depth that it names in its own words, and whether it
    /// held.
    pub fn new(check: &str, depth: &str, passed: bool) -> Self {
        Self {
            check: check.to_owned(),
            depth: depth.to_owned(),
            passed,
            tool: String::new(),
            began: String::new(),
            milliseconds: 0,
            findings: Value::Null,
        }
    }
}
