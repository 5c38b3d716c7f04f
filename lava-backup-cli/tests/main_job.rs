//! The main job on a generated lab: backed up, looked into, drilled, planned,
//! brought back into a second root and a second database, and compared.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::process::Command;

use common::{Host, cluster, database, lava_backup, url};
use lava_backup_core::{EvidenceDraft, Store};

#[test]
fn a_lab_is_backed_up_proved_and_brought_back() {
    let host = Host::new(30);
    let from = cluster();
    database(&from, Some(&host.lab));
    let root = host.text("root");
    let address = url(&from, "lavaserver");

    let made = host.run(
        "create",
        &["--root", &root, "--database", &address, "--json"],
    );
    let made = made.ends(0).json();
    assert_eq!(made["outcome"], "complete", "{made:#}");
    assert_eq!(made["problems"].as_array().unwrap().len(), 0);
    let backup = made["backup"].as_str().unwrap().to_owned();

    host.run("verify", &[]).ends(0);
    let shown = host.run("show", &["--json"]).ends(0).json();
    assert_eq!(shown["role"], "master");
    assert_eq!(shown["lava"], "2023.01");
    assert_eq!(shown["suite"], "bookworm");
    assert_eq!(shown["database"]["migrations"], 98);
    let drilled = host.run("drill", &["--json"]).ends(0).json();
    assert_eq!(drilled["passed"], true);
    assert_eq!(drilled["tables_equal"], made["tables"]);
    let checks = drilled["checks"].as_array().unwrap().iter();
    let checks: Vec<_> = checks.map(|c| (&c["what"], &c["found"])).collect();
    let migrations = "98 rows, as the packages ship them";
    assert_eq!(
        checks,
        [
            (&"finished jobs without a log".into(), &"none".into()),
            (&"migrations".into(), &migrations.into())
        ]
    );
    let listed = host.run("list", &["--json"]).ends(0).json();
    let checks = listed["backups"][0]["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 2, "{listed:#}");
    let listed = host.run("list", &[]).ends(0).out;
    for check in ["drill passed (data) 20", "verify passed (every byte) 20"] {
        assert!(listed.contains(check), "{listed}");
    }

    // Into a second root…
    fs::create_dir(host.at("second")).unwrap();
    let second = host.text("second");
    host.run("extract", &[&backup, "--root", &second]).ends(0);
    let same = Command::new("diff")
        .args([
            "-r",
            "--no-dereference",
            "root/var/lib/lava-server",
            "second/var/lib/lava-server",
        ])
        .current_dir(host.dir.path())
        .output()
        .unwrap();
    assert!(
        same.status.success(),
        "{}",
        String::from_utf8_lossy(&same.stdout)
    );
    host.run("extract", &[&backup, "--root", &second, "--check"])
        .ends(0);

    // … and a second database.
    let to = cluster();
    database(&to, None);
    let socket = to.address("lavaserver").host;
    let target = [backup.as_str(), "--root", &second, "--socket", &socket];
    let restored = host.run("database restore", &[&target[..], &["--json"]].concat());
    let restored = restored.says_nothing().ends(0).json();
    assert_eq!(restored["equal"], made["tables"]);
    assert!(
        restored["kept"]
            .as_str()
            .unwrap()
            .starts_with("lavaserver_before_")
    );
    host.run("database compare", &target).ends(0);

    // A second time there is nothing to do; a table too many and a changed row
    // are found.
    let again = host.run("database restore", &[&target[..], &["--json"]].concat());
    assert!(again.ends(0).json()["kept"].is_null());
    let admin = to.superuser();
    admin
        .query("lavaserver", "CREATE TABLE public.more ()")
        .unwrap();
    let differs = host.run("database compare", &target).ends(3);
    assert!(
        differs.out.contains("EXTRA    public.more"),
        "{}",
        differs.out
    );
    host.run("database restore", &target)
        .says(3, &["holds data", "--replace-data"]);
    admin.query("lavaserver", "DROP TABLE public.more").unwrap();
    let describe = |text: &str| {
        let job = "UPDATE public.lava_scheduler_app_testjob SET description";
        let change = format!("{job} = '{text}' WHERE id = 7");
        to.superuser().query("lavaserver", &change).unwrap();
    };
    let description = "SELECT description FROM public.lava_scheduler_app_testjob WHERE id = 7";
    let description = admin.value("lavaserver", description).unwrap().unwrap();
    describe("x");
    let differs = host.run("database compare", &[&target[..], &["--json"]].concat());
    let differs = differs.ends(3).json();
    assert_eq!(
        differs["differ"][0]["table"],
        "public.lava_scheduler_app_testjob"
    );
    host.run("database restore", &target)
        .says(3, &["holds data", "--replace-data"]);
    describe(&description);

    // What somebody else has loaded may have all rows, and not what is made after them.
    host.run("database compare", &target).ends(0);
    host.run("database restore", &target).ends(0);
    let by_hand = "COMMENT ON DATABASE lavaserver IS NULL";
    to.superuser().query("postgres", by_hand).unwrap();
    host.run("database compare", &target).ends(0);
    host.run("database restore", &target)
        .says(3, &["holds data", "--replace-data"]);
}

trait SaysNothing {
    fn says_nothing(self) -> Self;
}

impl SaysNothing for common::Ran {
    /// Progress and notes belong to terminals.
    #[track_caller]
    fn says_nothing(self) -> Self {
        assert_eq!(self.err, "");
        self
    }
}

#[test]
fn a_plan_is_made_from_facts_alone() {
    let host = Host::new(3);
    let cluster = cluster();
    database(&cluster, Some(&host.lab));
    let root = host.text("root");
    let address = url(&cluster, "lavaserver");
    host.run("create", &["--root", &root, "--database", &address])
        .ends(0);
    let facts = lava_backup(&["facts", "--root", &root]).ends(0);
    fs::write(host.at("facts.json"), &facts.out).unwrap();
    let target = host.text("facts.json");

    // An offline root can't say what runs: unknown is never ok.
    let plan = host.run("plan", &["--target", &target, "--format", "json"]);
    assert!([3, 4].contains(&plan.code), "{}\n{}", plan.out, plan.err);
    let document = plan.json();
    assert!(!document["findings"].as_array().unwrap().is_empty());
    let same = host.run("plan", &["--target", &target, "--format", "json"]);
    assert_eq!(same.out, plan.out, "the same input gives the same bytes");
    let begins = [
        ("markdown", "# Restore of a master"),
        ("html", "<!DOCTYPE html>"),
        ("sh", "#!/bin/sh"),
        ("ansible", "---\n# Restore of a master."),
    ];
    for (format, begin) in begins {
        let ran = host.run("plan", &["--target", &target, "--format", format]);
        assert!(
            ran.code == plan.code && ran.out.starts_with(begin),
            "{}",
            ran.out
        );
    }
}

#[test]
fn a_plan_counts_a_drill_that_restored_and_any_that_failed() {
    let host = Host::new(1);
    let id = host.create();
    let facts = lava_backup(&["facts", "--root", &host.text("root")]).ends(0);
    fs::write(host.at("facts.json"), &facts.out).unwrap();
    let store = Store::open(&host.at("store")).unwrap();
    let backup = store.backup(&id.parse().unwrap()).unwrap();
    for (level, passed, told) in [
        ("packages", true, "self.untested"),
        ("data", true, "self.drilled"),
        ("packages", false, "self.drill_failed"),
        ("packages", true, "self.drill_failed"),
        ("boot", true, "self.drilled"),
    ] {
        let mut record = EvidenceDraft::new("drill", level, passed);
        record.began = format!("2026-12-01T00:00:0{}Z", backup.evidence().unwrap().len());
        backup.record(record).unwrap();
        let target = host.text("facts.json");
        let plan = host.run("plan", &["--target", &target, "--format", "json"]);
        let plan = plan.json();
        let findings = plan["findings"].as_array().unwrap().iter();
        let codes: Vec<_> = findings.filter_map(|f| f["code"].as_str()).collect();
        assert!(codes.contains(&told), "{level} {passed}: {codes:?}");
    }
}

#[test]
fn two_plans_are_the_same_or_what_differs_is_told() {
    let host = Host::new(2);
    host.create();
    let facts = lava_backup(&["facts", "--root", &host.text("root")])
        .ends(0)
        .out;
    for (name, facts) in [
        ("old", facts.clone()),
        ("new", facts.replace("bookworm", "trixie")),
    ] {
        fs::write(host.at(&format!("{name}.facts")), facts).unwrap();
        let target = host.text(&format!("{name}.facts"));
        let plan = host.run("plan", &["--target", &target, "--format", "json"]);
        fs::write(host.at(name), plan.out).unwrap();
    }
    let (old, new) = (host.text("old"), host.text("new"));
    // The store that the environment names is no argument beside a subcommand.
    let diff = |arguments: &[&str]| {
        let mut command = common::program();
        command
            .env("LAVA_BACKUP_STORE", host.store())
            .args(["plan", "diff"])
            .args(arguments);
        common::Ran::from(command.output().unwrap())
    };
    assert_eq!(diff(&[&old, &old]).ends(0).out, "the same plan\n");
    let differ = diff(&[&old, &new]).ends(3);
    assert!(
        differ.out.contains("finding master suite.other"),
        "{}",
        differ.out
    );
    let document = diff(&[&old, &new, "--json"]).ends(3).json();
    assert_eq!(document["schema"], "lava-restore-plan/plan-diff/1");
    assert!(!document["findings"].as_array().unwrap().is_empty());

    diff(&["-", "-"]).says(2, &["standard input"]);
    diff(&[&old, &host.text("old.facts")]).says(1, &["could not read a plan from", "old.facts"]);
    diff(&[&old, "/nowhere"]).says(1, &["could not read a plan from /nowhere"]);
    diff(&[&old]).ends(2);
    host.run("plan", &["diff", &old, &new]).ends(2);
}

/// Promise 6: no secret is in a seal, a plan, a listing or an error.
#[test]
fn no_secret_is_printed_or_sealed() {
    let host = Host::new(2);
    let cluster = cluster();
    database(&cluster, Some(&host.lab));
    let settings = host.at("root/etc/lava-server/settings.d");
    let mut secrets = Vec::new();
    for file in ["00-database.yaml", "00-secret-key.yaml"] {
        let text = fs::read_to_string(settings.join(file)).unwrap();
        for line in text.lines() {
            let wanted = line.contains("PASSWORD") || line.contains("SECRET_KEY");
            if let (true, Some((_, value))) = (wanted, line.split_once(':')) {
                secrets.push(value.trim().trim_matches(['"', '\'']).to_owned());
            }
        }
    }
    assert!(
        secrets.len() == 2 && secrets.iter().all(|s| s.len() > 5),
        "{secrets:?}"
    );
    let root = host.text("root");
    let mut said = String::new();
    let mut keep = |ran: common::Ran| {
        said += &ran.out;
        said += &ran.err;
    };
    keep(host.run(
        "create",
        &["--root", &root, "--database", &url(&cluster, "lavaserver")],
    ));
    for command in [
        "show",
        "ls",
        "list",
        "database show",
        "verify",
        "drill",
        "plan",
    ] {
        keep(host.run(command, &[]));
        keep(host.run(command, &["--json"]));
    }
    for format in ["html", "sh", "ansible"] {
        keep(host.run("plan", &["--format", format]));
    }
    keep(lava_backup(&["facts", "--root", &root]));
    keep(host.run(
        "create",
        &[
            "--root",
            &root,
            "--database",
            "postgres://u:hunter22@127.0.0.1:1/x",
        ],
    ));
    keep(host.run(
        "create",
        &["--root", &root, "--database", "nonsense:hunter22@"],
    ));
    secrets.push("hunter22".into());
    for seal in ["backup.json", "evidence"] {
        let found = Command::new("sh")
            .args([
                "-c",
                &format!("cat store/backups/*/{seal} store/backups/*/{seal}/* 2>&-; :"),
            ])
            .current_dir(host.dir.path())
            .output()
            .unwrap();
        said += &String::from_utf8_lossy(&found.stdout);
    }
    assert!(said.contains("lava_scheduler_app_testjob"));
    for secret in secrets {
        assert!(!said.contains(&secret), "{secret} was told");
    }
}

/// Promise 2: configuration read before and after agrees, or nothing is sealed.
#[test]
fn configuration_that_changes_meanwhile_leaves_no_backup() {
    let host = Host::new(60);
    let cluster = cluster();
    database(&cluster, Some(&host.lab));
    let (root, address) = (host.text("root"), url(&cluster, "lavaserver"));
    // Slow enough to be overtaken.
    let create = common::program()
        .args(["create", "--store", &host.store(), "--root", &root])
        .args(["--database", &address, "--rate", "200K"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while fs::read_dir(host.at("store/tmp")).unwrap().count() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let late = host.at("root/etc/lava-server/settings.d/99-late.yaml");
    fs::write(late, "ALLOWED_HOSTS: [late]\n").unwrap();
    let ran: common::Ran = create.wait_with_output().unwrap().into();
    ran.says(1, &["LAVA's configuration changed while it was made"]);
    assert_eq!(fs::read_dir(host.at("store/backups")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(host.at("store/tmp")).unwrap().count(), 0);
}
