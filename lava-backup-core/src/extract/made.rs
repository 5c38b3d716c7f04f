//! Files that have no name yet.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::leftover;
use super::links::FileId;

#[cfg(test)]
mod tests;

/// A file that has no name, where the file system can do that, or a temporary
/// one. Unless it is put in its place, nothing of it stays.
pub(super) struct Made<'p> {
    parent: &'p OwnedFd,
    file: Option<File>,
    temporary: Option<OsString>,
}

/// Gives temporary names, none twice.
#[derive(Debug, Default)]
pub(super) struct Names(AtomicU64);

impl Names {
    fn next(&self) -> OsString {
        leftover::temporary_name(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

impl<'p> Made<'p> {
    /// An empty file for root alone.
    pub(super) fn file(parent: &'p OwnedFd, names: &Names) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        match fs::openat(parent, ".", flags | OFlags::TMPFILE, mode) {
            Ok(fd) => Ok(Self {
                parent,
                file: Some(fd.into()),
                temporary: None,
            }),
            // The file system or the kernel does not know such files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                Self::file_with_name(parent, names)
            }
            Err(e) => Err(e.into()),
        }
    }

    fn file_with_name(parent: &'p OwnedFd, names: &Names) -> io::Result<Self> {
        // What has the name already, a link above all, is not opened.
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
        let mut file = None;
        let mut made = Self::named(parent, names, |name| {
            file = Some(fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?.into());
            Ok(())
        })?;
        made.file = file;
        Ok(made)
    }

    /// Something that `make` makes under a name that it is given.
    pub(super) fn named(
        parent: &'p OwnedFd,
        names: &Names,
        mut make: impl FnMut(&OsStr) -> Result<(), Errno>,
    ) -> io::Result<Self> {
        loop {
            let name = names.next();
            match make(&name) {
                // A killed run of the same number left it.
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
                Ok(()) => {
                    return Ok(Self {
                        parent,
                        file: None,
                        temporary: Some(name),
                    });
                }
            }
        }
    }

    /// The file, if it is a regular one that was made here.
    pub(super) fn as_file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or(io::ErrorKind::InvalidInput.into())
    }

    /// The temporary name; empty for a file without one.
    pub(super) fn temporary(&self) -> &OsStr {
        self.temporary.as_deref().unwrap_or_default()
    }

    /// Gives it a name that nothing has.
    pub(super) fn put(mut self, name: &OsStr) -> io::Result<()> {
        match (&self.temporary, &self.file) {
            (Some(temporary), _) => {
                let flags = RenameFlags::NOREPLACE;
                fs::renameat_with(self.parent, temporary, self.parent, name, flags)?;
                self.temporary = None;
            }
            (None, Some(file)) => link(file, self.parent, name)?,
            (None, None) => return Err(io::ErrorKind::InvalidInput.into()),
        }
        Ok(())
    }

    /// Gives it the name of a file that is kept elsewhere.
    pub(super) fn put_over(mut self, name: &OsStr, old: FileId, names: &Names) -> io::Result<()> {
        if let (None, Some(file)) = (&self.temporary, &self.file) {
            let linked = Self::named(self.parent, names, |name| link(file, self.parent, name));
            return linked?.put_over(name, old, names);
        }
        let parent = self.parent;
        let temporary = self.temporary();
        let exchange = || fs::renameat_with(parent, temporary, parent, name, RenameFlags::EXCHANGE);
        match exchange() {
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::renameat(parent, temporary, parent, name)?;
                self.temporary = None;
                return Ok(());
            }
            other => other?,
        }
        // What has the temporary name goes; it must be what was kept.
        let stat = fs::statat(parent, temporary, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileId::from(&stat) != old {
            exchange()?;
            return Err(io::Error::other("was replaced by something else"));
        }
        Ok(())
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.temporary {
            let _ = fs::unlinkat(self.parent, name, AtFlags::empty());
        }
    }
}

/// Gives an open file one more name.
pub(super) fn link(file: impl AsFd, parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match fs::linkat(&file, "", parent, name, AtFlags::EMPTY_PATH) {
        // Older kernels allow it to root alone.
        Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {
            let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
            fs::linkat(fs::CWD, path, parent, name, AtFlags::SYMLINK_FOLLOW)
        }
        other => other,
    }
}
