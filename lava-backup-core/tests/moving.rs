//! Trees that move while they are read.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{back_up, path};
use lava_backup_core::{Capture, Choice, Class, Depth, Kind, Root, SealInput, Store, verify};

#[test]
fn a_log_that_grows_all_the_time_is_stored_with_the_bytes_that_its_header_says() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    for name in ["small", "large"] {
        fs::write(tree.join("etc").join(name), "line\n").unwrap();
    }
    fs::write(tree.join("etc/large"), "line\n".repeat(1_000_000)).unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let open = |n: &str| {
                let mut options = fs::OpenOptions::new();
                options.append(true).open(tree.join("etc").join(n)).unwrap()
            };
            let mut files = [open("small"), open("large")];
            while !stop.load(Ordering::Relaxed) {
                for file in &mut files {
                    file.write_all(b"line\n").unwrap();
                }
            }
        });
        let mut in_flight = 0;
        for n in 0..20 {
            let backup = back_up(&store, &tree, &format!("b{n:02}"));
            let report = verify(&backup, Depth::Full).unwrap();
            assert!(report.damage.is_empty(), "{:?}", report.damage);
            let entries = backup.index().unwrap().map(Result::unwrap);
            in_flight += entries.filter(|e| e.class == Class::InFlight).count();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(in_flight > 0, "the files never moved");
    });
}

/// LAVA's nightly packing replaces `output.yaml` while we read its directory.
#[test]
fn a_file_that_is_replaced_by_its_packed_form_is_there_in_one_form_at_least() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc/job")).unwrap();
    let at = |name: &str| tree.join("etc/job").join(name);
    fs::write(at("job.yaml"), "job").unwrap();
    fs::write(at("output.yaml"), "log").unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let root = Root::open(&tree).unwrap();
    let mut writer = store.create("b1".parse().unwrap()).unwrap();
    // The directory has been listed when its first file is chosen.
    let choose = |p: &lava_backup_core::MemberPath| {
        if *p == path("etc/job/job.yaml") {
            fs::write(at("output.yaml.size"), "3").unwrap();
            fs::write(at("output.yaml.xz"), "packed").unwrap();
            fs::remove_file(at("output.yaml")).unwrap();
        }
        Choice::Take(Class::Plain)
    };
    Capture::new(&root, &choose, &mut |_| ())
        .section(&mut writer, "data", &[path("etc")])
        .unwrap();
    let sealed = writer.seal(SealInput::default()).unwrap();
    assert_eq!(sealed.seal.problems[0].code, "file.vanished");
    let backup = store.backup(&sealed.seal.id).unwrap();
    let packed = backup.entry(&path("data/etc/job/output.yaml.xz")).unwrap();
    assert_eq!(packed.size, 6);
}

/// What is read may be torn; that must not make it less secret.
#[test]
fn a_secret_that_moves_stays_secret_and_degrades_the_backup() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    // Each lacks the end of such a file, so both are being packed.
    fs::write(tree.join("etc/keys.xz"), "key").unwrap();
    fs::write(tree.join("etc/many-keys.xz"), vec![b'k'; 3 << 20]).unwrap();
    fs::write(tree.join("etc/open.xz"), "no key").unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let mut writer = store.create("b1".parse().unwrap()).unwrap();
    let choose = |p: &lava_backup_core::MemberPath| {
        let secret = p.as_bytes().ends_with(b"keys.xz");
        Choice::Take(if secret { Class::Secret } else { Class::Plain })
    };
    let mut classes = Vec::new();
    let root = Root::open(&tree).unwrap();
    Capture::new(&root, &choose, &mut |e| classes.push(e.class))
        .section(&mut writer, "config", &[path("etc")])
        .unwrap();
    let sealed = writer.seal(SealInput::default()).unwrap();
    use Class::{InFlight, Plain, Secret};
    assert_eq!(classes, [Plain, Secret, Secret, InFlight]);
    let noted = sealed.seal.problems.iter().map(|p| (&*p.code, p.degrades));
    assert!(noted.eq([("file.in-flight", true); 2]));
}

#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let outside = dir.path().join("outside");
    fs::create_dir_all(tree.join("etc/a")).unwrap();
    fs::create_dir_all(tree.join("etc/b")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("shadow"), "secret").unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let root = Root::open(&tree).unwrap();
    let mut writer = store.create("b1".parse().unwrap()).unwrap();
    let choose = |p: &lava_backup_core::MemberPath| {
        if *p == path("etc/a") {
            fs::remove_dir(tree.join("etc/b")).unwrap();
            std::os::unix::fs::symlink(&outside, tree.join("etc/b")).unwrap();
        }
        Choice::Take(Class::Plain)
    };
    Capture::new(&root, &choose, &mut |_| ())
        .section(&mut writer, "data", &[path("etc")])
        .unwrap();
    let sealed = writer.seal(SealInput::default()).unwrap();
    let backup = store.backup(&sealed.seal.id).unwrap();
    let entry = backup.entry(&path("data/etc/b")).unwrap();
    assert_eq!(entry.kind, Kind::Symlink);
    assert!(backup.entry(&path("data/etc/b/shadow")).is_err());
}

#[test]
fn a_new_file_with_the_number_of_one_that_is_gone_is_no_other_name_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc/victim")).unwrap();
    let at = |name: &str| tree.join("etc").join(name);
    fs::write(at("a"), "planted").unwrap();
    fs::hard_link(at("a"), at("b")).unwrap();
    let number = |name: &str| fs::metadata(at(name)).map(|m| m.ino()).ok();
    let planted = number("a");
    let store = Store::init(&dir.path().join("store")).unwrap();
    let root = Root::open(&tree).unwrap();
    let mut writer = store.create("b1".parse().unwrap()).unwrap();
    let reused = std::cell::Cell::new(false);
    // Both names of the file were read by then.
    let choose = |p: &lava_backup_core::MemberPath| {
        if *p == path("etc/victim") {
            fs::remove_file(at("a")).unwrap();
            fs::remove_file(at("b")).unwrap();
            for n in 0..200 {
                let new = format!("victim/{n:03}");
                fs::write(at(&new), "true").unwrap();
                fs::hard_link(at(&new), at(&format!("{new}-too"))).unwrap();
                reused.set(reused.get() || number(&new) == planted);
            }
        }
        Choice::Take(Class::Plain)
    };
    Capture::new(&root, &choose, &mut |_| ())
        .section(&mut writer, "data", &[path("etc")])
        .unwrap();
    let sealed = writer.seal(SealInput::default()).unwrap();
    if !reused.get() {
        common::skip("reused number", "this file system gives no number twice");
        return;
    }
    let backup = store.backup(&sealed.seal.id).unwrap();
    for n in 0..200 {
        let first = backup.entry(&path(&format!("data/etc/victim/{n:03}")));
        assert_eq!(first.unwrap().kind, Kind::File, "{n}");
        let too = path(&format!("data/etc/victim/{n:03}-too"));
        let target = path(&format!("data/etc/victim/{n:03}"));
        assert_eq!(backup.entry(&too).unwrap().target, Some(target));
    }
}
