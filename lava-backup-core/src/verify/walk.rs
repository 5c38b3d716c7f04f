//! One pass over all frames beside the index: the tar headers between the
//! contents, and the contents.

use super::VerifyReport;
use crate::ahead::{Ahead, Decoded};
use crate::backup::Backup;
use crate::entry::{Entry, Kind};
use crate::error::Result;
use crate::frame::{FrameName, MAX_FRAME};
use crate::layout;
use crate::path::MemberPath;
use crate::tarstream;

/// Where the pass is.
pub(super) struct Walk<'w> {
    backup: &'w Backup,
    ahead: Ahead,
    frames: Vec<FrameName>,
    report: &'w mut VerifyReport,
    /// The frame at hand: its number, and its bytes.
    number: u64,
    frame: Frame,
    /// Where in the report the damage of the frame at hand is.
    damaged: Option<usize>,
    /// Zeros that end the content before, in what comes next.
    padding: usize,
    /// The member before, if its content may reach into the frames that come.
    streamed: Option<MemberPath>,
}

impl<'w> Walk<'w> {
    pub(super) fn new(
        backup: &'w Backup,
        frames: Vec<FrameName>,
        report: &'w mut VerifyReport,
    ) -> Self {
        Self {
            backup,
            ahead: Ahead::new(backup.store(), frames.clone()),
            frames,
            report,
            number: 0,
            frame: Frame::default(),
            damaged: None,
            padding: 0,
            streamed: None,
        }
    }

    pub(super) fn run(mut self) -> Result<()> {
        self.load();
        let index_is_whole = self.entries()?;
        // What follows the last content, or all of it where the index has an end
        // that is none.
        let mut tail = 0usize;
        let mut zeros = true;
        let mut sure = true;
        while self.number < self.frames.len() as u64 {
            match self.frame.take(usize::MAX) {
                Some(bytes) => {
                    tail = tail.saturating_add(bytes.len());
                    zeros &= bytes.iter().all(|b| *b == 0);
                }
                None => {
                    sure = false;
                    if index_is_whole {
                        self.blame_streamed();
                    }
                }
            }
            self.advance();
        }
        let expected = self.padding + tarstream::END.len();
        if index_is_whole && sure && !(zeros && tail == expected) {
            self.contradiction("the tar stream does not end where the index does", None);
        }
        Ok(())
    }

    /// Goes through the index; `false` if it could not be read to its end.
    fn entries(&mut self) -> Result<bool> {
        let index = match self.backup.index() {
            Ok(index) => index,
            Err(e) => {
                self.report.lost(layout::INDEX, self.backup, &e)?;
                return Ok(false);
            }
        };
        for entry in index {
            match entry {
                Ok(entry) if !self.entry(&entry) => return Ok(false),
                Ok(_) => {}
                Err(e) => {
                    self.report.lost(layout::INDEX, self.backup, &e)?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Checks one entry; `false` if it lies outside the frames.
    fn entry(&mut self, entry: &Entry) -> bool {
        self.report.saw(entry);
        let mut hit = Vec::new();
        let Some(between) = self.up_to(entry, &mut hit) else {
            self.contradiction("the index points outside the frames", Some(&entry.path));
            return false;
        };
        if between.whole {
            let wrong = match between.bytes.split_at_checked(self.padding) {
                Some((zeros, _)) if zeros.iter().any(|b| *b != 0) => {
                    Some("the content before it is not padded with zeros".into())
                }
                Some((_, header)) => tarstream::agrees(header, entry).err(),
                None => Some("there is no room for its tar header".into()),
            };
            if let Some(wrong) = wrong {
                self.contradiction(&wrong, Some(&entry.path));
            }
        }
        self.padding = 0;
        self.streamed = (entry.offset == 0).then(|| entry.path.clone());
        if entry.kind == Kind::File {
            match self.content(entry, &mut hit) {
                Content::Same => {}
                Content::Differs => {
                    self.contradiction("its content is not what the index says", Some(&entry.path))
                }
                Content::Lost => {}
                Content::Beyond => {
                    self.contradiction("its content lies beyond the frames", Some(&entry.path));
                    return false;
                }
            }
            self.padding = tarstream::padding(tarstream::stored_size(entry));
        }
        hit.dedup();
        for at in hit {
            self.blame(at, &entry.path);
        }
        true
    }

    /// How long a lost frame was is not known, so all up to the next header
    /// may be the content of the member before.
    fn blame_streamed(&mut self) {
        if let (Some(at), Some(path)) = (self.damaged, self.streamed.clone()) {
            self.blame(at, &path);
        }
    }

    fn blame(&mut self, at: usize, path: &MemberPath) {
        let members = &mut self.report.damage[at].members;
        if members.last() != Some(path) {
            members.push(path.clone());
        }
    }

    /// The bytes up to the content of an entry; `None` if the index points
    /// where there is nothing.
    fn up_to(&mut self, entry: &Entry, hit: &mut Vec<usize>) -> Option<Between> {
        let offset = usize::try_from(entry.offset).ok()?;
        if entry.frame >= self.frames.len() as u64 {
            return None;
        }
        let mut between = Between {
            bytes: Vec::new(),
            whole: true,
        };
        loop {
            let here = self.number == entry.frame;
            // Of a frame in which the content begins at once, nothing is its
            // header.
            if here && offset == 0 {
                return (self.frame.position == 0).then_some(between);
            }
            match self.frame.take(if here { offset } else { usize::MAX }) {
                Some(bytes) => between.bytes.extend_from_slice(bytes),
                None => {
                    between.bytes.clear();
                    between.whole = false;
                    if self.number < entry.first_frame() {
                        self.blame_streamed();
                    } else {
                        hit.extend(self.damaged);
                    }
                }
            }
            if here {
                let reached = self.frame.bytes.is_none() || self.frame.position == offset;
                return reached.then_some(between);
            }
            // No header is longer than a frame: the index has left something out.
            // After damage it may be the rest of a content, which is let go.
            if between.bytes.len() > MAX_FRAME {
                if between.whole {
                    return None;
                }
                between.bytes.clear();
            }
            if self.number > entry.frame || !self.advance() {
                return None;
            }
        }
    }

    fn content(&mut self, entry: &Entry, hit: &mut Vec<usize>) -> Content {
        let mut hasher = blake3::Hasher::new();
        let mut left = tarstream::stored_size(entry);
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX);
            match self.frame.take(self.frame.position.saturating_add(want)) {
                Some(bytes) => {
                    hasher.update(bytes);
                    left -= bytes.len() as u64;
                }
                None => {
                    hit.extend(self.damaged);
                    return Content::Lost;
                }
            }
            if left > 0 && !self.advance() {
                return Content::Beyond;
            }
        }
        if entry.blake3.as_deref() == Some(hasher.finalize().to_hex().as_str()) {
            Content::Same
        } else {
            Content::Differs
        }
    }

    /// Goes to the next frame; `false` if there is none.
    fn advance(&mut self) -> bool {
        self.number = self.number.saturating_add(1);
        self.load()
    }

    fn load(&mut self) -> bool {
        self.frame = Frame::default();
        self.damaged = None;
        let name = usize::try_from(self.number).ok();
        let name = name.and_then(|n| self.frames.get(n).copied());
        let (Some(name), Some(next)) = (name, self.ahead.next()) else {
            return false;
        };
        self.report.frames += 1;
        match next {
            Ok(bytes) => {
                self.report.bytes += bytes.len() as u64;
                self.frame.bytes = Some(bytes);
            }
            // A frame that can't be read is lost, whatever the reason.
            Err(e) => {
                let file = self.backup.store().frame_place(name);
                self.damaged = Some(self.report.damaged(file, &e.what()));
            }
        }
        true
    }

    fn contradiction(&mut self, what: &str, member: Option<&MemberPath>) {
        self.report.contradiction(self.backup, what, member);
    }
}

/// A frame that is gone through.
#[derive(Default)]
struct Frame {
    /// Nothing if it is damaged.
    bytes: Option<Decoded>,
    position: usize,
}

impl Frame {
    /// The bytes from the position up to `upto`; `None` if it is damaged.
    fn take(&mut self, upto: usize) -> Option<&[u8]> {
        let bytes = self.bytes.as_ref()?;
        let upto = upto.min(bytes.len()).max(self.position);
        let from = std::mem::replace(&mut self.position, upto);
        Some(&bytes[from..upto])
    }
}

/// What lies between two contents: padding, and a header.
struct Between {
    /// The bytes that reach to the content, from the last that is lost on.
    bytes: Vec<u8>,
    /// Is nothing lost?
    whole: bool,
}

/// How the content of a file compares with its entry.
enum Content {
    Same,
    Differs,
    Lost,
    Beyond,
}
