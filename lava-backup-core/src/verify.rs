use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::backup::Backup;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::FrameName;
use crate::layout::{self, Named};
use crate::marks::Marks;
use crate::path::MemberPath;
use crate::previous::Previous;
use crate::seal::{BackupId, Section};
use crate::store::Store;

mod sample;
#[cfg(test)]
mod tests;
mod walk;

pub use sample::{Sample, Sampled, Share};

/// How deeply to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Every document, list and index whole; of frames, that they are there.
    Quick,
    /// What a quick look sees, and every byte of some frames, drawn by lot.
    Sample(Sample),
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
    /// Bytes of frames read; 0 for a quick look.
    pub bytes: u64,
    /// The frames that were read, if not all or none were to be.
    pub sampled: Option<Sampled>,
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
        sampled: None,
        entries: 0,
        damage: Vec::new(),
        sections: BTreeMap::new(),
    };
    check_own_files(backup, &mut report)?;
    let frames = match backup.frames() {
        Ok(frames) => frames,
        Err(e) => {
            report.lost(layout::FRAME_LIST, backup, &e)?;
            return Ok(report);
        }
    };
    match depth {
        Depth::Quick => quick(backup, &frames, BTreeMap::new(), &mut report)?,
        Depth::Sample(sample) => {
            let lost = sample::read(backup, &frames, sample, &mut report)?;
            quick(backup, &frames, lost, &mut report)?;
        }
        Depth::Full => walk::Walk::new(backup, frames, &mut report).run()?,
    }
    report.compare_with_seal(backup);
    Ok(report)
}

/// The lists, and whether each frame is there. `lost` are frames known to be
/// damaged, by their number: where in the report their damage is.
fn quick(
    backup: &Backup,
    frames: &[FrameName],
    mut lost: BTreeMap<u64, usize>,
    report: &mut VerifyReport,
) -> Result<()> {
    for (number, name) in frames.iter().enumerate() {
        report.frames += 1;
        let key = layout::frame(*name);
        let place = backup.store().backend().place(&key);
        let wrong = match backup.store().backend().open(&key) {
            Ok(Some(_)) => None,
            Ok(None) => Some("the frame is missing".to_owned()),
            Err(e) => Some(e.what()),
        };
        if let Some(wrong) = wrong {
            let at = report.damaged(place, &wrong);
            lost.insert(number as u64, at);
        }
    }
    let index = match backup.index() {
        Ok(index) => index,
        Err(e) => return report.lost(layout::INDEX, backup, &e),
    };
    // The lengths of lost frames are unknown, so a content ends where the
    // next entry's headers begin.
    let mut last: Option<(MemberPath, u64, bool)> = None;
    let name = |report: &mut VerifyReport, upto: u64, last: Option<(MemberPath, u64, bool)>| {
        let Some((path, frame, streamed)) = last else {
            return;
        };
        let begin = frame.saturating_sub(u64::from(streamed));
        let end = if streamed { upto } else { 0 };
        let end = end.max(frame.saturating_add(1));
        for (_, at) in lost.range(begin..end) {
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
                report.lost(layout::INDEX, backup, &e)?;
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
    let backend = store.backend();
    let mut damage = Vec::new();
    let mut unsealed: BTreeMap<BackupId, bool> = BTreeMap::new();
    backend.list("", &mut |found| {
        let named = layout::name(&found.key);
        if let Named::OfBackup(id, file) = &named {
            *unsealed.entry(id.clone()).or_default() |= file == layout::SEAL;
        }
        if named == Named::Foreign || (found.foreign && named != Named::Own) {
            damage.push(Damage {
                file: backend.place(&found.key),
                what: "does not belong to the store".into(),
                members: Vec::new(),
            });
        }
        Ok(())
    })?;
    for (id, _) in unsealed.into_iter().filter(|(_, sealed)| !sealed) {
        damage.push(Damage {
            file: backend.place(&layout::backup(&id)),
            what: "has no seal, so it is no backup".into(),
            members: Vec::new(),
        });
    }
    if let Err(e) = Marks::read(store) {
        damage.push(Damage {
            file: e.place().to_owned(),
            what: e.what(),
            members: Vec::new(),
        });
    }
    damage.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(damage)
}

/// The evidence, and what the next run reads.
fn check_own_files(backup: &Backup, report: &mut VerifyReport) -> Result<()> {
    let documents = [
        backup.evidence().map(drop),
        Previous::open(backup).map(drop),
    ];
    for error in documents.into_iter().filter_map(Result::err) {
        match error.kind() {
            ErrorKind::Io => return Err(error),
            _ => report.damaged(error.place().to_owned(), &error.what()),
        };
    }
    Ok(())
}

impl VerifyReport {
    /// A list without which no member can be found.
    fn lost(&mut self, list: &str, backup: &Backup, error: &Error) -> Result<()> {
        // A block of the index may lie in a frame.
        let inside = error.place().starts_with(backup.store().path());
        let file = match inside {
            true => error.place().to_owned(),
            false => backup.place(list),
        };
        if error.kind() == ErrorKind::Io {
            let again = std::io::Error::other(error.to_string());
            return Err(Error::io(file, "read", again));
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
    fn contradiction(&mut self, backup: &Backup, what: &str, member: Option<&MemberPath>) {
        self.damage.push(Damage {
            file: backup.place(layout::INDEX),
            what: what.to_owned(),
            members: member.cloned().into_iter().collect(),
        });
    }

    fn saw(&mut self, entry: &crate::entry::Entry) {
        self.entries += 1;
        Section::add(&mut self.sections, entry);
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
        self.contradiction(backup, what, None);
    }
}
