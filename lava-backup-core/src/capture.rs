use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::attributes::{self, Attributes};
use crate::backup::Backup;
use crate::entry::{Class, Entry, Kind, LinkTarget, Time};
use crate::error::{Error, Result};
use crate::owner::Owners;
use crate::packed::is_unfinished;
use crate::path::MemberPath;
use crate::previous::{Group, Previous};
use crate::readahead::Readahead;
use crate::root::Root;
use crate::seal::Problem;
use crate::seen::{GroupStand, Stand, UNSURE, is_sure, now};
use crate::walk::{Found, Step, Walk};
use crate::writer::{BackupWriter, Meta, new_entry};

use reading::{
    Reading, copy_extents, extents, open_regular, read_part, read_small, replaced, same, size,
};

/// A tree that is read into a backup, as it stands or as it moves.
///
/// It is walked by open directories, so a directory that is swapped for a
/// link meanwhile can't make it read what lies elsewhere. A file is stored with
/// just the bytes that were read and the size that they have. One that changed
/// while it was read, or is named `.xz` and lacks the end of such a file, is read
/// once more, and then stored as read and marked [`Class::InFlight`]; if it is
/// [`Class::Secret`], it stays that, and the backup is degraded. One that vanished
/// is noted, and its directory listed again for what may have taken its place.
///
/// With an earlier backup at hand, frames whose files all stand as they did then
/// are taken over without being read.
pub struct Capture<'a> {
    root: &'a Root,
    owners: Owners,
    /// Why there are no names, where there should be.
    nameless: Option<Error>,
    readahead: Arc<Readahead>,
    previous: Option<Previous>,
    /// Seconds for which a changed file is not sure to stand still.
    unsure: u32,
    /// The first names of files that have more than one.
    links: BTreeMap<Identity, MemberPath>,
    choose: &'a dyn Fn(&MemberPath) -> Choice,
    observe: &'a mut dyn FnMut(&Entry),
}

mod reading;
#[cfg(test)]
mod takeover;

/// What to do with a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Leave it out, with all below it.
    Skip,
    /// Take it.
    Take(Class),
}

/// Files with more than one name are kept as such up to this many in a section;
/// of more, each name is a file of its own.
const MAX_LINKS: usize = 100_000;

impl<'a> Capture<'a> {
    /// Reads from `root`; `choose` gets paths below the root, without section,
    /// and `observe` every entry that was added.
    pub fn new(
        root: &'a Root,
        choose: &'a dyn Fn(&MemberPath) -> Choice,
        observe: &'a mut dyn FnMut(&Entry),
    ) -> Self {
        let (owners, nameless) = match Owners::read(root) {
            Ok(owners) => (owners, None),
            Err(e) => (Owners::default(), Some(e)),
        };
        Self {
            root,
            owners,
            nameless,
            readahead: Arc::new(Readahead::new()),
            previous: None,
            unsure: UNSURE,
            links: BTreeMap::new(),
            choose,
            observe,
        }
    }

    /// Takes over frames of an earlier backup in the same store, where all
    /// their files kept size, mtime, ctime, inode, mode and owner. Nothing is
    /// taken over from one that does not tell how its files stood.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) from its lists: then it
    /// is no help.
    pub fn after(&mut self, previous: &Backup) -> Result<()> {
        self.previous = Previous::open(previous)?;
        Ok(())
    }

    /// Files that changed less than this many seconds before they are read are
    /// read again by the next run, too: 60, unless said. Fewer are enough where
    /// nobody writes files through shared mappings.
    pub fn unsure_for(&mut self, seconds: u32) {
        self.unsure = seconds;
    }

    /// Adds the trees at `starts` to a section, in path order, each once.
    ///
    /// What can't be read becomes a problem of the backup, which degrades it.
    ///
    /// # Errors
    /// Only what the store says: an unreadable source is no error.
    pub fn section(
        &mut self,
        writer: &mut BackupWriter,
        section: &str,
        starts: &[MemberPath],
    ) -> Result<()> {
        if let Some(error) = self.nameless.take() {
            writer.problem(Problem {
                code: "owners.unreadable".into(),
                path: None,
                message: format!("the names of owners could not be had: {error}"),
                degrades: true,
            });
        }
        self.links.clear();
        let mut starts = starts.to_vec();
        starts.sort();
        starts.dedup_by(|later, earlier| later.is_within(earlier));
        let readahead = Arc::clone(&self.readahead);
        let mut walk = Walk::new(self.choose, &readahead);
        for start in &starts {
            let target = format!("{section}/").into_bytes();
            let target = MemberPath::new([target.as_slice(), start.as_bytes()].concat())?;
            match self.root.parent(start) {
                Ok((parent, name)) => {
                    let name = std::os::unix::ffi::OsStrExt::as_bytes(name);
                    let Ok(name) = CString::new(name) else {
                        continue;
                    };
                    walk.then(parent, name, start.clone(), target);
                }
                Err(e) => unreadable(writer, &target, &e),
            }
        }
        // In one walk, for a frame may hold files of more than one tree.
        self.trees(writer, &mut walk)
    }

    fn trees(&mut self, writer: &mut BackupWriter, walk: &mut Walk<'_>) -> Result<()> {
        let mut odd = Vec::new();
        walk.reads(self.previous.is_none());
        loop {
            let next = walk.peek(&mut odd).cloned();
            for step in odd.drain(..) {
                note_odd(writer, step);
            }
            let Some(next) = next else { return Ok(()) };
            if writer.is_at_boundary(next.section())
                && let Some(previous) = &mut self.previous
            {
                let group = match previous.group_at(&next) {
                    Ok(group) => group,
                    // Damaged since: no help any more.
                    Err(_) => {
                        self.previous = None;
                        walk.reads(true);
                        continue;
                    }
                };
                let taken = match group {
                    Some(group) => self.take_over(writer, walk, group)?,
                    None => false,
                };
                walk.reads(!taken);
                if taken {
                    continue;
                }
            }
            match walk.step() {
                Some(Step::Found(found)) if found.kind() == FileType::RegularFile => {
                    self.regular(writer, walk, &found)?;
                }
                Some(Step::Found(found)) => self.other(writer, *found)?,
                Some(odd) => {
                    if matches!(odd, Step::Vanished(_)) {
                        walk.list_again();
                    }
                    note_odd(writer, odd);
                }
                None => return Ok(()),
            }
        }
    }

    /// Takes over the frames of a group, if its files stand as they did;
    /// otherwise the walk is where it was.
    fn take_over(
        &mut self,
        writer: &mut BackupWriter,
        walk: &mut Walk<'_>,
        group: Group,
    ) -> Result<bool> {
        let (Some(stood), false) = (group.stand, group.frames.is_empty()) else {
            return Ok(false);
        };
        let mark = walk.mark();
        let mut standing = GroupStand::default();
        let mut links = Vec::new();
        for entry in &group.entries {
            let same = match walk.step() {
                Some(Step::Found(found)) if found.target == entry.path => {
                    standing.add(&self.stand(&found));
                    self.is_linked_as(entry, &found, &mut links)
                }
                _ => false,
            };
            if !same {
                walk.rewind(mark);
                return Ok(false);
            }
        }
        if standing.finish() != stood || !writer.holds(&group.frames)? {
            walk.rewind(mark);
            return Ok(false);
        }
        for (identity, path) in links {
            self.remember(identity, path);
        }
        for entry in writer.take_over(group.entries, &group.frames, stood)? {
            (self.observe)(&entry);
        }
        Ok(true)
    }

    /// Is what an entry says of other names of the file true now?
    fn is_linked_as(
        &self,
        entry: &Entry,
        found: &Found,
        links: &mut Vec<(Identity, MemberPath)>,
    ) -> bool {
        if found.kind() != FileType::RegularFile || found.stat.st_nlink < 2 {
            return entry.kind != Kind::Hardlink;
        }
        let here = identity(&found.stat);
        let first = links.iter().find(|(identity, _)| *identity == here);
        let first = first.map(|(_, path)| path).or(self.links.get(&here));
        match (entry.kind, first) {
            (Kind::Hardlink, first) => first == entry.target.as_ref(),
            (_, None) => {
                links.push((here, found.target.clone()));
                true
            }
            (_, Some(_)) => false,
        }
    }

    fn remember(&mut self, identity: Identity, path: MemberPath) {
        if self.links.len() < MAX_LINKS {
            self.links.insert(identity, path);
        }
    }

    fn stand(&self, found: &Found) -> Stand {
        self.stand_of(&found.target, &found.stat, found.class)
    }

    fn stand_of(&self, path: &MemberPath, stat: &Stat, class: Class) -> Stand {
        let owner = [
            self.owners.user(stat.st_uid),
            self.owners.group(stat.st_gid),
        ];
        Stand::of(path, stat, owner, class)
    }

    /// How a file stood, if a later change of it is sure to show.
    fn sure_stand(&self, path: &MemberPath, stat: &Stat, class: Class, now: i64) -> Option<Stand> {
        is_sure(stat, now, self.unsure).then(|| self.stand_of(path, stat, class))
    }

    /// Adds one file that is not a regular one.
    fn other(&mut self, writer: &mut BackupWriter, found: Found) -> Result<()> {
        let now = now();
        match found.kind() {
            FileType::Symlink => {
                let link = fs::readlinkat(&*found.parent, &found.name, Vec::new());
                match link.map(|l| LinkTarget::new(l.into_bytes())) {
                    Ok(Some(link)) => {
                        let attributes = self.attributes_at(writer, &found, Kind::Symlink);
                        let mut entry = self.entry(&found, Kind::Symlink, attributes);
                        entry.link = Some(link);
                        self.add(writer, entry, &found, now)?;
                    }
                    Ok(None) | Err(Errno::INVAL) => {
                        unreadable(writer, &found.target, &replaced());
                    }
                    Err(e) => unreadable(writer, &found.target, &e.into()),
                }
            }
            FileType::Directory => {
                let attributes = match &found.dir {
                    Some(dir) => self.attributes(writer, dir, &found.target, Kind::Dir),
                    None => None,
                };
                let entry = self.entry(&found, Kind::Dir, attributes);
                self.add(writer, entry, &found, now)?;
                if found.too_deep {
                    let deep = io::Error::other("is too deep in directories to look into");
                    unreadable(writer, &found.target, &deep);
                }
            }
            FileType::Fifo => {
                let attributes = self.attributes_at(writer, &found, Kind::Fifo);
                let entry = self.entry(&found, Kind::Fifo, attributes);
                self.add(writer, entry, &found, now)?;
            }
            other => writer.problem(Problem {
                code: "file.type".into(),
                path: Some(found.target),
                message: format!("left out: {}", type_name(other)),
                degrades: false,
            }),
        }
        Ok(())
    }

    fn entry(&self, found: &Found, kind: Kind, attributes: Option<Box<Attributes>>) -> Entry {
        let meta = self.meta(&found.stat, found.class, attributes);
        new_entry(found.target.clone(), kind, meta)
    }

    fn add(
        &mut self,
        writer: &mut BackupWriter,
        entry: Entry,
        found: &Found,
        now: i64,
    ) -> Result<()> {
        let stand = self.sure_stand(&found.target, &found.stat, found.class, now);
        let entry = writer.add_entry(entry, stand)?;
        (self.observe)(&entry);
        Ok(())
    }

    fn regular(
        &mut self,
        writer: &mut BackupWriter,
        walk: &mut Walk<'_>,
        found: &Found,
    ) -> Result<()> {
        if found.stat.st_nlink > 1
            && let Some(first) = self.links.get(&identity(&found.stat))
        {
            let mut entry = self.entry(found, Kind::Hardlink, None);
            entry.target = Some(first.clone());
            return self.add(writer, entry, found, now());
        }
        let mut content = Vec::new();
        let mut attempt = 0;
        let read = loop {
            attempt += 1;
            content.clear();
            let began = now();
            let read = open_regular(&found.parent, &found.name)
                .and_then(|(file, before)| read_small(&found.name, file, before, &mut content));
            match read {
                Ok(Reading::Small { still: false, .. }) if attempt < 2 => {}
                Ok(read) => break (read, began),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    vanished(writer, &found.target);
                    walk.list_again();
                    return Ok(());
                }
                Err(e) => {
                    unreadable(writer, &found.target, &e);
                    return Ok(());
                }
            }
        };
        let target = found.target.clone();
        let (entry, stat, still) = match read {
            (Reading::Small { file, stat, still }, began) => {
                let class = class_as_read(found.class, still);
                let attributes = self.attributes(writer, &file, &target, Kind::File);
                let stand = self
                    .sure_stand(&target, &stat, class, began)
                    .filter(|_| still);
                let meta = self.meta(&stat, class, attributes);
                let entry = writer.add_standing(target, meta, &content, stand)?;
                (entry, stat, still)
            }
            (Reading::Large { file, stat }, _) => {
                let (entry, still) = self.large(writer, found, &file, &stat)?;
                (entry, stat, still)
            }
        };
        if found.class == Class::Secret && !still {
            moved_secret(writer, &found.target);
        }
        if stat.st_nlink > 1 {
            self.remember(identity(&stat), entry.path.clone());
        }
        (self.observe)(&entry);
        Ok(())
    }

    /// Adds a file that is too long to be held, read once more if it moved; does
    /// it stand still?
    fn large(
        &mut self,
        writer: &mut BackupWriter,
        found: &Found,
        file: &File,
        stat: &Stat,
    ) -> Result<(Entry, bool)> {
        let target = found.target.clone();
        let attributes = self.attributes(writer, file, &target, Kind::File);
        let failed = |e| Error::io(target.as_path(), "read", e);
        let mut problem = None;
        let mut member = writer.stream(target.clone(), self.meta(stat, found.class, None))?;
        let mut attempt = 0;
        let still = loop {
            attempt += 1;
            let began = now();
            let before = fs::fstat(file).map_err(failed)?;
            let extents = extents(file, size(&before));
            let length = match copy_extents(file, &extents, &mut member)? {
                (length, None) => length,
                (length, Some(e)) => {
                    problem = Some(e);
                    length
                }
            };
            let finished = !is_unfinished(&found.name, file, size(&before));
            let after = fs::fstat(file).map_err(failed)?;
            let whole: u64 = extents.iter().map(|e| e.length).sum();
            let still = finished && same(&before, &after) && length == whole;
            if !still && attempt < 2 && problem.is_none() {
                member.restart()?;
                continue;
            }
            let class = class_as_read(found.class, still);
            let stand = self
                .sure_stand(&target, &after, class, began)
                .filter(|_| still);
            let sparse = (whole != size(&before)).then(|| read_part(&extents, length, &before));
            member.set_read(self.meta(&after, class, attributes), stand, sparse);
            break still;
        };
        let entry = member.finish()?;
        if let Some(e) = problem {
            unreadable(writer, &target, &e);
        }
        Ok((entry, still))
    }

    /// The attributes of an open file; one whose attributes can't be had is
    /// stored without them, and degrades the backup.
    fn attributes(
        &self,
        writer: &mut BackupWriter,
        file: impl AsFd,
        target: &MemberPath,
        kind: Kind,
    ) -> Option<Box<Attributes>> {
        attributes::read(file, kind, &self.owners).unwrap_or_else(|e| {
            writer.problem(Problem {
                code: "file.attributes".into(),
                path: Some(target.clone()),
                message: format!("its attributes could not be had: {e}"),
                degrades: true,
            });
            None
        })
    }

    /// As [`attributes`](Self::attributes), of what is not opened to be read.
    fn attributes_at(
        &self,
        writer: &mut BackupWriter,
        found: &Found,
        kind: Kind,
    ) -> Option<Box<Attributes>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // One that is gone by now is noted by whoever reads it.
        let fd = fs::openat(&*found.parent, &found.name, flags, Mode::empty()).ok()?;
        self.attributes(writer, fd, &found.target, kind)
    }

    fn meta(&self, stat: &Stat, class: Class, attributes: Option<Box<Attributes>>) -> Meta {
        Meta {
            mode: stat.st_mode & 0o7777,
            user: self.owners.user(stat.st_uid).to_owned(),
            group: self.owners.group(stat.st_gid).to_owned(),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time::modified(stat),
            class,
            attributes,
        }
    }
}

/// Device, inode and ctime: a number is given to a new file when the one that
/// had it is gone, and what is another name of that one must not hold its bytes.
type Identity = (u64, u64, Time);

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino, Time::changed(stat))
}

/// The class of a file that may have moved while it was read. A secret stays
/// one: that decides who may see it.
fn class_as_read(class: Class, still: bool) -> Class {
    match (class, still) {
        (Class::Plain, false) => Class::InFlight,
        (class, _) => class,
    }
}

fn note_odd(writer: &mut BackupWriter, step: Step) {
    match step {
        Step::Vanished(target) => vanished(writer, &target),
        Step::Unreadable(target, e) => unreadable(writer, &target, &e),
        Step::Found(_) => {}
    }
}

fn type_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "a socket, which the program that listens makes anew",
        FileType::BlockDevice | FileType::CharacterDevice => "a device",
        _ => "a file of an unknown type",
    }
}

fn vanished(writer: &mut BackupWriter, target: &MemberPath) {
    writer.problem(Problem {
        code: "file.vanished".into(),
        path: Some(target.clone()),
        message: "vanished while the backup was made".into(),
        degrades: false,
    });
}

fn moved_secret(writer: &mut BackupWriter, target: &MemberPath) {
    writer.problem(Problem {
        code: "file.in-flight".into(),
        path: Some(target.clone()),
        message: "is secret, and changed or was being packed while it was read".into(),
        degrades: true,
    });
}

fn unreadable(writer: &mut BackupWriter, target: &MemberPath, error: &io::Error) {
    writer.problem(Problem {
        code: "file.unreadable".into(),
        path: Some(target.clone()),
        message: format!("could not be read: {error}"),
        degrades: true,
    });
}
