use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::attributes::Attributes;
use crate::backend::{Guard, Lock, Spool};
use crate::cut;
use crate::entry::{Class, Entry, Kind, LinkTarget, Time};
use crate::error::{At, Error, ErrorKind, Result};
use crate::index::{Form, IndexWriter};
use crate::layout;
use crate::onefile::{self, Emitter};
use crate::order::Order;
use crate::path::MemberPath;
use crate::pipeline::{Pipeline, Put, Sink};
use crate::scratch::Unnamed;
use crate::seal::{BackupId, Problem, Section};
use crate::seen::{GroupStand, Stand};
use crate::store::Store;
use crate::tarstream;

mod seal;
mod sink;
mod stream;

pub use seal::{SealInput, Sealed};
pub(crate) use sink::StoreSink;
pub(crate) use stream::Sparse;
pub use stream::StreamMember;

/// A backup in the making.
///
/// Members are added section by section, in path order within a section, and
/// nothing of it is a backup until [`seal`](Self::seal) has returned. Dropped
/// before that, it leaves the store as it was but for frames that the next run
/// uses or a sweep removes.
pub struct BackupWriter {
    id: BackupId,
    pipeline: Pipeline,
    index: IndexWriter<Box<dyn Spool>>,
    gathering: Vec<u8>,
    order: Order,
    /// The section at hand.
    section: Vec<u8>,
    sections: BTreeMap<String, Section>,
    problems: Vec<Problem>,
    /// Problems beyond those that are listed, and whether one of them degrades.
    more_problems: (u64, bool),
    /// How the files that gather stand; nothing if one of them is not known.
    standing: Option<GroupStand>,
    /// How the files of frames stand, by the number of the frame.
    stands: BTreeMap<u64, Stand>,
    /// Entries that were taken over.
    unread: u64,
    /// The last to be dropped: it has the lock, and threads of those above it
    /// may still be putting frames.
    destination: Destination,
}

/// Where a backup goes.
enum Destination {
    Store {
        store: Store,
        sink: Arc<StoreSink>,
        /// While it lives, nothing is swept.
        _lock: Option<Box<dyn Guard>>,
    },
    File(Arc<Emitter>),
}

/// A seal lists no more problems: it must fit into memory, and whoever may
/// write below a tree could make millions.
const MAX_PROBLEMS: usize = 10_000;

/// What is known of a member before its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits: 0 to 0o7777.
    pub mode: u32,
    /// The owner's name; empty for none.
    pub user: String,
    /// The group's name; empty for none.
    pub group: String,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When its content last changed.
    pub mtime: Time,
    /// Its class.
    pub class: Class,
    /// Access control lists and extended attributes, if it has any.
    pub attributes: Option<Box<Attributes>>,
}

impl Meta {
    /// Of a file that the program itself adds: root's, for root alone.
    pub fn private(class: Class, mtime: Time) -> Self {
        Self {
            mode: 0o600,
            user: "root".into(),
            group: "root".into(),
            uid: 0,
            gid: 0,
            mtime,
            class,
            attributes: None,
        }
    }
}

impl BackupWriter {
    pub(crate) fn into_store(store: &Store, id: BackupId) -> Result<Self> {
        let backend = store.backend();
        if backend
            .open(&layout::of_backup(&id, layout::SEAL))?
            .is_some()
        {
            let place = backend.place(&layout::backup(&id));
            return Err(Error::new(ErrorKind::Exists, place, "exists already"));
        }
        let lock = backend.lock(Lock::Shared)?;
        let sink = Arc::new(StoreSink::new(store)?);
        let form = Form::Frames(Arc::clone(&sink) as Arc<dyn Sink>);
        let index = IndexWriter::new(backend.place(layout::INDEX), backend.spool()?, form)?;
        let destination = Destination::Store {
            store: store.clone(),
            sink: Arc::clone(&sink),
            _lock: lock,
        };
        Ok(Self::new(destination, id, index, sink))
    }

    /// Begins a backup that goes straight into one file, or through a pipe,
    /// sealed at its end: what has no seal is no backup. `place` is for
    /// messages; what must wait for its turn does so in a file without a name in
    /// `$TMPDIR` or `/var/tmp`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn into_file(id: BackupId, place: &Path, out: Box<dyn Write + Send>) -> Result<Self> {
        let scratch = onefile::scratch_dir();
        let spool: Box<dyn Spool> = Box::new(Unnamed::new(&scratch)?);
        let index = IndexWriter::new(scratch.clone(), spool, Form::Inline)?;
        let sink = Arc::new(Emitter::new(place.to_owned(), scratch, out));
        let destination = Destination::File(Arc::clone(&sink));
        Ok(Self::new(destination, id, index, sink))
    }

    fn new(
        destination: Destination,
        id: BackupId,
        index: IndexWriter<Box<dyn Spool>>,
        sink: Arc<dyn Sink>,
    ) -> Self {
        Self {
            id,
            pipeline: Pipeline::new(sink),
            index,
            gathering: Vec::new(),
            order: Order::default(),
            section: Vec::new(),
            sections: BTreeMap::new(),
            problems: Vec::new(),
            more_problems: (0, false),
            standing: None,
            stands: BTreeMap::new(),
            unread: 0,
            destination,
        }
    }

    /// The id of the backup.
    pub fn id(&self) -> &BackupId {
        &self.id
    }

    /// Adds a regular file whose whole content is at hand.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for a path that does not come after the one
    /// before; [`ErrorKind::Io`] from the store.
    pub fn add_file(&mut self, path: MemberPath, meta: Meta, content: &[u8]) -> Result<Entry> {
        self.add_standing(path, meta, content, None)
    }

    /// Adds a regular file, with how it stood if that is sure.
    pub(crate) fn add_standing(
        &mut self,
        path: MemberPath,
        meta: Meta,
        content: &[u8],
        stand: Option<Stand>,
    ) -> Result<Entry> {
        if content.len() > cut::SMALL_FILE {
            let mut member = self.stream_standing(path, meta, stand)?;
            member.write_all(content).at("write", "frames")?;
            return member.finish();
        }
        self.enter(&path, Kind::File)?;
        let mut entry = new_entry(path, Kind::File, meta);
        entry.size = content.len() as u64;
        entry.blake3 = Some(blake3::hash(content).to_hex().to_string());
        self.begin(&mut entry);
        self.gathering.extend_from_slice(content);
        self.pad(entry.size);
        self.end(&entry, stand)?;
        Ok(entry)
    }

    /// Adds a directory, symbolic link or named pipe.
    ///
    /// # Errors
    /// As [`add_file`](Self::add_file).
    pub fn add_other(
        &mut self,
        path: MemberPath,
        kind: Kind,
        meta: Meta,
        link: Option<LinkTarget>,
    ) -> Result<Entry> {
        debug_assert!(!matches!(kind, Kind::File | Kind::Hardlink));
        debug_assert!((kind == Kind::Symlink) == link.is_some());
        let mut entry = new_entry(path, kind, meta);
        entry.link = link;
        self.add_entry(entry, None)
    }

    /// Adds a member without content, with how it stood if that is sure.
    pub(crate) fn add_entry(&mut self, mut entry: Entry, stand: Option<Stand>) -> Result<Entry> {
        self.enter(&entry.path, entry.kind)?;
        self.begin(&mut entry);
        self.end(&entry, stand)?;
        Ok(entry)
    }

    /// Would the next member, of this section, begin a frame?
    pub(crate) fn is_at_boundary(&self, section: &[u8]) -> bool {
        self.gathering.is_empty() || self.section != section
    }

    /// Are these frames there, as long as they were?
    ///
    /// Their bytes are not read: that is what `verify` is for.
    pub(crate) fn holds(&self, frames: &[Put]) -> Result<bool> {
        let Destination::Store { store, sink, .. } = &self.destination else {
            return Ok(false);
        };
        for frame in frames {
            let there = match store.backend().open(&layout::frame(frame.name)) {
                Ok(found) => found.is_some_and(|f| f.len() == frame.stored),
                // Put anew, as one that is missing.
                Err(e) if e.kind() == ErrorKind::Damaged => false,
                Err(e) => return Err(e),
            };
            if !there || sink.marks.holds(frame.name) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes over frames that are there, with all the members in them.
    ///
    /// `entries` are those of another backup in this store, whose numbers of
    /// frames are turned into ours.
    pub(crate) fn take_over(
        &mut self,
        mut entries: Vec<Entry>,
        frames: &[Put],
        stand: Stand,
    ) -> Result<Vec<Entry>> {
        let Some(first) = entries.first() else {
            return Ok(entries);
        };
        let theirs = first.first_frame();
        self.enter(&first.path, first.kind)?;
        debug_assert!(self.gathering.is_empty());
        let ours = self.pipeline.next_number();
        for put in frames {
            self.pipeline.take_over(*put);
        }
        self.stands.insert(ours, stand);
        self.unread += entries.len() as u64;
        for entry in &mut entries {
            entry.frame = entry.frame - theirs + ours;
            self.note(entry)?;
        }
        Ok(entries)
    }

    /// Begins a regular file whose size is known only when it has ended.
    ///
    /// Its tar header has a frame of its own, which is put when the size is
    /// known into the place that was kept for it, so nothing is spooled.
    ///
    /// # Errors
    /// As [`add_file`](Self::add_file).
    pub fn stream(&mut self, path: MemberPath, meta: Meta) -> Result<StreamMember<'_>> {
        self.stream_standing(path, meta, None)
    }

    fn stream_standing(
        &mut self,
        path: MemberPath,
        meta: Meta,
        stand: Option<Stand>,
    ) -> Result<StreamMember<'_>> {
        self.enter(&path, Kind::File)?;
        self.cut()?;
        let entry = new_entry(path, Kind::File, meta);
        Ok(StreamMember::begin(self, entry, stand))
    }

    /// Notes something that was not as it should be.
    ///
    /// The first 10,000 are listed; of more, the seal says how many.
    pub fn problem(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.more_problems.0 += 1;
            self.more_problems.1 |= problem.degrades;
        }
    }

    /// What was noted so far.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Checks that a member may come next; a section begins a frame.
    fn enter(&mut self, path: &MemberPath, kind: Kind) -> Result<()> {
        let refuse = |why: &str| {
            Err(Error::new(
                ErrorKind::Refused,
                path.to_string(),
                why.to_owned(),
            ))
        };
        if path.in_section().is_none() {
            return refuse("names a section and no member of it");
        }
        if !path.has_plain_section() {
            return refuse(
                "belongs to a section whose name is not of a-z, 0-9 and -, or is lava-backup",
            );
        }
        self.order.next(path, kind).or_else(|why| refuse(&why))?;
        if self.section != path.section() {
            self.section = path.section().to_vec();
            self.cut()?;
        }
        Ok(())
    }

    /// Puts the header of an entry whose content follows at once.
    fn begin(&mut self, entry: &mut Entry) {
        if self.gathering.is_empty() {
            self.standing = Some(GroupStand::default());
        }
        self.gathering.extend_from_slice(&tarstream::header(entry));
        entry.frame = self.pipeline.next_number();
        entry.offset = self.gathering.len() as u64;
    }

    fn pad(&mut self, size: u64) {
        let padded = self.gathering.len() + tarstream::padding(size);
        self.gathering.resize(padded, 0);
    }

    fn end(&mut self, entry: &Entry, stand: Option<Stand>) -> Result<()> {
        self.note(entry)?;
        match (&mut self.standing, stand) {
            (Some(standing), Some(stand)) => standing.add(&stand),
            (standing, _) => *standing = None,
        }
        if cut::after_file(self.gathering.len(), entry.path.as_bytes()) {
            self.cut()?;
        }
        Ok(())
    }

    fn note(&mut self, entry: &Entry) -> Result<()> {
        // Readers refuse an index with such an entry, and with it the backup.
        if let Some(what) = entry.contradiction() {
            return Err(Error::new(ErrorKind::Refused, entry.path.to_string(), what));
        }
        // Its name is of a-z, 0-9 and -.
        let name = std::str::from_utf8(entry.path.section()).unwrap_or_default();
        if !self.sections.contains_key(name) {
            self.sections.insert(name.to_owned(), Section::default());
        }
        if let Some(section) = self.sections.get_mut(name) {
            section.entries += 1;
            section.bytes += entry.size;
        }
        self.index.push(entry)
    }

    fn cut(&mut self) -> Result<()> {
        if self.gathering.is_empty() {
            return Ok(());
        }
        let room = self.gathering.capacity();
        let bytes = std::mem::replace(&mut self.gathering, Vec::with_capacity(room));
        let number = self.pipeline.reserve();
        if let Some(standing) = self.standing.take() {
            self.stands.insert(number, standing.finish());
        }
        self.pipeline.put(number, bytes)
    }
}

pub(crate) fn new_entry(path: MemberPath, kind: Kind, meta: Meta) -> Entry {
    Entry {
        path,
        kind,
        size: 0,
        mode: meta.mode & 0o7777,
        user: meta.user,
        group: meta.group,
        uid: meta.uid,
        gid: meta.gid,
        mtime: meta.mtime,
        class: meta.class,
        blake3: None,
        link: None,
        target: None,
        extents: Vec::new(),
        attributes: meta.attributes,
        frame: 0,
        offset: 0,
    }
}
