//! Files without a name, which end with the process, however it ends.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::backend::{Spool, Spooled};
use crate::disk::{Disk, RealDisk};
use crate::error::{At, Error, ErrorKind, Result};

/// A new file in a directory, to be written and read, that has no name.
pub(crate) fn unnamed(dir: &Path) -> Result<File> {
    match tmpfile(dir) {
        // Not every file system can: a name that is gone at once serves.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            let (file, path) = hidden(dir)?;
            std::fs::remove_file(&path).at("remove", &path)?;
            Ok(file)
        }
        other => other.at("create a file in", dir),
    }
}

fn tmpfile(dir: &Path) -> Result<File, Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(File::from(fd))
}

/// A new file with a name that nobody looks for.
fn hidden(dir: &Path) -> Result<(File, PathBuf)> {
    let id = crate::store::random()?.map(|b| format!("{b:02x}")).concat();
    let path = dir.join(format!(".lava-backup-{id}"));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).at("create", &path)?;
    Ok((File::from(fd), path))
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
    /// The name that it has meanwhile, where there are no files without one.
    meanwhile: Option<PathBuf>,
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
        let dir = Self::dir(path);
        let (file, meanwhile) = match tmpfile(dir) {
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
                let (file, name) = hidden(dir)?;
                (file, Some(name))
            }
            other => (other.at("create a file in", dir)?, None),
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            meanwhile,
        })
    }

    /// Makes the file last, and gives it its name.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if something has the name by now.
    pub fn finish(self) -> Result<()> {
        self.file.sync_all().at("sync", &self.path)?;
        let named = match &self.meanwhile {
            None => {
                let from = own_name(&self.file);
                let follow = AtFlags::SYMLINK_FOLLOW;
                rustix::fs::linkat(CWD, &from, CWD, &self.path, follow).map_err(io::Error::from)
            }
            Some(name) => RealDisk.rename_new(name, &self.path),
        };
        match named {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::new(ErrorKind::Exists, &self.path, "exists already"));
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

impl Drop for NewFile {
    fn drop(&mut self) {
        // Gone, if it has its own name by now.
        if let Some(name) = &self.meanwhile {
            let _ = std::fs::remove_file(name);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_new_file_is_there_whole_or_not_at_all_with_and_without_a_name_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let count = || std::fs::read_dir(dir.path()).unwrap().count();
        for hides in [false, true] {
            let path = dir.path().join(format!("file-{hides}"));
            let begin = || {
                let mut new = NewFile::create(&path).unwrap();
                if hides {
                    let (file, name) = hidden(dir.path()).unwrap();
                    (new.file, new.meanwhile) = (file, Some(name));
                }
                new.writer().unwrap().write_all(b"whole").unwrap();
                new
            };
            let before = count();
            drop(begin());
            assert_eq!(count(), before);
            let (first, second) = (begin(), begin());
            first.finish().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"whole");
            assert_eq!(second.finish().unwrap_err().kind(), ErrorKind::Exists);
            let error = NewFile::create(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Exists);
            assert_eq!(count(), before + 1);
        }
    }
}
