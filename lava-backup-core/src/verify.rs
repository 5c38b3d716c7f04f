use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::backup::Backup;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::FrameName;
use crate::path::MemberPath;
use crate::seal::Section;
use crate::store::Store;

#[cfg(test)]
mod tests;
mod walk;

/// How deeply to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Every document, list and index whole; of frames, that they are there.
    Quick,
    /// Every byte.
    Full,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// How deeply it looked.
    pub depth: Depth,
    /// Frames looked at.
    pub frames: u64,
    /// Bytes of the tar stream read; 0 for a quick look.
    pub bytes: u64,
    /// Entries looked at.
    pub entries: u64,
    /// What is not as it was written. Empty: all is well.
    pub damage: Vec<Damage>,
    #[serde(skip)]
    sections: BTreeMap<String, Section>,
}

/// One file of the store, or one member, that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The file of the store.
    pub file: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// The members that can't be had because of it, in archive order.
    pub members: Vec<MemberPath>,
}

/// Checks one backup: its seal was checked when it was opened.
///
/// # Errors
/// Only what keeps it from looking at all; damage is in the report.
pub fn verify(backup: &Backup, depth: Depth) -> Result<VerifyReport> {
    let mut report = VerifyReport {
        depth,
        frames: 0,
        bytes: 0,
        entries: 0,
        damage: Vec::new(),
        sections: BTreeMap::new(),
    };
    check_own_files(backup, &mut report)?;
    let frames = match backup.frames() {
        Ok(frames) => frames,
        Err(e) => {
            report.lost("frames", backup, &e)?;
            return Ok(report);
        }
    };
    match depth {
        Depth::Quick => quick(backup, &frames, &mut report)?,
        Depth::Full => walk::Walk::new(backup, frames, &mut report).run()?,
    }
    report.compare_with_seal(backup);
    Ok(report)
}

/// The lists, and whether each frame is there.
fn quick(backup: &Backup, frames: &[FrameName], report: &mut VerifyReport) -> Result<()> {
    // Where in the report the damage of a missing frame is, by its number.
    let mut missing: BTreeMap<u64, usize> = BTreeMap::new();
    for (number, name) in frames.iter().enumerate() {
        report.frames += 1;
        let path = backup.store().frame_path(*name);
        if !path.is_file() {
            let at = report.damaged(path, "the frame is missing");
            missing.insert(number as u64, at);
        }
    }
    let index = match backup.index() {
        Ok(index) => index,
        Err(e) => return report.lost("index.zst", backup, &e),
    };
    // The lengths of missing frames are unknown, so a content ends where the
    // next entry's headers begin.
    let mut last: Option<(MemberPath, u64, bool)> = None;
    let name = |report: &mut VerifyReport, upto: u64, last: Option<(MemberPath, u64, bool)>| {
        let Some((path, frame, streamed)) = last else {
            return;
        };
        let begin = frame.saturating_sub(u64::from(streamed));
        let end = if streamed { upto } else { 0 };
        let end = end.max(frame.saturating_add(1));
        for (_, at) in missing.range(begin..end) {
            // One frame may come more than once.
            let members = &mut report.damage[*at].members;
            if members.last() != Some(&path) {
                members.push(path.clone());
            }
        }
    };
    for entry in index {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                report.lost("index.zst", backup, &e)?;
                break;
            }
        };
        report.saw(&entry);
        name(report, entry.first_frame(), last.take());
        last = Some((entry.path, entry.frame, entry.offset == 0));
    }
    name(report, frames.len() as u64, last);
    Ok(())
}

/// Files of the store that nobody wrote through us.
///
/// # Errors
/// [`ErrorKind::Io`] if the store can't be read.
pub fn verify_store(store: &Store) -> Result<Vec<Damage>> {
    let foreign = |file: PathBuf| Damage {
        file,
        what: "does not belong to the store".into(),
        members: Vec::new(),
    };
    let (found, _) = store.survey_frames()?;
    let mut damage: Vec<Damage> = found.into_iter().map(foreign).collect();
    let known = ["store.json", "frames", "backups", "tmp"];
    for (place, known) in [(store.path().to_owned(), &known[..])] {
        let io = |e| Error::io(&place, "read directory", e);
        for found in fs::read_dir(&place).map_err(io)? {
            let found = found.map_err(io)?;
            if !known.iter().any(|k| found.file_name() == *k) {
                damage.push(foreign(found.path()));
            }
        }
    }
    let place = store.path().join("backups");
    let io = |e| Error::io(&place, "read directory", e);
    let sealed = store.backups()?;
    for found in fs::read_dir(&place).map_err(io)? {
        let found = found.map_err(io)?;
        if !sealed.iter().any(|id| found.file_name() == id.as_str()) {
            damage.push(Damage {
                what: "has no seal, so it is no backup".into(),
                ..foreign(found.path())
            });
        }
    }
    damage.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(damage)
}

/// The evidence, and files that do not belong beside a seal.
fn check_own_files(backup: &Backup, report: &mut VerifyReport) -> Result<()> {
    if let Err(e) = backup.evidence() {
        if e.kind() == ErrorKind::Io {
            return Err(e);
        }
        report.damaged(e.place().to_owned(), &e.what());
    }
    let place = backup.path();
    let io = |e| Error::io(place, "read directory", e);
    for found in fs::read_dir(place).map_err(io)? {
        let found = found.map_err(io)?;
        let known = ["backup.json", "frames", "index.zst", "evidence"];
        if !known.iter().any(|k| found.file_name() == *k) {
            report.damage.push(Damage {
                file: found.path(),
                what: "does not belong to the backup".into(),
                members: Vec::new(),
            });
        }
    }
    Ok(())
}

impl VerifyReport {
    /// A list without which no member can be found.
    fn lost(&mut self, list: &str, backup: &Backup, error: &Error) -> Result<()> {
        let file = backup.path().join(list);
        if error.kind() == ErrorKind::Io && file.exists() {
            return Err(Error::io(
                file,
                "read",
                std::io::Error::other(error.to_string()),
            ));
        }
        self.damaged(file, &error.what());
        Ok(())
    }

    /// Notes a file of the store as damaged, each file once; gives its place
    /// in the list.
    fn damaged(&mut self, file: PathBuf, what: &str) -> usize {
        if let Some(at) = self.damage.iter().position(|d| d.file == file) {
            return at;
        }
        self.damage.push(Damage {
            file,
            what: what.to_owned(),
            members: Vec::new(),
        });
        self.damage.len() - 1
    }

    /// Notes that index and frames of a backup contradict each other.
    fn contradiction(&mut self, backup: &Path, what: &str, member: Option<&MemberPath>) {
        self.damage.push(Damage {
            file: backup.join("index.zst"),
            what: what.to_owned(),
            members: member.cloned().into_iter().collect(),
        });
    }

    fn saw(&mut self, entry: &crate::entry::Entry) {
        self.entries += 1;
        let section = String::from_utf8_lossy(entry.path.section()).into_owned();
        let section = self.sections.entry(section).or_default();
        section.entries += 1;
        section.bytes = section.bytes.saturating_add(entry.size);
    }

    /// The sums that the seal holds.
    fn compare_with_seal(&mut self, backup: &Backup) {
        if !self.damage.is_empty() {
            return;
        }
        let archive = &backup.seal().archive;
        let what = if self.frames != archive.frames {
            "the number of frames is not what the seal says"
        } else if self.entries != archive.entries || self.sections != backup.seal().sections {
            "the entries of the index are not what the seal says"
        } else if self.depth == Depth::Full && self.bytes != archive.bytes {
            "the length of the tar stream is not what the seal says"
        } else {
            return;
        };
        self.contradiction(backup.path(), what, None);
    }
}
