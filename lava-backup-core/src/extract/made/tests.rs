#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A directory in which the first two temporary names are taken.
fn with_leftovers() -> (tempfile::TempDir, OwnedFd) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("outside"), "canary").unwrap();
    symlink("outside", dir.path().join(leftover::temporary_name(0))).unwrap();
    std::fs::write(dir.path().join(leftover::temporary_name(1)), "left").unwrap();
    let open = File::open(dir.path()).unwrap();
    (dir, open.into())
}

#[test]
fn without_nameless_files_what_has_a_temporary_name_is_not_touched() {
    let (dir, parent) = with_leftovers();
    let names = Names::default();
    let made = Made::file_with_name(&parent, &names).unwrap();
    assert_eq!(made.temporary(), leftover::temporary_name(2));
    made.as_file().unwrap().write_all(b"new").unwrap();
    let mode = made.as_file().unwrap().metadata().unwrap().permissions();
    assert_eq!(mode.mode() & 0o7777, 0o600);
    made.put(OsStr::new("file")).unwrap();
    let read = |name: &OsStr| std::fs::read(dir.path().join(name)).unwrap();
    assert_eq!(read(OsStr::new("file")), b"new");
    assert_eq!(read(OsStr::new("outside")), b"canary");
    assert_eq!(read(&leftover::temporary_name(1)), b"left");
    assert!(!dir.path().join(leftover::temporary_name(2)).exists());
}

#[test]
fn a_file_has_no_name_where_that_can_be_and_is_ours_alone() {
    let (dir, parent) = with_leftovers();
    // The file system's own answer, and not that of what is tested.
    let flags = OFlags::RDWR | OFlags::TMPFILE;
    let nameless = fs::open(dir.path(), flags, Mode::RUSR | Mode::WUSR).is_ok();
    let made = Made::file(&parent, &Names::default()).unwrap();
    assert_eq!(made.temporary().is_empty(), nameless);
    let mode = made.as_file().unwrap().metadata().unwrap().permissions();
    assert_eq!(mode.mode() & 0o7777, 0o600);
}

#[test]
fn nothing_stays_of_what_is_not_put_in_its_place_and_nothing_is_overwritten() {
    let (dir, parent) = with_leftovers();
    let names = Names::default();
    let count = || std::fs::read_dir(dir.path()).unwrap().count();
    for make in [Made::file, Made::file_with_name] {
        drop(make(&parent, &names).unwrap());
        let made = make(&parent, &names).unwrap();
        assert!(made.put(OsStr::new("outside")).is_err());
        assert_eq!(count(), 3);
    }
    assert_eq!(
        std::fs::read(dir.path().join("outside")).unwrap(),
        b"canary"
    );
}

#[test]
fn what_took_the_place_of_the_kept_file_is_not_removed() {
    let (dir, parent) = with_leftovers();
    let names = Names::default();
    let id = |name: &str| {
        let stat = fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        FileId::from(&stat)
    };
    let kept = id("outside");
    // Its number is nobody else's while it is open.
    let _kept = File::open(dir.path().join("outside")).unwrap();
    std::fs::write(dir.path().join("other"), "of somebody else").unwrap();
    std::fs::rename(dir.path().join("other"), dir.path().join("outside")).unwrap();
    for make in [Made::file, Made::file_with_name] {
        let made = make(&parent, &names).unwrap();
        let put = made.put_over(OsStr::new("outside"), kept, &names);
        assert!(put.is_err());
        let there = std::fs::read(dir.path().join("outside")).unwrap();
        assert_eq!(there, b"of somebody else");
        let made = make(&parent, &names).unwrap();
        made.as_file().unwrap().write_all(b"new").unwrap();
        let old = id("outside");
        made.put_over(OsStr::new("outside"), old, &names).unwrap();
        assert_eq!(std::fs::read(dir.path().join("outside")).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
        std::fs::write(dir.path().join("outside"), "of somebody else").unwrap();
    }
}
