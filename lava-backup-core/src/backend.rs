use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::error::{Error, Result};

pub(crate) mod directory;
#[cfg(test)]
mod faults;

/// Where the files of a store are kept: a directory, or the like.
///
/// A file is named by its *key*: components separated by `/`, none of them
/// empty, `.` or `..`. The methods promise what an S3-compatible object store
/// can be trusted with, and no more: a file is put whole or not at all, is read
/// as it was put, and is listed once it was put. Nothing is renamed, appended
/// to or changed on a condition. What a backend is asked to put may also
/// appear after it has reported an error: whoever cleans up does so by what is
/// reachable from a seal, not by what was acknowledged.
///
/// All methods may be called from several threads at once.
pub trait Backend: Debug + Send + Sync {
    /// Where a file is; for messages.
    fn place(&self, key: &str) -> PathBuf;

    /// Opens a file for reading; `None` if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    fn open(&self, key: &str) -> Result<Option<Box<dyn Blob>>>;

    /// Calls `each` for every file whose key begins with `prefix`, which ends
    /// in `/` or is empty. In the order of keys.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), or what `each` returns.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Found) -> Result<()>) -> Result<()>;

    /// Puts a file, in the place of one that is there. A frame is sure to last
    /// once [`settle`](Self::settle) has returned, any other at once.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    fn put(&self, key: &str, content: Content) -> Result<()>;

    /// Makes all that was put last, by whomever, and all that was withdrawn
    /// stay away.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    fn settle(&self) -> Result<()>;

    /// Puts a small file that is not there yet; it lasts.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`](crate::ErrorKind::Exists) if it is there.
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<()>;

    /// A place for a file that is written as a stream before it is published.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    fn spool(&self) -> Result<Box<dyn Spool>>;

    /// Puts files below a prefix that holds none. Whoever sees the last of them
    /// sees all. They last when this returns; on an error none is to be seen,
    /// or all but the last.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`](crate::ErrorKind::Exists) if the last is there.
    fn publish(&self, prefix: &str, files: Vec<(&str, Content)>) -> Result<()>;

    /// Removes all files below a prefix, `first` before the others.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io); then `first` may be gone alone.
    fn withdraw(&self, prefix: &str, first: &str) -> Result<()>;

    /// Removes a file; one that is not there is fine.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    fn delete(&self, key: &str) -> Result<()>;

    /// Removes what runs that no longer live have left unpublished.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    fn sweep(&self) -> Result<()>;

    /// Keeps those out who ask for a lock that does not go with it, until it is
    /// dropped or this process ends, however it ends. Waits for a shared lock;
    /// `None` for an exclusive one that others keep.
    ///
    /// It guards against haste, not against error: what is done under it must
    /// harm nobody, too, if the lock was lost.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    fn lock(&self, lock: Lock) -> Result<Option<Box<dyn Guard>>>;
}

/// A file of a store, open for reading.
#[allow(
    clippy::len_without_is_empty,
    reason = "a length in bytes, not a collection"
)]
pub trait Blob: Send + Sync {
    /// Its bytes.
    fn len(&self) -> u64;

    /// Fills a buffer from an offset in bytes.
    ///
    /// # Errors
    /// From the system; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Blob for File {
    fn len(&self) -> u64 {
        self.metadata().map_or(0, |m| m.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

/// A file that is written once, as a stream.
pub trait Spool: io::Write + Send {
    /// Makes it ready to be [published](Backend::publish).
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    fn finish(self: Box<Self>) -> Result<Spooled>;
}

/// A finished file that has no key yet.
pub struct Spooled {
    path: PathBuf,
    _kept: Box<dyn Send>,
}

impl Spooled {
    /// Of a file at this path, which is there while `kept` is.
    pub fn new(path: PathBuf, kept: impl Send + 'static) -> Self {
        Self {
            path,
            _kept: Box::new(kept),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

impl Debug for Spooled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spooled({})", self.path.display())
    }
}

/// What is published under a key.
#[derive(Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What was spooled.
    Spooled(Spooled),
}

/// A file that a listing has found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub length: u64,
    /// When it was put.
    pub modified: SystemTime,
    /// Is it no regular file with a key, but something that nobody put?
    pub foreign: bool,
}

/// Who may be there at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Others who share: runs that add.
    Shared,
    /// Nobody: a run that removes.
    Exclusive,
}

/// A lock, held while it lives.
pub trait Guard: Send + Sync {}

/// All of a file, if it has no more than `limit` bytes; `None` if there is none.
pub(crate) fn read(backend: &dyn Backend, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let Some(blob) = backend.open(key)? else {
        return Ok(None);
    };
    let length = blob.len();
    if length > limit {
        let what = format!("has {length} bytes; no such file has more than {limit}");
        return Err(Error::damaged(backend.place(key), what));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    blob.read_exact_at(&mut bytes, 0)
        .map_err(|e| Error::io(backend.place(key), "read", e))?;
    Ok(Some(bytes))
}
