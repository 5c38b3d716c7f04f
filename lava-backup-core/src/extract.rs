use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use serde::Serialize;

use crate::ahead::Ahead;
use crate::backup::{Backup, read_frame};
use crate::entry::{Entry, Kind, Time};
use crate::error::{At, Error, ErrorKind, Result};
use crate::frame::FrameName;
use crate::owner::{OwnerId, Owners};
use crate::path::MemberPath;
use crate::root::Root;
use crate::store::Store;

/// What to bring back, and how.
#[derive(Clone, Debug)]
pub struct Extract {
    /// Members to bring back, with all below them: whole sections, or paths.
    pub select: Vec<MemberPath>,
    /// Members to leave out, with all below them.
    pub exclude: Vec<MemberPath>,
    /// Members whose directories should hold what the backup holds and nothing
    /// else, as far as they are selected: whatever else is there is told as a
    /// change, `extra`, and stays.
    pub complete: Vec<MemberPath>,
    /// Change nothing; say what would change.
    pub dry_run: bool,
    /// What is there and differs may be replaced; it is kept in `keep_in`.
    pub replace: bool,
    /// A directory below the root, for replaced files; made when needed.
    pub keep_in: MemberPath,
    /// Give files their owners; otherwise all are whoever's we are.
    pub own: bool,
    /// Return only when all of it would survive a loss of power.
    pub sync: bool,
}

/// What [`extract`] did, or would do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ExtractReport {
    /// Entries selected.
    pub entries: u64,
    /// Entries that were as the backup has them.
    pub same: u64,
    /// Bytes of content written.
    pub bytes: u64,
    /// What was made or changed, in archive order.
    pub changes: Vec<Change>,
    /// Where replaced files are kept, if any were.
    pub kept: Option<PathBuf>,
    /// Owners that are unknown here, each once, with what was done.
    pub owners: Vec<String>,
}

/// One thing that extraction makes or changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The path below the root.
    pub path: MemberPath,
    /// `new`, `content`, `metadata`, `type`, or `extra`.
    pub what: &'static str,
}

/// Brings members back below a root, without their section.
///
/// Files are written under a temporary name that only root can read, given
/// their owner (by name), mode and time, and then switched in. Nothing outside
/// the root can be reached, whatever the archive says. A first pass changes
/// nothing and finds what stands in the way.
///
/// # Errors
/// [`ErrorKind::Refused`] if something differs that may not be replaced, or a
/// file of another type or a link is in the way: then nothing was changed.
/// [`ErrorKind::Damaged`] from the archive, [`ErrorKind::Io`] from the target.
pub fn extract(
    backup: &Backup,
    root: &Root,
    options: &Extract,
    observe: &mut dyn FnMut(&Entry),
) -> Result<ExtractReport> {
    let mut target = Target {
        root,
        owners: Owners::of(root),
        options,
        report: ExtractReport::default(),
        open_dirs: Vec::new(),
        parent: None,
        serial: 0,
    };
    let mut begins = Vec::new();
    let mut expected = BTreeMap::new();
    for entry in backup.index()? {
        let entry = entry?;
        let Some(path) = target.selects(&entry) else {
            continue;
        };
        target.report.entries += 1;
        if options.complete.iter().any(|c| entry.path.is_within(c)) {
            expected.insert(path.clone(), entry.kind == Kind::Dir);
        }
        match target.compare(&path, &entry)? {
            None => target.report.same += 1,
            Some(what) => {
                let writes = entry.kind == Kind::File && what != "metadata";
                if writes && entry.size > 0 {
                    begins.push(entry.frame);
                }
                target.report.changes.push(Change { path, what });
            }
        }
    }
    if target.report.entries == 0 {
        let wanted: Vec<String> = options.select.iter().map(ToString::to_string).collect();
        return Err(Error::new(
            ErrorKind::NotFound,
            wanted.join(" "),
            format!("the backup {} holds no such member", backup.id()),
        ));
    }
    let extra = target.extra(&expected)?;
    if options.dry_run || target.report.changes.is_empty() {
        target.report.changes.extend(extra);
        return Ok(target.report);
    }
    if !options.replace
        && let Some(change) = target.report.changes.iter().find(|c| c.what != "new")
    {
        return Err(Error::new(
            ErrorKind::Refused,
            root.show(&change.path),
            "is there already and differs from the backup's",
        ));
    }

    let mut contents = Contents::new(backup, begins)?;
    let planned = std::mem::take(&mut target.report.changes);
    let mut changes = planned.iter().peekable();
    for entry in backup.index()? {
        let entry = entry?;
        let Some(path) = target.selects(&entry) else {
            continue;
        };
        target.leave_dirs(&path)?;
        if changes.peek().is_some_and(|c| c.path == path) {
            let change = changes.next().map_or("new", |c| c.what);
            target.bring(&path, &entry, change, &mut contents)?;
        }
        observe(&entry);
    }
    target.leave_all()?;
    target.report.changes = planned;
    target.report.changes.extend(extra);
    if options.sync {
        fs::syncfs(root).at("sync", root.path())?;
    }
    Ok(target.report)
}

struct Target<'t> {
    root: &'t Root,
    owners: Owners,
    options: &'t Extract,
    report: ExtractReport,
    /// Directories that were made and get their mode and time when their
    /// content is in, the innermost last.
    open_dirs: Vec<(MemberPath, OwnedFd, Entry)>,
    /// The directory that was used last.
    parent: Option<(MemberPath, OwnedFd)>,
    serial: u64,
}

impl Target<'_> {
    fn selects(&self, entry: &Entry) -> Option<MemberPath> {
        let within = |of: &MemberPath| entry.path.is_within(of);
        let wanted = self.options.select.iter().any(within);
        let unwanted = self.options.exclude.iter().any(within);
        (wanted && !unwanted)
            .then(|| entry.path.in_section())
            .flatten()
    }

    /// How the target differs from an entry; `None` if it does not.
    fn compare(&mut self, path: &MemberPath, entry: &Entry) -> Result<Option<&'static str>> {
        let stat = match self.root.stat(path) {
            Ok(stat) => stat,
            Err(e) => {
                return match Errno::from_io_error(&e) {
                    Some(Errno::NOENT) => Ok(Some("new")),
                    Some(Errno::LOOP | Errno::NOTDIR) => Err(Error::new(
                        ErrorKind::Refused,
                        self.root.show(path),
                        "a symbolic link, or something that is no directory, is in its path",
                    )),
                    _ => Err(Error::io(self.root.show(path), "look at", e)),
                };
            }
        };
        let found = FileType::from_raw_mode(stat.st_mode);
        let wanted = match entry.kind {
            Kind::File => FileType::RegularFile,
            Kind::Dir => FileType::Directory,
            Kind::Symlink => FileType::Symlink,
            Kind::Fifo => FileType::Fifo,
        };
        if found != wanted {
            if found == FileType::Directory || wanted == FileType::Directory {
                return Err(Error::new(
                    ErrorKind::Refused,
                    self.root.show(path),
                    "is a directory where the backup has a file, or the reverse",
                ));
            }
            return Ok(Some("type"));
        }
        let differs = match entry.kind {
            Kind::File => stat.st_size as u64 != entry.size || self.digest(path)? != entry.blake3,
            Kind::Symlink => {
                let (parent, name) = self.root.parent(path).at("open", self.root.show(path))?;
                let link =
                    fs::readlinkat(&parent, name, Vec::new()).at("read", self.root.show(path))?;
                entry.link.as_ref().map(|l| l.as_bytes()) != Some(link.as_bytes())
            }
            Kind::Dir | Kind::Fifo => false,
        };
        if differs {
            return Ok(Some("content"));
        }
        let (uid, gid) = self.owner_ids(entry);
        let owner = stat.st_uid == uid && stat.st_gid == gid;
        let mode = entry.kind == Kind::Symlink || stat.st_mode & 0o7777 == entry.mode;
        // The time of a directory is that of its last new name, which others
        // may have made since; the time of a link says nothing.
        let timeless = matches!(entry.kind, Kind::Dir | Kind::Symlink);
        let time = timeless || stat_time(&stat) == entry.mtime;
        Ok((!(mode && time && (owner || !self.options.own))).then_some("metadata"))
    }

    /// What the expected directories hold beside what is expected.
    fn extra(&self, expected: &BTreeMap<MemberPath, bool>) -> Result<Vec<Change>> {
        let mut extra = Vec::new();
        for (dir, _) in expected.iter().filter(|(_, is_dir)| **is_dir) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let place = self.root.show(dir);
            let found = match self.root.open_at(dir, flags, Mode::empty()) {
                Ok(found) => found,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io(place, "read directory", e)),
            };
            for name in fs::Dir::read_from(&found).at("read directory", &place)? {
                let name = name.at("read directory", &place)?;
                let name = name.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let path = dir.join(name)?;
                if !expected.contains_key(&path) && !self.is_excluded(&path) {
                    extra.push(Change {
                        path,
                        what: "extra",
                    });
                }
            }
        }
        extra.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(extra)
    }

    /// Was this path of the target left out by name?
    fn is_excluded(&self, path: &MemberPath) -> bool {
        let inner = self
            .options
            .exclude
            .iter()
            .filter_map(MemberPath::in_section);
        inner.into_iter().any(|excluded| path.is_within(&excluded))
    }

    fn digest(&self, path: &MemberPath) -> Result<Option<String>> {
        let file = self.root.open_file(path)?;
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_reader(file)
            .at("read", self.root.show(path))?;
        Ok(Some(hasher.finalize().to_hex().to_string()))
    }

    fn bring(
        &mut self,
        path: &MemberPath,
        entry: &Entry,
        change: &str,
        contents: &mut Contents,
    ) -> Result<()> {
        let place = self.root.show(path);
        let (parent, name) = self.parent(path)?;
        let name = name.as_os_str();
        if change == "metadata" {
            if entry.kind == Kind::Dir {
                let fd = open_dir(&parent, name).at("open", &place)?;
                self.open_dirs.push((path.clone(), fd, entry.clone()));
                return Ok(());
            }
            return self
                .dress_by_name(&parent, name, entry)
                .at("change", &place);
        }
        if entry.kind == Kind::Dir {
            fs::mkdirat(&parent, name, Mode::RWXU).at("create directory", &place)?;
            let fd = open_dir(&parent, name).at("open", &place)?;
            self.open_dirs.push((path.clone(), fd, entry.clone()));
            return Ok(());
        }

        self.serial += 1;
        let temporary = format!(".lava-backup-{}-{}", std::process::id(), self.serial);
        let temporary = OsStr::new(&temporary);
        let made = self.make(&parent, temporary, entry, contents, &place);
        let switched = made.and_then(|()| {
            if change != "new" {
                self.keep(&parent, name, path)?;
            }
            fs::renameat(&parent, temporary, &parent, name).at("rename", &place)
        });
        if switched.is_err() {
            let _ = fs::unlinkat(&parent, temporary, AtFlags::empty());
        }
        switched
    }

    /// Makes a file, link or pipe under a temporary name, whole and dressed.
    fn make(
        &mut self,
        parent: &OwnedFd,
        temporary: &OsStr,
        entry: &Entry,
        contents: &mut Contents,
        place: &Path,
    ) -> Result<()> {
        match entry.kind {
            Kind::File => {
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let fd = fs::openat(parent, temporary, flags, Mode::RUSR | Mode::WUSR)
                    .at("create", place)?;
                let mut file = File::from(fd);
                contents.copy(entry, &mut file, place)?;
                self.report.bytes += entry.size;
                self.dress(&file, entry).at("change", place)
            }
            Kind::Symlink => {
                let link = entry.link.as_ref().map_or(&b""[..], |l| l.as_bytes());
                fs::symlinkat(link, parent, temporary).at("create", place)?;
                self.dress_by_name(parent, temporary, entry)
                    .at("change", place)
            }
            Kind::Fifo => {
                let mode = Mode::RUSR | Mode::WUSR;
                fs::mknodat(parent, temporary, FileType::Fifo, mode, 0).at("create", place)?;
                self.dress_by_name(parent, temporary, entry)
                    .at("change", place)
            }
            Kind::Dir => Ok(()),
        }
    }

    /// Owner first: a change of owner takes setuid away. The mode opens the
    /// file up only when it has the right owner.
    fn dress(&mut self, fd: impl AsFd, entry: &Entry) -> io::Result<()> {
        if self.options.own {
            let (uid, gid) = self.owner_ids(entry);
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fs::fchown(&fd, Some(uid), Some(gid))?;
        }
        fs::fchmod(&fd, Mode::from_raw_mode(entry.mode))?;
        fs::futimens(&fd, &times(entry.mtime))?;
        Ok(())
    }

    fn dress_by_name(&mut self, parent: &OwnedFd, name: &OsStr, entry: &Entry) -> io::Result<()> {
        if entry.kind == Kind::File {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd = fs::openat(parent, name, flags, Mode::empty())?;
            return self.dress(fd, entry);
        }
        if self.options.own {
            let (uid, gid) = self.owner_ids(entry);
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fs::chownat(
                parent,
                name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        if entry.kind == Kind::Fifo {
            fs::chmodat(
                parent,
                name,
                Mode::from_raw_mode(entry.mode),
                AtFlags::empty(),
            )?;
        }
        fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn owner_ids(&mut self, entry: &Entry) -> (u32, u32) {
        let uid = self.owners.uid(&entry.user, entry.uid);
        let gid = self.owners.gid(&entry.group, entry.gid);
        self.note_owner("user", &entry.user, entry.uid, uid);
        self.note_owner("group", &entry.group, entry.gid, gid);
        (uid.id, gid.id)
    }

    fn note_owner(&mut self, what: &str, name: &str, recorded: u32, used: OwnerId) {
        if used.known || !self.options.own {
            return;
        }
        let note = format!(
            "the {what} {name:?} ({recorded} in the backup) is unknown here; {} is used",
            used.id
        );
        if !self.report.owners.contains(&note) {
            self.report.owners.push(note);
        }
    }

    /// Opens the directory of a path, making what is missing of it.
    fn parent(&mut self, path: &MemberPath) -> Result<(OwnedFd, OsString)> {
        let (parent, name) = path.split_last();
        let name = OsString::from_vec(name.to_vec());
        let place = self.root.show(path);
        let Some(parent) = parent else {
            let fd = self.root.as_fd().try_clone_to_owned();
            return Ok((fd.at("open", &place)?, name));
        };
        if let Some((last, fd)) = &self.parent
            && *last == parent
        {
            return Ok((fd.try_clone().at("open", &place)?, name));
        }
        let fd = make_dirs(self.root, &parent, 0o755)?;
        let copy = fd.try_clone().at("open", &place)?;
        self.parent = Some((parent, copy));
        Ok((fd, name))
    }

    /// Moves what is in the way to where replaced files are kept.
    fn keep(&mut self, parent: &OwnedFd, name: &OsStr, path: &MemberPath) -> Result<()> {
        let kept =
            MemberPath::new([self.options.keep_in.as_bytes(), b"/", path.as_bytes()].concat())?;
        let place = self.root.show(&kept);
        let (dir, kept_name) = kept.split_last();
        let dir = dir.unwrap_or_else(|| self.options.keep_in.clone());
        let dir = make_dirs(self.root, &dir, 0o700)?;
        let kept_name = OsStr::from_bytes(kept_name);
        let flags = fs::RenameFlags::NOREPLACE;
        match fs::renameat_with(parent, name, &dir, kept_name, flags) {
            // It lies on another file system; a copy, for root alone, serves.
            Err(Errno::XDEV) => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let old = fs::openat(parent, name, flags, Mode::empty()).at("read", &place)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mode = Mode::RUSR | Mode::WUSR;
                let new = fs::openat(&dir, kept_name, flags, mode).at("create", &place)?;
                let mut new = File::from(new);
                io::copy(&mut File::from(old), &mut new).at("copy", &place)?;
                new.sync_all().at("sync", &place)?;
            }
            other => other.at("keep the old file as", &place)?,
        }
        self.report.kept = Some(self.root.show(&self.options.keep_in));
        Ok(())
    }

    fn leave_dirs(&mut self, next: &MemberPath) -> Result<()> {
        while let Some((path, _, _)) = self.open_dirs.last() {
            if next.is_within(path) {
                break;
            }
            self.leave_one()?;
        }
        Ok(())
    }

    fn leave_all(&mut self) -> Result<()> {
        while !self.open_dirs.is_empty() {
            self.leave_one()?;
        }
        Ok(())
    }

    fn leave_one(&mut self) -> Result<()> {
        if let Some((path, fd, entry)) = self.open_dirs.pop() {
            let place = self.root.show(&path);
            self.dress(&fd, &entry).at("change", place)?;
        }
        Ok(())
    }
}

/// Opens a directory below the root, making what is missing, root's own.
fn make_dirs(root: &Root, path: &MemberPath, mode: u32) -> Result<OwnedFd> {
    let place = root.show(path);
    let mut at = root.as_fd().try_clone_to_owned().at("open", &place)?;
    for part in path.components() {
        match fs::mkdirat(&at, part, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(Error::io(place, "create directory", e)),
        }
        at = open_dir(&at, OsStr::from_bytes(part)).at("open directory", &place)?;
    }
    Ok(at)
}

fn open_dir(parent: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(parent, name, flags, Mode::empty())?)
}

fn times(time: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: time.seconds,
        tv_nsec: i64::from(time.nanoseconds),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn stat_time(stat: &Stat) -> Time {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types differ between architectures"
    )]
    Time {
        seconds: stat.st_mtime as i64,
        nanoseconds: stat.st_mtime_nsec as u32,
    }
}

/// The contents that are needed, in archive order; the frames in which they
/// begin are read ahead.
struct Contents {
    store: Store,
    frames: Vec<FrameName>,
    begins: std::vec::IntoIter<u64>,
    ahead: Ahead,
    /// The frame at hand.
    number: Option<u64>,
    bytes: Vec<u8>,
}

impl Contents {
    /// `begins`: the numbers of the frames in which contents begin, ascending.
    fn new(backup: &Backup, mut begins: Vec<u64>) -> Result<Self> {
        let frames = backup.frames()?;
        begins.dedup();
        let names = begins
            .iter()
            .filter_map(|n| frames.get(usize::try_from(*n).ok()?).copied())
            .collect();
        Ok(Self {
            store: backup.store().clone(),
            ahead: Ahead::new(backup.store(), names),
            frames,
            begins: begins.into_iter(),
            number: None,
            bytes: Vec::new(),
        })
    }

    fn copy(&mut self, entry: &Entry, file: &mut File, place: &Path) -> Result<()> {
        let mut hasher = blake3::Hasher::new();
        let mut put = |bytes: &[u8], left: &mut u64| {
            let upto = usize::try_from(*left).unwrap_or(usize::MAX);
            let bytes = &bytes[..bytes.len().min(upto)];
            hasher.update(bytes);
            *left -= bytes.len() as u64;
            file.write_all(bytes).at("write", place)
        };
        let beyond = || {
            Error::damaged(
                entry.path.to_string(),
                "its content lies beyond the last frame",
            )
        };
        let mut left = entry.size;
        if left > 0 {
            while self.number != Some(entry.frame) {
                self.number = self.begins.next();
                self.bytes = self.ahead.next().ok_or_else(beyond)??;
            }
            let begin = usize::try_from(entry.offset).unwrap_or(usize::MAX);
            put(self.bytes.get(begin..).unwrap_or_default(), &mut left)?;
            let mut number = usize::try_from(entry.frame).unwrap_or(usize::MAX);
            while left > 0 {
                number += 1;
                let name = self.frames.get(number).ok_or_else(beyond)?;
                put(&read_frame(&self.store, *name)?, &mut left)?;
            }
        }
        if Some(hasher.finalize().to_hex().as_str()) != entry.blake3.as_deref() {
            return Err(Error::damaged(
                entry.path.to_string(),
                "its content is not what the index says",
            ));
        }
        Ok(())
    }
}
