//! Bringing files back: inside the target, nothing lost, nothing opened up.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use common::{back_up, path, whole};
use lava_backup_core::{
    Backup, Capture, Change, Choice, Class, ErrorKind, Event, Extract, Root, SealInput, Store,
    extract,
};

/// What an extraction tells that it changes.
fn changes(backup: &Backup, root: &Root, options: &Extract) -> Vec<Change> {
    let mut told = Vec::new();
    let mut observe = |event: Event<'_>| {
        if let Event::Change(change) = event {
            told.push(change.clone());
        }
    };
    extract(backup, root, options, &mut observe).unwrap();
    told
}

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
    let told = changes(&backup, &root, &options);
    assert!(told.iter().any(|c| c.what == "content"));
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

#[test]
fn a_directory_is_not_replaced_by_a_file_nor_a_file_by_a_directory() {
    for script in ["mkdir -p etc/lava/a", "mkdir etc; echo own > etc/lava"] {
        let lab = Lab::new();
        let backup = back_up(&lab.store, &lab.at("tree"), "b1");
        common::sh(script, &lab.at("target"));
        let before = common::listing(&lab.at("target"));
        let root = Root::open(&lab.at("target")).unwrap();
        let mut options = whole(&["config"]);
        options.replace = true;
        let refused = extract(&backup, &root, &options, &mut |_| ()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused, "{script}: {refused}");
        assert_eq!(common::listing(&lab.at("target")), before);
    }
}

/// Promise 6, of what is kept.
#[test]
fn nothing_is_kept_where_something_else_than_a_directory_has_the_place() {
    for script in ["ln -s ../outside kept", "mkfifo kept", "echo own > kept"] {
        let lab = Lab::new();
        let backup = back_up(&lab.store, &lab.at("tree"), "b1");
        common::sh(script, &lab.at("target"));
        fs::create_dir_all(lab.at("target/etc/lava")).unwrap();
        fs::write(lab.at("target/etc/lava/a"), "the admin's own").unwrap();
        let root = Root::open(&lab.at("target")).unwrap();
        for keep_in in ["kept", "kept/below"] {
            let mut options = whole(&["config"]);
            options.replace = true;
            options.keep_in = path(keep_in);
            let error = extract(&backup, &root, &options, &mut |_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{script}: {error}");
            let own = fs::read(lab.at("target/etc/lava/a")).unwrap();
            assert_eq!(own, b"the admin's own");
        }
        assert_eq!(fs::read_dir(lab.at("outside")).unwrap().count(), 0);
    }
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
    options.complete = vec![path("config/etc/lava")];
    // There is nothing too many where there is no directory.
    let done = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(done.extra, 0);
    fs::write(lab.at("target/etc/lava/zz.yaml"), "MEDIA_ROOT: /elsewhere").unwrap();
    options.dry_run = true;
    options.complete.clear();
    assert_eq!(changes(&backup, &root, &options), []);
    options.complete = vec![path("config/etc/lava")];
    let done = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!((done.extra, done.changes), (1, 0));
    let told = changes(&backup, &root, &options);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].path.to_string().as_str(), told[0].what),
        ("etc/lava/zz.yaml", "extra")
    );
    assert!(lab.at("target/etc/lava/zz.yaml").exists());
    // What is left out by name is not too many.
    options.exclude = vec![path("config/etc/lava/zz.yaml"), path("config/etc/lava/a")];
    assert_eq!(changes(&backup, &root, &options), []);
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

#[test]
fn what_would_change_is_told_with_its_parts() {
    let lab = Lab::new();
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    let root = Root::open(&lab.at("target")).unwrap();
    let mut options = whole(&["config"]);
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    let a = lab.at("target/etc/lava/a");
    fs::set_permissions(&a, fs::Permissions::from_mode(0o600)).unwrap();
    common::sh("touch -d 2001-01-01 target/etc/lava/a", lab.dir.path());
    let xattr = rustix::fs::setxattr(&a, "user.note", b"x", rustix::fs::XattrFlags::empty());
    options.dry_run = true;
    options.replace = true;
    let told = changes(&backup, &root, &options);
    let mut parts = vec!["mode", "time"];
    parts.extend(xattr.is_ok().then_some("xattr"));
    assert_eq!((told.len(), told[0].what), (1, "metadata"));
    assert_eq!(told[0].parts, parts);
    options.dry_run = false;
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(changes(&backup, &root, &options), []);
}

/// 10,000 files in frames of all kinds, on all cores, twice.
#[test]
fn many_files_come_back_whole_whatever_the_order_of_the_work() {
    let lab = Lab::new();
    for dir in 0..40 {
        let dir = lab.at("tree/etc").join(format!("d{dir}"));
        fs::create_dir(&dir).unwrap();
        for file in 0..50u64 {
            let size = usize::try_from(file * file * 11 % 9001).unwrap();
            fs::write(dir.join(format!("f{file}")), common::noise(size, file)).unwrap();
        }
    }
    fs::write(lab.at("tree/etc/large"), common::noise(7 << 20, 7)).unwrap();
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    let root = Root::open(&lab.at("target")).unwrap();
    let done = extract(&backup, &root, &whole(&["config"]), &mut |_| ()).unwrap();
    assert_eq!((done.changes, done.same), (done.entries, 0));
    assert_eq!(
        common::listing(&lab.at("target")),
        common::listing(&lab.at("tree"))
    );
}

#[test]
fn the_first_error_in_archive_order_is_told_and_nothing_temporary_stays() {
    let lab = Lab::new();
    let dir = lab.at("tree/etc/lava");
    for file in 10..99 {
        fs::write(dir.join(format!("f{file}")), common::noise(1 << 20, file)).unwrap();
    }
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    let frames: Vec<_> = backup.frames().unwrap();
    for frame in frames.iter().skip(3) {
        let place = lab.at("store/frames").join(frame.file());
        let mut bytes = fs::read(&place).unwrap();
        bytes[20] ^= 1;
        fs::write(&place, bytes).unwrap();
    }
    for _ in 0..3 {
        let root = Root::open(&lab.at("target")).unwrap();
        let error = extract(&backup, &root, &whole(&["config"]), &mut |_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        let name = frames[3].to_string();
        assert!(error.to_string().contains(&name), "{error} is not {name}");
        for found in fs::read_dir(lab.at("target/etc/lava")).unwrap() {
            let found = found.unwrap();
            let name = found.file_name();
            let original = fs::read(dir.join(&name)).unwrap();
            assert!(fs::read(found.path()).unwrap() == original, "{name:?}");
        }
        fs::remove_dir_all(lab.at("target/etc")).unwrap();
    }
}

/// The lines of a listing but for directories: the time of one that was there
/// is that of its last change.
fn files(listing: &str) -> Vec<String> {
    let lines = listing.lines().filter(|l| !l.contains("|d|"));
    lines.map(str::to_owned).collect()
}

/// Mounts a file system of its own at a path, and lets go of it.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn at(path: std::path::PathBuf) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "none"])
            .arg(&path)
            .output();
        let mounted = mount.is_ok_and(|m| m.status.success());
        mounted.then_some(Self(path))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn what_is_kept_on_another_file_system_is_kept_as_it_was() {
    let this = "what_is_kept_on_another_file_system_is_kept_as_it_was";
    let lab = Lab::new();
    let Some(_mounted) = Mounted::at(lab.at("target/kept")) else {
        common::skip(this, "nothing can be mounted here");
        return;
    };
    for name in ["c", "d", "e", "f"] {
        fs::write(lab.at("tree/etc/lava").join(name), "of the backup").unwrap();
    }
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    let script = "mkdir -p etc/lava; cd etc/lava; umask 0
        echo old > a; chown 1103:1104 a; chmod 4750 a; touch -d '2001-02-03 04:05:06.5' a
        ln -s nowhere b; chown -h 1105:1106 b
        mkfifo -m 640 c; chown 1107 c; touch -d 1999-01-01 c
        printf begin > d; truncate -s 3M d; printf end >> d; truncate -s 4M d
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"e\")'
        ln a f";
    common::sh(script, &lab.at("target"));
    // `cap_net_bind_service+ep`
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let attributes = [
        ("trusted.one", &b"1"[..]),
        ("trusted.two", b"more"),
        ("security.capability", &capability),
    ];
    for (name, value) in attributes {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(lab.at("target/etc/lava/d"), name, value, flags).unwrap();
    }
    let before = common::listing(&lab.at("target/etc"));
    let inode = fs::metadata(lab.at("target/etc/lava/a")).unwrap().ino();
    let root = Root::open(&lab.at("target")).unwrap();
    let mut options = whole(&["config"]);
    options.replace = true;
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    let kept = common::listing(&lab.at("target/kept/etc"));
    assert_eq!(files(&kept), files(&before));
    for (name, value) in attributes {
        let mut found = [0; 99];
        let kept = lab.at("target/kept/etc/lava/d");
        let length = rustix::fs::getxattr(kept, name, &mut found[..]).unwrap();
        assert_eq!(&found[..length], value);
    }
    let holes = fs::metadata(lab.at("target/kept/etc/lava/d")).unwrap();
    assert!(holes.blocks() < 64, "{}", holes.blocks());
    assert_ne!(
        fs::metadata(lab.at("target/etc/lava/a")).unwrap().ino(),
        inode
    );
    let got = common::listing(&lab.at("target/etc"));
    assert_eq!(files(&got), files(&common::listing(&lab.at("tree/etc"))));
}

#[test]
fn a_hard_link_to_another_file_system_is_a_file_of_its_own() {
    let this = "a_hard_link_to_another_file_system_is_a_file_of_its_own";
    let lab = Lab::new();
    let Some(_mounted) = Mounted::at(lab.at("target/etc/other")) else {
        common::skip(this, "nothing can be mounted here");
        return;
    };
    fs::create_dir(lab.at("tree/etc/other")).unwrap();
    fs::hard_link(lab.at("tree/etc/lava/a"), lab.at("tree/etc/other/a")).unwrap();
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    let root = Root::open(&lab.at("target")).unwrap();
    let mut options = whole(&["config"]);
    options.replace = true;
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    let made = fs::metadata(lab.at("target/etc/other/a")).unwrap();
    assert_eq!(made.nlink(), 1);
    assert_eq!(
        files(&common::listing(&lab.at("target/etc"))),
        files(&common::listing(&lab.at("tree/etc")))
    );
    assert_eq!(changes(&backup, &root, &options), []);
    fs::write(lab.at("target/etc/other/a"), "changed").unwrap();
    let told = changes(&backup, &root, &options);
    assert_eq!((told.len(), told[0].what), (1, "content"));
}

#[test]
fn what_a_killed_run_left_is_removed_and_nothing_else() {
    let lab = Lab::new();
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    let dir = lab.at("target/etc/lava");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(".lava-backup-4711-3"), "half").unwrap();
    symlink("nowhere", dir.join(".lava-backup-4711-4")).unwrap();
    fs::create_dir(dir.join(".lava-backup-4711-5")).unwrap();
    fs::write(dir.join(".lava-backup-notes"), "an admin's").unwrap();
    fs::write(dir.join(".lava-backup-4711-6"), "a user's").unwrap();
    let given = std::os::unix::fs::chown(dir.join(".lava-backup-4711-6"), Some(1103), None);
    if given.is_err() {
        fs::remove_file(dir.join(".lava-backup-4711-6")).unwrap();
    }
    let live = dir.join(".lava-backup-4711-3");
    // Another run that makes files there says so.
    let held = fs::File::open(&dir).unwrap();
    let shared = rustix::fs::FlockOperation::LockShared;
    rustix::fs::flock(&held, shared).unwrap();
    let root = Root::open(&lab.at("target")).unwrap();
    extract(&backup, &root, &whole(&["config"]), &mut |_| ()).unwrap();
    assert!(live.exists());
    drop(held);
    fs::remove_file(dir.join("a")).unwrap();
    let mut dry = whole(&["config"]);
    dry.dry_run = true;
    extract(&backup, &root, &dry, &mut |_| ()).unwrap();
    assert!(live.exists());
    extract(&backup, &root, &whole(&["config"]), &mut |_| ()).unwrap();
    let left: std::collections::BTreeSet<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut expected = vec!["a", "b", ".lava-backup-4711-5", ".lava-backup-notes"];
    expected.extend(given.is_ok().then_some(".lava-backup-4711-6"));
    assert_eq!(left, expected.into_iter().map(String::from).collect());
}

/// Runs a test of this file once more, in a process in which a call fails, for
/// the directory of a lab.
fn once_more(this: &str, dir: &std::path::Path, call: &str, failing: &str) {
    traced(this, dir, call, &[&format!("inject={call}:{failing}")]);
}

/// The same, with what is to be done about the call; gives how often it was made.
fn traced(this: &str, dir: &std::path::Path, call: &str, what: &[&str]) -> usize {
    let traced = std::process::Command::new("strace")
        .args(["-f", "-qq", "-e"])
        .arg(format!("trace={call}"))
        .args(what.iter().flat_map(|what| ["-e", what]))
        .arg("-o")
        .arg(dir.join("trace"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", this, "--test-threads=1"])
        .env("LAVA_BACKUP_TEST_STORE", dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&traced.stdout);
    assert!(traced.status.success(), "{call} {what:?}: {said}");
    calls(dir, call)
}

/// How often the process has made it so far.
fn calls(dir: &std::path::Path, call: &str) -> usize {
    let trace = fs::read_to_string(dir.join("trace")).unwrap();
    trace.matches(&format!(" {call}(")).count()
}

/// In such a process: the directory, the backup and the target.
fn of_this_run() -> Option<(std::path::PathBuf, Backup, Root)> {
    let dir = std::path::PathBuf::from(std::env::var_os("LAVA_BACKUP_TEST_STORE")?);
    let store = Store::open(&dir.join("store")).unwrap();
    let backup = store.backup(&"b1".parse().unwrap()).unwrap();
    let root = Root::open(&dir.join("target")).unwrap();
    Some((dir, backup, root))
}

fn no_strace(this: &str) -> bool {
    let found = std::process::Command::new("strace").arg("-V").output();
    if found.is_err() {
        common::skip(this, "needs strace");
    }
    found.is_err()
}

#[test]
fn an_extraction_without_openat2_does_the_same() {
    let this = "an_extraction_without_openat2_does_the_same";
    if let Some((_, backup, root)) = of_this_run() {
        let mut options = whole(&["config"]);
        options.replace = true;
        extract(&backup, &root, &options, &mut |_| ()).unwrap();
        let resolved = root.resolve(std::path::Path::new("/link/in/../b")).unwrap();
        assert_eq!(resolved.unwrap().to_string(), "etc/lava/b");
        return;
    }
    if no_strace(this) {
        return;
    }
    for error in ["ENOSYS", "EPERM"] {
        let lab = Lab::new();
        common::odd_tree(&lab.at("tree"));
        back_up(&lab.store, &lab.at("tree"), "b1");
        fs::create_dir_all(lab.at("target/etc/lava/in")).unwrap();
        fs::write(lab.at("target/etc/lava/a"), "the admin's own").unwrap();
        symlink("/../etc/./lava/", lab.at("target/link")).unwrap();
        once_more(this, lab.dir.path(), "openat2", &format!("error={error}"));
        let got = common::listing(&lab.at("target/etc"));
        assert_eq!(files(&got), files(&common::listing(&lab.at("tree/etc"))));
    }
}

/// The second of two file systems fails, where a second can be mounted.
#[test]
fn every_file_system_that_was_changed_is_synced_when_asked_or_it_is_told() {
    let this = "every_file_system_that_was_changed_is_synced_when_asked_or_it_is_told";
    if let Some((dir, backup, root)) = of_this_run() {
        let mut options = whole(&["config"]);
        options.replace = true;
        extract(&backup, &root, &options, &mut |_| ()).unwrap();
        fs::remove_file(dir.join("target/etc/lava/a")).unwrap();
        fs::remove_file(dir.join("target/etc/other/c")).unwrap();
        options.sync = true;
        let error = extract(&backup, &root, &options, &mut |_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("sync"), "{error}");
        return;
    }
    if no_strace(this) {
        return;
    }
    let lab = Lab::new();
    fs::create_dir(lab.at("tree/etc/other")).unwrap();
    fs::write(lab.at("tree/etc/other/c"), "c").unwrap();
    back_up(&lab.store, &lab.at("tree"), "b1");
    let mounted = Mounted::at(lab.at("target/etc/other"));
    let last = 1 + u32::from(mounted.is_some());
    let failing = format!("error=EIO:when={last}");
    once_more(this, lab.dir.path(), "syncfs", &failing);
}

/// What is little waits for the end.
#[test]
fn what_is_large_is_synced_while_more_is_to_be_written() {
    let this = "what_is_large_is_synced_while_more_is_to_be_written";
    if let Some((dir, backup, root)) = of_this_run() {
        let mut options = whole(&["config"]);
        options.sync = true;
        let mut observe = |event: Event<'_>| {
            // Its turn comes when what lies in other frames has been handed over.
            let is_last = |path: &[u8]| path.ends_with(b"large/last");
            if matches!(event, Event::Bring(entry) if is_last(entry.path.as_bytes())) {
                let mut tries = 0..3000;
                while calls(&dir, "syncfs") == 0 {
                    assert!(tries.next().is_some(), "nothing is synced yet");
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            }
        };
        extract(&backup, &root, &options, &mut observe).unwrap();
        return;
    }
    if no_strace(this) {
        return;
    }
    let lab = Lab::new();
    back_up(&lab.store, &lab.at("tree"), "b1");
    assert_eq!(traced(this, lab.dir.path(), "syncfs", &[]), 1);

    let lab = Lab::new();
    fs::create_dir(lab.at("tree/etc/large")).unwrap();
    fs::write(lab.at("tree/etc/large/first"), vec![b'x'; 33 << 20]).unwrap();
    fs::write(lab.at("tree/etc/large/in-between"), "x").unwrap();
    fs::write(lab.at("tree/etc/large/last"), "x").unwrap();
    back_up(&lab.store, &lab.at("tree"), "b1");
    assert_eq!(traced(this, lab.dir.path(), "syncfs", &[]), 2);
}

/// What the old owner's mode allowed is not allowed to the new one even for a
/// moment, nor is what the new mode will allow to the old one.
#[test]
fn a_file_is_open_to_nobody_new_while_it_changes_hands() {
    let this = "a_file_is_open_to_nobody_new_while_it_changes_hands";
    if let Some((_, backup, root)) = of_this_run() {
        let mut options = whole(&["config"]);
        options.replace = true;
        let error = extract(&backup, &root, &options, &mut |_| ()).unwrap_err();
        assert!(error.place().ends_with("etc/lava/b"), "{error}");
        return;
    }
    if !rustix::process::geteuid().is_root() {
        common::skip(this, "only root can give files away");
        return;
    }
    if no_strace(this) {
        return;
    }
    let lab = Lab::new();
    let backup = back_up(&lab.store, &lab.at("tree"), "b1");
    let root = Root::open(&lab.at("target")).unwrap();
    extract(&backup, &root, &whole(&["config"]), &mut |_| ()).unwrap();
    let place = lab.at("target/etc/lava/b");
    for (before, meanwhile) in [(0o070, 0), (0o6775, 0o600), (0o400, 0o400)] {
        std::os::unix::fs::chown(&place, Some(1103), Some(1103)).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(before)).unwrap();
        once_more(this, lab.dir.path(), "fchown", "error=EIO");
        let found = fs::metadata(&place).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (1103, meanwhile));
    }
}
