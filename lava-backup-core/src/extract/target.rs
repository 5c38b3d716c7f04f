//! Making files, and giving them their owner, mode and time.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::contents::Contents;
use super::{Extract, ExtractReport};
use crate::entry::{Entry, Kind, Time};
use crate::error::{At, Error, Result};
use crate::owner::{OwnerId, Owners};
use crate::path::MemberPath;
use crate::root::Root;

/// A root that a backup is brought back to.
pub(super) struct Target<'t> {
    pub(super) root: &'t Root,
    owners: Owners,
    pub(super) options: &'t Extract,
    pub(super) report: ExtractReport,
    /// Directories that were made and get their mode and time when their
    /// content is in, the innermost last.
    open_dirs: Vec<(MemberPath, OwnedFd, Entry)>,
    /// The directory that was used last.
    parent: Option<(MemberPath, OwnedFd)>,
    serial: u64,
}

impl<'t> Target<'t> {
    pub(super) fn new(root: &'t Root, options: &'t Extract) -> Result<Self> {
        Ok(Self {
            root,
            owners: Owners::read(root)?,
            options,
            report: ExtractReport::default(),
            open_dirs: Vec::new(),
            parent: None,
            serial: 0,
        })
    }

    pub(super) fn bring(
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
                return fs::renameat(&parent, temporary, &parent, name).at("rename", &place);
            }
            // Another section, or somebody else, may have made it meanwhile.
            let flags = fs::RenameFlags::NOREPLACE;
            fs::renameat_with(&parent, temporary, &parent, name, flags).at("rename to", &place)
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
            Kind::Dir | Kind::Hardlink => Ok(()),
        }
    }

    /// Owner first: a change of owner takes setuid away. The mode opens the
    /// file up only when it has the right owner, and what the old owner's mode
    /// allowed is not allowed to the new one for a moment.
    fn dress(&mut self, fd: impl AsFd, entry: &Entry) -> io::Result<()> {
        if self.options.own {
            let old = fs::fstat(&fd)?.st_mode & 0o7777;
            if old & !self.mode(entry) != 0 {
                fs::fchmod(&fd, Mode::from_raw_mode(old & self.mode(entry)))?;
            }
            let (uid, gid) = self.owner_ids(entry);
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fs::fchown(&fd, Some(uid), Some(gid))?;
        }
        fs::fchmod(&fd, Mode::from_raw_mode(self.mode(entry)))?;
        fs::futimens(&fd, &times(entry.mtime))?;
        Ok(())
    }

    fn dress_by_name(&mut self, parent: &OwnedFd, name: &OsStr, entry: &Entry) -> io::Result<()> {
        // Whoever owns the directory can put something else there meanwhile,
        // so it is opened, looked at, and changed by what was opened.
        let link = entry.kind == Kind::Symlink;
        let how = match link {
            true => OFlags::PATH,
            // A pipe opens at once, whether or not it has a writer.
            false => OFlags::RDONLY | OFlags::NONBLOCK,
        };
        let flags = how | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(parent, name, flags, Mode::empty())?;
        let stat = fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != file_type(entry.kind) || stat.st_nlink > 1 {
            return Err(io::Error::other("was replaced by something else"));
        }
        if !link {
            return self.dress(fd, entry);
        }
        if self.options.own {
            let (uid, gid) = self.owner_ids(entry);
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fs::chownat(&fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        }
        fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// The mode that an entry gets here.
    ///
    /// Whoever owned a file could make it run as himself. Where it gets another
    /// owner (root, if the number is taken), it must not run as that one.
    pub(super) fn mode(&self, entry: &Entry) -> u32 {
        let known = |owner: OwnerId| self.options.own && owner.known;
        let mut mode = entry.mode;
        if entry.kind != Kind::Dir {
            if !known(self.owners.uid(&entry.user, entry.uid)) {
                mode &= !0o4000;
            }
            if !known(self.owners.gid(&entry.group, entry.gid)) {
                mode &= !0o2000;
            }
        }
        mode
    }

    pub(super) fn owner_ids(&mut self, entry: &Entry) -> (u32, u32) {
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

    pub(super) fn leave_dirs(&mut self, next: &MemberPath) -> Result<()> {
        while let Some((path, _, _)) = self.open_dirs.last() {
            if next.is_within(path) {
                break;
            }
            self.leave_one()?;
        }
        Ok(())
    }

    pub(super) fn leave_all(&mut self) -> Result<()> {
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

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File | Kind::Hardlink => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::Fifo,
    }
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
