//! How the store's files come into being: under a temporary name, synced,
//! renamed, and their directory synced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::{At, Error, ErrorKind, Result};

/// Makes a file that only its owner may read; one that exists is an error.
pub(crate) fn create_new(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .at("create", path)
}

/// Makes a directory that only its owner may enter; one that exists is fine.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.at("create directory", path),
    }
}

/// Makes the names in a directory last.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .at("sync directory", path)
}

/// Keeps others from this directory who ask for it here, while it lives.
pub(crate) struct DirLock(#[allow(dead_code, reason = "the lock is the open file's")] File);

impl DirLock {
    /// Waits for whoever has it.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let dir = File::open(path).at("open directory", path)?;
        flock(&dir, FlockOperation::LockExclusive).at("lock", path)?;
        Ok(Self(dir))
    }
}

/// Writes a new file whole: it is there with all its bytes, or it is not.
pub(crate) fn write_new(path: &Path, temporary: &Path, bytes: &[u8]) -> Result<()> {
    if path.exists() {
        return Err(Error::new(ErrorKind::Exists, path, "exists already"));
    }
    let mut file = create_new(temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .at("write", temporary)
        .and_then(|()| rename(temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(temporary);
    }
    written?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Gives a finished file or directory its name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).at("rename", to)
}

/// A directory of the store that belongs to one run, locked while it lives.
///
/// The lock is the kernel's, so it ends with the process however that ends, and
/// what a killed run left is known by being unlocked.
pub(crate) struct RunDir {
    path: std::path::PathBuf,
    _lock: File,
    published: bool,
}

impl RunDir {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        DirBuilder::new()
            .mode(0o700)
            .create(path)
            .map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => Error::new(
                    ErrorKind::Exists,
                    path,
                    "another run makes a backup of this id",
                ),
                _ => Error::io(path, "create directory", e),
            })?;
        let lock = File::open(path).at("open directory", path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).at("lock", path)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
            published: false,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the directory and gives it its final name, for good or not at all.
    pub(crate) fn publish(mut self, to: &Path) -> Result<()> {
        sync_dir(&self.path)?;
        rename(&self.path, to)?;
        let lasting = sync_dir(to.parent().unwrap_or(Path::new(".")));
        // What is not sure to last is taken back: whoever hears of an error
        // must find nothing there.
        self.published = lasting.is_ok() || rename(to, &self.path).is_err();
        lasting
    }

    /// Removes what runs that no longer live have left in `parent`, whose
    /// [`DirLock`] is to be held: what is just being made is not locked yet.
    pub(crate) fn sweep(parent: &Path) -> Result<()> {
        for found in fs::read_dir(parent).at("read directory", parent)? {
            let path = found.at("read directory", parent)?.path();
            let Ok(dir) = File::open(&path) else { continue };
            if flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let removed = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
                removed.at("remove", &path)?;
            }
        }
        Ok(())
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
