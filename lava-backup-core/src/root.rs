use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{At, Error, ErrorKind, Result};
use crate::path::MemberPath;

/// More links in one path are a loop: the kernel's own number.
const MAX_LINKS: usize = 40;

/// A directory that nothing reached through it can leave.
///
/// Every path is looked up below one open directory without following a
/// symbolic link, by the kernel (`openat2`, Linux 5.6) or, where it can't, one
/// component at a time. What an archive says, or what another process puts in
/// the way meanwhile, can make a look-up fail and can't lead it out.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens a directory.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it is missing, no directory, or may not be read.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty()).at("open directory", path)?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// The path that it was opened by; for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something below it; for messages only.
    pub(crate) fn show(&self, path: &MemberPath) -> PathBuf {
        self.path.join(path.as_path())
    }

    /// Opens something below, following no link.
    pub(crate) fn open_at(
        &self,
        path: &MemberPath,
        flags: OFlags,
        mode: Mode,
    ) -> io::Result<OwnedFd> {
        open_beneath(&self.fd, path, flags | OFlags::CLOEXEC, mode).map_err(Into::into)
    }

    /// Opens a regular file for reading, following no link.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; `ELOOP` says that a link is in the way.
    pub fn open_file(&self, path: &MemberPath) -> Result<File> {
        // A pipe that nobody writes must not stop us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = self
            .open_at(path, flags, Mode::empty())
            .at("open", self.show(path))?;
        let file = File::from(fd);
        if !file.metadata().at("read", self.show(path))?.is_file() {
            return Err(Error::new(
                ErrorKind::Refused,
                self.show(path),
                "is no regular file",
            ));
        }
        Ok(file)
    }

    /// The directory that holds `path`, opened, and its last component.
    pub(crate) fn parent<'p>(&self, path: &'p MemberPath) -> io::Result<(OwnedFd, &'p OsStr)> {
        let (parent, name) = path.split_last();
        let fd = match parent {
            Some(parent) => {
                self.open_at(&parent, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?
            }
            None => self.fd.try_clone()?,
        };
        Ok((fd, OsStr::from_bytes(name)))
    }

    /// Opens a directory below, or this one itself, anew: locks taken on it are
    /// those of whoever opened it.
    pub(crate) fn open_dir(&self, path: Option<&MemberPath>) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match path {
            Some(path) => self.open_at(path, flags, Mode::empty()),
            None => Ok(fs::openat(
                &self.fd,
                ".",
                flags | OFlags::CLOEXEC,
                Mode::empty(),
            )?),
        }
    }

    /// Resolves a path of this root to the one without links that it stands
    /// for: absolute links are those of the root, and `..` stops at it. `None`
    /// is the root itself.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if there is nothing there.
    pub fn resolve(&self, path: &Path) -> Result<Option<MemberPath>> {
        let place = self.path.join(path.strip_prefix("/").unwrap_or(path));
        let mut todo: Vec<Vec<u8>> = parts(path.as_os_str().as_bytes());
        let mut real: Vec<(Vec<u8>, OwnedFd)> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                real.pop();
                continue;
            }
            let here = real.last().map_or(self.fd.as_fd(), |(_, fd)| fd.as_fd());
            match fs::readlinkat(here, part.as_slice(), Vec::new()) {
                Ok(link) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::io(place, "find", Errno::LOOP));
                    }
                    if link.as_bytes().starts_with(b"/") {
                        real.clear();
                    }
                    todo.extend(parts(link.as_bytes()));
                }
                Err(Errno::INVAL) => {
                    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let fd = fs::openat(here, part.as_slice(), flags, Mode::empty());
                    let fd = fd.at("find", &place)?;
                    real.push((part, fd));
                }
                Err(e) => return Err(Error::io(place, "find", e)),
            }
        }
        if real.is_empty() {
            return Ok(None);
        }
        let real: Vec<Vec<u8>> = real.into_iter().map(|(part, _)| part).collect();
        MemberPath::new(real.join(&b'/')).map(Some)
    }

    /// Reads a small file, following links inside the root alone.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it can't be read, [`ErrorKind::Refused`] if it is
    /// longer than `limit` bytes.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>> {
        let Some(member) = self.resolve(path)? else {
            return Err(Error::new(ErrorKind::Refused, path, "is the root itself"));
        };
        let file = self.open_file(&member)?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, limit + 1), &mut bytes)
            .at("read", self.show(&member))?;
        if bytes.len() as u64 > limit {
            return Err(Error::new(
                ErrorKind::Refused,
                self.show(&member),
                format!("is longer than {limit} bytes"),
            ));
        }
        Ok(bytes)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open_beneath(
    dir: impl AsFd,
    path: &MemberPath,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match fs::openat2(&dir, path.as_path(), flags, mode, how) {
        // A path longer than the kernel takes at once has shorter parts. Older
        // containers do not know the call and forbid it.
        Err(Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG) => {
            open_by_components(dir, path, flags, mode)
        }
        // The kernel saw the tree being moved about; asking again is its advice.
        Err(Errno::AGAIN) => fs::openat2(&dir, path.as_path(), flags, mode, how),
        other => other,
    }
}

/// The components of a path, the last first, without those that say nothing.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|b| *b == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
        .map(<[u8]>::to_vec)
        .rev()
        .collect()
}

fn open_by_components(
    dir: impl AsFd,
    path: &MemberPath,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at: Option<OwnedFd> = None;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let here = at.as_ref().map_or_else(|| dir.as_fd(), |fd| fd.as_fd());
        if parts.peek().is_none() {
            return fs::openat(here, part, flags | OFlags::NOFOLLOW, mode);
        }
        at = Some(fs::openat(here, part, step, Mode::empty())?);
    }
    Err(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn neither_look_up_follows_a_link_out() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let inside = tempfile::tempdir().unwrap();
        symlink(outside.path(), inside.path().join("dir")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("file")).unwrap();
        std::fs::create_dir(inside.path().join("real")).unwrap();
        std::fs::write(inside.path().join("real/file"), "r").unwrap();
        let root = Root::open(inside.path()).unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        for bad in ["dir/secret", "file"] {
            let path: MemberPath = bad.parse().unwrap();
            assert!(open_beneath(&root, &path, flags, Mode::empty()).is_err());
            assert!(open_by_components(&root, &path, flags, Mode::empty()).is_err());
        }
        let path: MemberPath = "real/file".parse().unwrap();
        assert!(open_beneath(&root, &path, flags, Mode::empty()).is_ok());
        assert!(open_by_components(&root, &path, flags, Mode::empty()).is_ok());
    }

    #[test]
    fn links_resolve_inside_the_root() {
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(inside.path().join("srv/media")).unwrap();
        std::fs::create_dir_all(inside.path().join("var")).unwrap();
        symlink("/srv/media", inside.path().join("var/media")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        let found = root.resolve(Path::new("/var/media")).unwrap().unwrap();
        assert_eq!(found.to_string(), "srv/media");
    }
}
