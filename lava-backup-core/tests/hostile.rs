//! Archives that were made to deceive: every digest in them is right.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use common::{back_up, noise, path, sh, whole};
use lava_backup_core::{
    Backup, Capture, Choice, Class, Depth, ErrorKind, Event, EvidenceDraft, FrameName, Meta, Root,
    SealInput, Store, Time, extract, verify,
};
use serde_json::{Value, json};

struct Forge {
    dir: tempfile::TempDir,
    store: Store,
}

impl Forge {
    /// A store with the backup `b1` of three small files and a large one.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("tree/etc")).unwrap();
        fs::create_dir(dir.path().join("target")).unwrap();
        for name in ["a", "b", "z"] {
            fs::write(dir.path().join("tree/etc").join(name), name).unwrap();
        }
        fs::write(dir.path().join("tree/etc/large"), noise(9 << 20, 5)).unwrap();
        let store = Store::init(&dir.path().join("store")).unwrap();
        back_up(&store, &dir.path().join("tree"), "b1");
        Self { dir, store }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn backup(&self) -> Backup {
        self.store.backup(&"b1".parse().unwrap()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        let entries = self.backup().index().unwrap();
        entries
            .map(|e| serde_json::to_value(e.unwrap()).unwrap())
            .collect()
    }

    /// Puts a frame into the store as we would.
    fn frame(&self, bytes: &[u8]) -> FrameName {
        let name = FrameName::of(bytes);
        let mut stored = zstd::bulk::compress(bytes, 3).unwrap();
        let end = trailer(&stored, blake3::hash(bytes).as_bytes());
        stored.extend_from_slice(&end);
        let file = self.at("store/frames").join(name.file());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, stored).unwrap();
        name
    }

    fn frames(&self) -> Vec<FrameName> {
        self.backup().frames().unwrap()
    }

    /// Writes the index and the list of frames anew, and a seal that fits.
    fn forge(&self, lines: &[Value], frames: &[FrameName]) {
        let mut text = String::from("{\"format\":\"lava-backup-index/1\"}\n");
        for line in lines {
            text += &format!("{line}\n");
        }
        let list: String = frames.iter().map(|f| format!("{}\n", f.file())).collect();
        let name = blake3::hash(text.as_bytes());
        self.put_index(&text, name.as_bytes());
        fs::write(self.at("store/backups/b1/frames"), &list).unwrap();
        self.reseal(|seal| {
            seal["archive"]["entries"] = json!(lines.len());
            seal["archive"]["frames"] = json!(frames.len());
            seal["archive"]["index_digest"] = json!(digest(name.as_bytes()));
            seal["archive"]["frames_digest"] = json!(digest(list.as_bytes()));
        });
    }

    /// Writes an index of one block, which says that it has that name.
    fn put_index(&self, text: &str, claimed: &[u8; 32]) {
        let mut stored = zstd::bulk::compress(text.as_bytes(), 3).unwrap();
        let end = trailer(&stored, claimed);
        stored.extend_from_slice(&end);
        let length = (stored.len() as u64).to_le_bytes();
        let prelude = [
            &[0x5c, 0x2a, 0x4d, 0x18, 40, 0, 0, 0],
            &length,
            &claimed[..],
        ]
        .concat();
        let place = self.at("store/backups/b1/index.zst");
        fs::write(place, [prelude, stored].concat()).unwrap();
    }

    fn reseal(&self, change: impl FnOnce(&mut Value)) {
        let place = self.at("store/backups/b1/backup.json");
        let mut seal: Value = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
        seal.as_object_mut().unwrap().remove("digest");
        change(&mut seal);
        let digest = digest(format!("{seal:#}\n").as_bytes());
        seal["digest"] = json!(digest);
        fs::write(&place, format!("{seal:#}\n")).unwrap();
    }

    /// Is the backup refused, or damage found in it, at either depth?
    fn is_found(&self, depth: Depth) -> bool {
        let backup = self.store.backup(&"b1".parse().unwrap());
        let Ok(backup) = backup else { return true };
        let report = verify(&backup, depth);
        report.map_or(true, |r| !r.damage.is_empty())
    }
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn trailer(stored: &[u8], content: &[u8; 32]) -> Vec<u8> {
    let digest = blake3::hash(&[stored, content].concat());
    [
        &[0x5b, 0x2a, 0x4d, 0x18, 32, 0, 0, 0][..],
        digest.as_bytes(),
    ]
    .concat()
}

fn has_strace() -> bool {
    let mut strace = std::process::Command::new("strace");
    strace.arg("-V").output().is_ok()
}

/// Runs a test of this file under strace, with the store of `forge`.
fn traced(forge: &Forge, test: &str, options: &[&str]) -> std::process::ExitStatus {
    std::process::Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(forge.at("trace"))
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1"])
        .env("LAVA_BACKUP_TEST_STORE", forge.at("store"))
        .output()
        .unwrap()
        .status
}

#[test]
fn a_forged_backup_that_tells_the_truth_is_accepted() {
    let forge = Forge::new();
    forge.forge(&forge.lines(), &forge.frames());
    assert!(!forge.is_found(Depth::Full));
    assert!(!forge.is_found(Depth::Quick));
}

#[test]
fn a_tar_header_with_a_hidden_second_name_is_found() {
    let forge = Forge::new();
    let (lines, mut frames) = (forge.lines(), forge.frames());
    let file = forge.at("store/frames").join(frames[0].file());
    let stored = fs::read(file).unwrap();
    let mut bytes = lava_backup_core::decode(&PathBuf::new(), frames[0], &stored).unwrap();
    let at = bytes
        .windows(13)
        .position(|w| w == b"config/etc/a\0")
        .unwrap();
    let header = &mut bytes[at..at + 512];
    // The prefix of a ustar header stands before the name for every reader.
    header[345..349].copy_from_slice(b"evil");
    let mut fixed = tar::Header::from_byte_slice(header).clone();
    fixed.set_cksum();
    header.copy_from_slice(fixed.as_bytes());
    frames[0] = forge.frame(&bytes);
    forge.forge(&lines, &frames);
    assert!(forge.is_found(Depth::Full));
}

#[test]
fn each_damaged_frame_of_a_large_file_is_named_by_that_file() {
    let forge = Forge::new();
    let backup = forge.backup();
    let frames = forge.frames();
    let large = backup.entry(&path("config/etc/large")).unwrap();
    let first = usize::try_from(large.frame).unwrap();
    for depth in [Depth::Full, Depth::Quick] {
        let lost = [frames[first + 1], frames[first + 4]];
        let kept: Vec<Vec<u8>> = lost
            .iter()
            .map(|f| fs::read(forge.at("store/frames").join(f.file())).unwrap())
            .collect();
        for frame in &lost {
            fs::remove_file(forge.at("store/frames").join(frame.file())).unwrap();
        }
        let report = verify(&backup, depth).unwrap();
        for frame in &lost {
            let file = forge.store.path().join("frames").join(frame.file());
            let damage = report.damage.iter().find(|d| d.file == file).unwrap();
            assert_eq!(damage.members, [path("config/etc/large")], "{depth:?}");
        }
        assert_eq!(report.damage.len(), 2, "{:?}", report.damage);
        for (frame, bytes) in lost.iter().zip(kept) {
            fs::write(forge.at("store/frames").join(frame.file()), bytes).unwrap();
        }
    }
}

#[test]
fn any_two_lost_frames_are_named_alike_at_every_depth() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    for (name, length) in [
        ("a", 9),
        ("large", 3 << 20),
        ("larger", 3_000_000),
        ("z", 9),
    ] {
        fs::write(tree.join("etc").join(name), noise(length, length as u64)).unwrap();
    }
    let store = Store::init(&dir.path().join("store")).unwrap();
    let backup = back_up(&store, &tree, "b1");
    let frames = backup.frames().unwrap();
    let at = |f: &FrameName| store.path().join("frames").join(f.file());
    for first in 0..frames.len() - 3 {
        let lost = [frames[first], frames[first + 3]];
        let kept = lost.map(|f| fs::read(at(&f)).unwrap());
        for frame in &lost {
            fs::remove_file(at(frame)).unwrap();
        }
        let [full, quick] = [Depth::Full, Depth::Quick].map(|d| verify(&backup, d).unwrap().damage);
        let named = |of: &[lava_backup_core::Damage]| {
            let named = of.iter().map(|d| (d.file.clone(), d.members.clone()));
            named.collect::<Vec<_>>()
        };
        assert_eq!(named(&full), named(&quick), "{first}");
        for (frame, bytes) in lost.iter().zip(kept) {
            fs::write(at(frame), bytes).unwrap();
        }
    }
}

#[test]
fn an_entry_that_no_capture_could_have_made_is_refused() {
    let forge = Forge::new();
    let (lines, frames) = (forge.lines(), forge.frames());
    for (field, value) in [
        ("mode", json!(0o100_755)),
        ("uid", json!(u32::MAX)),
        ("gid", json!(u32::MAX)),
        ("link", json!("/etc")),
        ("blake3", Value::Null),
        ("path", json!("config")),
        ("type", json!("dir")),
        ("type", json!("symlink")),
    ] {
        let mut bad = lines.clone();
        let at = bad
            .iter()
            .position(|l| l["path"] == "config/etc/a")
            .unwrap();
        bad[at][field] = value.clone();
        if value.is_null() {
            bad[at].as_object_mut().unwrap().remove(field);
        }
        forge.forge(&bad, &frames);
        let read = forge.backup().index().unwrap().any(|e| e.is_err());
        assert!(read, "{field} {value}");
    }
}

#[test]
fn a_backup_whose_making_failed_at_the_last_moment_is_not_there() {
    // This test, under strace, is the program that makes the backup.
    if let Some(store) = std::env::var_os("LAVA_BACKUP_TEST_STORE") {
        let store = Store::open(&PathBuf::from(store)).unwrap();
        let writer = store.create("b2".parse().unwrap()).unwrap();
        writer.seal(SealInput::default()).unwrap();
        return;
    }
    let this = "a_backup_whose_making_failed_at_the_last_moment_is_not_there";
    if !has_strace() {
        common::skip(this, "needs strace");
        return;
    }
    let (mut failed, mut sealed) = (0, 0);
    for call in ["fsync", "rename"] {
        for when in 1.. {
            let forge = Forge::new();
            let trace = format!("trace={call}");
            let inject = format!("inject={call}:error=EIO:when={when}");
            let done = traced(&forge, this, &["-e", &trace, "-e", &inject]);
            let there = forge.store.backups().unwrap().len() == 2;
            assert_eq!(there, done.success(), "{call} {when}");
            assert!(
                fs::read_dir(forge.at("store/tmp"))
                    .unwrap()
                    .next()
                    .is_none()
            );
            let trace = fs::read_to_string(forge.at("trace")).unwrap();
            if !trace.contains("INJECTED") {
                sealed += 1;
                break;
            }
            failed += 1;
        }
    }
    assert!(failed > 4 && sealed == 2, "{failed} {sealed}");
}

#[test]
fn names_of_owners_that_can_not_be_read_are_no_silent_loss() {
    let forge = Forge::new();
    // Longer than any that is read.
    let passwd = fs::File::create(forge.at("tree/etc/passwd")).unwrap();
    passwd.set_len(17 << 20).unwrap();
    let backup = back_up(&forge.store, &forge.at("tree"), "b2");
    assert_eq!(backup.seal().outcome, lava_backup_core::Outcome::Degraded);
    assert_eq!(backup.seal().problems[0].code, "owners.unreadable");

    fs::create_dir_all(forge.at("target/etc/passwd")).unwrap();
    let root = Root::open(&forge.at("target")).unwrap();
    assert!(extract(&backup, &root, &whole(&["config/etc/a"]), &mut |_| ()).is_err());
    assert!(!forge.at("target/etc/a").exists());
}

#[test]
fn a_setuid_file_never_becomes_somebody_elses() {
    if !rustix::process::geteuid().is_root() {
        common::skip("a_setuid_file_never_becomes_somebody_elses", "needs root");
        return;
    }
    let forge = Forge::new();
    let users = |path: &str, line: &str| {
        fs::create_dir_all(forge.at(path).join("etc")).unwrap();
        fs::write(forge.at(path).join("etc/passwd"), line).unwrap();
        fs::write(forge.at(path).join("etc/group"), line).unwrap();
    };
    users("tree", "root:x:0:0::/:\nmallory:x:1103:1103::/:\n");
    users("target", "root:x:0:0::/:\nntp:x:1103:1103::/:\n");
    let tool = forge.at("tree/etc/tool");
    fs::write(&tool, "#!/bin/sh\n").unwrap();
    std::os::unix::fs::chown(&tool, Some(1103), Some(1103)).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o6755)).unwrap();
    let backup = back_up(&forge.store, &forge.at("tree"), "b2");
    let root = Root::open(&forge.at("target")).unwrap();
    let mut options = whole(&["config/etc/tool"]);
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    let got = fs::metadata(forge.at("target/etc/tool")).unwrap();
    assert_eq!((got.uid(), got.mode() & 0o7777), (0, 0o755));
    let again = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(again.same, 1);
    fs::remove_file(forge.at("target/etc/tool")).unwrap();
    options.own = false;
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    let got = fs::metadata(forge.at("target/etc/tool")).unwrap();
    assert_eq!((got.uid(), got.mode() & 0o7777), (0, 0o755));
}

#[test]
fn what_a_planted_hard_link_leads_to_keeps_its_mode_and_owner() {
    let forge = Forge::new();
    fs::create_dir_all(forge.at("target/etc")).unwrap();
    fs::write(forge.at("canary"), "a").unwrap();
    fs::set_permissions(forge.at("canary"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(forge.at("canary"), forge.at("target/etc/a")).unwrap();
    let root = Root::open(&forge.at("target")).unwrap();
    let mut options = whole(&["config/etc/a"]);
    options.replace = true;
    extract(&forge.backup(), &root, &options, &mut |_| ()).unwrap();
    assert_eq!(
        fs::metadata(forge.at("canary")).unwrap().mode() & 0o7777,
        0o600
    );
    assert_eq!(
        fs::metadata(forge.at("target/etc/a")).unwrap().mode() & 0o7777,
        0o644
    );
}

#[test]
fn a_pipe_that_is_swapped_for_a_link_leads_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |p: &str| dir.path().join(p);
    fs::create_dir_all(at("target/etc")).unwrap();
    let script = "mkdir -p tree/etc; for i in $(seq 400); do mkfifo -m 666 tree/etc/$i; done";
    sh(script, dir.path());
    fs::write(at("canary"), "shadow").unwrap();
    fs::set_permissions(at("canary"), fs::Permissions::from_mode(0o600)).unwrap();
    let store = Store::init(&at("store")).unwrap();
    let backup = back_up(&store, &at("tree"), "b1");
    let root = Root::open(&at("target")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Somebody who owns the directory that the pipes come to.
        scope.spawn(|| {
            let (link, etc) = (at("target/link"), at("target/etc"));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for found in fs::read_dir(&etc).unwrap().flatten() {
                    if found.file_name().as_encoded_bytes().starts_with(b".lava") {
                        let _ = std::os::unix::fs::symlink(at("canary"), &link);
                        let _ = fs::rename(&link, found.path());
                    }
                }
            }
        });
        for _ in 0..8 {
            let mut options = whole(&["config"]);
            options.replace = true;
            let _ = extract(&backup, &root, &options, &mut |_| ());
            for found in fs::read_dir(at("target/etc")).unwrap().flatten() {
                let _ = fs::remove_file(found.path());
            }
            let _ = fs::remove_dir_all(at("target/kept"));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(fs::metadata(at("canary")).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn a_secret_whose_owner_is_put_right_is_never_more_open_than_it_was() {
    let this = "a_secret_whose_owner_is_put_right_is_never_more_open_than_it_was";
    // This test, under strace, is the program that extracts.
    if let Some(store) = std::env::var_os("LAVA_BACKUP_TEST_STORE") {
        let store = PathBuf::from(store);
        let root = Root::open(&store.with_file_name("target")).unwrap();
        let backup = Store::open(&store).unwrap().backup(&"b2".parse().unwrap());
        let mut options = whole(&["config/etc/key"]);
        options.replace = true;
        extract(&backup.unwrap(), &root, &options, &mut |_| ()).unwrap();
        return;
    }
    if !rustix::process::geteuid().is_root() || !has_strace() {
        common::skip(this, "needs root and strace");
        return;
    }
    let forge = Forge::new();
    let put = |path: &str, owner: u32, mode: u32| {
        fs::write(forge.at(path), "secret").unwrap();
        std::os::unix::fs::chown(forge.at(path), Some(owner), Some(owner)).unwrap();
        fs::set_permissions(forge.at(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(forge.at("target/etc")).unwrap();
    put("tree/etc/key", 1103, 0o600);
    // Root's group may read it here; the new owner's may at no moment.
    put("target/etc/key", 0, 0o640);
    back_up(&forge.store, &forge.at("tree"), "b2");
    let done = traced(&forge, this, &["-e", "trace=fchmod,fchown"]);
    assert!(done.success());
    let trace = fs::read_to_string(forge.at("trace")).unwrap();
    let calls: Vec<&str> = trace
        .lines()
        .map(|line| line.split_once(' ').unwrap().1.trim())
        .collect();
    assert!(
        calls[0].starts_with("fchmod(") && calls[0].contains("0600)"),
        "{calls:?}"
    );
    assert!(calls[1].contains("1103, 1103)"), "{calls:?}");
    let got = fs::metadata(forge.at("target/etc/key")).unwrap();
    assert_eq!((got.gid(), got.mode() & 0o7777), (1103, 0o600));
}

/// The owner of a directory, who swaps all in it while it is restored to,
/// reaches nothing outside: on all cores, in all three passes.
#[test]
fn whoever_swaps_files_and_directories_meanwhile_reaches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |p: &str| dir.path().join(p);
    let script = "umask 0; mkdir -p tree/etc target/etc outside
        for d in $(seq 40); do mkdir tree/etc/$d; for f in 1 2 3; do
            echo $d > tree/etc/$d/$f; ln -s x tree/etc/$d/l$f; mkfifo tree/etc/$d/p$f
        done; done
        echo canary > outside/file; mkdir outside/dir; echo canary > outside/dir/1
        chmod -R go-rwx outside; touch -d 2001-01-01 outside/* outside";
    sh(script, dir.path());
    let note = |path: &str| {
        let none = rustix::fs::XattrFlags::empty();
        let _ = rustix::fs::setxattr(at(path), "user.canary", b"1", none);
    };
    note("outside/file");
    note("outside/dir");
    let look = || {
        let listing = common::listing(&at("outside"));
        listing + &sh("getfattr -d -R outside 2>&1 || true", dir.path())
    };
    let before = look();
    let store = Store::init(&at("store")).unwrap();
    let backup = back_up(&store, &at("tree"), "b1");
    let root = Root::open(&at("target")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut done = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                turn += 1;
                let spare = at("target").join(format!("spare{turn}"));
                let victim = at("target/etc").join(format!("{}", turn % 40 + 1));
                let inner = victim.join(["1", "l2", "p3"][turn as usize % 3]);
                match turn % 4 {
                    0 => drop(std::os::unix::fs::symlink(at("outside/dir"), &spare)),
                    1 => drop(fs::hard_link(at("outside/file"), &spare)),
                    2 => drop(std::os::unix::fs::symlink(at("outside/file"), &spare)),
                    _ => drop(fs::create_dir(&spare)),
                }
                let place = if turn.is_multiple_of(4) {
                    &victim
                } else {
                    &inner
                };
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let here = rustix::fs::CWD;
                let _ = rustix::fs::renameat_with(here, &spare, here, place, flags);
                let _ = fs::rename(&spare, at("target").join(format!("old{turn}")));
            }
        });
        for round in 0..30 {
            let mut options = whole(&["config"]);
            options.replace = true;
            options.keep_in = path(&format!("kept{round}"));
            done += u32::from(extract(&backup, &root, &options, &mut |_| ()).is_ok());
            if round % 3 == 0 {
                let _ = fs::rename(at("target/etc"), at("target").join(format!("etc{round}")));
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(look(), before, "after {done} extractions that came through");
}

/// The index of a forged backup in which `b` is a hard link to `a`.
fn with_link(forge: &Forge, change: impl Fn(&mut Value)) -> Backup {
    let mut lines = forge.lines();
    for line in &mut lines {
        if line["path"] == "config/etc/b" {
            line["type"] = json!("hardlink");
            line["size"] = json!(0);
            line["target"] = json!("config/etc/a");
            line.as_object_mut().unwrap().remove("blake3");
            change(line);
        }
    }
    forge.forge(&lines, &forge.frames());
    forge.backup()
}

#[test]
fn hard_links_are_made_anew_and_are_the_same_afterwards() {
    let forge = Forge::new();
    let backup = with_link(&forge, |_| ());
    let root = Root::open(&forge.at("target")).unwrap();
    let inode = |path: &str| fs::metadata(forge.at(path)).unwrap().ino();
    let mut options = whole(&["config"]);
    options.replace = true;
    let mut told = Vec::new();
    let done = extract(&backup, &root, &options, &mut |event| {
        if let Event::Change(change) = event {
            told.push((change.path.to_string(), change.what));
        }
    });
    assert_eq!(done.unwrap().changes, 5);
    assert_eq!(told.last().unwrap(), &("etc/b".to_owned(), "new"));
    assert_eq!(inode("target/etc/a"), inode("target/etc/b"));
    let again = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(again.same, again.entries);

    // One that leads elsewhere is led back, and what it led to is kept.
    fs::remove_file(forge.at("target/etc/b")).unwrap();
    fs::write(forge.at("target/etc/b"), "own").unwrap();
    let done = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(done.changes, 1);
    assert_eq!(inode("target/etc/a"), inode("target/etc/b"));
    assert_eq!(fs::read(forge.at("target/kept/etc/b")).unwrap(), b"own");

    // A changed file is made anew, and its other name with it.
    options.keep_in = path("kept2");
    fs::write(forge.at("target/etc/a"), "changed").unwrap();
    let done = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(done.changes, 2);
    assert_eq!(fs::read(forge.at("target/etc/b")).unwrap(), b"a");
    assert_eq!(inode("target/etc/a"), inode("target/etc/b"));
}

#[test]
fn a_hard_link_leads_to_nothing_that_took_the_place_of_its_file() {
    let forge = Forge::new();
    let backup = with_link(&forge, |_| ());
    let root = Root::open(&forge.at("target")).unwrap();
    extract(&backup, &root, &whole(&["config"]), &mut |_| ()).unwrap();
    fs::remove_file(forge.at("target/etc/b")).unwrap();
    fs::remove_file(forge.at("target/etc/z")).unwrap();
    fs::write(forge.at("canary"), "shadow").unwrap();
    // When the files are brought back, `a` was compared and is the same.
    let done = extract(&backup, &root, &whole(&["config"]), &mut |event| {
        if let Event::Bring(_) = event {
            fs::hard_link(forge.at("canary"), forge.at("target/planted")).unwrap();
            fs::rename(forge.at("target/planted"), forge.at("target/etc/a")).unwrap();
        }
    });
    assert!(done.is_err());
    assert!(!forge.at("target/etc/b").exists());
    assert_eq!(fs::metadata(forge.at("canary")).unwrap().nlink(), 2);
}

#[test]
fn a_directory_that_took_the_place_of_a_made_one_keeps_its_mode() {
    let forge = Forge::new();
    let private = forge.at("target/private");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    let root = Root::open(&forge.at("target")).unwrap();
    let mut swapped = false;
    let done = extract(&forge.backup(), &root, &whole(&["config"]), &mut |event| {
        if let Event::Bring(entry) = event
            && entry.path == path("config/etc/z")
        {
            fs::rename(forge.at("target/etc"), forge.at("target/moved")).unwrap();
            fs::rename(&private, forge.at("target/etc")).unwrap();
            swapped = true;
        }
    });
    assert!(swapped && done.is_err());
    let mode = fs::metadata(forge.at("target/etc")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn a_hard_link_without_its_file_is_a_file_of_its_own() {
    let forge = Forge::new();
    let backup = with_link(&forge, |_| ());
    let root = Root::open(&forge.at("target")).unwrap();
    let options = whole(&["config/etc/b"]);
    // What has the file's name here is no file of this extraction.
    fs::create_dir(forge.at("target/etc")).unwrap();
    fs::write(forge.at("target/etc/a"), "a stranger").unwrap();
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    let made = fs::metadata(forge.at("target/etc/b")).unwrap();
    assert_eq!((made.nlink(), made.len()), (1, 1));
    assert_eq!(fs::read(forge.at("target/etc/b")).unwrap(), b"a");
    let again = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(again.same, 1);
}

#[test]
fn a_hard_link_to_no_file_is_refused_before_anything_changes() {
    for target in ["config/etc", "config/etc/none", "config/etc/z", "data/a"] {
        let forge = Forge::new();
        let backup = with_link(&forge, |line| line["target"] = json!(target));
        let root = Root::open(&forge.at("target")).unwrap();
        let error = extract(&backup, &root, &whole(&["config"]), &mut |_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{target}: {error}");
        assert_eq!(fs::read_dir(forge.at("target")).unwrap().count(), 0);
    }
}

#[test]
fn a_sparse_file_comes_back_with_its_holes() {
    let forge = Forge::new();
    let (size, at) = (64u64 << 20, 32u64 << 20);
    let mut lines = forge.lines();
    let content = noise(9 << 20, 5);
    for line in &mut lines {
        if line["path"] == "config/etc/large" {
            line["size"] = json!(size);
            line["extents"] = json!([[0, 4 << 20], [at, 5 << 20]]);
        }
        // Nothing but a hole.
        if line["path"] == "config/etc/a" {
            line["size"] = json!(size);
            line["extents"] = json!([[size, 0]]);
            line["blake3"] = json!(digest(b""));
        }
    }
    forge.forge(&lines, &forge.frames());
    let backup = forge.backup();
    let mut expected = vec![0; size as usize];
    expected[..4 << 20].copy_from_slice(&content[..4 << 20]);
    expected[at as usize..][..5 << 20].copy_from_slice(&content[4 << 20..]);
    let mut read = Vec::new();
    let entry = backup.entry(&path("config/etc/large")).unwrap();
    backup.read(&forge.frames(), &entry, &mut read).unwrap();
    assert!(read == expected);

    let root = Root::open(&forge.at("target")).unwrap();
    let mut options = whole(&["config"]);
    options.replace = true;
    extract(&backup, &root, &options, &mut |_| ()).unwrap();
    let large = forge.at("target/etc/large");
    assert!(fs::read(&large).unwrap() == expected);
    assert!(fs::metadata(&large).unwrap().blocks() * 512 < 12 << 20);
    let hole = fs::metadata(forge.at("target/etc/a")).unwrap();
    assert_eq!((hole.len(), hole.blocks()), (size, 0));
    let again = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(again.same, again.entries);

    // Zeros that are written are the same; anything else in a hole is not.
    let put = |bytes: &[u8]| {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().write(true).open(&large).unwrap();
        let then = fs::metadata(&large).unwrap().modified().unwrap();
        file.write_all_at(bytes, 20 << 20).unwrap();
        file.set_modified(then).unwrap();
    };
    put(&[0; 8192]);
    let again = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(again.same, again.entries);
    put(&[1]);
    let done = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(done.changes, 1);
    assert!(fs::read(&large).unwrap() == expected);
}

/// Lists by name, capabilities with the owner alone.
#[test]
fn attributes_come_back_and_give_no_power_to_another_owner() {
    let this = "attributes_come_back_and_give_no_power_to_another_owner";
    if !rustix::process::geteuid().is_root() {
        common::skip(this, "needs root");
        return;
    }
    let forge = Forge::new();
    let users = |path: &str, line: &str| {
        fs::create_dir_all(forge.at(path).join("etc")).unwrap();
        fs::write(forge.at(path).join("etc/passwd"), line).unwrap();
        fs::write(forge.at(path).join("etc/group"), line).unwrap();
    };
    users(
        "target",
        "root:x:0:0::/:\nlavaserver:x:1996:1996::/:\nntp:x:1103:1103::/:\n",
    );
    let capability = "%01%00%00%02%00%04%00%00%00%00%00%00%00%00%00%00%00%00%00%00";
    let list = "user::rw-,user:lavaserver:r--:996,group::r--,mask::r--,other::---";
    let attributes = json!({
        "acl": list,
        "xattrs": { "security.capability": capability, "user.note": "x" },
    });
    let mut lines = forge.lines();
    for line in &mut lines {
        let mine = line["path"] == "config/etc/a";
        if mine || line["path"] == "config/etc/b" {
            let (user, uid) = if mine { ("root", 0) } else { ("mallory", 1103) };
            line["mode"] = json!(0o640);
            line["user"] = json!(user);
            line["uid"] = json!(uid);
            line["group"] = json!("root");
            line["attributes"] = attributes.clone();
        }
    }
    forge.forge(&lines, &forge.frames());
    let backup = forge.backup();
    let root = Root::open(&forge.at("target")).unwrap();
    let mut options = whole(&["config/etc/a", "config/etc/b"]);
    options.replace = true;
    let told = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert!(told.owners.iter().any(|o| o.contains("mallory")));
    let show = |name: &str| {
        let script = format!("getfattr -d -m - target/etc/{name}; getfacl -pn target/etc/{name}");
        sh(&script, &forge.at(""))
    };
    let (a, b) = (show("a"), show("b"));
    assert!(a.contains("security.capability") && !b.contains("security.capability"));
    for shown in [&a, &b] {
        assert!(shown.contains("user.note=\"x\""), "{shown}");
        assert!(shown.contains("user:1996:r--"), "{shown}");
    }
    let again = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(again.same, 2);
    sh(
        "setfacl -b target/etc/a; chmod 640 target/etc/a; setfattr -x user.note target/etc/b",
        &forge.at(""),
    );
    let mut told = Vec::new();
    let mut observe = |event: Event<'_>| {
        if let Event::Change(change) = event {
            told.push(change.parts.clone());
        }
    };
    extract(&backup, &root, &options, &mut observe).unwrap();
    assert_eq!(told, [vec!["acl"], vec!["xattr"]]);
    let again = extract(&backup, &root, &options, &mut |_| ()).unwrap();
    assert_eq!(again.same, 2);
}

#[test]
fn two_sections_with_one_path_do_not_overwrite_each_other() {
    let forge = Forge::new();
    let mut writer = forge.store.create("b2".parse().unwrap()).unwrap();
    let meta = Meta::private(Class::Plain, Time::default());
    writer
        .add_file(path("config/a"), meta.clone(), b"first")
        .unwrap();
    writer.add_file(path("data/a"), meta, b"second").unwrap();
    writer.seal(SealInput::default()).unwrap();
    let backup = forge.store.backup(&"b2".parse().unwrap()).unwrap();
    let root = Root::open(&forge.at("target")).unwrap();
    let done = extract(&backup, &root, &whole(&["config", "data"]), &mut |_| ());
    assert!(done.is_err());
    assert_eq!(fs::read(forge.at("target/a")).unwrap(), b"first");
}

#[test]
fn a_tree_of_paths_longer_than_the_kernel_takes_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let name = "n".repeat(250);
    let script = format!(
        "mkdir -p tree/etc target; cd tree/etc\n\
         for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do mkdir {name}; cd -P ./{name}; done\n\
         echo deep > leaf"
    );
    sh(&script, dir.path());
    let store = Store::init(&dir.path().join("store")).unwrap();
    let backup = back_up(&store, &dir.path().join("tree"), "b1");
    let root = Root::open(&dir.path().join("target")).unwrap();
    for _ in 0..2 {
        extract(&backup, &root, &whole(&["config"]), &mut |_| ()).unwrap();
    }
    sh("test $(find target -name leaf | wc -l) = 1", dir.path());
}

#[test]
fn a_path_too_long_for_a_member_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let name = "n".repeat(255);
    let script = format!(
        "mkdir -p tree/etc; cd tree/etc; echo last > z; i=0\n\
         while [ $i -lt 257 ]; do mkdir {name}; cd -P ./{name}; i=$((i+1)); done"
    );
    sh(&script, dir.path());
    let store = Store::init(&dir.path().join("store")).unwrap();
    let backup = back_up(&store, &dir.path().join("tree"), "b1");
    assert_eq!(backup.seal().problems.len(), 1);
    assert!(backup.entry(&path("config/etc/z")).is_ok());
    sh("rm -rf tree", dir.path());
}

#[test]
fn a_file_that_grows_while_it_is_read_ends_where_it_ended_when_it_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/log"), vec![0; 3 << 20]).unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let root = Root::open(&tree).unwrap();
    let most = 2u64 << 30;
    let mut writer = store.create("b1".parse().unwrap()).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let entry = std::thread::scope(|scope| {
        scope.spawn(|| {
            let log = fs::OpenOptions::new()
                .write(true)
                .open(tree.join("etc/log"));
            let log = log.unwrap();
            let mut length = 3 << 20;
            while length < most && !stop.load(std::sync::atomic::Ordering::Relaxed) {
                length += 4 << 20;
                log.set_len(length).unwrap();
                std::thread::sleep(std::time::Duration::from_micros(500));
            }
        });
        let choose = |_: &_| Choice::Take(Class::Plain);
        let mut found = Vec::new();
        Capture::new(&root, &choose, &mut |e| found.push(e.clone()))
            .section(&mut writer, "logs", &[path("etc/log")])
            .unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        found.remove(0)
    });
    assert!(entry.size < most / 4, "{}", entry.size);
}

#[test]
fn runs_that_begin_and_end_together_do_not_trip_over_each_other() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("tree/etc")).unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let backup = back_up(&store, &dir.path().join("tree"), "b1");
    std::thread::scope(|scope| {
        for thread in 0..3 {
            // Locks are between stores that were opened, not threads of one.
            let store = Store::open(&dir.path().join("store")).unwrap();
            scope.spawn(move || {
                for n in 0..1000 {
                    let writer = store.create(format!("t{thread}-{n}").parse().unwrap());
                    drop(writer.unwrap());
                }
            });
        }
        scope.spawn(|| {
            for n in 0..60 {
                let mut draft = EvidenceDraft::new("verify", "full", true);
                draft.milliseconds = n;
                backup.record(draft).unwrap();
            }
        });
    });
}

#[test]
fn of_two_runs_with_one_id_the_second_is_told_so() {
    let forge = Forge::new();
    let first = forge.store.create("b2".parse().unwrap()).unwrap();
    let second = forge.store.create("b2".parse().unwrap()).unwrap();
    let sealed = first.seal(SealInput::default()).unwrap();
    let error = second.seal(SealInput::default()).unwrap_err();
    assert_eq!(error.kind(), lava_backup_core::ErrorKind::Exists);
    let there = forge.store.backup(&"b2".parse().unwrap()).unwrap();
    assert_eq!(there.digest(), sealed.digest);
}

#[test]
fn of_many_who_make_one_store_at_once_one_does() {
    for _ in 0..25 {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("store");
        let together = std::sync::Barrier::new(4);
        let made: Vec<Store> = std::thread::scope(|scope| {
            let run = || {
                together.wait();
                Store::init(&place)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            let done = threads.into_iter().map(|t| t.join().unwrap());
            done.filter_map(Result::ok).collect()
        });
        assert_eq!(made.len(), 1);
        assert_eq!(Store::open(&place).unwrap().id(), made[0].id());
    }
}

#[test]
fn a_link_that_is_replaced_while_it_is_read_is_missed_aloud() {
    // Where a sync costs nothing, a round takes a millisecond.
    let memory = std::path::Path::new("/dev/shm");
    let dir = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(dir.path().join("file"), "now a file").unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (mut links, mut files, mut told, mut missed) = (0, 0, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = std::os::unix::fs::symlink("nowhere", tree.join("new"));
                let _ = fs::rename(tree.join("new"), tree.join("etc/x"));
                let _ = fs::copy(dir.path().join("file"), tree.join("new"));
                let _ = fs::rename(tree.join("new"), tree.join("etc/x"));
            }
        });
        // It is always there, as one thing or the other.
        while !tree.join("etc/x").is_file() {}
        let began = std::time::Instant::now();
        let busy = || began.elapsed() > std::time::Duration::from_secs(15);
        for n in 0..600 {
            // On a busy machine a hundred rounds, and until each was met.
            if n >= 100 && busy() && links * files > 0 {
                break;
            }
            let backup = back_up(&store, &tree, &format!("b{n}"));
            let complete = backup.seal().outcome == lava_backup_core::Outcome::Complete;
            match backup.entry(&path("config/etc/x")) {
                Ok(entry) if entry.link.is_some() => links += 1,
                Ok(_) => files += 1,
                Err(_) if complete => missed += 1,
                Err(_) => told += 1,
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(links > 0 && files > 0, "{links} {files} {told}: no race");
    assert_eq!(missed, 0, "of {} rounds", links + files + told);
}

#[test]
fn a_frame_list_of_any_bytes_is_damage_and_no_error() {
    let forge = Forge::new();
    let place = forge.at("store/backups/b1/frames");
    let mut bytes = fs::read(&place).unwrap();
    bytes[10] ^= 0x80;
    fs::write(&place, bytes).unwrap();
    let report = verify(&forge.backup(), Depth::Full).unwrap();
    assert_eq!(report.damage[0].file, place);
}

#[test]
fn more_problems_than_a_seal_can_list_are_counted() {
    let forge = Forge::new();
    let mut writer = forge.store.create("b2".parse().unwrap()).unwrap();
    for n in 0..10_050u32 {
        writer.problem(lava_backup_core::Problem {
            code: "file.type".into(),
            path: None,
            message: String::new(),
            degrades: n == 10_049,
        });
    }
    let seal = writer.seal(SealInput::default()).unwrap().seal;
    assert_eq!(seal.problems.len(), 10_001);
    assert_eq!(seal.problems[10_000].code, "problems.more");
    assert!(seal.problems[10_000].message.starts_with("50 "));
    assert_eq!(seal.outcome, lava_backup_core::Outcome::Degraded);
}

#[test]
fn whoever_waits_to_write_into_a_pipe_still_waits_after_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    sh("mkfifo tree/etc/pipe", dir.path());
    let store = Store::init(&dir.path().join("store")).unwrap();
    let mut writer = std::process::Command::new("sh")
        .args(["-c", "exec 3> tree/etc/pipe"])
        .current_dir(dir.path())
        .spawn()
        .unwrap();
    for n in 0..40 {
        back_up(&store, &tree, &format!("b{n}"));
    }
    let ended = writer.try_wait().unwrap();
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert!(ended.is_none(), "the backup opened the pipe");
}

#[test]
fn an_index_that_leaves_a_file_out_is_found() {
    let forge = Forge::new();
    let all = forge.lines();
    for left_out in 0..all.len() {
        let mut lines = all.clone();
        lines.remove(left_out);
        forge.forge(&lines, &forge.frames());
        assert!(forge.is_found(Depth::Full), "without {}", all[left_out]);
    }
}

#[test]
fn bytes_that_no_entry_has_are_found_wherever_they_are_put() {
    let forge = Forge::new();
    let (lines, frames) = (forge.lines(), forge.frames());
    let smuggled = {
        // A member of its own: header and content, as tar would restore it.
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(1);
        tar.append_data(&mut header, "config/etc/smuggled", &b"x"[..])
            .unwrap();
        let bytes = tar.into_inner().unwrap();
        forge.frame(&bytes[..1024])
    };
    let zeros = forge.frame(&[0; 8192]);
    for extra in [vec![smuggled], vec![zeros, smuggled], vec![zeros]] {
        for at in 0..=frames.len() {
            let mut changed = frames.clone();
            changed.splice(at..at, extra.iter().copied());
            let mut moved = lines.clone();
            for line in &mut moved {
                let frame = line["frame"].as_u64().unwrap();
                if frame >= at as u64 {
                    line["frame"] = json!(frame + extra.len() as u64);
                }
            }
            forge.forge(&moved, &changed);
            assert!(
                forge.is_found(Depth::Full),
                "{} frames at {at}",
                extra.len()
            );
        }
    }
}

#[test]
fn swapped_frames_are_found() {
    let forge = Forge::new();
    let (lines, frames) = (forge.lines(), forge.frames());
    for at in 1..frames.len() {
        let mut changed = frames.clone();
        changed.swap(at - 1, at);
        forge.forge(&lines, &changed);
        assert!(forge.is_found(Depth::Full), "{at}");
    }
}

/// The seal's digest is what an admin notes elsewhere, so it must bind all.
#[test]
fn an_index_that_is_not_the_one_that_the_seal_names_is_found() {
    let forge = Forge::new();
    let mut text = String::from("{\"format\":\"lava-backup-index/1\"}\n");
    for mut line in forge.lines() {
        line["class"] = json!("plain");
        line["uid"] = json!(4242);
        text += &format!("{line}\n");
    }
    // The names of the blocks stay those that are sealed.
    let sealed = fs::read(forge.at("store/backups/b1/index.zst")).unwrap();
    forge.put_index(&text, sealed[16..48].try_into().unwrap());
    assert!(forge.is_found(Depth::Quick));
    let backup = forge.backup();
    assert!(backup.entry(&path("config/etc/a")).is_err());
    let root = Root::open(&forge.at("target")).unwrap();
    assert!(extract(&backup, &root, &whole(&["config"]), &mut |_| ()).is_err());
    assert_eq!(fs::read_dir(forge.at("target")).unwrap().count(), 0);
}

#[test]
fn absurd_numbers_are_errors_at_every_depth() {
    let forge = Forge::new();
    let (lines, frames) = (forge.lines(), forge.frames());
    let huge = [
        u64::MAX,
        u64::MAX - 1,
        1 << 63,
        1 << 40,
        frames.len() as u64,
    ];
    for at in 0..lines.len() {
        for field in ["frame", "offset", "size"] {
            for value in huge {
                let mut bad = lines.clone();
                if field == "offset" && value == frames.len() as u64 {
                    continue;
                }
                bad[at][field] = json!(value);
                forge.forge(&bad, &frames);
                let why = format!("{field} {value} of {}", lines[at]["path"]);
                assert!(forge.is_found(Depth::Full), "{why}");
                // Named or not, a quick look must come to an end.
                let _ = forge.is_found(Depth::Quick);
                fs::remove_dir_all(forge.at("target")).unwrap();
                fs::create_dir(forge.at("target")).unwrap();
                let root = Root::open(&forge.at("target")).unwrap();
                let _ = extract(&forge.backup(), &root, &whole(&["config"]), &mut |_| ());
            }
        }
    }
}

#[test]
fn a_section_that_comes_back_is_refused() {
    let forge = Forge::new();
    let lines = forge.lines();
    let mut twice = lines.clone();
    let last = twice.last().unwrap().clone();
    for name in ["data/etc/a", "config/etc/a"] {
        let mut again = last.clone();
        again["path"] = json!(name);
        twice.push(again);
    }
    forge.forge(&twice, &forge.frames());
    assert!(forge.backup().index().unwrap().any(|e| e.is_err()));
}

#[test]
fn odd_names_of_users_make_no_backup_that_fails_its_check() {
    for odd in [
        "o\0dd".to_owned(),
        "o\u{1}dd".to_owned(),
        "long".repeat(1 << 20),
    ] {
        let forge = Forge::new();
        let line = format!("{odd}:x:1103:1103::/:\n");
        fs::write(forge.at("tree/etc/passwd"), &line).unwrap();
        fs::write(forge.at("tree/etc/group"), &line).unwrap();
        let owned = std::os::unix::fs::chown(forge.at("tree/etc/a"), Some(1103), Some(1103));
        if owned.is_err() {
            common::skip("odd_names_of_users", "only root can give files away");
            return;
        }
        let backup = back_up(&forge.store, &forge.at("tree"), "b2");
        let report = verify(&backup, Depth::Full).unwrap();
        assert_eq!(report.damage, []);
    }
}
