//! Whatever happens to a tree between two backups: one made after the other is
//! the same as one made without it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::seen::LATER;
use crate::store::Store;
use crate::verify::{Depth, verify};
use crate::writer::SealInput;

const FILES: usize = 24;
const SECTIONS: [&str; 3] = ["config", "data", "more"];

#[derive(Clone, Copy, Debug)]
enum Act {
    Write(usize, u64),
    InPlace(usize, u64),
    Append(usize),
    Truncate(usize),
    RenameOver(usize, usize),
    Swap(usize, usize),
    Chmod(usize, u32),
    Chown(usize, u32),
    Xattr(usize, u8),
    Link(usize, usize),
    Remove(usize),
    RenameDir(usize, usize),
    Become(usize, u8),
}

fn act() -> impl Strategy<Value = Act> {
    let file = 0..FILES;
    // Around where a small file ends, and where a frame does.
    let size = prop_oneof![0..9000_u64, 300_000..900_000_u64, 2_000_000..2_500_000_u64];
    prop_oneof![
        3 => (file.clone(), size).prop_map(|(f, s)| Act::Write(f, s)),
        3 => (file.clone(), any::<u64>()).prop_map(|(f, s)| Act::InPlace(f, s)),
        1 => file.clone().prop_map(Act::Append),
        1 => file.clone().prop_map(Act::Truncate),
        1 => (file.clone(), file.clone()).prop_map(|(a, b)| Act::RenameOver(a, b)),
        1 => (file.clone(), file.clone()).prop_map(|(a, b)| Act::Swap(a, b)),
        1 => (file.clone(), 0..0o1000_u32).prop_map(|(f, m)| Act::Chmod(f, m)),
        1 => (file.clone(), 0..5_u32).prop_map(|(f, o)| Act::Chown(f, o)),
        1 => (file.clone(), any::<u8>()).prop_map(|(f, v)| Act::Xattr(f, v)),
        2 => (file.clone(), file.clone()).prop_map(|(a, b)| Act::Link(a, b)),
        1 => file.clone().prop_map(Act::Remove),
        1 => (file.clone(), file.clone()).prop_map(|(a, b)| Act::RenameDir(a, b)),
        1 => (file, 0..4_u8).prop_map(|(f, k)| Act::Become(f, k)),
    ]
}

fn dir(tree: &Path, n: usize) -> PathBuf {
    tree.join(format!("{}/{}", SECTIONS[n % 3], n % 6 / 3))
}

fn file(tree: &Path, n: usize) -> PathBuf {
    dir(tree, n).join(format!("{n:02}"))
}

fn noise(length: u64, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

fn clear(path: &Path) {
    if fs::remove_dir_all(path).is_err() {
        let _ = fs::remove_file(path);
    }
}

/// Does what it can: what does not go, as a name below what is no directory,
/// leaves the tree as it is, for both backups alike.
fn perform(tree: &Path, act: Act) {
    let at = |n| file(tree, n);
    let open = |n, append| {
        let is_file = fs::symlink_metadata(at(n)).is_ok_and(|m| m.is_file());
        let mut options = fs::OpenOptions::new();
        is_file.then(|| options.write(true).append(append).open(at(n)).unwrap())
    };
    match act {
        Act::Write(n, size) => {
            clear(&at(n));
            let _ = fs::write(at(n), noise(size, size));
        }
        Act::InPlace(n, seed) => {
            let Some(mut file) = open(n, false) else {
                return;
            };
            let before = file.metadata().unwrap();
            file.write_all(&noise(before.len(), seed)).unwrap();
            file.set_modified(before.modified().unwrap()).unwrap();
        }
        Act::Append(n) => {
            if let Some(mut file) = open(n, true) {
                file.write_all(&noise(5000, 1)).unwrap();
            }
        }
        Act::Truncate(n) => {
            if let Some(file) = open(n, false) {
                file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            }
        }
        Act::RenameOver(a, b) => {
            let _ = fs::rename(at(a), at(b));
        }
        Act::Swap(a, b) => {
            let aside = tree.join("aside");
            if fs::rename(at(a), &aside).is_ok() {
                let _ = fs::rename(at(b), at(a));
                if fs::rename(&aside, at(b)).is_err() {
                    clear(&aside);
                }
            }
        }
        Act::Chmod(n, mode) => {
            if !at(n).is_symlink() {
                let _ = fs::set_permissions(at(n), fs::Permissions::from_mode(mode));
            }
        }
        Act::Chown(n, owner) => {
            let _ = std::os::unix::fs::lchown(at(n), Some(owner), None);
        }
        Act::Xattr(n, value) => {
            if let Some(file) = open(n, false) {
                let flags = rustix::fs::XattrFlags::empty();
                let _ = rustix::fs::fsetxattr(&file, "user.value", &[value], flags);
            }
        }
        Act::Link(a, b) => {
            if a != b {
                clear(&at(b));
                let _ = fs::hard_link(at(a), at(b));
            }
        }
        Act::Remove(n) => clear(&at(n)),
        Act::RenameDir(a, b) => {
            let (a, b, aside) = (dir(tree, a), dir(tree, b), tree.join("aside"));
            if a != b {
                fs::rename(&a, &aside).unwrap();
                fs::rename(&b, &a).unwrap();
                fs::rename(&aside, &b).unwrap();
            }
        }
        Act::Become(n, kind) => {
            clear(&at(n));
            match kind {
                0 => drop(fs::create_dir(at(n)).and_then(|()| fs::write(at(n).join("in"), "in"))),
                1 => drop(symlink("nowhere", at(n))),
                2 => drop(Command::new("mkfifo").arg(at(n)).status()),
                _ => drop(symlink("elsewhere", at(n))),
            }
        }
    }
}

/// Sections in turn from `first` on, with one start or with two.
fn back_up(
    store: &Store,
    tree: &Path,
    id: &str,
    (first, apart): (usize, bool),
    previous: Option<&Backup>,
) -> (Backup, Vec<Entry>, u64) {
    let root = Root::open(tree).unwrap();
    let mut writer = store.create(id.parse().unwrap()).unwrap();
    let choose = |_: &MemberPath| Choice::Take(Class::Plain);
    let mut observe = |_: &Entry| {};
    let mut capture = Capture::new(&root, &choose, &mut observe);
    if let Some(previous) = previous {
        capture.after(previous).unwrap();
    }
    for n in 0..3 {
        let section = SECTIONS[(first + n) % 3];
        let starts: Vec<MemberPath> = match apart {
            true => vec![format!("{section}/0"), format!("{section}/1")],
            false => vec![section.to_owned()],
        }
        .into_iter()
        .map(|s| s.parse().unwrap())
        .collect();
        capture.section(&mut writer, section, &starts).unwrap();
    }
    let sealed = writer.seal(SealInput::default()).unwrap();
    assert!(
        sealed.seal.problems.is_empty(),
        "{:?}",
        sealed.seal.problems
    );
    let backup = store.backup(&sealed.seal.id).unwrap();
    let report = verify(&backup, Depth::Full).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    let placeless = |entry: Result<Entry>| Entry {
        frame: 0,
        offset: 0,
        ..entry.unwrap()
    };
    let entries = backup.index().unwrap().map(placeless).collect();
    (backup, entries, sealed.unread)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn a_backup_after_another_is_the_same_as_one_without(
        rounds in prop::collection::vec(
            (prop::collection::vec(act(), 0..6), 0..3_usize, any::<bool>(), prop::bool::weighted(0.8)),
            5,
        ),
    ) {
        let top = tempfile::tempdir().unwrap();
        let tree = top.path().join("tree");
        let store = Store::init(&top.path().join("store")).unwrap();
        for n in 0..FILES {
            fs::create_dir_all(dir(&tree, n)).unwrap();
            fs::write(file(&tree, n), noise(200_000 + 100_000 * (n as u64 % 5), n as u64)).unwrap();
        }
        let mut previous = None;
        for (n, (acts, first, apart, aged)) in rounds.into_iter().enumerate() {
            for act in acts {
                perform(&tree, act);
            }
            // Longer than a tick of the file system's clock.
            std::thread::sleep(Duration::from_millis(12));
            LATER.set(if aged { 100 } else { 0 });
            let order = (first, apart);
            let (after, entries, _) = back_up(&store, &tree, &format!("a{n}"), order, previous.as_ref());
            let (_, whole, _) = back_up(&store, &tree, &format!("w{n}"), order, None);
            prop_assert_eq!(entries, whole);
            if aged {
                let (_, again, unread) = back_up(&store, &tree, &format!("s{n}"), order, Some(&after));
                prop_assert!(unread > 0 || again.is_empty());
            }
            previous = Some(after);
            std::thread::sleep(Duration::from_millis(12));
        }
    }
}
