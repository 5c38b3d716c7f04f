//! The next run: what stands as it did is taken over from an earlier backup,
//! unread.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Host, Ran};
use lava_backup_core::{EvidenceDraft, Store};

const JOBS: &str = "root/var/lib/lava-server/default/media/job-output";

/// Files that are younger than `--unsure` says may change unseen, and are read.
fn settle() {
    std::thread::sleep(Duration::from_millis(3100));
}

fn create(host: &Host, more: &[&str]) -> serde_json::Value {
    let root = host.text("root");
    let all = ["--root", &root, "--no-database", "--json", "--unsure", "2"];
    host.run("create", &[&all[..], more].concat())
        .ends(0)
        .json()
}

/// Creates under strace; gives the regular files below the jobs' directory that
/// were opened.
fn traced(host: &Host, more: &[&str]) -> (serde_json::Value, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    // A file for each thread, so that every line is whole.
    let ran: Ran = Command::new("strace")
        .args(["-ff", "-y", "-s", "4096", "-e", "trace=/^open", "-o"])
        .arg(dir.path().join("trace"))
        .arg(env!("CARGO_BIN_EXE_lava-backup"))
        .args(["create", "--store", &host.store(), "--root"])
        .args([&host.text("root"), "--no-database", "--json"])
        .args(more)
        .output()
        .unwrap()
        .into();
    let made = ran.ends(0).json();
    let (mut opened, mut listed) = (Vec::new(), 0);
    for trace in fs::read_dir(dir.path()).unwrap() {
        let trace = fs::read_to_string(trace.unwrap().path()).unwrap();
        let calls = trace.lines().filter_map(|line| line.rsplit_once(" = "));
        let files = calls.filter_map(|(_, gave)| gave.split_once('<'));
        for (_, file) in files.filter(|(_, f)| f.contains(&host.text(JOBS))) {
            let file = file.trim_end_matches('>');
            match Path::new(file).is_dir() {
                true => listed += 1,
                false => opened.push(file.to_owned()),
            }
        }
    }
    assert!(listed > 0, "the trace shows what is opened");
    opened.sort();
    opened.dedup();
    (made, opened)
}

fn outputs(host: &Host) -> usize {
    let found = Command::new("find")
        .arg(host.at(JOBS))
        .args(["-type", "f"])
        .output()
        .unwrap();
    String::from_utf8(found.stdout).unwrap().lines().count()
}

#[test]
fn jobs_that_stand_as_they_did_are_not_opened_unless_all_are_to_be_read() {
    let host = Host::new(30);
    settle();
    let first = create(&host, &[]);
    assert!(first["after"].is_null());
    assert_eq!(first["unread"], 0);

    let (again, opened) = traced(&host, &[]);
    assert_eq!(again["after"], first["backup"]);
    // All but the document of facts.
    let entries = again["entries"].as_u64().unwrap();
    assert_eq!(again["unread"], entries - 1, "{again:#}");
    assert_eq!(opened, [""; 0]);

    let (paranoid, opened) = traced(&host, &["--paranoid"]);
    assert!(paranoid["after"].is_null());
    assert_eq!(paranoid["unread"], 0);
    assert_eq!(opened.len(), outputs(&host), "{opened:#?}");
    assert_eq!(paranoid["new_frames"], again["new_frames"]);

    let root = host.text("root");
    let said = host.run(
        "create",
        &["--root", &root, "--no-database", "--unsure", "2"],
    );
    let line = format!("stood as in {}\n", paranoid["backup"].as_str().unwrap());
    let said = said.ends(0).out;
    assert!(said.contains(&line) && said.contains("unread   "), "{said}");
    host.run("verify", &[]).ends(0);
}

#[test]
fn the_newest_backup_of_the_same_host_and_role_that_is_sound_is_the_one_followed() {
    let host = Host::new(2);
    let store = Store::open(&host.at("store")).unwrap();
    let id = |made: &serde_json::Value| made["backup"].as_str().unwrap().to_owned();
    let mut minute = 0;
    let mut checked = |backup: &str, depth: &str, passed: bool| {
        minute += 1;
        let mut record = EvidenceDraft::new("verify", depth, passed);
        record.began = format!("2026-11-23T12:{minute:02}:00Z");
        let backup = store.backup(&backup.parse().unwrap()).unwrap();
        backup.record(record).unwrap();
    };
    settle();
    let first = id(&create(&host, &[]));
    assert!(create(&host, &["--role", "worker"])["after"].is_null());
    let second = create(&host, &[]);
    assert_eq!(second["after"], first.as_str(), "a worker is another role");
    let second = id(&second);

    checked(&second, "sample", false);
    let third = create(&host, &[]);
    assert_eq!(third["after"], first.as_str(), "the newest is damaged");
    let third = id(&third);
    checked(&third, "every byte", false);
    checked(&third, "structure; no content was read", true);
    let fourth = create(&host, &[]);
    assert_eq!(fourth["after"], first.as_str(), "a glance heals nothing");
    let fourth = id(&fourth);
    checked(&fourth, "every byte", false);
    checked(&fourth, "every byte", true);
    let fifth = create(&host, &[]);
    assert_eq!(fifth["after"], fourth.as_str(), "all was found sound since");

    // What can't be read is passed over, and is no error.
    let mut newest = id(&fifth);
    for file in ["backup.json", "frames", "seen.json"] {
        let path = host.at("store/backups").join(&newest).join(file);
        assert!(path.exists(), "{file}");
        fs::write(path, "damaged").unwrap();
        let next = create(&host, &[]);
        assert_eq!(next["after"], fourth.as_str(), "{file} is damaged");
        newest = id(&next);
    }
    fs::write(host.at("root/etc/hostname"), "other\n").unwrap();
    assert!(create(&host, &[])["after"].is_null(), "of another host");
}
