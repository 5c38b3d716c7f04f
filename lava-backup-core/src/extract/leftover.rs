//! What a killed extraction left.
//!
//! Whoever makes files in a directory shares a lock on it, which ends with the
//! process however that ends. Who gets the lock alone knows that nobody does,
//! and that what has one of our temporary names was left.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::fs::{self, AtFlags, FileType, FlockOperation};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::path::MemberPath;
use crate::root::Root;

const PREFIX: &str = ".lava-backup-";

pub(super) fn temporary_name(number: u64) -> OsString {
    format!("{PREFIX}{}-{number}", std::process::id()).into()
}

fn is_temporary(name: &[u8]) -> bool {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let rest = name.strip_prefix(PREFIX.as_bytes());
    let mut parts = rest.unwrap_or_default().split(|b| *b == b'-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(process), Some(number), None) => digits(process) && digits(number),
        _ => false,
    }
}

/// Says that files are made in a directory, while it stays open.
///
/// Another run that looks for leftovers is done soon. Who else holds the lock
/// is none of us, and must not stop us.
pub(super) fn share(dir: &OwnedFd) {
    share_soon(dir, || std::thread::sleep(Duration::from_millis(5)));
}

fn share_soon(dir: &OwnedFd, mut pause: impl FnMut()) {
    for _ in 0..20 {
        match fs::flock(dir, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK | Errno::INTR) => pause(),
            _ => return,
        }
    }
}

/// Removes our own files of temporary names from a directory, unless somebody
/// makes files in it.
pub(super) fn sweep(root: &Root, path: Option<&MemberPath>) -> io::Result<()> {
    // Where there is one, what stops this stops what comes next, and is told there.
    let Ok(dir) = root.open_dir(path) else {
        return Ok(());
    };
    if fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    for found in fs::Dir::read_from(&dir)? {
        let found = found?;
        let name = OsStr::from_bytes(found.file_name().to_bytes());
        if !is_temporary(name.as_bytes()) {
            continue;
        }
        let stat = fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !is_dir && stat.st_uid == geteuid().as_raw() {
            fs::unlinkat(&dir, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_is_shared_as_soon_as_nobody_looks_for_leftovers_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let open = || OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        let alone = |dir: &OwnedFd| fs::flock(dir, FlockOperation::NonBlockingLockExclusive);
        let mut other = Some(open());
        alone(other.as_ref().unwrap()).unwrap();
        let ours = open();
        let mut pauses = 0;
        share_soon(&ours, || {
            pauses += 1;
            if pauses == 3 {
                other = None;
            }
        });
        assert_eq!(pauses, 3);
        assert_eq!(alone(&open()), Err(Errno::WOULDBLOCK));
        // Whoever keeps it for himself stops nobody.
        drop(ours);
        let other = open();
        alone(&other).unwrap();
        share_soon(&open(), || pauses += 1);
        assert_eq!(pauses, 23);
    }

    #[test]
    fn only_our_own_names_are_temporary() {
        assert!(is_temporary(temporary_name(7).as_bytes()));
        for other in [
            ".lava-backup-",
            ".lava-backup-1",
            ".lava-backup-1-",
            ".lava-backup-1-2-3",
            ".lava-backup-a-1",
            "lava-backup-1-2",
            "",
        ] {
            assert!(!is_temporary(other.as_bytes()), "{other}");
        }
    }
}
