//! A tree goes in and comes back, by us and by the tools that every Debian has.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use common::{back_up, listing, noise, odd_tree, path, sh, whole};
use lava_backup_core::{
    Class, Depth, ErrorKind, Meta, Root, SealInput, Store, Time, extract, verify, verify_store,
};

#[test]
fn a_tree_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, target) = (dir.path().join("tree"), dir.path().join("target"));
    odd_tree(&tree);
    fs::create_dir(&target).unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let backup = back_up(&store, &tree, "b1");
    assert!(backup.seal().problems.is_empty());
    assert_eq!(verify(&backup, Depth::Full).unwrap().damage, []);

    let root = Root::open(&target).unwrap();
    let report = extract(&backup, &root, &whole(&["config"]), &mut |_| ()).unwrap();
    assert_eq!(report.same, 0);
    assert_eq!(listing(&target), listing(&tree));

    let again = extract(&backup, &root, &whole(&["config"]), &mut |_| ()).unwrap();
    assert_eq!(again.same, again.entries);
}

/// Promise 9: the store opens with `zstd` and `tar` alone.
#[test]
fn zstd_and_tar_alone_restore_a_tree() {
    let dir = tempfile::tempdir().unwrap();
    odd_tree(&dir.path().join("tree"));
    let store = Store::init(&dir.path().join("store")).unwrap();
    back_up(&store, &dir.path().join("tree"), "b1");
    fs::create_dir(dir.path().join("gnu")).unwrap();
    fs::create_dir(dir.path().join("python")).unwrap();
    let frames = "sed s,^,store/frames/, store/backups/b1/frames | xargs cat | zstd -dc";
    sh(
        &format!("{frames} | tar -x --numeric-owner --strip-components=1 -C gnu"),
        dir.path(),
    );
    assert_eq!(
        listing(&dir.path().join("gnu")),
        listing(&dir.path().join("tree"))
    );
    let script = "import sys, tarfile\n\
        for m in tarfile.open(fileobj=sys.stdin.buffer, mode='r|'):\n\
        \x20   print(m.name.encode('utf8', 'surrogateescape'), m.mode, m.size, m.linkname)";
    fs::write(dir.path().join("list.py"), script).unwrap();
    let python = sh(&format!("{frames} | python3 list.py"), dir.path());
    let listed = store.backup(&"b1".parse().unwrap()).unwrap();
    let entries: Vec<_> = listed.index().unwrap().map(Result::unwrap).collect();
    assert_eq!(python.lines().count(), entries.len());
}

#[test]
fn an_unchanged_tree_costs_almost_nothing_the_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    odd_tree(&tree);
    let store = Store::init(&dir.path().join("store")).unwrap();
    back_up(&store, &tree, "b1");
    let count = || sh("find store/frames -type f | wc -l", dir.path());
    let before = count();
    let second = back_up(&store, &tree, "b2");
    assert_eq!(count(), before);
    fs::remove_dir_all(dir.path().join("store/backups/b1")).unwrap();
    assert_eq!(verify(&second, Depth::Full).unwrap().damage, []);
}

#[test]
fn a_stream_of_unknown_length_is_stored_with_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let mut writer = store.create("b1".parse().unwrap()).unwrap();
    let meta = Meta::private(Class::Secret, Time::default());
    let content = noise(3_000_001, 4);
    let mut member = writer.stream(path("database/dump"), meta.clone()).unwrap();
    for piece in content.chunks(70_001) {
        member.write_all(piece).unwrap();
        member.begin_part().unwrap();
    }
    member.finish().unwrap();
    let empty = writer.stream(path("database/empty"), meta.clone()).unwrap();
    empty.finish().unwrap();
    writer.add_file(path("facts/x"), meta, b"after").unwrap();
    let sealed = writer.seal(SealInput::default()).unwrap();
    let backup = store.backup(&sealed.seal.id).unwrap();
    let report = verify(&backup, Depth::Full).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    let frames = backup.frames().unwrap();
    let mut found = Vec::new();
    let entry = backup.entry(&path("database/dump")).unwrap();
    backup.read(&frames, &entry, &mut found).unwrap();
    assert!(found == content);
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let target = Root::open(&root).unwrap();
    extract(
        &backup,
        &target,
        &whole(&["database", "facts"]),
        &mut |_| (),
    )
    .unwrap();
    assert!(fs::read(root.join("dump")).unwrap() == content);
    assert_eq!(
        fs::metadata(root.join("dump")).unwrap().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_frame_ends_where_its_producer_says_so_unless_it_would_be_short() {
    let frames = |length: usize| {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(&dir.path().join("store")).unwrap();
        let mut writer = store.create("b1".parse().unwrap()).unwrap();
        let meta = Meta::private(Class::Secret, Time::default());
        let mut member = writer.stream(path("database/dump"), meta).unwrap();
        member.write_all(&noise(length, 4)).unwrap();
        member.begin_part().unwrap();
        member.write_all(b"something new").unwrap();
        member.finish().unwrap();
        writer
            .seal(SealInput::default())
            .unwrap()
            .seal
            .archive
            .frames
    };
    let whole = frames(1);
    assert_eq!(frames((4 << 10) - 1), whole);
    assert_eq!(frames(4 << 10), whole + 1);
    assert_eq!(frames((4 << 10) + 1), whole + 1);
}

/// Whether one core decodes its frames or all do.
#[test]
fn content_beyond_the_last_frame_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let mut writer = store.create("b1".parse().unwrap()).unwrap();
    let lengths = [3 << 20, 9 << 20];
    for length in lengths {
        let meta = Meta::private(Class::Plain, Time::default());
        let mut member = writer
            .stream(path(&format!("data/{length}")), meta)
            .unwrap();
        member.write_all(&noise(length, 5)).unwrap();
        member.finish().unwrap();
    }
    let id = writer.seal(SealInput::default()).unwrap().seal.id;
    let backup = store.backup(&id).unwrap();
    let frames = backup.frames().unwrap();
    for length in lengths {
        let entry = backup.entry(&path(&format!("data/{length}"))).unwrap();
        let first = usize::try_from(entry.frame).unwrap();
        for listed in [0, first, first + 1] {
            let read = backup.read(&frames[..listed], &entry, &mut Vec::new());
            let error = read.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
            assert!(
                error.to_string().contains("beyond the last frame"),
                "{error}"
            );
        }
    }
}

/// Two checks may find the same in the same second.
#[test]
fn the_same_finding_twice_is_one_record() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let backup = back_up(&store, &tree, "b1");
    for _ in 0..2 {
        let draft = lava_backup_core::EvidenceDraft::new("verify", "full", true);
        backup.record(draft).unwrap();
    }
    assert_eq!(backup.evidence().unwrap().len(), 1);
}

#[test]
fn a_damaged_frame_costs_only_its_own_files() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    for n in 0..40 {
        fs::write(tree.join(format!("etc/{n:02}")), noise(300_000, n)).unwrap();
    }
    fs::write(tree.join("etc/99"), noise(4 << 20, 99)).unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let backup = back_up(&store, &tree, "b1");
    let frames = backup.frames().unwrap();
    assert!(frames.len() > 6);
    for name in &frames {
        let file = store.path().join("frames").join(name.file());
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(&file, bad).unwrap();
        let report = verify(&backup, Depth::Full).unwrap();
        assert_eq!(report.damage.len(), 1, "{:?}", report.damage);
        // The last frame is the empty blocks that end a tar stream.
        let last = name == frames.last().unwrap();
        assert!(last || !report.damage[0].members.is_empty());
        for entry in backup.index().unwrap() {
            let entry = entry.unwrap();
            if entry.kind != lava_backup_core::Kind::File {
                continue;
            }
            let readable = backup.read(&frames, &entry, &mut Vec::new()).is_ok();
            let named = report.damage[0].members.contains(&entry.path);
            // A file whose header alone is hit is named too, though we can read it.
            assert!(readable || named, "{} is lost and not named", entry.path);
        }
        assert!(report.damage[0].members.len() < 20);
        fs::write(&file, good).unwrap();
    }
}

#[test]
fn a_new_backup_heals_a_damaged_frame_that_it_shares() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    odd_tree(&tree);
    let store = Store::init(&dir.path().join("store")).unwrap();
    let first = back_up(&store, &tree, "b1");
    let name = first.frames().unwrap()[1];
    let file = store.path().join("frames").join(name.file());
    fs::write(&file, "rot").unwrap();
    assert!(!verify(&first, Depth::Full).unwrap().damage.is_empty());
    let second = back_up(&store, &tree, "b2");
    assert_eq!(verify(&second, Depth::Full).unwrap().damage, []);
    assert_eq!(verify(&first, Depth::Full).unwrap().damage, []);
}

/// Promise 3: without a seal there is no backup.
#[test]
fn a_backup_that_is_not_sealed_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let mut writer = store.create("b1".parse().unwrap()).unwrap();
    let meta = Meta::private(Class::Plain, Time::default());
    writer
        .add_file(path("config/a"), meta.clone(), b"x")
        .unwrap();
    assert!(store.backups().unwrap().is_empty());
    drop(writer);
    assert!(store.backups().unwrap().is_empty());
    assert_eq!(
        sh("ls -A store/tmp store/backups", dir.path()).trim(),
        "store/backups:\n\nstore/tmp:"
    );

    let mut writer = store.create("b1".parse().unwrap()).unwrap();
    let unfinished = writer.stream(path("config/a"), meta).unwrap();
    drop(unfinished);
    assert!(writer.seal(SealInput::default()).is_err());
    assert!(store.backups().unwrap().is_empty());
}

#[test]
fn a_store_is_opened_only_where_there_is_one_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let kind = |p: &str| Store::open(&dir.path().join(p)).unwrap_err().kind();
    assert_eq!(kind("missing"), ErrorKind::StoreMissing);
    fs::write(dir.path().join("file"), "x").unwrap();
    assert_eq!(kind("file"), ErrorKind::NotAStore);
    fs::create_dir(dir.path().join("full")).unwrap();
    fs::write(dir.path().join("full/x"), "x").unwrap();
    assert_eq!(kind("full"), ErrorKind::NotAStore);
    let refused = Store::init(&dir.path().join("full")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert_eq!(fs::read_dir(dir.path().join("full")).unwrap().count(), 1);
    Store::init(&dir.path().join("store")).unwrap();
    let again = Store::init(&dir.path().join("store")).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Exists);
    let mode = fs::metadata(dir.path().join("store"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o700);
}

#[test]
fn names_find_backups() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    assert_eq!(
        store.find("latest").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    fs::create_dir_all(dir.path().join("tree/etc")).unwrap();
    back_up(&store, &dir.path().join("tree"), "2026-a");
    back_up(&store, &dir.path().join("tree"), "2026-ab");
    assert_eq!(store.find("latest").unwrap().as_str(), "2026-ab");
    assert_eq!(store.find("2026-a").unwrap().as_str(), "2026-a");
    assert_eq!(store.find("2026").unwrap_err().kind(), ErrorKind::Ambiguous);
    assert_eq!(store.find("x").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_forgotten_backup_is_gone_and_the_others_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    odd_tree(&dir.path().join("root"));
    let store = Store::init(&dir.path().join("store")).unwrap();
    let one = back_up(&store, &dir.path().join("root"), "1");
    let two = back_up(&store, &dir.path().join("root"), "2");
    store.forget(one.id()).unwrap();
    assert_eq!(store.backups().unwrap(), [two.id().clone()]);
    assert!(!dir.path().join("store/backups/1").exists());
    assert_eq!(
        fs::read_dir(dir.path().join("store/tmp")).unwrap().count(),
        0
    );
    assert!(verify(&two, Depth::Full).unwrap().damage.is_empty());
    assert!(verify_store(&store).unwrap().is_empty());
    let again = store.forget(one.id()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    // Whoever has checked it meanwhile leaves nothing of it behind.
    let found = lava_backup_core::EvidenceDraft::new("verify", "full", true);
    let late = one.record(found).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::NotFound);
    assert!(!dir.path().join("store/backups/1").exists());
    // Its id is free again, and what was found of the one that had it is not of the other.
    fs::write(dir.path().join("root/etc/later"), "").unwrap();
    let other = back_up(&store, &dir.path().join("root"), "1");
    assert!(other.is_there());
    let found = lava_backup_core::EvidenceDraft::new("verify", "full", true);
    let late = one.record(found).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::NotFound);
    assert_eq!(other.evidence().unwrap().len(), 0);
}
