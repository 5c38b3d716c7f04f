//! Clusters of our own come and go.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::lab::{cluster, cluster_in};
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
