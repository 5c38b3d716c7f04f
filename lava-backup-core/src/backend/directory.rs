//! A store in a directory: everything is written under a temporary name,
//! synced, renamed, and its directory synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::{Backend, Blob, Content, Found, Guard, Lock, Spool, Spooled};
use crate::disk::{Disk, Output, RealDisk, remove_tree};
use crate::error::{At, Error, ErrorKind, Result};
use crate::layout::{self, Named};

/// The directories of a store.
const PARTS: [&str; 3] = ["frames", "backups", "tmp"];
/// What locks are taken on; it stays empty.
const LOCK: &str = "lock";

/// A store in a directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// Where this run writes before it publishes; there while it does.
    run: Mutex<Weak<RunDir>>,
    serial: AtomicU64,
}

impl Directory {
    pub(crate) fn new(path: &Path) -> Self {
        Self::on(path, Arc::new(RealDisk))
    }

    pub(crate) fn on(path: &Path, disk: Arc<dyn Disk>) -> Self {
        Self {
            path: path.to_owned(),
            disk,
            run: Mutex::new(Weak::new()),
            serial: AtomicU64::new(0),
        }
    }

    /// Makes the directories of a store in one that is absent or empty.
    ///
    /// An interrupted attempt may be repeated; anything else that is there
    /// stays, and is an error.
    pub(crate) fn lay_out(&self) -> Result<()> {
        match fs::read_dir(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.make_dir(&self.path)?,
            other => drop(other.at("read directory", &self.path)?),
        }
        let _lock = lock_dir(&self.path)?;
        if self.path.join("store.json").exists() {
            return Err(Error::new(
                ErrorKind::Exists,
                &self.path,
                "is a store already",
            ));
        }
        self.refuse_foreign()?;
        for part in PARTS {
            self.make_dir(&self.path.join(part))?;
        }
        // Before it is a store: none is to be seen that lacks a part.
        self.sync_dir(&self.path)?;
        let parent = self.path.parent().filter(|p| p.exists());
        self.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    fn refuse_foreign(&self) -> Result<()> {
        for found in fs::read_dir(&self.path).at("read directory", &self.path)? {
            let found = found.at("read directory", &self.path)?.path();
            let name = found.file_name().unwrap_or_default();
            let empty = || fs::read_dir(&found).is_ok_and(|mut inner| inner.next().is_none());
            let ours = PARTS.iter().any(|part| name == *part) && (name == "tmp" || empty());
            if !(ours || name == LOCK) {
                return Err(Error::new(
                    ErrorKind::Refused,
                    &self.path,
                    format!("is not empty: it holds {}", found.display()),
                ));
            }
        }
        Ok(())
    }

    fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    fn run_dir(&self) -> Result<Arc<RunDir>> {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = run.upgrade() {
            return Ok(run);
        }
        let _lock = lock_dir(&self.tmp())?;
        let made = Arc::new(RunDir::new(&self.tmp(), Arc::clone(&self.disk))?);
        *run = Arc::downgrade(&made);
        Ok(made)
    }

    /// A name in the run's directory that nothing has had, and the directory.
    fn temporary(&self) -> Result<(PathBuf, Arc<RunDir>)> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let run = self.run_dir()?;
        Ok((run.path.join(serial.to_string()), run))
    }

    /// Makes a directory; one that exists is fine.
    fn make_dir(&self, path: &Path) -> Result<()> {
        match self.disk.make_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other.at("create directory", path),
        }
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.disk.sync_dir(path).at("sync directory", path)
    }

    /// Makes the name of a file last, and that of its directory.
    fn sync_name(&self, path: &Path) -> Result<()> {
        let dir = path.parent().unwrap_or(&self.path);
        self.sync_dir(dir)?;
        match dir.parent() {
            Some(above) if dir != self.path => self.sync_dir(above),
            _ => Ok(()),
        }
    }

    /// Writes a file under a temporary name, whole and synced.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = self.disk.create(path).at("create", path)?;
        let written = file.write_all(bytes).and_then(|()| file.sync());
        if written.is_err() {
            let _ = self.disk.remove_file(path);
        }
        written.at("write", path)
    }

    /// Makes a file under a temporary name what it is to be.
    fn fill(&self, path: &Path, content: Content) -> Result<()> {
        match content {
            Content::Bytes(bytes) => self.write(path, &bytes),
            Content::Spooled(spooled) => {
                let moved = self.disk.rename(spooled.path(), path);
                moved.at("rename", path)
            }
        }
    }

    /// Makes the directory of a file, if it is not there.
    fn make_parent(&self, path: &Path) -> Result<()> {
        match path.parent() {
            Some(dir) if !dir.is_dir() => {
                self.make_dir(dir)?;
                self.sync_dir(dir.parent().unwrap_or(Path::new(".")))
            }
            _ => Ok(()),
        }
    }
}

impl Backend for Directory {
    fn place(&self, key: &str) -> PathBuf {
        match key {
            "" => self.path.clone(),
            key => self.path.join(key),
        }
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Blob>>> {
        let path = self.path.join(key);
        // A pipe that somebody put there must not stop us, nor a link lead out.
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32;
        let mut options = OpenOptions::new();
        let file = match options.read(true).custom_flags(flags).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Err(Error::damaged(path, "is a link, not a regular file"));
            }
            other => other.at("open", &path)?,
        };
        let found = file.metadata().at("open", &path)?;
        if !found.is_file() {
            return Err(Error::damaged(path, "is no regular file"));
        }
        Ok(Some(Box::new(file)))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
        let top = self.path.join(prefix);
        let walk = walkdir::WalkDir::new(&top).min_depth(1).sort_by_file_name();
        for found in walk {
            let found = match found {
                Ok(found) => found,
                Err(e) if e.depth() == 0 && !top.exists() => return Ok(()),
                // Removed by somebody meanwhile.
                Err(e) if e.io_error().map(io::Error::kind) == Some(io::ErrorKind::NotFound) => {
                    continue;
                }
                Err(e) => return Err(Error::io(&top, "walk", e)),
            };
            if found.file_type().is_dir() {
                continue;
            }
            let path = found.path();
            let below = path.strip_prefix(&self.path).unwrap_or(path);
            let key = below.to_str();
            let (length, modified) = match found.metadata() {
                Ok(m) => (m.len(), m.modified().unwrap_or(SystemTime::UNIX_EPOCH)),
                Err(_) => continue,
            };
            each(Found {
                foreign: key.is_none() || !found.file_type().is_file(),
                key: match key {
                    Some(key) => key.to_owned(),
                    None => below.to_string_lossy().into_owned(),
                },
                length,
                modified,
            })?;
        }
        Ok(())
    }

    fn put(&self, key: &str, content: Content) -> Result<()> {
        let path = self.path.join(key);
        let (temporary, _run) = self.temporary()?;
        self.fill(&temporary, content)?;
        self.make_parent(&path)?;
        self.disk.rename(&temporary, &path).at("rename", &path)?;
        match layout::name(key) {
            Named::Frame(_) => Ok(()),
            _ => self.sync_dir(path.parent().unwrap_or(Path::new("."))),
        }
    }

    fn settle(&self) -> Result<()> {
        let frames = self.path.join("frames");
        for found in fs::read_dir(&frames).at("read directory", &frames)? {
            let found = found.at("read directory", &frames)?;
            if found.file_type().is_ok_and(|t| t.is_dir()) {
                self.sync_dir(&found.path())?;
            }
        }
        self.sync_dir(&frames)?;
        self.sync_dir(&self.path.join("backups"))
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(key);
        let (temporary, _run) = self.temporary()?;
        self.write(&temporary, bytes)?;
        self.make_parent(&path)?;
        let named = self.disk.rename_new(&temporary, &path);
        if named.is_err() {
            let _ = self.disk.remove_file(&temporary);
        }
        let exists = matches!(&named, Err(e) if e.kind() == io::ErrorKind::AlreadyExists);
        if !exists {
            named.at("rename", &path)?;
        }
        // Whoever made it, or its directory, may have been stopped before this.
        let lasting = self.sync_name(&path);
        if !exists && lasting.is_err() {
            let _ = self.disk.remove_file(&path);
        }
        match exists {
            true => lasting.and(Err(Error::new(ErrorKind::Exists, path, "exists already"))),
            false => lasting,
        }
    }

    fn spool(&self) -> Result<Box<dyn Spool>> {
        let (path, run) = self.temporary()?;
        let file = self.disk.create(&path).at("create", &path)?;
        Ok(Box::new(SpoolFile { path, file, run }))
    }

    fn publish(&self, prefix: &str, files: Vec<(&str, Content)>) -> Result<()> {
        let path = self.path.join(prefix);
        if fs::read_dir(&path).is_ok_and(|mut inner| inner.next().is_some()) {
            return Err(Error::new(ErrorKind::Exists, path, "exists already"));
        }
        let last = files.last().map(|(name, _)| *name).unwrap_or_default();
        let (dir, _run) = self.temporary()?;
        self.make_dir(&dir)?;
        for (name, content) in files {
            let to = dir.join(name);
            if let Some(parent) = to.parent()
                && parent != dir
            {
                self.make_dir(parent)?;
            }
            self.fill(&to, content)?;
        }
        for found in walkdir::WalkDir::new(&dir).contents_first(true) {
            let found = found.map_err(|e| Error::io(&dir, "walk", e))?;
            if found.file_type().is_dir() {
                self.sync_dir(found.path())?;
            }
        }
        let parent = path.parent().unwrap_or(Path::new("."));
        // It replaces an empty directory, and nothing that holds anything.
        self.disk.rename(&dir, &path).at("rename", &path)?;
        let lasting = self.sync_dir(parent);
        if lasting.is_err() {
            // What is not sure to last is taken back: whoever hears of an error
            // must find nothing there. The rename may be lost in a crash, so
            // what makes it whole is gone for sure before the rest goes.
            let _ = self.disk.rename(&path, &dir);
            let _ = self.disk.remove_file(&dir.join(last));
            let _ = self.disk.sync_dir(&dir);
        }
        lasting
    }

    fn withdraw(&self, prefix: &str, _first: &str) -> Result<()> {
        let path = self.path.join(prefix);
        let (aside, _run) = self.temporary()?;
        self.disk.rename(&path, &aside).at("rename", &path)?;
        let lasting = self.sync_dir(path.parent().unwrap_or(Path::new(".")));
        if lasting.is_err() {
            // After a crash it may be in its place again, so it must be whole.
            let _ = self.disk.rename(&aside, &path);
        }
        lasting?;
        remove_tree(&*self.disk, &aside).at("remove", &path)
    }

    fn delete(&self, key: &str) -> Result<()> {
        let path = self.path.join(key);
        match self.disk.remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.at("remove", path),
        }
    }

    fn sweep(&self) -> Result<()> {
        let tmp = self.tmp();
        let _lock = lock_dir(&tmp)?;
        for found in fs::read_dir(&tmp).at("read directory", &tmp)? {
            let found = found.at("read directory", &tmp)?;
            let path = found.path();
            let removed = match found.file_type().at("read directory", &path)?.is_dir() {
                true => match File::open(&path) {
                    Ok(dir) if flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() => {
                        remove_tree(&*self.disk, &path)
                    }
                    _ => continue,
                },
                false => self.disk.remove_file(&path),
            };
            match removed {
                // Its run ended, and removed it, between our open and our lock.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other.at("remove", &path)?,
            }
        }
        Ok(())
    }

    fn lock(&self, lock: Lock) -> Result<Option<Box<dyn Guard>>> {
        let path = self.path.join(LOCK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(&path).at("open", &path)?;
        let operation = match lock {
            Lock::Shared => FlockOperation::LockShared,
            Lock::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        let mut patience = 20;
        loop {
            match flock(&file, operation) {
                Ok(()) => {
                    let run = match lock {
                        Lock::Shared => Some(self.run_dir()?),
                        Lock::Exclusive => None,
                    };
                    return Ok(Some(Box::new(RunLock {
                        _lock: file,
                        _run: run,
                    })));
                }
                // A child of ours that is just being started has it, too, for a
                // moment.
                Err(Errno::WOULDBLOCK) if patience > 0 => {
                    patience -= 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(e) => return Err(Error::io(&path, "lock", e)),
            }
        }
    }
}

struct SpoolFile {
    path: PathBuf,
    file: Box<dyn Output>,
    run: Arc<RunDir>,
}

impl Write for SpoolFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Spool for SpoolFile {
    fn finish(mut self: Box<Self>) -> Result<Spooled> {
        self.file.sync().at("sync", &self.path)?;
        Ok(Spooled::new(self.path, self.run))
    }
}

/// A run that adds: its lock, which is the open file's and ends with the
/// process, and where it writes.
struct RunLock {
    _lock: File,
    _run: Option<Arc<RunDir>>,
}

impl Guard for RunLock {}

/// Keeps others from a directory who ask for it here; waits for whoever has it.
fn lock_dir(path: &Path) -> Result<File> {
    let dir = File::open(path).at("open directory", path)?;
    flock(&dir, FlockOperation::LockExclusive).at("lock", path)?;
    Ok(dir)
}

/// A directory of the store that belongs to one run, locked while it lives.
///
/// The lock is the kernel's, so it ends with the process however that ends, and
/// what a killed run left is known by being unlocked.
#[derive(Debug)]
struct RunDir {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    _lock: File,
}

impl RunDir {
    /// Makes one in `tmp`, which is to be locked: until it has its own lock, it
    /// looks as if its run were dead.
    fn new(tmp: &Path, disk: Arc<dyn Disk>) -> Result<Self> {
        let mut serial = 0;
        let path = loop {
            let path = tmp.join(format!("{}-{serial}", std::process::id()));
            match disk.make_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => serial += 1,
                other => {
                    other.at("create directory", &path)?;
                    break path;
                }
            }
        };
        let lock = File::open(&path).at("open directory", &path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).at("lock", &path)?;
        Ok(Self {
            path,
            disk,
            _lock: lock,
        })
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = remove_tree(&*self.disk, &self.path);
    }
}
