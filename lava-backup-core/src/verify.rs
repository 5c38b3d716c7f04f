use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::ahead::Ahead;
use crate::backup::Backup;
use crate::entry::{Entry, Kind};
use crate::error::{Error, ErrorKind, Result};
use crate::path::MemberPath;
use crate::store::Store;
use crate::tarstream;

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
    };
    check_own_files(backup, &mut report)?;
    let frames = match backup.frames() {
        Ok(frames) => frames,
        Err(e) => {
            report.lost("frames", backup, &e)?;
            return Ok(report);
        }
    };
    if frames.len() as u64 != backup.seal().archive.frames {
        let e = Error::damaged("frames", "has not the number of frames that the seal says");
        report.lost("frames", backup, &e)?;
        return Ok(report);
    }
    match depth {
        Depth::Quick => {
            for (number, name) in frames.iter().enumerate() {
                report.frames += 1;
                let path = backup.store().frame_path(*name);
                if !path.is_file() {
                    let what = "the frame is missing".to_owned();
                    report.frame_damage(backup, number as u64, path, what);
                }
            }
            match backup.index() {
                Ok(index) => {
                    for entry in index {
                        match entry {
                            Ok(_) => report.entries += 1,
                            Err(e) => report.lost("index.zst", backup, &e)?,
                        }
                    }
                }
                Err(e) => report.lost("index.zst", backup, &e)?,
            }
        }
        Depth::Full => Walk::new(backup, frames, &mut report).run()?,
    }
    if depth == Depth::Quick {
        report.name_members(backup);
    }
    if report.damage.is_empty() && report.entries != backup.seal().archive.entries {
        let e = Error::damaged(
            "index.zst",
            "has not the number of entries that the seal says",
        );
        report.lost("index.zst", backup, &e)?;
    }
    Ok(report)
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
        report.damage.push(Damage {
            file: e.place().to_owned(),
            what: e.to_string(),
            members: Vec::new(),
        });
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
        let missing = matches!(error.kind(), ErrorKind::Damaged | ErrorKind::TooNew)
            || !backup.path().join(list).exists();
        if !missing {
            return Err(Error::new(error.kind(), error.place(), error.to_string()));
        }
        self.damage.push(Damage {
            file: backup.path().join(list),
            what: error.to_string(),
            members: Vec::new(),
        });
        Ok(())
    }

    fn frame_damage(&mut self, backup: &Backup, number: u64, file: PathBuf, what: String) {
        let _ = (backup, number);
        self.damage.push(Damage {
            file,
            what,
            members: Vec::new(),
        });
    }

    /// Finds the members that lie in missing frames, from the index alone.
    fn name_members(&mut self, backup: &Backup) {
        let Ok(frames) = backup.frames() else { return };
        let mut numbers: BTreeMap<u64, usize> = BTreeMap::new();
        for (number, name) in frames.iter().enumerate() {
            let path = backup.store().frame_path(*name);
            if let Some(at) = self.damage.iter().position(|d| d.file == path) {
                numbers.insert(number as u64, at);
            }
        }
        let Ok(index) = backup.index() else { return };
        let mut entries = index.filter_map(Result::ok).peekable();
        while let Some(entry) = entries.next() {
            // Without the frame's length the end of a member is known only by
            // where the next one begins.
            let end = entries
                .peek()
                .map_or(frames.len() as u64, |next| next.frame + 1);
            let begin = entry.frame.saturating_sub(u64::from(entry.offset == 0));
            let spans = if entry.offset == 0 {
                end
            } else {
                entry.frame + 1
            };
            for (_, at) in numbers.range(begin..spans.max(begin + 1)) {
                self.damage[*at].members.push(entry.path.clone());
            }
        }
    }
}

/// One pass over all frames beside the index: the tar headers between the
/// contents, and the contents.
struct Walk<'w> {
    backup: &'w Backup,
    frames: Ahead,
    names: Vec<crate::frame::FrameName>,
    report: &'w mut VerifyReport,
    /// The frame at hand: its number, and its bytes if it is intact.
    number: u64,
    bytes: Option<Vec<u8>>,
    position: usize,
    /// Where in the report the damage of the frame at hand is.
    damaged: Option<usize>,
}

impl<'w> Walk<'w> {
    fn new(
        backup: &'w Backup,
        names: Vec<crate::frame::FrameName>,
        report: &'w mut VerifyReport,
    ) -> Self {
        Self {
            backup,
            frames: Ahead::new(backup.store(), names.clone()),
            names,
            report,
            number: 0,
            bytes: None,
            position: 0,
            damaged: None,
        }
    }

    fn run(mut self) -> Result<()> {
        if !self.load()? {
            return Ok(());
        }
        match self.backup.index() {
            Ok(index) => {
                for entry in index {
                    match entry {
                        Ok(entry) => self.entry(&entry)?,
                        Err(e) => {
                            self.report.lost("index.zst", self.backup, &e)?;
                            break;
                        }
                    }
                }
            }
            Err(e) => self.report.lost("index.zst", self.backup, &e)?,
        }
        let index_whole = self.report.entries == self.backup.seal().archive.entries;
        let mut tail = Vec::new();
        let mut sure = true;
        while let Some(more) = self.rest_of_frame() {
            sure &= more.is_some();
            // Without an index all that follows is only read.
            if index_whole && tail.len() < 4096 {
                tail.extend_from_slice(&more.unwrap_or_default());
            }
            if !self.advance()? {
                break;
            }
        }
        let end = tail.len() >= tarstream::END.len() && tail.iter().all(|b| *b == 0);
        if index_whole && sure && !end {
            self.damage("the tar stream does not end where the index does", None);
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.report.entries += 1;
        let mut hit: Vec<usize> = Vec::new();
        let mut between = Vec::new();
        let mut sure = true;
        // The padding of the entry before, and the header of this one.
        loop {
            let here = self.number == entry.frame;
            let upto = if here {
                entry.offset as usize
            } else {
                usize::MAX
            };
            match self.take(upto) {
                Some(bytes) => between.extend_from_slice(&bytes),
                None => {
                    sure = false;
                    hit.extend(self.damaged);
                }
            }
            if here {
                break;
            }
            if self.number > entry.frame || !self.advance()? {
                self.damage("the index points outside the frames", Some(entry));
                return Ok(());
            }
            if between.len() > crate::frame::MAX_FRAME {
                between.clear();
                sure = false;
            }
        }
        let expected = tarstream::header(entry).len();
        if !sure {
            // Intact bytes before the content may still hold the whole header.
            let intact = self.bytes.is_some() && entry.offset as usize >= expected;
            if intact {
                hit.clear();
            }
        }
        let mut content_is_whole = self.bytes.is_some() || entry.size == 0;
        if entry.kind == Kind::File {
            let mut hasher = blake3::Hasher::new();
            let mut left = entry.size;
            while left > 0 {
                let want = self
                    .position
                    .saturating_add(usize::try_from(left).unwrap_or(usize::MAX));
                match self.take(want) {
                    Some(bytes) => {
                        hasher.update(&bytes);
                        left -= bytes.len() as u64;
                    }
                    None => {
                        content_is_whole = false;
                        hit.extend(self.damaged);
                        break;
                    }
                }
                if left > 0 && !self.advance()? {
                    self.damage("its content lies beyond the last frame", Some(entry));
                    return Ok(());
                }
            }
            let found = hasher.finalize().to_hex().to_string();
            if content_is_whole && entry.blake3.as_deref() != Some(found.as_str()) {
                self.damage("its content is not what the index says", Some(entry));
            }
        }
        if sure {
            let blocks = between.len().checked_sub(expected).map(|at| &between[at..]);
            let wrong = match blocks {
                Some(blocks) => tarstream::agrees(blocks, entry).err(),
                None => Some("has no room for its tar header".into()),
            };
            if let Some(wrong) = wrong {
                self.damage(&wrong, Some(entry));
            }
        }
        hit.dedup();
        for at in hit {
            let members = &mut self.report.damage[at].members;
            if members.last() != Some(&entry.path) {
                members.push(entry.path.clone());
            }
        }
        Ok(())
    }

    /// The bytes of the frame at hand from the position up to `upto`; `None`
    /// if the frame is damaged.
    fn take(&mut self, upto: usize) -> Option<Vec<u8>> {
        let bytes = self.bytes.as_ref()?;
        let upto = upto.min(bytes.len());
        let taken = bytes.get(self.position..upto).unwrap_or_default().to_vec();
        self.position = upto.max(self.position);
        Some(taken)
    }

    /// What is left of the frame at hand; `None` when there is no frame.
    #[allow(clippy::option_option, reason = "no frame, or a damaged one")]
    fn rest_of_frame(&mut self) -> Option<Option<Vec<u8>>> {
        ((self.number as usize) < self.names.len()).then(|| self.take(usize::MAX))
    }

    fn advance(&mut self) -> Result<bool> {
        self.number += 1;
        self.load()
    }

    fn load(&mut self) -> Result<bool> {
        self.position = 0;
        self.damaged = None;
        self.bytes = None;
        let Some(next) = self.frames.next() else {
            return Ok(false);
        };
        self.report.frames += 1;
        match next {
            Ok(bytes) => {
                self.report.bytes += bytes.len() as u64;
                self.bytes = Some(bytes);
            }
            Err(e) => {
                // A frame that can't be read is lost, whatever the reason.
                let name = self.names[usize::try_from(self.number).unwrap_or(0)];
                let file = self.backup.store().frame_path(name);
                let known = self.report.damage.iter().position(|d| d.file == file);
                self.damaged = Some(known.unwrap_or(self.report.damage.len()));
                if known.is_none() {
                    self.report.damage.push(Damage {
                        file,
                        what: e.to_string(),
                        members: Vec::new(),
                    });
                }
            }
        }
        Ok(true)
    }

    fn damage(&mut self, what: &str, entry: Option<&Entry>) {
        self.report.damage.push(Damage {
            file: self.backup.path().join("index.zst"),
            what: what.to_owned(),
            members: entry.map(|e| e.path.clone()).into_iter().collect(),
        });
    }
}
