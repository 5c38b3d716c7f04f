//! Files that are replaced, and kept.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, RenameFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::bring::Hand;
use super::links::FileId;
use super::made::Made;
use super::target::{LOOK, READ, make_dirs};
use crate::error::{At, Result};
use crate::path::MemberPath;

/// Where a file that is replaced has gone.
pub(super) enum Kept {
    /// Away, to this directory and name.
    Moved(OwnedFd, OsString),
    /// It is still there; a copy is kept on another file system.
    Copied(FileId),
}

impl Hand<'_> {
    /// Moves what is in the way to where replaced files are kept.
    pub(super) fn keep(&self, parent: &OwnedFd, name: &OsStr, path: &MemberPath) -> Result<Kept> {
        let root = self.work.target.root;
        let keep_in = &self.work.target.options.keep_in;
        let kept = MemberPath::new([keep_in.as_bytes(), b"/", path.as_bytes()].concat())?;
        let place = root.show(&kept);
        let (dir, kept_name) = kept.split_last();
        let dir = make_dirs(root, &dir.unwrap_or_else(|| keep_in.clone()), 0o700)?;
        let kept_name = OsString::from_vec(kept_name.to_vec());
        let moved = fs::renameat_with(parent, name, &dir, &kept_name, RenameFlags::NOREPLACE);
        let kept = match moved {
            Err(Errno::XDEV) => {
                let id = self.copy(parent, name, &dir, &kept_name);
                Kept::Copied(id.at("keep the old file as", &place)?)
            }
            other => {
                other.at("keep the old file as", &place)?;
                Kept::Moved(dir.try_clone().at("open", &place)?, kept_name)
            }
        };
        self.work.disks.uses(&dir).at("open", &place)?;
        self.work.has_kept();
        Ok(kept)
    }

    /// Copies anything but a directory, as it is.
    fn copy(&self, from: &OwnedFd, name: &OsStr, to: &OwnedFd, as_: &OsStr) -> io::Result<FileId> {
        let names = &self.work.names;
        let old = fs::openat(from, name, LOOK, Mode::empty())?;
        let stat = fs::fstat(&old)?;
        let made = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let old = fs::openat(from, name, READ, Mode::empty())?;
                if FileId::from(&fs::fstat(&old)?) != FileId::from(&stat) {
                    return Err(io::Error::other("was replaced by something else"));
                }
                let made = Made::file(to, names)?;
                let new = made.as_file()?;
                copy_content(&mut File::from(old.try_clone()?), new, stat.st_size as u64)?;
                fs::fchown(
                    new,
                    Some(Uid::from_raw(stat.st_uid)),
                    Some(Gid::from_raw(stat.st_gid)),
                )?;
                copy_attributes(&old, new)?;
                fs::fchmod(new, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
                fs::futimens(new, &times(&stat))?;
                new.sync_all()?;
                made
            }
            FileType::Symlink => {
                let link = fs::readlinkat(&old, "", Vec::new())?;
                let made = Made::named(to, names, |name| fs::symlinkat(&link, to, name))?;
                dress_copy(to, made.temporary(), &stat)?;
                made
            }
            kind => {
                let private = Mode::RUSR | Mode::WUSR;
                let device = stat.st_rdev;
                let make = |name: &OsStr| fs::mknodat(to, name, kind, private, device);
                let made = Made::named(to, names, make)?;
                dress_copy(to, made.temporary(), &stat)?;
                made
            }
        };
        made.put(as_)?;
        Ok((&stat).into())
    }
}

/// Gives a copy the owner, mode and time of the original. By its name: in a
/// directory that is ours alone nobody can swap it.
fn dress_copy(dir: &OwnedFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    fs::chownat(dir, name, Some(uid), Some(gid), flags)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        fs::chmodat(dir, name, mode, AtFlags::empty())?;
    }
    Ok(fs::utimensat(dir, name, &times(stat), flags)?)
}

/// Copies what is no hole.
fn copy_content(old: &mut File, new: &File, size: u64) -> io::Result<()> {
    use io::{Read, Seek, SeekFrom};
    let mut at = 0;
    let mut new = new;
    while at < size {
        let data = match fs::seek(&*old, fs::SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) => at,
            other => other?,
        };
        let end = match fs::seek(&*old, fs::SeekFrom::Hole(data)) {
            Err(Errno::INVAL) => size,
            other => other?,
        };
        old.seek(SeekFrom::Start(data))?;
        new.seek(SeekFrom::Start(data))?;
        let copied = io::copy(&mut old.take(end - data), &mut new)?;
        if copied == 0 {
            break;
        }
        at = data + copied;
    }
    if new.metadata()?.len() < size {
        new.set_len(size)?;
    }
    Ok(())
}

/// Copies all attributes, lists among them; what this file system can't have
/// is an error.
fn copy_attributes(old: &OwnedFd, new: &File) -> io::Result<()> {
    // The kernel has no longer list, and no longer value.
    let mut names = vec![0; 1 << 16];
    let length = match fs::flistxattr(old, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    };
    for name in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let name = OsStr::from_bytes(name);
        // Labels belong to the policy of where it lies.
        if name.as_bytes().starts_with(b"security.") && name != "security.capability" {
            continue;
        }
        let mut value = vec![0; 1 << 16];
        let length = fs::fgetxattr(old, name, &mut value[..])?;
        fs::fsetxattr(new, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

fn times(stat: &Stat) -> Timestamps {
    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "the types differ between architectures"
    )]
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime as i64,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as i64,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}
