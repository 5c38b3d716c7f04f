use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::Value;

use crate::attributes::Attributes;
use crate::cut::{self, ContentCutter};
use crate::disk::{self, RunDir};
use crate::document;
use crate::entry::{Class, Entry, Kind, LinkTarget, Time};
use crate::error::{At, Error, ErrorKind, Result};
use crate::index::IndexWriter;
use crate::path::MemberPath;
use crate::pipeline::Pipeline;
use crate::seal::{Archive, BackupId, Outcome, Problem, SEAL_FORMAT, Seal, Section};
use crate::store::Store;
use crate::tarstream;

/// A backup in the making.
///
/// Members are added section by section, in path order within a section, and
/// nothing of it is a backup until [`seal`](Self::seal) has returned. Dropped
/// before that, it leaves the store as it was but for frames that the next run
/// uses or a sweep removes.
pub struct BackupWriter {
    store: Store,
    id: BackupId,
    // Before `run`: its threads end before their directory is removed.
    pipeline: Pipeline,
    run: RunDir,
    index: IndexWriter,
    gathering: Vec<u8>,
    last: Option<MemberPath>,
    ended_sections: BTreeSet<Vec<u8>>,
    sections: BTreeMap<String, Section>,
    problems: Vec<Problem>,
    /// Problems beyond those that are listed, and whether one of them degrades.
    more_problems: (u64, bool),
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
}

impl BackupWriter {
    pub(crate) fn new(store: &Store, id: BackupId) -> Result<Self> {
        let place = store.path().join("backups").join(id.as_str());
        if place.exists() {
            return Err(Error::new(ErrorKind::Exists, place, "exists already"));
        }
        let run = RunDir::new(&store.path().join("tmp").join(id.as_str()))?;
        let index = run.path().join("index.zst");
        let index = IndexWriter::new(index.clone(), disk::create_new(&index)?)?;
        Ok(Self {
            pipeline: Pipeline::new(store, run.path().to_owned()),
            store: store.clone(),
            id,
            run,
            index,
            gathering: Vec::new(),
            last: None,
            ended_sections: BTreeSet::new(),
            sections: BTreeMap::new(),
            problems: Vec::new(),
            more_problems: (0, false),
        })
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
        if content.len() > cut::SMALL_FILE {
            let mut member = self.stream(path, meta)?;
            member.write_all(content).at("write", "frames")?;
            return member.finish();
        }
        self.check_order(&path)?;
        let mut entry = new_entry(path, Kind::File, meta);
        entry.size = content.len() as u64;
        entry.blake3 = Some(blake3::hash(content).to_hex().to_string());
        self.begin(&mut entry);
        self.gathering.extend_from_slice(content);
        self.pad(entry.size);
        self.end(&entry)?;
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
        debug_assert!(kind != Kind::File && (kind == Kind::Symlink) == link.is_some());
        self.check_order(&path)?;
        let mut entry = new_entry(path, kind, meta);
        entry.link = link;
        self.begin(&mut entry);
        self.end(&entry)?;
        Ok(entry)
    }

    /// Begins a regular file whose size is known only when it has ended.
    ///
    /// Its tar header has a frame of its own, which is put when the size is
    /// known into the place that was kept for it, so nothing is spooled.
    ///
    /// # Errors
    /// As [`add_file`](Self::add_file).
    pub fn stream(&mut self, path: MemberPath, meta: Meta) -> Result<StreamMember<'_>> {
        self.check_order(&path)?;
        self.cut()?;
        let header = self.pipeline.reserve();
        let mut entry = new_entry(path, Kind::File, meta);
        entry.frame = self.pipeline.next_number();
        Ok(StreamMember {
            writer: self,
            entry,
            header,
            hasher: blake3::Hasher::new(),
            cutter: ContentCutter::new(),
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
        self.gathering.extend_from_slice(&tarstream::END);
        self.cut()?;
        let put = self.pipeline.finish()?;
        let run = self.run.path();

        let mut list = String::with_capacity(put.len() * 68);
        let mut dirs = BTreeSet::new();
        for frame in &put {
            let file = frame.name.file();
            list.push_str(&file.to_string_lossy());
            list.push('\n');
            // Also of frames that were there: whoever put them may have died
            // before its own sync.
            let path = self.store.frame_path(frame.name);
            dirs.extend(path.parent().map(PathBuf::from));
        }
        for dir in &dirs {
            disk::sync_dir(dir)?;
        }
        disk::sync_dir(&self.store.path().join("frames"))?;
        let frames = run.join("frames");
        let temporary = run.join("new");
        disk::write_new(&frames, &temporary, list.as_bytes())?;
        let (entries, index_digest, index) = self.index.finish()?;
        index.sync_all().at("sync", run.join("index.zst"))?;

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
        let seal = Seal {
            format: SEAL_FORMAT.into(),
            requires: Vec::new(),
            id: self.id.clone(),
            store: self.store.id().to_owned(),
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
                frames_digest: blake3::hash(list.as_bytes()).to_hex().to_string(),
                entries,
                index_digest,
            },
            documents: input.documents,
        };
        let (text, digest) = document::write(&seal)?;
        disk::write_new(&run.join("backup.json"), &temporary, text.as_bytes())?;
        let place = self.store.path().join("backups").join(self.id.as_str());
        self.run.publish(&place)?;

        let new = put.iter().filter(|p| p.new);
        Ok(Sealed {
            seal,
            digest,
            new_frames: new.clone().count() as u64,
            new_bytes: new.map(|p| p.stored).sum(),
        })
    }

    fn check_order(&mut self, path: &MemberPath) -> Result<()> {
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
            return refuse("belongs to a section whose name is not of a-z, 0-9 and -");
        }
        if let Some(last) = &self.last {
            if last.section() == path.section() {
                if last >= path {
                    return refuse(&format!("was to be added after {last}"));
                }
            } else {
                self.ended_sections.insert(last.section().to_vec());
            }
        }
        if self.ended_sections.contains(path.section()) {
            return refuse("belongs to a section that has ended");
        }
        Ok(())
    }

    /// Puts the header of an entry whose content follows at once.
    fn begin(&mut self, entry: &mut Entry) {
        self.gathering.extend_from_slice(&tarstream::header(entry));
        entry.frame = self.pipeline.next_number();
        entry.offset = self.gathering.len() as u64;
    }

    fn pad(&mut self, size: u64) {
        let padded = self.gathering.len() + tarstream::padding(size);
        self.gathering.resize(padded, 0);
    }

    fn end(&mut self, entry: &Entry) -> Result<()> {
        self.note(entry)?;
        if cut::after_file(self.gathering.len(), entry.path.as_bytes()) {
            self.cut()?;
        }
        Ok(())
    }

    fn note(&mut self, entry: &Entry) -> Result<()> {
        let section = String::from_utf8_lossy(entry.path.section()).into_owned();
        let section = self.sections.entry(section).or_default();
        section.entries += 1;
        section.bytes += entry.size;
        self.last = Some(entry.path.clone());
        self.index.push(entry)
    }

    fn cut(&mut self) -> Result<()> {
        if self.gathering.is_empty() {
            return Ok(());
        }
        let room = self.gathering.capacity();
        let bytes = std::mem::replace(&mut self.gathering, Vec::with_capacity(room));
        let number = self.pipeline.reserve();
        self.pipeline.put(number, bytes)
    }
}

fn new_entry(path: MemberPath, kind: Kind, meta: Meta) -> Entry {
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
        attributes: None,
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

    /// Ends the member.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the store.
    pub fn finish(mut self) -> Result<Entry> {
        self.flush_frames()?;
        self.entry.blake3 = Some(self.hasher.finalize().to_hex().to_string());
        let header = tarstream::header(&self.entry);
        self.writer.pipeline.put(self.header, header)?;
        self.writer.pad(self.entry.size);
        self.writer.note(&self.entry)?;
        Ok(self.entry)
    }
}

impl Write for StreamMember<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.entry.size += bytes.len() as u64;
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
