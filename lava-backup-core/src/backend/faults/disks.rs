//! Disks that are quick, that remember, and that fail.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use crate::disk::{Disk, Output, RealDisk};

/// The disk of the host, without waiting for anything to last.
#[derive(Debug)]
pub(super) struct Quiet;

struct QuietFile(Box<dyn Output>);

impl Disk for Quiet {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.make_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        Ok(Box::new(QuietFile(RealDisk.create(path)?)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename_new(from, to)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::File::open(path).map(drop)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }
}

impl Write for QuietFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Output for QuietFile {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A call that succeeded. Files are numbered as they were created.
#[derive(Clone, Debug)]
pub(super) enum Call {
    MakeDir(PathBuf),
    Create(PathBuf),
    Write(usize, Vec<u8>),
    Sync(usize),
    Rename(PathBuf, PathBuf),
    SyncDir(PathBuf),
    Remove(PathBuf),
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(file, bytes) => write!(f, "Write({file}, {} bytes)", bytes.len()),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Remembers the calls that succeeded, in their order.
#[derive(Debug)]
pub(super) struct Recorder {
    base: PathBuf,
    inner: Arc<dyn Disk>,
    calls: Arc<Mutex<Vec<Call>>>,
    files: Mutex<usize>,
}

struct RecordedFile {
    number: usize,
    inner: Box<dyn Output>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Recorder {
    pub(super) fn new(base: &Path, inner: Arc<dyn Disk>) -> Self {
        Self {
            base: base.to_owned(),
            inner,
            calls: Arc::default(),
            files: Mutex::default(),
        }
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.base).unwrap().to_owned()
    }

    /// The log is locked meanwhile, so that its order is that of the calls.
    fn note(&self, call: Call, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut calls = self.calls.lock().unwrap();
        act()?;
        calls.push(call);
        Ok(())
    }
}

impl Disk for Recorder {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let call = Call::MakeDir(self.below(path));
        self.note(call, || self.inner.make_dir(path))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        let mut number = self.files.lock().unwrap();
        let mut made = None;
        self.note(Call::Create(self.below(path)), || {
            made = Some(self.inner.create(path)?);
            Ok(())
        })?;
        *number += 1;
        Ok(Box::new(RecordedFile {
            number: *number - 1,
            inner: made.unwrap(),
            calls: Arc::clone(&self.calls),
        }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let call = Call::Rename(self.below(from), self.below(to));
        self.note(call, || self.inner.rename(from, to))
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let call = Call::Rename(self.below(from), self.below(to));
        self.note(call, || self.inner.rename_new(from, to))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let call = Call::SyncDir(self.below(path));
        self.note(call, || self.inner.sync_dir(path))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let call = Call::Remove(self.below(path));
        self.note(call, || self.inner.remove_file(path))
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let call = Call::Remove(self.below(path));
        self.note(call, || self.inner.remove_dir(path))
    }
}

impl Write for RecordedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut calls = self.calls.lock().unwrap();
        let written = self.inner.write(bytes)?;
        calls.push(Call::Write(self.number, bytes[..written].to_vec()));
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Output for RecordedFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut calls = self.calls.lock().unwrap();
        self.inner.sync()?;
        calls.push(Call::Sync(self.number));
        Ok(())
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// This call, counted from 0, and no other.
    Once(u64, Errno),
    /// This call and all after it, as of a disk that vanished.
    From(u64, Errno),
    /// Nothing, any more.
    Mended,
    /// Nothing; but each write takes half of its bytes, after an interruption.
    Slow,
}

/// Fails as it is told to.
#[derive(Debug)]
pub(super) struct Failing(Arc<Faults>);

#[derive(Debug)]
struct Faults {
    fault: Mutex<Fault>,
    calls: AtomicU64,
}

struct FailingFile {
    faults: Arc<Faults>,
    inner: Box<dyn Output>,
}

impl Failing {
    pub(super) fn new(fault: Fault) -> Self {
        Self(Arc::new(Faults {
            fault: Mutex::new(fault),
            calls: AtomicU64::new(0),
        }))
    }

    /// From here on it is a good disk.
    pub(super) fn mend(&self) {
        *self.0.fault.lock().unwrap() = Fault::Mended;
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }
}

impl Faults {
    /// Counts a call; fails if it is to fail.
    fn call(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.fault() {
            Fault::Once(at, errno) if call == at => Err(errno.into()),
            Fault::From(at, errno) if call >= at => Err(errno.into()),
            _ => Ok(()),
        }
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }
}

impl Disk for Failing {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.0.call().and_then(|()| Quiet.make_dir(path))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        self.0.call()?;
        Ok(Box::new(FailingFile {
            faults: Arc::clone(&self.0),
            inner: Quiet.create(path)?,
        }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.call().and_then(|()| Quiet.rename(from, to))
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.call().and_then(|()| Quiet.rename_new(from, to))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.call().and_then(|()| Quiet.sync_dir(path))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.call().and_then(|()| Quiet.remove_file(path))
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.call().and_then(|()| Quiet.remove_dir(path))
    }
}

impl Write for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let half = &bytes[..bytes.len().div_ceil(2)];
        if let Err(e) = self.faults.call() {
            // A full disk takes what fits.
            self.inner.write_all(half)?;
            return Err(e);
        }
        match self.faults.fault() {
            Fault::Slow if self.faults.calls.load(Ordering::SeqCst).is_multiple_of(2) => {
                Err(io::ErrorKind::Interrupted.into())
            }
            Fault::Slow => self.inner.write(half),
            _ => self.inner.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Output for FailingFile {
    fn sync(&mut self) -> io::Result<()> {
        self.faults.call()?;
        self.inner.sync()
    }
}
