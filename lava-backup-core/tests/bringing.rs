//! What an extraction finds changed, what it does in which order, and which
//! failure it tells.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use common::{back_up, path, whole};
use lava_backup_core::{
    Backup, Capture, Choice, Class, ErrorKind, Event, Root, SealInput, Store, extract,
};

/// A backup with two sections, each of one tree.
fn two_sections(store: &Store, trees: [(&str, &std::path::Path, &str); 2]) -> Backup {
    let mut writer = store.create("b1".parse().unwrap()).unwrap();
    let choose = |_: &_| Choice::Take(Class::Plain);
    for (section, tree, top) in trees {
        let tree = Root::open(tree).unwrap();
        Capture::new(&tree, &choose, &mut |_| ())
            .section(&mut writer, section, &[path(top)])
            .unwrap();
    }
    let sealed = writer.seal(SealInput::default()).unwrap();
    store.backup(&sealed.seal.id).unwrap()
}

#[test]
fn a_section_is_whole_before_the_next_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    for part in ["tree/etc", "tree/srv", "target"] {
        fs::create_dir_all(at(part)).unwrap();
    }
    let content = common::noise(3 << 20, 1);
    fs::write(at("tree/etc/large"), &content).unwrap();
    fs::write(at("tree/etc/small"), "small").unwrap();
    fs::write(at("tree/srv/other"), "other").unwrap();
    let store = Store::init(&at("store")).unwrap();
    let tree = at("tree");
    let backup = two_sections(&store, [("config", &tree, "etc"), ("data", &tree, "srv")]);
    let root = Root::open(&at("target")).unwrap();
    let mut begun = 0;
    let mut observe = |event: Event<'_>| {
        if let Event::Bring(entry) = event
            && entry.path.is_within(&path("data"))
        {
            begun += 1;
            assert!(fs::read(at("target/etc/large")).unwrap() == content);
            assert_eq!(fs::read(at("target/etc/small")).unwrap(), b"small");
        }
    };
    extract(&backup, &root, &whole(&["config", "data"]), &mut observe).unwrap();
    assert_eq!(begun, 2);
    assert_eq!(fs::read(at("target/srv/other")).unwrap(), b"other");
}

/// The file waits for its frame to be full when the directory after it fails.
#[test]
fn a_file_that_fails_after_a_directory_that_comes_later_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("tree/etc/last")).unwrap();
    fs::create_dir_all(at("target")).unwrap();
    fs::write(at("tree/etc/a"), "content").unwrap();
    let store = Store::init(&at("store")).unwrap();
    let backup = back_up(&store, &at("tree"), "b1");
    let root = Root::open(&at("target")).unwrap();
    // Somebody makes the directory just before us.
    let taken = at("target/etc/last");
    let mut observe = |event: Event<'_>| {
        if let Event::Bring(entry) = event
            && entry.path == path("config/etc/last")
        {
            fs::create_dir(&taken).unwrap();
        }
    };
    let error = extract(&backup, &root, &whole(&["config"]), &mut observe).unwrap_err();
    assert_eq!(error.place(), taken, "{error}");
    assert!(at("target/etc/a").exists());
    fs::remove_dir_all(at("target/etc")).unwrap();

    for frame in backup.frames().unwrap() {
        let place = at("store/frames").join(frame.file());
        let mut bytes = fs::read(&place).unwrap();
        bytes[20] ^= 1;
        fs::write(&place, bytes).unwrap();
    }
    let error = extract(&backup, &root, &whole(&["config"]), &mut observe).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
}

#[test]
fn a_file_with_holes_that_has_grown_by_one_more_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("tree/etc")).unwrap();
    fs::create_dir_all(at("target")).unwrap();
    let script = "truncate -s 3M etc/holes; printf end >> etc/holes; truncate -s 4M etc/holes";
    common::sh(script, &at("tree"));
    let store = Store::init(&at("store")).unwrap();
    let backup = back_up(&store, &at("tree"), "b1");
    let root = Root::open(&at("target")).unwrap();
    let mut options = whole(&["config"]);
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    options.dry_run = true;
    let same = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(same.changes, 0);
    let grow = "truncate -s 5M target/etc/holes; touch -r tree/etc/holes target/etc/holes";
    common::sh(grow, dir.path());
    let grown = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(grown.changes, 1);
}

#[test]
fn one_file_comes_back_with_the_directories_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("tree/etc/lava/deep")).unwrap();
    fs::create_dir_all(at("target")).unwrap();
    fs::write(at("tree/etc/lava/deep/a"), "content").unwrap();
    fs::write(at("tree/etc/lava/b"), "b").unwrap();
    let store = Store::init(&at("store")).unwrap();
    let backup = back_up(&store, &at("tree"), "b1");
    let root = Root::open(&at("target")).unwrap();
    let one = whole(&["config/etc/lava/deep/a"]);
    let done = extract(&backup, &root, &one, &mut |_| ()).unwrap();
    assert_eq!((done.entries, done.changes, done.bytes), (1, 1, 7));
    assert_eq!(done.kept, None);
    assert_eq!(fs::read(at("target/etc/lava/deep/a")).unwrap(), b"content");
    assert!(!at("target/etc/lava/b").exists());
    let mode = fs::metadata(at("target/etc/lava")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o7777, 0o755);

    // A directory whose own parent is not selected, too.
    let below = whole(&["config/etc/lava/deep"]);
    fs::remove_dir_all(at("target/etc")).unwrap();
    let done = extract(&backup, &root, &below, &mut |_| ()).unwrap();
    assert_eq!((done.entries, done.changes), (2, 2));
    assert_eq!(fs::read(at("target/etc/lava/deep/a")).unwrap(), b"content");

    // A link on the way there is not followed.
    fs::remove_dir_all(at("target/etc")).unwrap();
    fs::create_dir_all(at("outside/lava/deep")).unwrap();
    std::os::unix::fs::symlink("../outside", at("target/etc")).unwrap();
    let error = extract(&backup, &root, &one, &mut |_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
}

#[test]
fn a_mode_comes_back_whatever_it_was_before_and_whoever_had_the_file() {
    let this = "a_mode_comes_back_whatever_it_was_before_and_whoever_had_the_file";
    if !rustix::process::geteuid().is_root() {
        common::skip(this, "only root can give files away");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("tree/etc")).unwrap();
    fs::create_dir_all(at("target")).unwrap();
    let modes = [0o755, 0o644, 0o4755, 0o2710, 0o600, 0o1777];
    let befores = [0o755, 0o4644, 0o6777, 0o2070, 0o1000, 0];
    let name = |mode: u32, before: u32| format!("etc/{mode:o}-{before:o}");
    for mode in modes {
        for before in befores {
            let place = at("tree").join(name(mode, before));
            fs::write(&place, "x").unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    let store = Store::init(&at("store")).unwrap();
    let backup = back_up(&store, &at("tree"), "b1");
    let root = Root::open(&at("target")).unwrap();
    let mut options = whole(&["config"]);
    options.replace = true;
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    for owner in [0, 1103] {
        for (mode, before) in modes.iter().flat_map(|m| befores.map(|b| (*m, b))) {
            let place = at("target").join(name(mode, before));
            std::os::unix::fs::chown(&place, Some(owner), Some(owner)).unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(before)).unwrap();
        }
        extract(&backup, &root, &options, &mut |_| ()).unwrap();
        for (mode, before) in modes.iter().flat_map(|m| befores.map(|b| (*m, b))) {
            let got = fs::metadata(at("target").join(name(mode, before))).unwrap();
            let expected = (0, 0, mode);
            assert_eq!((got.uid(), got.gid(), got.mode() & 0o7777), expected);
        }
    }
}

#[test]
fn a_file_that_gets_another_name_meanwhile_is_not_changed_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("tree/etc")).unwrap();
    fs::create_dir_all(at("target")).unwrap();
    fs::write(at("tree/etc/a"), "a").unwrap();
    fs::set_permissions(at("tree/etc/a"), fs::Permissions::from_mode(0o4755)).unwrap();
    let store = Store::init(&at("store")).unwrap();
    let backup = back_up(&store, &at("tree"), "b1");
    let root = Root::open(&at("target")).unwrap();
    let mut options = whole(&["config"]);
    options.replace = true;
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    let set = fs::Permissions::from_mode(0o600);
    fs::set_permissions(at("target/etc/a"), set).unwrap();
    let mut observe = |event: Event<'_>| {
        if let Event::Bring(_) = event {
            fs::hard_link(at("target/etc/a"), at("outside")).unwrap();
        }
    };
    let error = extract(&backup, &root, &options, &mut observe).unwrap_err();
    assert_eq!(error.place(), at("target/etc/a"), "{error}");
    let mode = fs::metadata(at("outside")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn without_owners_all_are_whoevers_we_are() {
    let this = "without_owners_all_are_whoevers_we_are";
    if !rustix::process::geteuid().is_root() {
        common::skip(this, "only root can give files away");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("tree/etc/dir")).unwrap();
    fs::create_dir_all(at("target")).unwrap();
    let script = "cd etc; echo x > file; ln -s nowhere link; mkfifo pipe
        chmod 4755 file; chown -h 1103:1104 file link pipe dir; chmod 2750 dir";
    common::sh(script, &at("tree"));
    let store = Store::init(&at("store")).unwrap();
    let backup = back_up(&store, &at("tree"), "b1");
    let root = Root::open(&at("target")).unwrap();
    let mut options = whole(&["config"]);
    options.own = false;
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    for name in ["file", "link", "pipe", "dir"] {
        let got = fs::symlink_metadata(at("target/etc").join(name)).unwrap();
        assert_eq!((got.uid(), got.gid()), (0, 0), "{name}");
    }
    let mode = |name: &str| fs::metadata(at("target/etc").join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("file"), mode("dir")), (0o755, 0o2750));
    let again = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!((again.changes, again.owners.len()), (0, 0));
}

#[test]
fn the_owner_of_whatever_it_is_comes_back() {
    let this = "the_owner_of_whatever_it_is_comes_back";
    if !rustix::process::geteuid().is_root() {
        common::skip(this, "only root can give files away");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("tree/etc/dir")).unwrap();
    fs::create_dir_all(at("target")).unwrap();
    let script = "cd etc; echo x > file; ln -s nowhere link; mkfifo pipe
        chown -h 1103:1104 file link pipe dir; chmod 4755 file; chmod 2750 dir";
    common::sh(script, &at("tree"));
    let store = Store::init(&at("store")).unwrap();
    let backup = back_up(&store, &at("tree"), "b1");
    let root = Root::open(&at("target")).unwrap();
    let mut options = whole(&["config"]);
    options.replace = true;
    for disturb in ["true", "chown -h 0:1104 *", "chown -h 1103:7 *"] {
        extract(&backup, &root, &options, &mut |_| ()).unwrap();
        let [got, expected] = ["target/etc", "tree/etc"].map(|t| common::listing(&at(t)));
        assert_eq!(got, expected, "{disturb}");
        common::sh(disturb, &at("target/etc"));
    }
}
