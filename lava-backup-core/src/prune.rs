use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::backend::Lock;
use crate::error::{Error, Result};
use crate::frame::FrameName;
use crate::layout::{self, Named};
use crate::marks::Marks;
use crate::seal::BackupId;
use crate::store::Store;

/// How to prune.
#[derive(Clone, Copy, Debug)]
pub struct Prune {
    /// A frame is removed when nothing has needed it for this long.
    pub grace: Duration,
    /// Change nothing; say what would happen.
    pub dry_run: bool,
}

/// What [`prune`] did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PruneReport {
    /// Frames that backups need.
    pub needed: u64,
    /// Frames that nothing needs, seen so for the first time.
    pub marked: u64,
    /// Their bytes as stored.
    pub marked_bytes: u64,
    /// Frames that nothing needs, and that wait for the grace period to end.
    pub waiting: u64,
    /// Their bytes as stored.
    pub waiting_bytes: u64,
    /// Frames removed.
    pub removed: u64,
    /// Their bytes as stored.
    pub removed_bytes: u64,
    /// Unfinished backups removed.
    pub unfinished: u64,
    /// Did another run use the store, so that nothing was removed?
    pub busy: bool,
}

/// Removes frames that no backup needs, in two phases.
///
/// A frame that no seal leads to is marked, and removed by a later call when it
/// has been marked for the grace period and still nothing leads to it. Who
/// makes a backup meanwhile writes marked frames anew, and one that was begun
/// before keeps this from removing anything until it has ended.
///
/// # Errors
/// [`Damaged`](crate::ErrorKind::Damaged) or [`TooNew`](crate::ErrorKind::TooNew) if it can't be
/// known what some backup needs: then nothing is changed.
pub fn prune(store: &Store, options: Prune) -> Result<PruneReport> {
    let backend = store.backend();
    // Before the seals are read: whoever seals after that is kept out.
    let lock = backend.lock(Lock::Exclusive)?;
    let mut report = PruneReport {
        busy: lock.is_none(),
        ..PruneReport::default()
    };
    let needed = needed_frames(store)?;
    if !options.dry_run {
        // A backup that is gone must not come back with a crash, for its frames
        // are marked from here on.
        backend.settle()?;
    }
    let now = seconds(SystemTime::now());
    let old_enough = now.saturating_sub_unsigned(options.grace.as_secs());
    let marked = Marks::load(store)?;
    let mut marks = Marks::default();
    store.each_frame(&mut |name, found| {
        if needed.binary_search(&name).is_ok() {
            report.needed += 1;
            return Ok(());
        }
        // One that was written anew since counts from then on.
        let since = marked.since(name);
        let since = since.filter(|since| seconds(found.modified) <= *since);
        match since {
            Some(since) if since <= old_enough && !report.busy => {
                report.removed += 1;
                report.removed_bytes += found.length;
                if !options.dry_run {
                    backend.delete(&found.key)?;
                }
                return Ok(());
            }
            Some(_) => {
                report.waiting += 1;
                report.waiting_bytes += found.length;
            }
            None => {
                report.marked += 1;
                report.marked_bytes += found.length;
            }
        }
        marks.mark(name, since.unwrap_or(now));
        Ok(())
    })?;
    if !options.dry_run {
        marks.save(store)?;
    }
    if !report.busy {
        for id in unfinished(store, old_enough)? {
            report.unfinished += 1;
            if !options.dry_run {
                backend.withdraw(&layout::backup(&id), layout::SEAL)?;
            }
        }
        if !options.dry_run {
            backend.sweep()?;
        }
    }
    Ok(report)
}

/// The names of all frames that backups need, sorted.
fn needed_frames(store: &Store) -> Result<Vec<FrameName>> {
    let mut needed = Vec::new();
    for id in store.backups()? {
        let frames = store.backup(&id).and_then(|backup| {
            let mut frames = backup.frames()?;
            frames.extend(backup.index_frames()?);
            Ok(frames)
        });
        match frames {
            Ok(frames) => needed.extend(frames),
            // Let go meanwhile.
            Err(_) if !store.holds(&id) => {}
            Err(e) => {
                let what = format!("{}: what the backup needs is not known", e.what());
                return Err(Error::new(e.kind(), e.place(), what));
            }
        }
        needed.sort_unstable();
        needed.dedup();
    }
    Ok(needed)
}

/// Backups without a seal, of which nothing was written since.
fn unfinished(store: &Store, since: i64) -> Result<Vec<BackupId>> {
    let mut newest: std::collections::BTreeMap<BackupId, Option<i64>> = Default::default();
    store.backend().list(layout::BACKUPS, &mut |found| {
        if let Named::OfBackup(id, file) = layout::name(&found.key) {
            let sealed = file == layout::SEAL;
            let newest = newest.entry(id).or_insert(Some(i64::MIN));
            let time = seconds(found.modified);
            *newest = newest.filter(|_| !sealed).map(|n| n.max(time));
        }
        Ok(())
    })?;
    let old = |(id, newest): (BackupId, Option<i64>)| newest.filter(|n| *n <= since).map(|_| id);
    Ok(newest.into_iter().filter_map(old).collect())
}

/// Whole seconds since 1970.
fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::backend::{Backend, Blob, Content, Found, Guard, Spool};
    use crate::writer::SealInput;

    /// A store of which a backup is let go just before a file of it is opened.
    #[derive(Debug)]
    struct LetGo {
        of: Arc<dyn Backend>,
        key: String,
        backup: BackupId,
    }

    impl Backend for LetGo {
        fn open(&self, key: &str) -> Result<Option<Box<dyn Blob>>> {
            let seal = layout::of_backup(&self.backup, layout::SEAL);
            if key == self.key && self.of.open(&seal)?.is_some() {
                self.of
                    .withdraw(&layout::backup(&self.backup), layout::SEAL)?;
            }
            self.of.open(key)
        }

        fn place(&self, key: &str) -> PathBuf {
            self.of.place(key)
        }

        fn list(&self, prefix: &str, each: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
            self.of.list(prefix, each)
        }

        fn put(&self, key: &str, content: Content) -> Result<()> {
            self.of.put(key, content)
        }

        fn settle(&self) -> Result<()> {
            self.of.settle()
        }

        fn put_new(&self, key: &str, bytes: &[u8]) -> Result<()> {
            self.of.put_new(key, bytes)
        }

        fn spool(&self) -> Result<Box<dyn Spool>> {
            self.of.spool()
        }

        fn publish(&self, prefix: &str, files: Vec<(&str, Content)>) -> Result<()> {
            self.of.publish(prefix, files)
        }

        fn withdraw(&self, prefix: &str, first: &str) -> Result<()> {
            self.of.withdraw(prefix, first)
        }

        fn delete(&self, key: &str) -> Result<()> {
            self.of.delete(key)
        }

        fn sweep(&self) -> Result<()> {
            self.of.sweep()
        }

        fn lock(&self, lock: Lock) -> Result<Option<Box<dyn Guard>>> {
            self.of.lock(lock)
        }
    }

    #[test]
    fn a_backup_that_is_let_go_while_its_needs_are_read_needs_nothing() {
        for file in [layout::SEAL, layout::FRAME_LIST, layout::INDEX] {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::init(dir.path()).unwrap();
            for id in ["kept", "gone"] {
                let writer = store.create(id.parse().unwrap()).unwrap();
                writer.seal(SealInput::default()).unwrap();
            }
            let backup: BackupId = "gone".parse().unwrap();
            let beside = Store::on(Arc::new(LetGo {
                of: Arc::clone(store.backend()),
                key: layout::of_backup(&backup, file),
                backup,
            }));
            let kept = store.backup(&"kept".parse().unwrap()).unwrap();
            let mut all = kept.frames().unwrap();
            all.extend(kept.index_frames().unwrap());
            all.sort_unstable();
            all.dedup();
            assert_eq!(needed_frames(&beside.unwrap()).unwrap(), all, "{file}");
            assert_eq!(store.backups().unwrap().len(), 1, "{file} was never opened");
        }
    }
}
