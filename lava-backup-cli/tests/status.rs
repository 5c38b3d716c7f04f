//! How the hosts of a store stand, and what a monitor gets of it.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Ran, lava_backup};
use lava_backup_core::{BackupId, Class, EvidenceDraft, Meta, Problem, SealInput, Store, Time};
use lava_restore_plan::Facts;
use lava_restore_plan::facts::{Database, DatabaseState, Role, WorkerFacts};
use serde_json::Value;

struct Lab {
    dir: tempfile::TempDir,
    store: Store,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    /// A backup made so many hours ago.
    fn back_up(&self, id: &str, facts: &Facts, hours: i64, problems: Vec<Problem>) {
        let id: BackupId = id.parse().unwrap();
        let mut writer = self.store.create(id).unwrap();
        let meta = Meta::private(Class::Plain, Time::default());
        let path = "config/etc/hostname".parse().unwrap();
        writer.add_file(path, meta, &b"lab"[..]).unwrap();
        for problem in problems {
            writer.problem(problem);
        }
        let input = SealInput {
            host: facts.hostname.clone().unwrap(),
            taken: ago(hours),
            documents: BTreeMap::from([("facts".into(), serde_json::to_value(facts).unwrap())]),
            ..SealInput::default()
        };
        writer.seal(input).unwrap();
    }

    fn record(&self, id: &str, check: &str, passed: bool, hours: i64) {
        self.record_at("data", id, check, passed, hours);
    }

    fn record_at(&self, depth: &str, id: &str, check: &str, passed: bool, hours: i64) {
        let backup = self.store.backup(&id.parse().unwrap()).unwrap();
        let mut draft = EvidenceDraft::new(check, depth, passed);
        draft.began = ago(hours);
        draft.milliseconds = 61_000;
        backup.record(draft).unwrap();
    }

    fn status(&self, arguments: &[&str]) -> Ran {
        let store = self.dir.path().join("store");
        let all = [&["status", "--store", store.to_str().unwrap()], arguments].concat();
        lava_backup(&all)
    }

    /// Each host's health and the codes of its reasons.
    fn hosts(&self, code: i32, arguments: &[&str]) -> BTreeMap<String, (String, Vec<String>)> {
        let status = self
            .status(&[&["--json"], arguments].concat())
            .ends(code)
            .json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let hosts = status["hosts"].as_array().unwrap().iter();
        let of = |host: &Value| {
            let reasons = host["reasons"].as_array().unwrap().iter();
            let codes = reasons.map(|reason| text(&reason["code"])).collect();
            (text(&host["host"]), (text(&host["health"]), codes))
        };
        hosts.map(of).collect()
    }
}

fn ago(hours: i64) -> String {
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
    then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn master(workers: &[&str]) -> Facts {
    let mut facts = Facts::unknown();
    facts.role = Role::Master;
    facts.hostname = Some("lava".into());
    facts.database = DatabaseState::Present(Box::new(Database {
        worker_names: Some(workers.iter().map(|name| (*name).to_owned()).collect()),
        ..Database::default()
    }));
    facts
}

fn worker(host: &str, name: &str) -> Facts {
    let mut facts = Facts::unknown();
    facts.role = Role::Worker;
    facts.hostname = Some(host.into());
    facts.worker = Some(WorkerFacts {
        name: Some(name.into()),
        ..WorkerFacts::default()
    });
    facts
}

fn good(reasons: &[&str]) -> (String, Vec<String>) {
    of("good", reasons)
}

fn of(health: &str, reasons: &[&str]) -> (String, Vec<String>) {
    let reasons = reasons.iter().map(|code| (*code).to_owned()).collect();
    (health.to_owned(), reasons)
}

#[test]
fn a_lab_is_good_when_each_host_has_a_young_backup_and_a_drill() {
    let lab = Lab::new();
    lab.back_up("m1", &master(&["rack-a", "example.com"]), 3, vec![]);
    lab.back_up("w1", &worker("rack-a.lab", "rack-a"), 3, vec![]);
    let unproved = lab.hosts(3, &[]);
    assert_eq!(unproved["lava"], of("unknown", &["never-drilled"]));
    lab.record("m1", "drill", true, 2);
    lab.record("w1", "drill", true, 2);
    let hosts = lab.hosts(0, &[]);
    assert_eq!(hosts["lava"], good(&[]));
    assert_eq!(hosts["rack-a.lab"], good(&[]));
    assert_eq!(hosts.len(), 2);
    let text = lab.status(&[]).ends(0).out;
    assert!(
        text.contains("m1 is good; the 3 hours since would be lost"),
        "{text}"
    );
    let drill = text.lines().find(|line| line.contains("drill")).unwrap();
    assert!(
        drill.contains("drill passed at level data of m1 on 20"),
        "{text}"
    );
    assert!(drill.contains(", 2 hours ago, in "), "{text}");
}

#[test]
fn what_is_old_degraded_damaged_or_missing_is_told_apart() {
    let lab = Lab::new();
    lab.back_up("m1", &master(&["rack-a", "rack-b"]), 100, vec![]);
    lab.record("m1", "drill", true, 99);
    assert_eq!(lab.hosts(5, &[])["rack-b"], of("bad", &["no-backup"]));
    assert_eq!(lab.hosts(5, &[])["lava"], of("degraded", &["old"]));
    assert_eq!(lab.hosts(5, &["--max-age", "5d"])["lava"], good(&[]));
    assert_eq!(
        lab.hosts(5, &["--max-age", "5d", "--max-drill-age", "4d"])["lava"],
        of("degraded", &["drill-old"])
    );
    // A newer one that lacks something does not take the good one's place.
    let lacks = Problem {
        code: "file.vanished".into(),
        path: None,
        message: "a file vanished".into(),
        degrades: true,
    };
    lab.back_up("m2", &master(&["rack-a", "rack-b"]), 1, vec![lacks]);
    let hosts = lab.hosts(5, &["--max-age", "5d"]);
    assert_eq!(hosts["lava"], of("degraded", &["degraded"]));
    lab.record("m1", "verify", false, 0);
    assert_eq!(
        lab.hosts(5, &["--max-age", "5d"])["lava"],
        of("bad", &["no-good-backup"])
    );

    lab.back_up("w1", &worker("rack-a", "rack-a"), -5, vec![]);
    lab.record("w1", "drill", false, 0);
    let failed = lab.hosts(5, &[]);
    assert_eq!(
        failed["rack-a"],
        of("bad", &["no-good-backup", "drill-failed"])
    );
}

#[test]
fn a_drill_of_packages_alone_tells_only_by_failing() {
    let lab = Lab::new();
    lab.back_up("m1", &master(&[]), 9, vec![]);
    let drill = |level, passed, hours| lab.record_at(level, "m1", "drill", passed, hours);
    drill("packages", true, 8);
    assert_eq!(lab.hosts(3, &[])["lava"], of("unknown", &["never-drilled"]));
    drill("boot", true, 7);
    assert_eq!(lab.hosts(0, &[])["lava"], good(&[]));
    let failed = of("bad", &["no-good-backup", "drill-failed"]);
    drill("packages", false, 6);
    assert_eq!(lab.hosts(5, &[])["lava"], failed);
    drill("packages", true, 5);
    assert_eq!(lab.hosts(5, &[])["lava"], failed);
    // A level that a later version may have.
    drill("half", true, 4);
    assert_eq!(lab.hosts(5, &[])["lava"], failed);
    drill("data", true, 3);
    assert_eq!(lab.hosts(0, &[])["lava"], good(&[]));
}

#[test]
fn a_store_of_nothing_or_of_damage_is_not_good() {
    let lab = Lab::new();
    let text = lab.status(&[]).ends(3).out;
    assert!(text.contains("holds no backup"), "{text}");
    lab.back_up("m1", &master(&[]), 1, vec![]);
    lab.record("m1", "drill", true, 0);
    lab.back_up("m2", &master(&[]), 1, vec![]);
    let seal = lab.dir.path().join("store/backups/m2/backup.json");
    fs::write(&seal, "{").unwrap();
    let status = lab.status(&["--json"]).ends(3).json();
    assert_eq!(status["health"], "unknown");
    assert_eq!(status["unreadable"][0], "m2");
}

#[test]
fn a_monitor_gets_times_and_never_half_a_file() {
    let lab = Lab::new();
    lab.back_up("m1", &master(&[]), 1, vec![]);
    lab.record("m1", "drill", true, 0);
    let file = lab.dir.path().join("lava.prom");
    let argument = file.to_str().unwrap();
    lab.status(&["--prometheus", argument]).ends(0);
    let text = fs::read_to_string(&file).unwrap();
    for line in [
        "# TYPE lava_backup_health gauge",
        "lava_backup_health{host=\"lava\",role=\"master\"} 0",
        "lava_backup_last_drill_passed{host=\"lava\",role=\"master\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let name = "lava_backup_newest_good_timestamp_seconds";
    let time = text.lines().find(|line| line.starts_with(name)).unwrap();
    let time: i64 = time.rsplit(' ').next().unwrap().parse().unwrap();
    let age = jiff::Timestamp::now().as_second() - time;
    assert!((3600..3700).contains(&age), "{age}");
    // A link is not followed, and nothing is left beside it.
    fs::remove_file(&file).unwrap();
    let other = lab.dir.path().join("other");
    fs::write(&other, "kept").unwrap();
    std::os::unix::fs::symlink(&other, &file).unwrap();
    lab.status(&["--prometheus", argument])
        .says(1, &["lava.prom", "no file"]);
    assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
    let left = fs::read_dir(lab.dir.path()).unwrap();
    let left = left.filter(|e| {
        e.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".lava")
    });
    assert_eq!(left.count(), 0);
}
