//! Where the files of a store are: the one place that knows their keys.

use std::path::Path;

use crate::frame::FrameName;
use crate::seal::BackupId;

pub(crate) const STORE: &str = "store.json";
pub(crate) const FRAMES: &str = "frames/";
pub(crate) const BACKUPS: &str = "backups/";
pub(crate) const MARKS: &str = "marks.json";

/// The files of a backup, below its prefix. The seal comes last.
pub(crate) const SEAL: &str = "backup.json";
pub(crate) const FRAME_LIST: &str = "frames";
pub(crate) const INDEX: &str = "index.zst";
pub(crate) const SEEN: &str = "seen.json";
pub(crate) const EVIDENCE: &str = "evidence/";

pub(crate) fn frame(name: FrameName) -> String {
    format!("{FRAMES}{}", name.file())
}

/// The prefix of a backup's files.
pub(crate) fn backup(id: &BackupId) -> String {
    format!("{BACKUPS}{id}/")
}

/// One of a backup's files.
pub(crate) fn of_backup(id: &BackupId, file: &str) -> String {
    format!("{BACKUPS}{id}/{file}")
}

/// What a key names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A frame.
    Frame(FrameName),
    /// A file of a backup, and what it is below the backup's prefix.
    OfBackup(BackupId, String),
    /// What is being written; and what belongs to the store as such.
    Own,
    /// Nothing that is ours.
    Foreign,
}

/// What a key names.
pub(crate) fn name(key: &str) -> Named {
    if let Some(file) = key.strip_prefix(FRAMES) {
        let name = file.get(3..).and_then(|name| name.parse().ok());
        let exact = |name: &FrameName| name.file() == file;
        return name.filter(exact).map_or(Named::Foreign, Named::Frame);
    }
    if let Some(rest) = key.strip_prefix(BACKUPS) {
        let Some((id, file)) = rest.split_once('/') else {
            return Named::Foreign;
        };
        let record = |f: &str| {
            f.strip_prefix(EVIDENCE)
                .is_some_and(|f| !f.contains('/') && is_json(f))
        };
        let known = [SEAL, FRAME_LIST, INDEX, SEEN].contains(&file) || record(file);
        return match id.parse() {
            Ok(id) if known => Named::OfBackup(id, file.to_owned()),
            _ => Named::Foreign,
        };
    }
    match key {
        STORE | MARKS | "lock" => Named::Own,
        _ if key.starts_with("tmp/") => Named::Own,
        _ => Named::Foreign,
    }
}

fn is_json(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == "json")
}
