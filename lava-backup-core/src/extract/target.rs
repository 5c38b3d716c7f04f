//! A root that a backup is brought back to, and what files are given there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::Extract;
use crate::entry::{Entry, Kind, Time};
use crate::error::{At, Error, Result};
use crate::owner::{OwnerId, Owners};
use crate::path::MemberPath;
use crate::root::Root;

/// For a look at what is there, whatever it is; a link is not followed.
pub(super) const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// As [`LOOK`], to read it. A pipe opens at once, whether or not it has a writer.
pub(super) const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// For a directory that no link leads to.
pub(super) const DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A root, whose names its owners have, and how it is treated. Shared by all
/// who work on it.
pub(super) struct Target<'t> {
    pub(super) root: &'t Root,
    pub(super) owners: Owners,
    pub(super) options: &'t Extract,
}

impl<'t> Target<'t> {
    pub(super) fn new(root: &'t Root, options: &'t Extract) -> Result<Self> {
        Ok(Self {
            root,
            owners: Owners::read(root)?,
            options,
        })
    }

    /// Gives an open file, directory or pipe all that an entry says of it; gives
    /// what it was before.
    ///
    /// Owner first: a change of owner takes setuid and capabilities away. The
    /// mode opens the file up only when it has the right owner and lists, and
    /// what the old owner's mode allowed is not allowed to the new one for a
    /// moment.
    pub(super) fn dress(&self, fd: impl AsFd, entry: &Entry) -> io::Result<Stat> {
        let stat = fs::fstat(&fd)?;
        let mode = self.mode(entry);
        let mut now = stat.st_mode & 0o7777;
        let (uid, gid) = self.owner_ids(entry);
        if self.options.own && (stat.st_uid, stat.st_gid) != (uid, gid) {
            if now & !mode != 0 {
                fs::fchmod(&fd, Mode::from_raw_mode(now & mode))?;
                now &= mode;
            }
            fs::fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            now &= 0o1777;
        }
        let listed = self.give_attributes(&fd, entry)?;
        if listed || now != mode {
            fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        }
        fs::futimens(&fd, &times(entry.mtime))?;
        Ok(stat)
    }

    /// [`dress`](Self::dress) for what has a name already, or can't be opened.
    pub(super) fn dress_by_name(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &Entry,
    ) -> io::Result<Stat> {
        // Whoever owns the directory can put something else there meanwhile,
        // so it is opened, looked at, and changed by what was opened.
        let link = entry.kind == Kind::Symlink;
        let flags = if link { LOOK } else { READ };
        let fd = fs::openat(parent, name, flags, Mode::empty())?;
        let stat = fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != file_type(entry.kind) || stat.st_nlink > 1 {
            return Err(io::Error::other("was replaced by something else"));
        }
        if !link {
            return self.dress(fd, entry);
        }
        let (uid, gid) = self.owner_ids(entry);
        if self.options.own && (stat.st_uid, stat.st_gid) != (uid, gid) {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fs::chownat(&fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        }
        self.give_attributes(&fd, entry)?;
        let times = times(entry.mtime);
        match fs::utimensat(&fd, "", &times, AtFlags::EMPTY_PATH) {
            // Kernels before 5.8.
            Err(Errno::INVAL | Errno::NOENT) => {
                let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
                fs::utimensat(fs::CWD, path, &times, AtFlags::empty())?;
            }
            other => other?,
        }
        Ok(stat)
    }

    /// The mode that an entry gets here.
    ///
    /// Whoever owned a file could make it run as himself. Where it gets another
    /// owner (root, if the number is taken), it must not run as that one.
    pub(super) fn mode(&self, entry: &Entry) -> u32 {
        let mut mode = entry.mode;
        if entry.kind != Kind::Dir {
            let (user, group) = self.owners_known(entry);
            if !user {
                mode &= !0o4000;
            }
            if !group {
                mode &= !0o2000;
            }
        }
        mode
    }

    /// Does it get the very user and group that it had?
    pub(super) fn owners_known(&self, entry: &Entry) -> (bool, bool) {
        let known = |owner: OwnerId| self.options.own && owner.known;
        let user = self.owners.uid(&entry.user, entry.uid);
        let group = self.owners.gid(&entry.group, entry.gid);
        (known(user), known(group))
    }

    pub(super) fn owner_ids(&self, entry: &Entry) -> (u32, u32) {
        let uid = self.owners.uid(&entry.user, entry.uid);
        let gid = self.owners.gid(&entry.group, entry.gid);
        (uid.id, gid.id)
    }

    /// Notes the owners that are unknown here, and what is done about it.
    pub(super) fn note_owners(&self, entry: &Entry, notes: &mut BTreeSet<String>) {
        if !self.options.own {
            return;
        }
        let mut note = |what: &str, name: &str, recorded: u32, used: OwnerId| {
            if !used.known {
                notes.insert(format!(
                    "the {what} {name:?} ({recorded} in the backup) is unknown here; {} is used",
                    used.id
                ));
            }
        };
        let uid = self.owners.uid(&entry.user, entry.uid);
        let gid = self.owners.gid(&entry.group, entry.gid);
        note("user", &entry.user, entry.uid, uid);
        note("group", &entry.group, entry.gid, gid);
        self.note_listed(entry, &mut note);
    }
}

/// Opens the directory in which something is to be, the root itself if it is
/// `None`, making what is missing of it.
pub(super) fn parent_dir(root: &Root, parent: Option<&MemberPath>) -> Result<OwnedFd> {
    match (root.open_dir(parent), parent) {
        // What stopped it, if nothing is missing, stops this too.
        (Err(_), Some(parent)) => make_dirs(root, parent, 0o755),
        (opened, _) => opened.at("open", root.path()),
    }
}

/// Opens a directory below the root, making what is missing, root's own.
pub(super) fn make_dirs(root: &Root, path: &MemberPath, mode: u32) -> Result<OwnedFd> {
    let place = root.show(path);
    let mut at = root.open_dir(None).at("open", &place)?;
    for part in path.components() {
        match fs::mkdirat(&at, part, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(Error::io(place, "create directory", e)),
        }
        at = fs::openat(&at, part, DIR, Mode::empty()).at("open directory", &place)?;
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
