use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::attributes::{Attributes, Extent};
use crate::backend::{Content, Guard, Lock, Spool};
use crate::cut::{self, ContentCutter};
use crate::document;
use crate::entry::{Class, Entry, Kind, LinkTarget, Time};
use crate::error::{At, Error, ErrorKind, Result};
use crate::frame::FrameName;
use crate::index::{Form, IndexWriter};
use crate::layout;
use crate::marks::Marks;
use crate::onefile::{self, Emitter};
use crate::order::Order;
use crate::path::MemberPath;
use crate::pipeline::{Pipeline, Put, Sink};
use crate::scratch::Unnamed;
use crate::seal::{Archive, BackupId, Outcome, Problem, SEAL_FORMAT, Seal, Section};
use crate::seen::{GroupStand, SEEN_FORMAT, SeenDocument, SeenFrame, Stand};
use crate::store::Store;
use crate::tarstream;

/// A backup in the making.
///
/// Members are added section by section, in path order within a section, and
/// nothing of it is a backup until [`seal`](Self::seal) has returned. Dropped
/// before that, it leaves the store as it was but for frames that the next run
/// uses or a sweep removes.
pub struct BackupWriter {
    destination: Destination,
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

/// What the caller says about a backup that it seals.
#[derive(Clone, Debug, Default)]
pub struct SealInput {
    /// The program, with its version.
    pub tool: String,
    /// The host that was backed up.
    pub host: String,
    /// The instant that it shows, RFC 3339 in UTC.
    pub taken: String,
    /// Now, RFC 3339 in UTC.
    pub sealed: String,
    /// The caller's documents.
    pub documents: BTreeMap<String, Value>,
}

/// A sealed backup, and what it cost.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The seal.
    pub seal: Seal,
    /// Its digest: worth noting where the store's writer can't change it.
    pub digest: String,
    /// Frames that the store did not hold before.
    pub new_frames: u64,
    /// Their bytes on the disk.
    pub new_bytes: u64,
    /// Entries that were taken over with their frames, unread.
    pub unread: u64,
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
            destination,
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
            let mut member = self.stream(path, meta)?;
            member.write_all(content).at("write", "frames")?;
            member.stand = stand;
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
            let found = store.backend().open(&layout::frame(frame.name))?;
            let there = found.is_some_and(|f| f.len() == frame.stored);
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
        self.enter(&path, Kind::File)?;
        self.cut()?;
        let header = self.pipeline.reserve();
        Ok(StreamMember {
            entry: new_entry(path, Kind::File, meta),
            header,
            hasher: blake3::Hasher::new(),
            cutter: ContentCutter::new(),
            stored: 0,
            stand: None,
            writer: self,
        })
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

    /// Seals the backup: from here on it exists.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; then there is no backup.
    pub fn seal(mut self, input: SealInput) -> Result<Sealed> {
        self.cut()?;
        let last = self.pipeline.reserve();
        if let Destination::File(emitter) = &self.destination {
            emitter.keep_back(last);
        }
        self.pipeline.put(last, tarstream::END.to_vec())?;
        let put = self.pipeline.finish()?;

        let list = frame_list(&put);
        let frames_digest = blake3::hash(list.as_bytes()).to_hex().to_string();
        let seen = seen(&put, &self.stands, &frames_digest)?;
        let (entries, index_digest, index) = self.index.finish()?;
        let index = index.finish()?;

        let (more, degrades) = self.more_problems;
        if more > 0 {
            self.problems.push(Problem {
                code: "problems.more".into(),
                path: None,
                message: format!("{more} more problems are not listed"),
                degrades,
            });
        }
        let degraded = self.problems.iter().any(|p| p.degrades);
        let store = match &self.destination {
            Destination::Store { store, .. } => store.id(),
            Destination::File(_) => "",
        };
        let seal = Seal {
            format: SEAL_FORMAT.into(),
            requires: Vec::new(),
            id: self.id.clone(),
            store: store.to_owned(),
            tool: input.tool,
            host: input.host,
            taken: input.taken,
            sealed: input.sealed,
            outcome: if degraded {
                Outcome::Degraded
            } else {
                Outcome::Complete
            },
            problems: self.problems,
            sections: self.sections,
            archive: Archive {
                frames: put.len() as u64,
                bytes: put.iter().map(|p| p.bytes).sum(),
                stored: put.iter().map(|p| p.stored).sum(),
                frames_digest,
                entries,
                index_digest,
            },
            documents: input.documents,
        };
        let (text, digest) = document::write(&seal)?;
        let list = Content::Bytes(list.into_bytes());
        let index = Content::Spooled(index);
        let text = Content::Bytes(text.into_bytes());
        match &self.destination {
            Destination::Store { store, .. } => {
                store.backend().settle()?;
                let files = vec![
                    (layout::FRAME_LIST, list),
                    (layout::INDEX, index),
                    (layout::SEEN, Content::Bytes(seen.into_bytes())),
                    (layout::SEAL, text),
                ];
                store.backend().publish(&layout::backup(&self.id), files)?;
            }
            Destination::File(emitter) => emitter.finish(vec![
                (layout::SEAL, text),
                (layout::FRAME_LIST, list),
                (layout::INDEX, index),
            ])?,
        }

        let new = put.iter().filter(|p| p.new);
        Ok(Sealed {
            seal,
            digest,
            new_frames: new.clone().count() as u64,
            new_bytes: new.map(|p| p.stored).sum(),
            unread: self.unread,
        })
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

/// Puts frames into a store.
pub(crate) struct StoreSink {
    store: Store,
    marks: Marks,
}

impl StoreSink {
    pub(crate) fn new(store: &Store) -> Result<Self> {
        Ok(Self {
            store: store.clone(),
            marks: Marks::load(store)?,
        })
    }
}

impl Sink for StoreSink {
    fn known(&self, name: FrameName) -> Option<u64> {
        // One that is marked may be swept; written anew, it is not.
        let safe = !self.marks.holds(name);
        safe.then(|| self.store.intact_frame(name)).flatten()
    }

    fn put(&self, _number: u64, name: FrameName, stored: Vec<u8>) -> Result<()> {
        let content = Content::Bytes(stored);
        self.store.backend().put(&layout::frame(name), content)
    }

    fn rewind(&self, _number: u64) {}
}

/// The file `frames`.
fn frame_list(put: &[Put]) -> String {
    let mut list = String::with_capacity(put.len() * 68);
    for frame in put {
        list.push_str(&frame.name.file());
        list.push('\n');
    }
    list
}

/// The text of the document that lets the next run take frames over.
fn seen(put: &[Put], stands: &BTreeMap<u64, Stand>, frames_digest: &str) -> Result<String> {
    let frames = put.iter().zip(0..).map(|(put, number)| {
        let seen = SeenFrame {
            bytes: put.bytes,
            stored: put.stored,
            stand: stands.get(&number).copied(),
        };
        seen.to_text()
    });
    let seen = SeenDocument {
        format: SEEN_FORMAT.into(),
        frames_digest: frames_digest.to_owned(),
        frames: frames.collect(),
    };
    Ok(document::write(&seen)?.0)
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

/// A regular file that is written as a stream; see [`BackupWriter::stream`].
///
/// Not finished, it is not in the backup, and the backup can't be sealed.
pub struct StreamMember<'w> {
    writer: &'w mut BackupWriter,
    entry: Entry,
    header: u64,
    hasher: blake3::Hasher,
    cutter: ContentCutter,
    /// Bytes written.
    stored: u64,
    stand: Option<Stand>,
}

impl StreamMember<'_> {
    /// Says that something new begins here: a good place to cut, unless the
    /// frame would be short.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the store.
    pub fn cut_here(&mut self) -> Result<()> {
        if self.cutter.is_short() {
            return Ok(());
        }
        self.flush_frames()
    }

    fn flush_frames(&mut self) -> Result<()> {
        let pipeline = &mut self.writer.pipeline;
        self.cutter.flush(|bytes| {
            let number = pipeline.reserve();
            pipeline.put(number, bytes)
        })
    }

    /// Sets the class, where only the reading of the content has shown it.
    pub fn set_class(&mut self, class: Class) {
        self.entry.class = class;
    }

    /// Sets what is known of the file only when it was read: its metadata, how
    /// it stood if that is sure, and, if what was written is not all of it,
    /// where that lies.
    pub(crate) fn set_read(&mut self, meta: Meta, stand: Option<Stand>, sparse: Option<Sparse>) {
        let path = self.entry.path.clone();
        self.entry = new_entry(path, Kind::File, meta);
        self.stand = stand;
        if let Some(sparse) = sparse {
            self.entry.size = sparse.size;
            self.entry.extents = sparse.extents;
        }
    }

    /// Begins anew: what was written so far is not in the backup.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the store.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.writer.pipeline.rewind(self.header + 1)?;
        self.cutter = ContentCutter::new();
        self.hasher = blake3::Hasher::new();
        self.stored = 0;
        Ok(())
    }

    /// Ends the member.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the store.
    pub fn finish(mut self) -> Result<Entry> {
        let padding = [0; tarstream::BLOCK as usize];
        let pipeline = &mut self.writer.pipeline;
        self.cutter
            .push(&padding[..tarstream::padding(self.stored)], |bytes| {
                let number = pipeline.reserve();
                pipeline.put(number, bytes)
            })?;
        self.flush_frames()?;
        self.entry.blake3 = Some(self.hasher.finalize().to_hex().to_string());
        if self.entry.extents.is_empty() {
            self.entry.size = self.stored;
        }
        let header = tarstream::header(&self.entry);
        // The headers have a frame of their own; the content begins the next.
        (self.entry.frame, self.entry.offset) = match self.stored {
            0 => (self.header, header.len() as u64),
            _ => (self.header + 1, 0),
        };
        self.writer.pipeline.put(self.header, header)?;
        if let Some(stand) = self.stand {
            let mut group = GroupStand::default();
            group.add(&stand);
            self.writer.stands.insert(self.header, group.finish());
        }
        self.writer.note(&self.entry)?;
        Ok(self.entry)
    }
}

/// A file of which only some runs hold data.
pub(crate) struct Sparse {
    /// Bytes, holes counted.
    pub(crate) size: u64,
    pub(crate) extents: Vec<Extent>,
}

impl Write for StreamMember<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.stored += bytes.len() as u64;
        let pipeline = &mut self.writer.pipeline;
        self.cutter
            .push(bytes, |frame| {
                let number = pipeline.reserve();
                pipeline.put(number, frame)
            })
            .map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
