//! What no backup needs goes, in two steps, and nothing else ever does.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Host, lava_backup};
use lava_backup_core::Store;

const JOBS: &str = "root/var/lib/lava-server/default/media/job-output";

/// A store with frames of a backup that went.
fn with_leftovers() -> (Host, String) {
    let host = Host::new(3);
    let large: Vec<u8> = (0..1u32 << 20)
        .flat_map(|n| n.wrapping_mul(n).wrapping_mul(0x9e37_79b1).to_be_bytes())
        .collect();
    fs::create_dir_all(host.at(JOBS)).unwrap();
    fs::write(host.at(JOBS).join("large"), &large[..2_000_000]).unwrap();
    fs::write(host.at(JOBS).join("larger"), &large).unwrap();
    let gone = host.create();
    fs::remove_file(host.at(JOBS).join("larger")).unwrap();
    let kept = host.create();
    host.run("forget", &[&gone]).ends(0);
    (host, kept)
}

/// Bytes of the frames that are there, and how many they are.
fn frames(store: &Path) -> (u64, u64) {
    let found = Command::new("find")
        .arg(store.join("frames"))
        .args(["-type", "f", "-printf", "%s\n"])
        .output()
        .unwrap();
    let sizes = String::from_utf8(found.stdout).unwrap();
    let sizes = sizes.lines().map(|size| size.parse::<u64>().unwrap());
    sizes.fold((0, 0), |(bytes, frames), size| (bytes + size, frames + 1))
}

fn prune(host: &Host, more: &[&str]) -> serde_json::Value {
    host.run("prune", &[&["--json"], more].concat())
        .ends(0)
        .json()
}

#[test]
fn what_no_backup_needs_is_marked_waits_and_goes() {
    let (host, kept) = with_leftovers();
    let (bytes, all) = frames(&host.at("store"));
    let would = prune(&host, &["--dry-run"]);
    assert_eq!(would["dry_run"], true);
    assert!(!host.at("store/marks.json").exists());
    let marked = prune(&host, &[]);
    assert_eq!(marked["marked"], would["marked"]);
    let left = marked["marked"]["frames"].as_u64().unwrap();
    assert!(left > 1, "{marked:#}");
    assert_eq!(marked["needed"].as_u64().unwrap() + left, all);
    // A day is not over.
    let waiting = prune(&host, &[]);
    assert_eq!(waiting["waiting"], marked["marked"]);
    assert_eq!(waiting["marked"]["frames"], 0);
    assert_eq!(frames(&host.at("store")), (bytes, all));

    let would = prune(&host, &["--grace", "0h", "--dry-run"]);
    assert_eq!(would["removed"], marked["marked"]);
    assert_eq!(frames(&host.at("store")), (bytes, all));
    let said = host.run("prune", &["--grace", "0h"]).ends(0).out;
    let line = format!("removed  {left} frames, ");
    assert!(said.contains(&line), "{said}");
    let removed = marked["marked"]["bytes"].as_u64().unwrap();
    assert_eq!(frames(&host.at("store")), (bytes - removed, all - left));
    host.run("verify", &[]).ends(0);
    assert_eq!(prune(&host, &[])["needed"], all - left);

    // Who forgets all keeps nothing.
    fs::rename(host.at("store/backups").join(kept), host.at("kept")).unwrap();
    prune(&host, &[]);
    prune(&host, &["--grace", "0h"]);
    assert_eq!(frames(&host.at("store")), (0, 0));
}

#[test]
fn beside_a_run_that_makes_a_backup_nothing_is_removed() {
    let (host, _) = with_leftovers();
    prune(&host, &[]);
    let all = frames(&host.at("store"));
    let store = Store::open(&host.at("store")).unwrap();
    let run = store.create("20261123T120000Z-other".parse().unwrap());
    let busy = prune(&host, &["--grace", "0h"]);
    assert_eq!(busy["busy"], true);
    assert_eq!(busy["removed"]["frames"], 0);
    let said = host.run("prune", &["--grace", "0h"]).ends(0).out;
    assert!(said.contains("nothing was removed"), "{said}");
    assert_eq!(frames(&host.at("store")), all);
    drop(run.unwrap());
    assert!(prune(&host, &["--grace", "0h"])["removed"]["frames"] != 0);
    assert_ne!(frames(&host.at("store")), all);
    host.run("verify", &[]).ends(0);
}

#[test]
fn a_backup_whose_needs_are_not_known_keeps_everything() {
    let (host, kept) = with_leftovers();
    prune(&host, &[]);
    let all = frames(&host.at("store"));
    for file in ["frames", "backup.json"] {
        let path = host.at("store/backups").join(&kept).join(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, "damaged").unwrap();
        let refused = host.run("prune", &["--grace", "0h"]);
        refused.says(5, &["could not prune the store", kept.as_str(), "needs"]);
        assert_eq!(frames(&host.at("store")), all);
        fs::write(&path, good).unwrap();
    }
    host.run("verify", &[]).ends(0);
    lava_backup(&["prune", "--store", &host.store(), "--grace", "soon"]).ends(2);
}

/// Killed at its first, second, third, fifth, … call that changes something.
#[test]
fn a_prune_that_is_killed_leaves_every_backup_whole() {
    let (host, _) = with_leftovers();
    prune(&host, &[]);
    let copy = host.at("copy");
    let killed_at = |call: &str, when: u32| {
        let _ = fs::remove_dir_all(&copy);
        let from = host.at("store");
        let copied = Command::new("cp").arg("-a").args([&from, &copy]).status();
        assert!(copied.unwrap().success());
        let ended = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e"])
            .arg(format!("trace={call}"))
            .arg("-e")
            .arg(format!("inject={call}:signal=SIGKILL:when={when}"))
            .arg(env!("CARGO_BIN_EXE_lava-backup"))
            .args(["prune", "--grace", "0h", "--quiet", "--store"])
            .arg(&copy)
            .output()
            .unwrap();
        let copy = copy.to_str().unwrap();
        lava_backup(&["verify", "--store", copy]).ends(0);
        ended.status.success()
    };
    let mut killed = 0;
    for call in ["unlink", "unlinkat", "rename", "mkdir", "fsync"] {
        let (mut when, mut next) = (1, 2);
        while !killed_at(call, when) {
            killed += 1;
            (when, next) = (next, when + next);
            // The next run ends what this one began.
            if when == 5 {
                let copy = copy.to_str().unwrap();
                for _ in 0..2 {
                    lava_backup(&["prune", "--store", copy, "--grace", "0h"]).ends(0);
                }
                assert_eq!(
                    fs::read_dir(Path::new(copy).join("tmp")).unwrap().count(),
                    0
                );
            }
        }
    }
    assert!(killed > 8, "only {killed} runs were killed");
}
