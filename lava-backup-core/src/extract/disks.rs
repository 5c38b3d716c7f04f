use std::collections::{BTreeMap, btree_map};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{self, Mode};

use super::links::FileId;
use super::target::DIR;

/// The file systems that an extraction writes to.
#[derive(Default)]
pub(super) struct Disks {
    /// A directory of each that was changed.
    changed: Mutex<BTreeMap<u64, Arc<OwnedFd>>>,
    writing: Mutex<Writing>,
    told: Condvar,
}

/// What those who write have told who syncs.
#[derive(Default)]
struct Writing {
    unsynced: u64,
    over: bool,
}

/// How many bytes are written before they are synced while others are: the disk is at
/// work throughout then, and at the end there is little left to wait for.
const ENOUGH: u64 = 32 << 20;

impl Disks {
    /// Notes the file system of a directory that is changed.
    pub(super) fn uses(&self, dir: &OwnedFd) -> io::Result<FileId> {
        let id = FileId::from(&fs::fstat(dir)?);
        if let btree_map::Entry::Vacant(place) = lock(&self.changed).entry(id.device) {
            // Opened anew, so that it holds no lock.
            place.insert(Arc::new(fs::openat(dir, ".", DIR, Mode::empty())?));
        }
        Ok(id)
    }

    pub(super) fn wrote(&self, bytes: u64) {
        let mut writing = lock(&self.writing);
        writing.unsynced += bytes;
        if writing.unsynced >= ENOUGH {
            self.told.notify_all();
        }
    }

    /// Waits until all that was changed would survive a loss of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        // Who writes is not to wait with us.
        let changed: Vec<_> = lock(&self.changed).values().map(Arc::clone).collect();
        for dir in changed {
            fs::syncfs(dir)?;
        }
        Ok(())
    }

    /// Does something that writes, with a thread beside it that syncs now and then. The
    /// kernel tells of an error once, so the first is given, whatever a later sync says.
    pub(super) fn sync_beside<T>(&self, write: impl FnOnce() -> T) -> (T, io::Result<()>) {
        std::thread::scope(|threads| {
            let syncing = threads.spawn(|| self.sync_as_written());
            let over = Over(self);
            let written = write();
            drop(over);
            let synced = syncing.join();
            (
                written,
                synced.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            )
        })
    }

    fn sync_as_written(&self) -> io::Result<()> {
        loop {
            let idle = |writing: &mut Writing| !writing.over && writing.unsynced < ENOUGH;
            let waited = self.told.wait_while(lock(&self.writing), idle);
            let mut writing = waited.unwrap_or_else(PoisonError::into_inner);
            if writing.over {
                return Ok(());
            }
            writing.unsynced = 0;
            drop(writing);
            self.sync()?;
        }
    }
}

/// Ends the thread that syncs, should who writes panic, too.
struct Over<'d>(&'d Disks);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        lock(&self.0.writing).over = true;
        self.0.told.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::File;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn who_syncs_ends_with_who_writes_even_in_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let disks = Disks::default();
        disks.uses(&File::open(dir.path()).unwrap().into()).unwrap();
        let (written, synced) = disks.sync_beside(|| {
            disks.wrote(ENOUGH);
            7
        });
        assert_eq!(written, 7);
        synced.unwrap();

        let disks = Disks::default();
        let panics = || disks.sync_beside(|| panic!("while it writes"));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    }

    #[test]
    fn what_the_kernel_tells_while_others_write_is_not_lost() {
        let disks = Disks::default();
        // No directory of a file system, but a path: it can't be synced.
        let path = fs::open("/", fs::OFlags::PATH, Mode::empty()).unwrap();
        lock(&disks.changed).insert(0, Arc::new(path));
        let ((), synced) = disks.sync_beside(|| {
            disks.wrote(ENOUGH);
            for _ in 0..3000 {
                if lock(&disks.writing).unsynced == 0 {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        });
        assert!(synced.is_err());
    }
}
