//! An earlier backup, frame by frame, whose frames may be taken over.

use crate::backup::Backup;
use crate::document;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::frame::FrameName;
use crate::index::Index;
use crate::layout;
use crate::path::MemberPath;
use crate::pipeline::Put;
use crate::seen::{SEEN_FORMAT, SeenDocument, SeenFrame, Stand};

/// An earlier backup of the same files.
pub(crate) struct Previous {
    backup: Backup,
    frames: Vec<FrameName>,
    seen: Vec<SeenFrame>,
    index: Index,
    /// The entry that was read last and belongs to the next group.
    ahead: Option<Entry>,
    group: Option<Group>,
    ended: bool,
    /// The section that is asked for, and whether a group of it was met.
    section: Vec<u8>,
    met: bool,
}

/// The members of one gathered frame, or a streamed file with all its frames.
pub(crate) struct Group {
    pub(crate) entries: Vec<Entry>,
    /// How its files stood when they were read; nothing if they are to be read
    /// anew.
    pub(crate) stand: Option<Stand>,
    pub(crate) frames: Vec<Put>,
}

impl Previous {
    /// Nothing if the backup does not tell how its files stood.
    pub(crate) fn open(backup: &Backup) -> Result<Option<Self>> {
        let key = layout::of_backup(backup.id(), layout::SEEN);
        let backend = backup.store().backend();
        let Some(text) = document::load(&**backend, &key)? else {
            return Ok(None);
        };
        let place = backend.place(&key);
        let (seen, _): (SeenDocument, _) = document::read(&place, &text, SEEN_FORMAT)?;
        let frames = backup.frames()?;
        let fits = seen.frames_digest == backup.seal().archive.frames_digest
            && seen.frames.len() == frames.len();
        if !fits {
            return Ok(None);
        }
        let parse =
            |text: &String| SeenFrame::parse(text).map_err(|e| Error::damaged(&place, e.what()));
        let seen: Result<Vec<_>> = seen.frames.iter().map(parse).collect();
        Ok(Some(Self {
            index: backup.index()?,
            seen: seen?,
            frames,
            backup: backup.clone(),
            ahead: None,
            group: None,
            ended: false,
            section: Vec::new(),
            met: false,
        }))
    }

    /// The group that begins with this member, if one does. Those before it are
    /// let go, so members are to be asked for in order; a section may begin
    /// anew.
    pub(crate) fn group_at(&mut self, member: &MemberPath) -> Result<Option<Group>> {
        if self.section != member.section() {
            self.section = member.section().to_vec();
            self.met = false;
        }
        loop {
            if self.group.is_none() {
                self.group = self.next_group()?;
            }
            let Some(first) = self.group.as_ref().and_then(|g| g.entries.first()) else {
                // The sections may have stood in another order.
                if self.met || !self.has_section(member) {
                    return Ok(None);
                }
                self.restart()?;
                continue;
            };
            self.met |= first.path.section() == member.section();
            if first.path == *member {
                return Ok(self.group.take());
            }
            if first.path.section() == member.section() && first.path > *member {
                return Ok(None);
            }
            self.group = None;
        }
    }

    fn has_section(&self, member: &MemberPath) -> bool {
        let section = String::from_utf8_lossy(member.section());
        self.backup.seal().sections.contains_key(&*section)
    }

    /// Goes back to the first group, which happens once for each section.
    fn restart(&mut self) -> Result<()> {
        self.index = self.backup.index()?;
        self.ahead = None;
        self.group = None;
        self.ended = false;
        self.met = true;
        Ok(())
    }

    fn next_group(&mut self) -> Result<Option<Group>> {
        if self.ended {
            return Ok(None);
        }
        let first = match self.ahead.take() {
            Some(first) => first,
            None => match self.index.next().transpose()? {
                Some(first) => first,
                None => {
                    self.ended = true;
                    return Ok(None);
                }
            },
        };
        let begin = first.first_frame();
        let mut entries = vec![first];
        // The last frame ends the stream, and belongs to no member.
        let mut end = (self.frames.len() as u64).saturating_sub(1);
        for entry in self.index.by_ref() {
            let entry = entry?;
            if entry.first_frame() != begin {
                end = entry.first_frame();
                self.ahead = Some(entry);
                break;
            }
            entries.push(entry);
        }
        Ok(Some(self.group(entries, begin, end)))
    }

    fn group(&self, entries: Vec<Entry>, begin: u64, end: u64) -> Group {
        let range = usize::try_from(begin).ok().zip(usize::try_from(end).ok());
        let named = range.and_then(|(begin, end)| self.frames.get(begin..end));
        let seen = range.and_then(|(begin, end)| self.seen.get(begin..end));
        let (named, seen) = (named.unwrap_or_default(), seen.unwrap_or_default());
        let frames = named.iter().zip(seen).map(|(name, seen)| Put {
            name: *name,
            bytes: seen.bytes,
            stored: seen.stored,
            new: false,
        });
        Group {
            frames: frames.collect(),
            stand: seen.first().and_then(|seen| seen.stand),
            entries,
        }
    }
}
