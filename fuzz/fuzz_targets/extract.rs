//! Extraction of members that no honest writer puts together, below a directory of canaries: nothing
//! outside the target changes, and no secret comes out of there.
#![no_main]

#[path = "../../lava-backup-core/tests/forge/mod.rs"]
mod hand;
#[path = "forge/sample.rs"]
mod sample;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hand::{Laid, Member, write};
use lava_backup_core::{Depth, Extract, Root, Store, extract, verify};
use libfuzzer_sys::fuzz_target;
use sample::{Bytes, anew, scratch};

/// Names whose every combination is tried; the last leads out of the target to the canaries.
const NAMES: [&str; 12] = [
    "a",
    "b",
    "c",
    "link",
    "dir",
    ".",
    "..",
    "",
    "/",
    "a\0",
    "kept",
    ".lava-backup-0",
];

fn room() -> &'static (tempfile::TempDir, PathBuf) {
    static ROOM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    ROOM.get_or_init(|| {
        let dir = scratch();
        let outside = dir.path().join("outside");
        fs::create_dir_all(outside.join("dir")).unwrap();
        for file in ["a", "b", "dir/a"] {
            fs::write(outside.join(file), "canary").unwrap();
            fs::set_permissions(outside.join(file), fs::Permissions::from_mode(0o600)).unwrap();
        }
        (dir, outside)
    })
}

/// All that a change would show in.
fn look(at: &Path) -> Vec<(PathBuf, u64, u32, u32, u64, i64, i64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut todo = vec![at.to_owned()];
    while let Some(path) = todo.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let mut content = Vec::new();
        if stat.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else {
            content = fs::read(&path).unwrap();
        }
        // Not the ctime: a planted hard link that is moved aside is moved for all its names.
        let changed = (stat.mtime(), stat.mtime_nsec());
        found.push((
            path,
            stat.ino(),
            stat.mode(),
            stat.uid(),
            stat.nlink(),
            changed.0,
            changed.1,
            content,
        ));
    }
    found
}

fn name(bytes: &mut Bytes<'_>, outside: &Path) -> Vec<u8> {
    let parts = 1 + bytes.byte() % 3;
    let parts: Vec<&str> = (0..parts)
        .map(|_| NAMES[bytes.below(NAMES.len())])
        .collect();
    match bytes.byte() % 8 {
        0 => outside.join("a").into_os_string().into_encoded_bytes(),
        1 => outside.join("dir").into_os_string().into_encoded_bytes(),
        2 => b"../outside/a".to_vec(),
        _ => parts.join("/").into_bytes(),
    }
}

fn member(bytes: &mut Bytes<'_>, outside: &Path) -> Member {
    let section = ["config/", "data/", "config/dir/", ""][usize::from(bytes.byte() % 8).min(6) % 4];
    let path = [section.as_bytes(), &name(bytes, outside)].concat();
    let mut link = name(bytes, outside);
    let mut member = match bytes.byte() % 8 {
        0 => Member::dir(path),
        1 | 2 => Member::symlink(path, link),
        3 | 4 => {
            if bytes.byte() % 4 > 0 {
                link.splice(..0, *b"config/");
            }
            Member::hard(path, link)
        }
        5 => Member::new(path, b"63470"[bytes.below(5)]),
        6 => {
            let (at, length) = (bytes.number() as u64, bytes.number() as u64);
            Member::sparse(
                path,
                (bytes.number() as u64) << (bytes.byte() % 48),
                &[(at, length)],
            )
        }
        _ => Member::file(path, bytes.run()),
    };
    if bytes.byte() % 4 == 0 {
        member.mode = bytes.number() as u32;
        member.owner.2 = bytes.number() as u32;
        member.owner.0 = String::from_utf8_lossy(&bytes.run()).into_owned();
        member.mtime = (
            (bytes.number() as i64) << (bytes.byte() % 48),
            bytes.number() as u32,
        );
        member.xattrs = [([b"user.".to_vec(), bytes.run()].concat(), bytes.run())].into();
    }
    member
}

fuzz_target!(|data: &[u8]| {
    let (dir, outside) = room();
    let mut bytes = Bytes(data);
    let how = bytes.byte();
    let mut members = Vec::new();
    while !bytes.is_empty() && members.len() < 12 {
        members.push(member(&mut bytes, outside));
    }
    if how % 8 > 0 {
        // In order, as an index must be, so that more of them is looked at.
        let key = |m: &Member| {
            m.path
                .split(|b| *b == b'/')
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        };
        members.sort_by_key(key);
        members.dedup_by_key(|m| m.path.clone());
    }
    let store = anew(&dir.path().join("store"));
    write(&store, &Laid::of(&members).sealed().files());
    let target = anew(&dir.path().join("target"));
    match how / 8 % 4 {
        0 => drop(std::os::unix::fs::symlink(outside, target.join("dir"))),
        1 => drop(fs::hard_link(outside.join("a"), target.join("a"))),
        _ => {}
    }
    let before = look(outside);
    let store = Store::open(&store).unwrap();
    let backup = store.backup(&hand::ID.parse().unwrap()).unwrap();
    let sound = verify(&backup, Depth::Full).unwrap().damage.is_empty();
    let options = Extract {
        select: ["config", "data"].map(|s| s.parse().unwrap()).into(),
        exclude: Vec::new(),
        complete: Vec::new(),
        dry_run: false,
        replace: how / 32 % 2 == 0,
        keep_in: "kept".parse().unwrap(),
        own: how / 64 % 2 == 0,
        sync: false,
    };
    let root = Root::open(&target).unwrap();
    let first = extract(&backup, &root, &options, &mut |_| ());
    if sound && first.is_ok() && options.replace {
        let again = extract(&backup, &root, &options, &mut |_| ()).unwrap();
        assert!(again.entries >= again.same);
    }
    assert_eq!(look(outside), before, "{first:?}");
});
