//! A store some of whose files are changed, cut, swapped, or no files: all that reads one or mends
//! it ends with an answer, and what it calls sound is what was written.
#![no_main]

#[path = "../../lava-backup-core/tests/forge/mod.rs"]
mod hand;
#[path = "forge/sample.rs"]
mod sample;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use lava_backup_core::{Depth, Prune, Store, export, prune, repair, verify, verify_store};
use libfuzzer_sys::fuzz_target;
use sample::{Bytes, anew, forgery, scratch};

type Files = BTreeMap<String, Vec<u8>>;

fn room() -> &'static (tempfile::TempDir, Files) {
    static ROOM: OnceLock<(tempfile::TempDir, Files)> = OnceLock::new();
    ROOM.get_or_init(|| (scratch(), forgery().files()))
}

fuzz_target!(|data: &[u8]| {
    let (dir, sound) = room();
    let mut bytes = Bytes(data);
    let mut files = sound.clone();
    let mut odd = Vec::new();
    for _ in 0..1 + bytes.byte() % 3 {
        let keys: Vec<String> = files.keys().cloned().collect();
        let key = keys[bytes.below(keys.len())].clone();
        match bytes.byte() % 10 {
            0 => drop(files.remove(&key)),
            1 => {
                let other = &keys[bytes.below(keys.len())];
                let content = files[other].clone();
                files.insert(key, content);
            }
            2 => {
                let name = String::from_utf8_lossy(&bytes.run()).replace(['\0', '/'], "_");
                let name = match name.as_str() {
                    "" | "." | ".." => "x",
                    name => name,
                };
                let at = ["", "frames/", "tmp/", "backups/", "backups/x/"];
                let at = at[bytes.below(at.len())];
                files.insert(
                    format!("{at}{}", name.chars().take(60).collect::<String>()),
                    bytes.run(),
                );
            }
            3 => odd.push((key, bytes.byte())),
            4 => {
                files.insert("marks.json".into(), bytes.run());
            }
            5 => {
                files.insert(hand::of("seen.json"), bytes.run());
            }
            6 => {
                files.insert(hand::of("evidence/x.json"), bytes.run());
            }
            _ => bytes.damage(files.get_mut(&key).unwrap()),
        }
        if files.is_empty() {
            break;
        }
    }
    let store = anew(&dir.path().join("store"));
    // One key may lie below another.
    for (key, content) in &files {
        let place = store.join(key);
        if fs::create_dir_all(place.parent().unwrap()).is_ok() {
            let _ = fs::write(place, content);
        }
    }
    for (key, how) in &odd {
        let place = store.join(key);
        let _ = fs::remove_file(&place);
        let _ = match how % 4 {
            0 => fs::create_dir(&place),
            1 => std::os::unix::fs::symlink("nowhere", &place),
            2 => std::os::unix::fs::symlink(dir.path().join("store"), &place),
            _ => std::os::unix::fs::symlink("/dev/zero", &place),
        };
    }
    check(&store, files == *sound && odd.is_empty());
});

fn check(path: &Path, untouched: bool) {
    let Ok(store) = Store::open(path) else {
        assert!(!untouched);
        return;
    };
    let foreign = verify_store(&store);
    for id in store.backups().unwrap_or_default() {
        let Ok(backup) = store.backup(&id) else {
            continue;
        };
        let _ = backup.evidence();
        let quick = verify(&backup, Depth::Quick);
        let full = verify(&backup, Depth::Full);
        let sound = |r: &lava_backup_core::Result<lava_backup_core::VerifyReport>| {
            r.as_ref().is_ok_and(|r| r.damage.is_empty())
        };
        assert!(sound(&quick) || !sound(&full), "{quick:?}, {full:?}");
        if untouched {
            assert!(sound(&full) && foreign.as_ref().is_ok_and(Vec::is_empty));
        }
        let mut out = Vec::new();
        let exported = export(&backup, &mut out);
        let whole = foreign.as_ref().is_ok_and(Vec::is_empty) && sound(&full);
        assert!(exported.is_ok() || !whole, "{exported:?}");
    }
    let options = Prune {
        grace: Duration::from_secs(60),
        dry_run: true,
    };
    let _ = prune(&store, options);
    if let Ok(report) = repair(&store) {
        // What was repaired is sound as far as frames are.
        for id in store.backups().unwrap_or_default() {
            let place = format!("{id}/index.zst");
            let mended = report.repaired.iter().any(|r| r.file.ends_with(&place));
            if let Ok(backup) = store.backup(&id)
                && mended
            {
                assert!(backup.index().unwrap().all(|e| e.is_ok()));
            }
        }
    }
}
