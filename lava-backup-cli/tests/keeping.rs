//! Backups compared with a drilled one and with each other, and let go.
#![allow(clippy::unwrap_used)]

#[path = "common/bench.rs"]
mod bench;
mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bench::{ended, signal, wait};
use common::{Host, Ran, cluster, database, lava_backup, program, url};
use lava_backup_core::{
    BackupId, Class, Depth, EvidenceDraft, Meta, SealInput, Store, Time, verify,
};

/// A store without a LAVA.
struct Plain {
    dir: tempfile::TempDir,
    store: Store,
}

impl Plain {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn back_up(&self, id: &str, host: &str, taken: &str, members: &[(&str, &str)]) {
        let id: BackupId = id.parse().unwrap();
        let mut writer = self.store.create(id).unwrap();
        for (path, text) in members {
            let meta = Meta::private(Class::Plain, Time::default());
            writer
                .add_file(path.parse().unwrap(), meta, text.as_bytes())
                .unwrap();
        }
        let input = SealInput {
            host: host.into(),
            taken: taken.into(),
            ..SealInput::default()
        };
        writer.seal(input).unwrap();
    }

    fn record(&self, id: &str, check: &str, passed: bool) {
        self.record_at("data", id, check, passed);
    }

    fn record_at(&self, depth: &str, id: &str, check: &str, passed: bool) {
        let backup = self.store.backup(&id.parse().unwrap()).unwrap();
        let mut draft = EvidenceDraft::new(check, depth, passed);
        draft.began = format!("2026-12-01T00:00:0{}Z", backup.evidence().unwrap().len());
        backup.record(draft).unwrap();
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Ran {
        let store = self.dir.path().join("store");
        let mut all = vec![command, "--store", store.to_str().unwrap()];
        all.extend(arguments);
        lava_backup(&all)
    }

    fn ids(&self) -> Vec<String> {
        let ids = self.store.backups().unwrap();
        ids.iter().map(ToString::to_string).collect()
    }
}

/// Two hosts, some days; `m2` was drilled, `m4` is damaged, though a quick look
/// that came after saw nothing.
fn two_hosts() -> Plain {
    let plain = Plain::new();
    for (id, host, taken) in [
        ("m1", "master", "2026-11-19T01:00:00Z"),
        ("m2", "master", "2026-11-20T01:00:00Z"),
        ("m3", "master", "2026-11-21T01:00:00Z"),
        ("m4", "master", "2026-11-21T02:00:00Z"),
        ("w1", "worker", "2026-11-18T01:00:00Z"),
        ("w2", "worker", "2026-11-19T01:00:00Z"),
    ] {
        plain.back_up(id, host, taken, &[("config/a", id)]);
    }
    plain.record("m2", "drill", true);
    plain.record("m4", "verify", true);
    plain.record("m4", "verify", false);
    plain.record("m4", "verify", true);
    plain
}

#[test]
fn a_policy_says_of_each_backup_what_becomes_of_it_and_why() {
    let plain = two_hosts();
    let would = plain
        .run("forget", &["--keep-daily", "1", "--dry-run"])
        .ends(0);
    let expected = "\
keep    m2  master  newest drilled
keep    m3  master  newest good, daily 2026-11-21
forget  m1  master  no rule keeps it
forget  m4  master  no rule keeps it
forget  w1  worker  no rule keeps it
keep    w2  worker  newest good, daily 2026-11-19
3 backups would be forgotten
";
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&would.out), sorted(expected));
    assert_eq!(plain.ids().len(), 6);

    let only = plain.run(
        "forget",
        &["--keep-last", "1", "--host", "worker", "--json"],
    );
    let only = only.ends(0).json();
    assert_eq!(only["forgotten"], 1);
    assert_eq!(only["backups"][0]["backup"], "w1");
    assert_eq!(only["backups"][0]["kept"], false);
    assert_eq!(plain.ids(), ["m1", "m2", "m3", "m4", "w2"]);

    let done = plain.run("forget", &["--keep-daily", "1"]).ends(0);
    assert!(done.out.contains("prune"), "{}", done.out);
    assert_eq!(plain.ids(), ["m2", "m3", "w2"]);
    let again = plain.run("forget", &["--keep-daily", "1"]).ends(0);
    assert!(again.out.contains("nothing to forget"), "{}", again.out);
    for id in plain.store.backups().unwrap() {
        let backup = plain.store.backup(&id).unwrap();
        assert_eq!(verify(&backup, Depth::Full).unwrap().damage, []);
    }
}

#[test]
fn what_is_protected_is_not_forgotten_by_name_either() {
    let plain = two_hosts();
    plain
        .run("forget", &["m1", "m2"])
        .says(3, &["m2", "newest drilled", "nothing was forgotten"]);
    plain
        .run("forget", &["m3", "--dry-run"])
        .says(3, &["m3", "newest good"]);
    assert_eq!(plain.ids().len(), 6);
    let gone = plain.run("forget", &["m1", "m4", "m1"]).ends(0);
    assert!(gone.out.contains("2 backups forgotten"), "{}", gone.out);
    assert_eq!(plain.ids(), ["m2", "m3", "w1", "w2"]);

    plain.run("forget", &[]).says(2, &["--keep-daily"]);
    plain.run("forget", &["w1", "--keep-last", "1"]).ends(2);
    plain.run("forget", &["nope"]).says(1, &["nope"]);
    plain
        .run("forget", &["--keep-last", "1", "--host", "nobody"])
        .says(1, &["nobody"]);
}

/// Nobody can tell what would be lost with it.
#[test]
fn an_unreadable_backup_goes_only_by_its_name() {
    let plain = two_hosts();
    let seal = plain.dir.path().join("store/backups/w1/backup.json");
    fs::write(&seal, "{}").unwrap();
    let evidence = plain.dir.path().join("store/backups/m1/evidence");
    fs::create_dir(&evidence).unwrap();
    fs::write(evidence.join("x.json"), "{}").unwrap();
    plain.run("forget", &["--keep-last", "1"]).ends(0);
    assert_eq!(plain.ids(), ["m1", "m2", "m3", "m4", "w1", "w2"]);
    plain.run("forget", &["w1"]).ends(0);
    assert_eq!(plain.ids(), ["m1", "m2", "m3", "m4", "w2"]);
}

#[test]
fn a_backup_is_compared_with_the_newest_drilled_one_that_is_not_newer() {
    let plain = Plain::new();
    let small = [("config/a", "1"), ("config/b", "1")];
    let large = [("config/a", "1"), ("config/b", "1"), ("config/c", "1")];
    let day = |n: u8| format!("2026-11-0{n}T00:00:00Z");
    plain.back_up("b1", "lab", &day(1), &small);
    plain.run("compare", &[]).says(3, &["b1", "lab", "drill"]);
    // Its packages alone say nothing of what it holds.
    plain.record_at("packages", "b1", "drill", true);
    plain.run("compare", &[]).says(3, &["b1", "lab", "drill"]);
    plain.back_up("b2", "lab", &day(2), &small);
    plain.back_up("b3", "lab", &day(3), &large);
    plain.back_up("b4", "lab", &day(4), &large);
    plain.back_up("b5", "lab", &day(5), &small);
    plain.record("b2", "drill", true);
    plain.record("b3", "drill", true);

    let all = plain.run("compare", &["--all", "--json"]).ends(3).json();
    let of = |n: usize| {
        (
            &all["backups"][n]["reference"],
            &all["backups"][n]["equivalent"],
        )
    };
    let is = |reference: &str, equivalent: bool| {
        (serde_json::json!(reference), serde_json::json!(equivalent))
    };
    for (n, expected) in [
        (1, is("b2", true)),
        (2, is("b2", true)),
        (3, is("b3", true)),
        (4, is("b3", false)),
    ] {
        assert_eq!(of(n), (&expected.0, &expected.1), "{n}: {all:#}");
    }
    assert!(
        all["backups"][0]["why_not"]
            .as_str()
            .unwrap()
            .contains("drilled")
    );
    let lost = &all["backups"][4]["differences"][0];
    assert_eq!(
        (&lost["change"], &lost["name"]),
        (&"missing".into(), &"config/c".into())
    );
    let ran = plain.run("compare", &["b5"]).ends(3);
    assert!(ran.out.contains("LACKS  missing"), "{}", ran.out);
    plain.run("compare", &["b5", "--reference", "b1"]).ends(0);
    plain.run("compare", &["b3"]).ends(0);

    let b5 = plain.store.backup(&"b5".parse().unwrap()).unwrap();
    let evidence = b5.evidence().unwrap();
    let records: Vec<(&str, bool)> = evidence
        .iter()
        .filter(|e| e.check == "compare")
        .map(|e| (e.depth.as_str(), e.passed))
        .collect();
    assert!(
        records.contains(&("b3", false)) && records.contains(&("b1", true)),
        "{records:?}"
    );
    // It says what the host was like, not that the backup is bad.
    plain.run("forget", &["b5"]).says(3, &["newest good"]);
}

/// The main job's part: a real lab, a real database.
#[test]
fn a_lab_that_works_on_is_equivalent_and_one_that_lost_something_is_not() {
    let host = Host::new(40);
    let from = cluster();
    database(&from, Some(&host.lab));
    let (root, address) = (host.text("root"), url(&from, "lavaserver"));
    let create = || {
        let made = host.run(
            "create",
            &["--root", &root, "--database", &address, "--json"],
        );
        made.ends(0).json()["backup"].as_str().unwrap().to_owned()
    };
    let drilled = create();
    host.run("drill", &[]).ends(0);
    let ran = host.run("compare", &[]).ends(0);
    assert!(ran.out.contains("drilled itself"), "{}", ran.out);

    // A new job, a new board, one more row, a rotated log.
    let jobs = host.at("root/var/lib/lava-server/default/media/job-output");
    fs::create_dir_all(jobs.join("2027/01/01/9999")).unwrap();
    fs::write(jobs.join("2027/01/01/9999/output.yaml"), "- {}\n").unwrap();
    let etc = host.at("root/etc/lava-server");
    fs::write(etc.join("dispatcher-config/devices/new.jinja2"), "x").unwrap();
    let sql = "UPDATE public.lava_scheduler_app_testjob SET description = 'x' WHERE id = 7";
    from.superuser().query("lavaserver", sql).unwrap();
    create();
    let same = host.run("compare", &["--json"]).ends(0).json();
    assert_eq!(
        same["backups"][0]["reference"],
        drilled.as_str(),
        "{same:#}"
    );

    // What an admin would want to know.
    fs::write(etc.join("settings.d/00-secret-key.yaml"), "").unwrap();
    fs::remove_dir_all(etc.join("dispatcher-config/devices")).unwrap();
    let sql = "DROP TABLE public.lava_results_app_testcase CASCADE";
    from.superuser().query("lavaserver", sql).unwrap();
    create();
    let lost = host.run("compare", &[]).ends(3);
    for what in [
        "settings.d/00-secret-key.yaml: 1 file of 0 B, 1 empty",
        "dispatcher-config/devices/*.jinja2",
        "public.lava_results_app_testcase: nothing",
    ] {
        assert!(lost.out.contains(what), "no {what:?} in {}", lost.out);
    }
    let all = host.run("compare", &["--all"]).ends(3);
    assert!(all.out.contains("NOT EQUIVALENT"), "{}", all.out);
}

#[test]
fn two_backups_are_told_apart_file_by_file() {
    let plain = Plain::new();
    plain.back_up(
        "1",
        "h",
        "2026-11-01T00:00:00Z",
        &[("a/x", "1"), ("b/y", "1"), ("b/z", "1")],
    );
    plain.back_up(
        "2",
        "h",
        "2026-11-02T00:00:00Z",
        &[("b/w", "1"), ("b/y", "22"), ("b/z", "1")],
    );
    let ran = plain.run("diff", &["1", "2"]).ends(0);
    assert_eq!(
        ran.out,
        "- a/x (1 B)\n+ b/w (1 B)\n! b/y (content)\n1 added, 1 removed, 1 changed\n"
    );
    let told = plain
        .run("diff", &["1", "2", "b/y", "--json"])
        .ends(0)
        .json();
    assert_eq!(told["changed"], 1);
    assert_eq!(told["added"], 0);
    assert_eq!(told["differences"].as_array().unwrap().len(), 1);
    assert_eq!(told["differences"][0]["what"][0], "content");
    assert_eq!(told["differences"][0]["after"], 2);
    let same = plain.run("diff", &["1", "1"]).ends(0);
    assert_eq!(same.out, "0 added, 0 removed, 0 changed\n");
    plain.run("diff", &["1", "nope"]).says(1, &["nope"]);
    plain
        .run("diff", &["1", "2", "c/x"])
        .says(1, &["c/x", "either"]);
    let index = plain.dir.path().join("store/backups/2/index.zst");
    let mut bytes = fs::read(&index).unwrap();
    bytes[20] ^= 1;
    fs::write(&index, bytes).unwrap();
    plain.run("diff", &["1", "2"]).ends(5);
}

#[test]
fn ls_takes_patterns() {
    let plain = Plain::new();
    let members = [
        ("data/1/output.idx", "1"),
        ("data/1/output.yaml", "1"),
        ("data/2/output.yaml.xz", "1"),
        ("data/[x]/y", "1"),
    ];
    plain.back_up("1", "h", "2026-11-01T00:00:00Z", &members);
    let paths = |arguments: &[&str]| {
        let all = [&["1"], arguments, &["--json"]].concat();
        let listed = plain.run("ls", &all).ends(0).json();
        let files = listed["files"].as_array().unwrap().clone();
        let path = |f: &serde_json::Value| f["path"].as_str().unwrap().to_owned();
        files.iter().map(path).collect::<Vec<_>>()
    };
    assert_eq!(
        paths(&["data/**/output.yaml*"]),
        ["data/1/output.yaml", "data/2/output.yaml.xz"]
    );
    assert_eq!(paths(&["data/1", "data/[x]"]).len(), 3);
    assert_eq!(paths(&["data/[12]/*.idx"]), ["data/1/output.idx"]);
    assert_eq!(paths(&[]).len(), 4);
    let found = plain.run("ls", &["1", "data/1"]).ends(0).out;
    assert_eq!(found.lines().count(), 2);
    // What is there is told all the same.
    let told = plain
        .run("ls", &["1", "data/1", "data/*.none"])
        .says(1, &["data/*.none"]);
    assert_eq!(told.out, found);
    plain.run("ls", &["1", "data/[a"]).ends(2);
}

fn is_stopped(child: &Child) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    stat.rsplit(") ").next().unwrap().starts_with('T')
}

/// Stops a program where it has no lock on the store, which would keep a test waiting, too.
fn stop_without_a_lock(child: &mut Child, store: &Path) {
    let tmp = store.join("tmp");
    wait(|| {
        assert_eq!(child.try_wait().unwrap(), None, "it was too quick");
        signal(child, "STOP");
        wait(|| is_stopped(child));
        let mut locking = Command::new("flock");
        locking.arg("--nonblock").arg(&tmp).arg("true");
        let free = locking.status().unwrap().success();
        if !free {
            signal(child, "CONT");
        }
        free
    });
}

#[test]
fn what_is_let_go_while_it_is_drilled_is_no_damage() {
    let plain = Plain::new();
    let names: Vec<String> = (0..3000).map(|at| format!("config/{at:04}")).collect();
    let members: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), n.as_str())).collect();
    plain.back_up("m1", "master", "2026-11-19T01:00:00Z", &members);
    let store = plain.dir.path().join("store");
    let scratch = plain.dir.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let mut command = program();
    command.args(["drill", "--store"]).arg(&store).arg("m1");
    command.arg("--scratch").arg(&scratch);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut drilling = command.spawn().unwrap();
    wait(|| fs::read_dir(&scratch).unwrap().next().is_some());
    stop_without_a_lock(&mut drilling, &store);
    plain.store.forget(&"m1".parse().unwrap()).unwrap();
    fs::remove_dir_all(store.join("frames")).unwrap();
    signal(&drilling, "CONT");
    ended(drilling).says(1, &["could not drill m1: it was let go meanwhile"]);
    assert!(!store.join("backups/m1").exists());
}

#[test]
fn what_is_let_go_while_a_store_is_verified_is_no_damage() {
    let plain = Plain::new();
    let many: Vec<String> = (0..100).map(|at| format!("m{at:02}")).collect();
    for id in &many {
        plain.back_up(id, "master", "2026-11-19T01:00:00Z", &[("config/a", id)]);
    }
    let store = plain.dir.path().join("store");
    let mut command = program();
    command.args(["--json", "verify", "--store"]).arg(&store);
    let mut verifying = command.stdout(Stdio::piped()).spawn().unwrap();
    let checked = |id: &str| store.join("backups").join(id).join("evidence").exists();
    wait(|| checked("m00"));
    stop_without_a_lock(&mut verifying, &store);
    let too_late = checked("m99");
    plain.store.forget(&"m99".parse().unwrap()).unwrap();
    signal(&verifying, "CONT");
    assert!(!too_late);
    let found = ended(verifying).ends(0).json();
    let found = found["backups"].as_array().unwrap().iter();
    let found: Vec<&str> = found.map(|b| b["backup"].as_str().unwrap()).collect();
    assert_eq!(found, many[..99]);
}
