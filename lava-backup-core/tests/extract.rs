//! Bringing files back: inside the target, nothing lost, nothing opened up.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use common::{back_up, path, whole};
use lava_backup_core::{Capture, Choice, Class, ErrorKind, Root, SealInput, Store, extract};

struct Lab {
    dir: tempfile::TempDir,
    store: Store,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for part in ["tree/etc/lava", "target", "outside"] {
            fs::create_dir_all(dir.path().join(part)).unwrap();
        }
        fs::write(dir.path().join("tree/etc/lava/a"), "from the backup").unwrap();
        fs::write(dir.path().join("tree/etc/lava/b"), "secret").unwrap();
        let secret = fs::Permissions::from_mode(0o600);
        fs::set_permissions(dir.path().join("tree/etc/lava/b"), secret).unwrap();
        let store = Store::init(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }
}

/// Promise 8: nothing is overwritten.
#[test]
fn a_replaced_file_is_kept_and_only_replaced_when_asked() {
    let lab = Lab::new();
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    fs::create_dir_all(lab.at("target/etc/lava")).unwrap();
    fs::write(lab.at("target/etc/lava/a"), "the admin's own").unwrap();
    let root = Root::open(&lab.at("target")).unwrap();
    let mut options = whole(&["config"]);
    let refused = extract(&backup, &root, &options, &mut |_| ()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(!lab.at("target/etc/lava/b").exists(), "half a restore");

    options.replace = true;
    options.dry_run = true;
    let told = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert!(told.changes.iter().any(|c| c.what == "content"));
    assert_eq!(
        fs::read(lab.at("target/etc/lava/a")).unwrap(),
        b"the admin's own"
    );

    options.dry_run = false;
    let done = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(
        fs::read(lab.at("target/etc/lava/a")).unwrap(),
        b"from the backup"
    );
    assert_eq!(done.kept.unwrap(), lab.at("target/kept"));
    assert_eq!(
        fs::read(lab.at("target/kept/etc/lava/a")).unwrap(),
        b"the admin's own"
    );
    assert_eq!(
        fs::metadata(lab.at("target/kept")).unwrap().mode() & 0o777,
        0o700
    );
}

/// Promise 6: extraction can't leave its target.
#[test]
fn links_planted_in_the_target_are_not_followed() {
    let lab = Lab::new();
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    fs::write(lab.at("outside/a"), "canary").unwrap();
    let root = Root::open(&lab.at("target")).unwrap();
    let mut options = whole(&["config"]);
    options.replace = true;

    symlink(lab.at("outside"), lab.at("target/etc")).unwrap();
    let refused = extract(&backup, &root, &options, &mut |_| ()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");

    fs::remove_file(lab.at("target/etc")).unwrap();
    fs::create_dir(lab.at("target/etc")).unwrap();
    symlink(lab.at("outside"), lab.at("target/etc/lava")).unwrap();
    let refused = extract(&backup, &root, &options, &mut |_| ()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");

    fs::remove_file(lab.at("target/etc/lava")).unwrap();
    fs::create_dir(lab.at("target/etc/lava")).unwrap();
    symlink(lab.at("outside/a"), lab.at("target/etc/lava/a")).unwrap();
    fs::hard_link(lab.at("outside/a"), lab.at("target/etc/lava/b")).unwrap();
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(
        fs::read(lab.at("target/etc/lava/a")).unwrap(),
        b"from the backup"
    );
    assert_eq!(fs::read(lab.at("target/etc/lava/b")).unwrap(), b"secret");
    assert_eq!(fs::read(lab.at("outside/a")).unwrap(), b"canary");
    assert_eq!(fs::read_dir(lab.at("outside")).unwrap().count(), 1);
}

#[test]
fn a_link_in_the_archive_can_lead_nothing_after_it_out() {
    let lab = Lab::new();
    // The archive holds a link to the outside, and the target then gets a
    // file below a directory of that name from another section.
    symlink(lab.at("outside"), lab.at("tree/etc/way-out")).unwrap();
    fs::create_dir_all(lab.at("tree2/etc/way-out")).unwrap();
    fs::write(lab.at("tree2/etc/way-out/planted"), "x").unwrap();
    let mut writer = lab.store.create("b1".parse().unwrap()).unwrap();
    let choose = |_: &_| Choice::Take(Class::Plain);
    for (section, tree) in [("config", "tree"), ("data", "tree2")] {
        let tree = Root::open(&lab.at(tree)).unwrap();
        Capture::new(&tree, &choose, &mut |_| ())
            .section(&mut writer, section, &[path("etc")])
            .unwrap();
    }
    let sealed = writer.seal(SealInput::default()).unwrap();
    let backup = lab.store.backup(&sealed.seal.id).unwrap();
    let root = Root::open(&lab.at("target")).unwrap();
    let mut options = whole(&["config", "data"]);
    options.replace = true;
    assert!(extract(&backup, &root, &options, &mut |_| ()).is_err());
    assert_eq!(fs::read_dir(lab.at("outside")).unwrap().count(), 0);
}

#[test]
fn owners_come_back_by_name() {
    if !rustix::process::geteuid().is_root() {
        common::skip("owners_come_back_by_name", "only root can give files away");
        return;
    }
    let lab = Lab::new();
    let users = |path: &str, uid: u32| {
        fs::create_dir_all(lab.at(path).join("etc")).unwrap();
        let line = format!("root:x:0:0::/:\nlavaserver:x:{uid}:{uid}::/:\n");
        fs::write(lab.at(path).join("etc/passwd"), &line).unwrap();
        fs::write(lab.at(path).join("etc/group"), &line).unwrap();
    };
    users("tree", 1103);
    users("target", 1996);
    std::os::unix::fs::chown(lab.at("tree/etc/lava/b"), Some(1103), Some(1103)).unwrap();
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    let root = Root::open(&lab.at("target")).unwrap();
    extract(&backup, &root, &whole(&["config/etc/lava"]), &mut |_| ()).unwrap();
    let owned = fs::metadata(lab.at("target/etc/lava/b")).unwrap();
    assert_eq!(
        (owned.uid(), owned.gid(), owned.mode() & 0o777),
        (1996, 1996, 0o600)
    );
}

#[test]
fn a_file_too_many_is_told_where_a_directory_should_be_complete() {
    let lab = Lab::new();
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    let root = Root::open(&lab.at("target")).unwrap();
    let mut options = whole(&["config"]);
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    fs::write(lab.at("target/etc/lava/zz.yaml"), "MEDIA_ROOT: /elsewhere").unwrap();
    options.dry_run = true;
    let silent = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(silent.changes, []);
    options.complete = vec![path("config/etc/lava")];
    let told = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(told.changes.len(), 1);
    assert_eq!(
        (
            told.changes[0].path.to_string().as_str(),
            told.changes[0].what
        ),
        ("etc/lava/zz.yaml", "extra")
    );
    assert!(lab.at("target/etc/lava/zz.yaml").exists());
}

#[test]
fn what_is_left_out_stays_as_it_is() {
    let lab = Lab::new();
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    let root = Root::open(&lab.at("target")).unwrap();
    let mut options = whole(&["config"]);
    options.exclude = vec![path("config/etc/lava/a")];
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert!(!lab.at("target/etc/lava/a").exists());
    assert!(lab.at("target/etc/lava/b").exists());
    let none = whole(&["config/etc/none"]);
    let error = extract(&backup, &root, &none, &mut |_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
