//! What the files of a directory come into being through: the few operations
//! of a file system that change it, so that tests can make each of them fail,
//! or be lost by a crash.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// The operations of a file system that change it.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Makes a directory that only its owner may enter; `AlreadyExists` if
    /// something is there.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a file that only its owner may read; `AlreadyExists` if something
    /// is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>>;
    /// Gives a file or directory another name; a file that has it is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name; `AlreadyExists` if something has it.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory last.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
}

/// A new file.
pub(crate) trait Output: Write + Send {
    /// Makes its bytes last.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file system of the host.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Not every file system can; there, whoever writes here at the same
            // moment may be overwritten by the same bytes.
            Err(Errno::INVAL | Errno::NOSYS) if !to.exists() => fs::rename(from, to),
            Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
            other => Ok(other?),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}

impl Output for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Removes a directory and all that is in it, following no link.
pub(crate) fn remove_tree(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    for found in fs::read_dir(path)? {
        let found = found?;
        match found.file_type()?.is_dir() {
            true => remove_tree(disk, &found.path())?,
            false => disk.remove_file(&found.path())?,
        }
    }
    disk.remove_dir(path)
}
