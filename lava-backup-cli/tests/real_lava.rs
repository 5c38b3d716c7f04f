//! A real LAVA master, backed up while it works, proved, and brought back on a
//! pristine one by the commands that `plan` printed.
//!
//! `scripts/test` makes the pristine master and names its directory in
//! `LAVA_BACKUP_REAL_MASTER`. Each run works on copy-on-write clones of it.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/real.rs"]
mod real;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use real::{ACTIVE, AWAKE, Master};
use serde_json::Value;

const JOBS: u32 = 300;
const STORE: &str = "/srv/store";
const PROGRAM: &str = env!("CARGO_BIN_EXE_lava-backup");

#[test]
fn a_real_master_is_backed_up_at_work_and_brought_back_on_a_pristine_one() {
    let Some(pristine) = std::env::var_os("LAVA_BACKUP_REAL_MASTER").map(PathBuf::from) else {
        common::skip(
            "a_real_master_is_backed_up_at_work_and_brought_back_on_a_pristine_one",
            "LAVA_BACKUP_REAL_MASTER names no real LAVA master",
        );
        return;
    };
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let lab = Master::clone_of(&pristine, dir.path().join("lab"), Path::new(PROGRAM));
    lab.populate(JOBS);
    let before = job_files(&lab);
    let backup = back_up_at_work(&lab);

    let new = Master::clone_of(&pristine, dir.path().join("new"), Path::new(PROGRAM));
    new.take_other_credentials();
    let copied = Command::new("cp")
        .arg("-a")
        .args([lab.dir.join("srv/store"), new.dir.join("srv/store")])
        .status();
    assert!(copied.unwrap().success());
    bring_back(&new, &backup);
    is_the_lab_again(&new, &lab, &backup, &before);
}

/// With all services running and jobs being added: `create`, `verify`, `drill`.
fn back_up_at_work(lab: &Master) -> String {
    lab.lava_backup(&["init", "--store", STORE], 0);
    let count = || lab.sql("SELECT count(*) FROM lava_scheduler_app_testjob");
    let before: u64 = count().parse().unwrap();
    let stop = AtomicBool::new(false);
    let made = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                lab.populate(2);
            }
        });
        while count().parse::<u64>().unwrap() == before {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let made = lab.run(&["lava-backup", "--json", "create", "--store", STORE]);
        stop.store(true, Ordering::Relaxed);
        made.ends(0).json()
    });
    assert_eq!(made["outcome"], "complete", "{made:#}");
    // No finished job in the dump lacks its log.
    let codes: Vec<_> = made["problems"].as_array().unwrap().iter().collect();
    assert!(
        codes.iter().all(|p| p["code"] == "file.vanished"),
        "{made:#}"
    );

    let verified = lab.lava_backup(&["verify", "--store", STORE], 0);
    assert_eq!(verified["backups"][0]["sound"], true);
    let drilled = lab.lava_backup(&["drill", "--store", STORE], 0);
    assert_eq!(drilled["passed"], true, "{drilled:#}");
    assert_eq!(drilled["tables_equal"], made["tables"]);
    assert_eq!(made["tables"], 53);
    let shown = lab.lava_backup(&["show", "--store", STORE], 0);
    assert!(shown["database"]["jobs"].as_u64().unwrap() > u64::from(JOBS));
    made["backup"].as_str().unwrap().to_owned()
}

/// Runs the script that `plan` prints, in its order, with a stop on the way.
fn bring_back(new: &Master, backup: &str) {
    let planned = "set -e; cd /root; lava-backup facts > facts.json\n\
        lava-backup plan --store /srv/store BACKUP --target facts.json --format sh > plan.sh";
    let planned = planned.replace("BACKUP", backup);
    new.run(&["sh", "-c", &planned]).ends(0);
    let plan = new.lava_backup(
        &[
            "plan",
            "--store",
            STORE,
            backup,
            "--target",
            "/root/facts.json",
        ],
        0,
    );
    let steps = plan["steps"].as_array().unwrap();
    let asks = |step: &&Value| {
        let kind = step["action"]["type"].as_str().unwrap();
        ["confirm", "decide-queue", "review-logs"].contains(&kind)
    };
    let ids: Vec<&str> = steps
        .iter()
        .filter(asks)
        .map(|step| step["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"master.maintenance.queue"), "{ids:?}");
    let mut answers = ids.join(" ");
    let script = |answers: &str| {
        let answers = format!("LAVA_RESTORE_CONFIRM={answers}");
        new.run(&["env", &answers, "sh", "/root/plan.sh"])
    };

    // Nobody has decided on the queue: it stops there, the lab safe and closed.
    let stopped = script(&answers);
    assert_eq!(stopped.code, 7, "{}\n{}", stopped.out, stopped.err);
    assert!(
        stopped.err.contains("master.maintenance.queue"),
        "{}",
        stopped.err
    );
    assert_eq!(new.sql(ACTIVE), "0");
    assert_eq!(new.sql(AWAKE), "0");
    assert_ne!(
        new.sql("SELECT count(*) FROM lava_scheduler_app_device"),
        "0"
    );
    let services = ["lava-server-gunicorn", "lava-scheduler", "lava-publisher"];
    for service in services {
        let active = new.run(&["systemctl", "is-active", service]);
        assert_eq!(active.out.trim(), "inactive", "{service}");
    }
    let (closed, _) = new.page("/scheduler/alljobs");
    assert_eq!(closed, 404, "users are not kept out");

    // Workers are let in before users are.
    answers += " master.maintenance.queue=keep";
    let users = "master.workers.health_checks";
    let workers = script(&answers.replace(users, ""));
    assert_eq!(workers.code, 7, "{}\n{}", workers.out, workers.err);
    assert!(workers.err.contains(users), "{}", workers.err);
    let (status, _) = new.page("/scheduler/alljobs");
    assert_eq!(status, 403, "users are not kept out");
    let (status, answer) = new.page("/scheduler/internal/v1/workers/nobody/?version=1");
    assert_eq!(status, 404, "{answer}");
    assert!(answer.contains("Unknown worker"), "{answer}");

    let finished = script(&answers).ends(0);
    assert!(
        finished.out.contains("done before: master.database.load"),
        "{}",
        finished.out
    );
    for service in services {
        let active = new.run(&["systemctl", "is-active", service]);
        assert_eq!(active.out.trim(), "active", "{service}");
    }
}

fn is_the_lab_again(new: &Master, lab: &Master, backup: &str, before: &str) {
    new.is_the_lab_of(STORE, backup);
    // By other eyes than ours: what the lab had before its backup, and has still,
    // for it goes on working and packs old logs.
    let (still, here) = (job_files(lab), job_files(new));
    let kept: Vec<&str> = before.lines().filter(|line| still.contains(line)).collect();
    assert!(kept.len() > 5 * JOBS as usize, "{}", kept.len());
    let missing = kept.iter().filter(|line| !here.contains(**line)).count();
    assert_eq!(
        missing,
        0,
        "{missing} of {} files did not come back",
        kept.len()
    );
}

/// The digest of every file of every job, by the tools of the system.
fn job_files(master: &Master) -> String {
    let script = "cd /var/lib/lava-server/default/media && find . -type f | sort | xargs sha256sum";
    master.run(&["sh", "-c", script]).ends(0).out
}
