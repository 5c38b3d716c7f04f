//! Files without a name, which end with the process, however it ends.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::backend::{Spool, Spooled};
use crate::error::{At, Error, ErrorKind, Result};

/// A new file in a directory, to be written and read, that has no name.
pub(crate) fn unnamed(dir: &Path) -> Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(dir, flags, mode) {
        Ok(fd) => Ok(File::from(fd)),
        // Not every file system can: a name that is gone at once serves.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            let id = crate::store::random()?.map(|b| format!("{b:02x}")).concat();
            let path = dir.join(format!(".lava-backup-{id}"));
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
            let fd = rustix::fs::open(&path, flags, mode).at("create", &path)?;
            std::fs::remove_file(&path).at("remove", &path)?;
            Ok(File::from(fd))
        }
        Err(e) => Err(Error::io(dir, "create a file in", e)),
    }
}

/// The name of an open file for this process.
fn own_name(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// A spool without a name.
pub(crate) struct Unnamed(File);

impl Unnamed {
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        unnamed(dir).map(Self)
    }
}

impl Write for Unnamed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Spool for Unnamed {
    fn finish(self: Box<Self>) -> Result<Spooled> {
        Ok(Spooled::new(own_name(&self.0), self.0))
    }
}

/// A file that has its name only when it is whole, and takes no other's.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    /// Begins a file of this name; nothing is to be seen of it yet.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if something has the name, [`ErrorKind::Io`] if
    /// its directory can't be written.
    pub fn create(path: &Path) -> Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(Error::new(ErrorKind::Exists, path, "exists already"));
        }
        let file = unnamed(Self::dir(path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Makes the file last, and gives it its name.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if something has the name by now.
    pub fn finish(self) -> Result<()> {
        self.file.sync_all().at("sync", &self.path)?;
        let from = own_name(&self.file);
        match rustix::fs::linkat(CWD, &from, CWD, &self.path, AtFlags::SYMLINK_FOLLOW) {
            Err(Errno::EXIST) => {
                return Err(Error::new(ErrorKind::Exists, self.path, "exists already"));
            }
            other => other.at("name", &self.path)?,
        }
        let dir = Self::dir(&self.path);
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .at("sync directory", dir)
    }

    /// The directory of a file.
    pub fn dir(path: &Path) -> &Path {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    /// The open file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn writer(&self) -> Result<File> {
        self.file.try_clone().at("open", &self.path)
    }
}
