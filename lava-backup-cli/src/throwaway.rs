//! A directory for files that are soon let go: a drill's, or .debs on their way into a backup or out
//! of one.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Where large files go that are soon let go.
pub(crate) fn large_files() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

/// What it is for, and so who may be in it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Use {
    /// A drill, whose files hold the lab's secrets: nobody else may enter.
    Drill,
    /// .debs; apt's own user passes through to where it downloads, and can list nothing.
    Debs,
    /// A repository of .debs, for apt's own user to read.
    Repository,
}

impl Use {
    fn prefix(self) -> &'static str {
        match self {
            Self::Drill => "lava-backup-drill-",
            Self::Debs => "lava-backup-debs-",
            Self::Repository => "lava-backup-packages-",
        }
    }

    fn mode(self) -> u32 {
        match self {
            Self::Drill => 0o700,
            Self::Debs => 0o711,
            Self::Repository => 0o755,
        }
    }
}

/// A directory for one program, gone when dropped; one whose program was killed is removed by the
/// next.
#[derive(Debug)]
pub(crate) struct Throwaway {
    dir: tempfile::TempDir,
    _lock: File,
}

impl Throwaway {
    /// Makes one below `parent`.
    pub(crate) fn new(parent: &Path, purpose: Use) -> io::Result<Self> {
        sweep(parent, purpose.prefix());
        let dir = tempfile::Builder::new()
            .prefix(purpose.prefix())
            .permissions(Permissions::from_mode(purpose.mode()))
            .tempdir_in(parent)?;
        let lock = lock(dir.path())?;
        Ok(Self { dir, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn lock(dir: &Path) -> io::Result<File> {
    let lock = File::open(dir)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock)
}

fn sweep(parent: &Path, prefix: &str) {
    let me = rustix::process::geteuid().as_raw();
    for found in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = found.file_name().to_string_lossy().starts_with(prefix)
            && found.metadata().is_ok_and(|m| m.is_dir() && m.uid() == me);
        // One that is just being made is empty, and not locked yet.
        let used = || fs::read_dir(found.path()).is_ok_and(|mut d| d.next().is_some());
        if ours && used() && lock(&found.path()).is_ok() {
            let _ = fs::remove_dir_all(found.path());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_killed_drill_left_is_removed_by_the_next_and_one_in_use_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join("lava-backup-drill-dead");
        fs::create_dir_all(dead.join("config")).unwrap();
        let first = Throwaway::new(parent.path(), Use::Drill).unwrap();
        fs::write(first.path().join("f"), "").unwrap();
        let second = Throwaway::new(parent.path(), Use::Drill).unwrap();
        assert!(!dead.exists());
        let _debs = Throwaway::new(parent.path(), Use::Debs).unwrap();
        assert!(first.path().join("f").exists());
        assert_eq!(second.path().metadata().unwrap().mode() & 0o777, 0o700);
    }
}
