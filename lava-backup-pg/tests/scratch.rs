//! Clusters of our own come and go.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::lab::{cluster, cluster_in, server_user};
use rustix::process::{Signal, getpid, kill_process};

const PLACE: &str = "LAVA_BACKUP_TEST_PLACE";

/// Not a test of its own: what the next one starts, and what ends as `kill -9`
/// would end it.
#[test]
fn a_program_that_kills_itself_with_a_cluster_at_work() {
    if let Some(place) = std::env::var_os(PLACE) {
        let _cluster = cluster_in(Path::new(&place));
        kill_process(getpid(), Signal::KILL).unwrap();
    }
}

#[test]
fn what_a_killed_program_left_ends_by_itself_and_is_removed_by_the_next_cluster() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let ended = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_program_that_kills_itself_with_a_cluster_at_work",
        ])
        .env(PLACE, place.path())
        .output()
        .unwrap();
    assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
    let left = clusters(place.path());
    assert_eq!(left.len(), 1);
    let server = fs::read_to_string(left[0].join("data/postmaster.pid"));
    if let Ok(server) = server {
        let process = Path::new("/proc").join(server.lines().next().unwrap());
        for _ in 0..500 {
            if process.exists() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        assert!(!process.exists(), "{}", process.display());
    }
    let next = cluster_in(place.path());
    let there = clusters(place.path());
    assert_eq!(there.len(), 1);
    assert_ne!(there, left);
    // One that is at work is nobody's to remove.
    let beside = cluster_in(place.path());
    assert_eq!(clusters(place.path()).len(), 2);
    assert!(next.superuser().query("postgres", "SELECT 1").is_ok());
    drop((next, beside));
    assert!(clusters(place.path()).is_empty());
}

fn clusters(place: &Path) -> Vec<std::path::PathBuf> {
    let found = fs::read_dir(place).unwrap();
    found.map(|entry| entry.unwrap().path()).collect()
}

/// The kernel ends a server with the thread that started it.
#[test]
fn a_cluster_outlives_the_thread_that_made_it() {
    let made = std::thread::spawn(cluster).join().unwrap();
    let asked = made.superuser().query("postgres", "SELECT 1");
    assert_eq!(asked.unwrap(), [["1"]]);
}

#[test]
fn a_cluster_that_is_dropped_leaves_nothing() {
    let cluster = cluster();
    let socket = cluster.address("postgres").host;
    assert!(Path::new(&socket).exists());
    drop(cluster);
    assert!(!Path::new(&socket).parent().unwrap().exists());
}

#[test]
fn a_cluster_is_in_a_directory_of_its_own_listens_to_nobody_else_and_runs_as_the_user() {
    let cluster = cluster();
    let admin = cluster.superuser();
    let set = |name: &str| {
        let shown = admin.value("postgres", &format!("SHOW {name}"));
        shown.unwrap().unwrap()
    };
    assert_eq!(set("listen_addresses"), "");
    for durable in ["fsync", "full_page_writes"] {
        assert_eq!(set(durable), "off", "{durable}");
    }
    let socket = cluster.address("postgres").host;
    let dir = Path::new(&socket).parent().unwrap();
    let me = rustix::process::geteuid().as_raw();
    let user = server_user().map_or(me, |user| user.uid);
    let meta = |path: &Path| fs::metadata(path).unwrap();
    let mode = |path: &Path| meta(path).permissions().mode() & 0o7777;
    // Its group may pass through, where that is another user's.
    let own = if user == me { 0o700 } else { 0o710 };
    assert_eq!((mode(dir), meta(dir).uid()), (own, me));
    for part in ["data", "socket"] {
        let part = dir.join(part);
        assert_eq!((mode(&part), meta(&part).uid()), (0o700, user));
    }
    let log = dir.join("server.log");
    assert_eq!((mode(&log), meta(&log).uid()), (0o600, me));
    let pid = fs::read_to_string(dir.join("data/postmaster.pid")).unwrap();
    let server = Path::new("/proc").join(pid.lines().next().unwrap());
    assert_eq!(meta(&server).uid(), user);
}
