//! A backup in one file: out of a store, straight from a tree, through pipes,
//! and back.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::{back_up, noise, odd_tree, path, sh};
use lava_backup_core::{
    Backup, BackupWriter, Capture, Choice, Class, Depth, ErrorKind, EvidenceDraft, MemberPath,
    Meta, Root, SealInput, Store, Time, export, import, repair, verify, verify_store,
    verify_stream,
};

fn exported(backup: &Backup) -> Vec<u8> {
    let mut out = Vec::new();
    export(backup, &mut out).unwrap();
    out
}

fn sound(backup: &Backup) {
    let report = verify(backup, Depth::Full).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
}

/// What `create --to` writes.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A tree, a stream of unknown size and a last file, as one file.
fn straight(tree: &Path) -> (Vec<u8>, String) {
    let out = Shared::default();
    let place = Path::new("-");
    let mut writer =
        BackupWriter::into_file("b9".parse().unwrap(), place, Box::new(out.clone())).unwrap();
    let mut dump = writer
        .stream(
            path("database/dump"),
            Meta::private(Class::Secret, Time::default()),
        )
        .unwrap();
    // More than what is held in memory while the header is not known.
    for part in 0..40 {
        dump.write_all(&noise(1 << 20, part)).unwrap();
    }
    dump.finish().unwrap();
    let root = Root::open(tree).unwrap();
    let choose = |_: &MemberPath| Choice::Take(Class::Plain);
    let mut observe = |_: &lava_backup_core::Entry| {};
    Capture::new(&root, &choose, &mut observe)
        .section(&mut writer, "config", &[path("etc")])
        .unwrap();
    let sealed = writer.seal(SealInput::default()).unwrap();
    let bytes = out.0.lock().unwrap().clone();
    (bytes, sealed.digest)
}

#[test]
fn what_is_exported_is_a_tar_whose_first_members_are_the_seal_and_the_lists() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    odd_tree(&tree);
    let store = Store::init(&dir.path().join("store")).unwrap();
    let backup = back_up(&store, &tree, "b1");
    backup
        .record(EvidenceDraft::new("verify", "full", true))
        .unwrap();
    fs::write(dir.path().join("b1.tar.zst"), exported(&backup)).unwrap();

    let listed = sh("zstd -dc b1.tar.zst | tar -t", dir.path());
    let first: Vec<&str> = listed.lines().take(5).collect();
    assert_eq!(first[0], "lava-backup/backup.json");
    assert!(first[1].starts_with("lava-backup/blocks/"));
    assert!(first[2].starts_with("lava-backup/evidence/"));
    assert_eq!(first[3..], ["lava-backup/frames", "lava-backup/index.zst"]);
    sh(
        "mkdir out && zstd -dc b1.tar.zst | tar -C out -x\n\
         diff -r --no-dereference tree/etc/lava out/config/etc/lava -x pipe\n\
         cmp out/lava-backup/backup.json store/backups/b1/backup.json\n\
         cmp out/lava-backup/index.zst store/backups/b1/index.zst",
        dir.path(),
    );

    // It is read as a store that holds one backup, and is never changed.
    let one = Store::open_file(&dir.path().join("b1.tar.zst")).unwrap();
    assert_eq!(one.backups().unwrap(), store.backups().unwrap());
    assert!(verify_store(&one).unwrap().is_empty());
    let there = one.backup(backup.id()).unwrap();
    assert_eq!(there.digest(), backup.digest());
    sound(&there);
    assert_eq!(there.evidence().unwrap(), backup.evidence().unwrap());
    let mut content = Vec::new();
    let entry = there.entry(&path("config/etc/lava/large")).unwrap();
    there
        .read(&there.frames().unwrap(), &entry, &mut content)
        .unwrap();
    assert_eq!(content, noise(5 << 20, 1));
    let refused = there.record(EvidenceDraft::new("verify", "full", true));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn a_backup_goes_from_store_to_store_and_heals_one_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    odd_tree(&tree);
    let store = Store::init(&dir.path().join("store")).unwrap();
    let backup = back_up(&store, &tree, "b1");
    backup
        .record(EvidenceDraft::new("drill", "data", true))
        .unwrap();
    let file = exported(&backup);

    let other = Store::init(&dir.path().join("other")).unwrap();
    let place = Path::new("b1.tar.zst");
    let done = import(&other, place, file.as_slice()).unwrap();
    assert!(!done.known);
    let there = other.backup(backup.id()).unwrap();
    assert_eq!(there.digest(), backup.digest());
    assert_eq!(there.evidence().unwrap(), backup.evidence().unwrap());
    sound(&there);

    let again = import(&other, place, file.as_slice()).unwrap();
    assert!(again.known);
    assert_eq!(again.new_frames, 0);
    let frames = there.frames().unwrap();
    let frame = |n: usize| other.path().join("frames").join(frames[n].file());
    fs::remove_file(frame(0)).unwrap();
    fs::write(frame(1), "rot").unwrap();
    assert!(!verify(&there, Depth::Full).unwrap().damage.is_empty());
    let healed = import(&other, place, file.as_slice()).unwrap();
    assert!(healed.known);
    assert_eq!(healed.new_frames, 2);
    sound(&there);

    // Another backup of that id stays as it is.
    fs::write(tree.join("etc/lava/plain"), "else\n").unwrap();
    let third = Store::init(&dir.path().join("third")).unwrap();
    let own = back_up(&third, &tree, "b1");
    let refused = import(&third, place, file.as_slice());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(third.backup(own.id()).unwrap().digest(), own.digest());
}

#[test]
fn a_backup_that_goes_straight_to_a_pipe_is_whole_at_its_end_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    odd_tree(&tree);
    let (file, digest) = straight(&tree);
    let place = Path::new("-");
    assert_eq!(
        verify_stream(place, file.as_slice()).unwrap().digest,
        digest
    );
    fs::write(dir.path().join("b9.tar.zst"), &file).unwrap();
    sh(
        "mkdir out && zstd -dc b9.tar.zst | tar -C out -x\n\
         diff -r --no-dereference tree/etc/lava out/config/etc/lava -x pipe\n\
         test $(stat -c %s out/database/dump) = 41943040",
        dir.path(),
    );
    let mut input = file.as_slice();
    let one = Store::open_stream(place, &mut input).unwrap();
    let backup = one.backup(&one.find("latest").unwrap()).unwrap();
    sound(&backup);
    let store = Store::init(&dir.path().join("store")).unwrap();
    import(&store, place, file.as_slice()).unwrap();
    sound(&store.backup(backup.id()).unwrap());
    assert!(verify_store(&store).unwrap().is_empty());

    // Cut off, it is no backup, and nothing of it is in the store.
    let empty = Store::init(&dir.path().join("empty")).unwrap();
    for cut in [0, 1, 47, 48, 1000, file.len() / 2, file.len() - 1] {
        let cut = &file[..cut];
        let error = verify_stream(place, cut).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(import(&empty, place, cut).is_err());
        let mut input = cut;
        assert!(Store::open_stream(place, &mut input).is_err());
    }
    assert!(empty.backups().unwrap().is_empty());
    assert!(verify_store(&empty).unwrap().is_empty());
}

#[test]
fn every_changed_byte_of_an_exported_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/a"), "first").unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let file = exported(&back_up(&store, &tree, "b1"));
    let place = Path::new("file");
    let path = dir.path().join("file");
    let found_by_seeking = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let Ok(store) = Store::open_file(&path) else {
            return true;
        };
        let id = store.backups().unwrap().pop().unwrap();
        let Ok(backup) = store.backup(&id) else {
            return true;
        };
        !verify(&backup, Depth::Full).unwrap().damage.is_empty()
            || !verify_store(&store).unwrap().is_empty()
    };
    assert!(!found_by_seeking(&file));
    assert!(verify_stream(place, file.as_slice()).is_ok());
    for at in 0..file.len() {
        let mut bad = file.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(verify_stream(place, bad.as_slice()).is_err(), "byte {at}");
        assert!(found_by_seeking(&bad), "byte {at}");
        assert!(verify_stream(place, &file[..at]).is_err(), "cut at {at}");
        assert!(found_by_seeking(&file[..at]), "cut at {at}");
    }
}

#[test]
fn an_index_is_made_anew_from_the_frames_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    odd_tree(&tree);
    let store = Store::init(&dir.path().join("store")).unwrap();
    let backup = back_up(&store, &tree, "b1");
    let index = store.path().join("backups/b1/index.zst");
    let seen = store.path().join("backups/b1/seen.json");
    let whole = fs::read(&index).unwrap();
    for damage in [&b""[..], &whole[..whole.len() / 2], b"rot"] {
        fs::write(&index, damage).unwrap();
        let report = repair(&store).unwrap();
        assert_eq!(report.repaired.len(), 1, "{report:?}");
        assert_eq!(fs::read(&index).unwrap(), whole);
        sound(&backup);
    }
    fs::remove_file(&index).unwrap();
    fs::write(&seen, "{}").unwrap();
    let report = repair(&store).unwrap();
    assert_eq!(report.repaired.len(), 2, "{report:?}");
    assert!(report.lost.is_empty());
    assert!(!seen.exists());
    sound(&backup);
    assert!(repair(&store).unwrap().repaired.is_empty());

    // What can't be had again is said, and left as it is.
    let frames = backup.frames().unwrap();
    fs::remove_file(store.path().join("frames").join(frames[0].file())).unwrap();
    fs::write(&index, "rot").unwrap();
    let report = repair(&store).unwrap();
    assert!(report.repaired.is_empty());
    assert_eq!(report.lost.len(), 1);
    assert_eq!(fs::read(&index).unwrap(), b"rot");
}
