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

use real::Master;
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
    give_other_credentials(&new);
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

/// The pristine master shares its credentials with the lab, being cloned from
/// the same installation; another host would have made its own.
fn give_other_credentials(new: &Master) {
    let script = "set -e; cd /etc/lava-server/settings.d\n\
        sed -i 's/PASSWORD: .*/PASSWORD: \"anotherpassword\"/' 00-database.yaml\n\
        sed -i 's/SECRET_KEY: .*/SECRET_KEY: \"another-secret-key-of-this-host\"/' 00-secret-key.yaml\n\
        grep -q anotherpassword 00-database.yaml; grep -q another-secret 00-secret-key.yaml\n\
        cd /; runuser -u postgres -- psql -Xq -c \"ALTER ROLE lavaserver PASSWORD 'anotherpassword'\"\n\
        systemctl restart lava-server-gunicorn lava-scheduler lava-publisher";
    new.run(&["sh", "-c", script]).ends(0);
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

const ACTIVE: &str = "SELECT count(*) FROM lava_scheduler_app_testjob WHERE state IN (1, 2, 3, 4)";
const AWAKE: &str = "SELECT count(*) FROM lava_scheduler_app_device WHERE health NOT IN (4, 5)";

fn is_the_lab_again(new: &Master, lab: &Master, backup: &str, before: &str) {
    new.run(&["lava-server", "manage", "check", "--deploy"])
        .ends(0);
    assert_eq!(new.sql(ACTIVE), "0");
    assert_eq!(new.sql(AWAKE), "0");

    // A job that everybody may see, with a log that is not packed yet.
    let job = new.sql(
        "SELECT max(id) FROM lava_scheduler_app_testjob WHERE is_public AND state = 5 AND health = 1",
    );
    let (status, page) = new.page(&format!("/scheduler/job/{job}"));
    assert_eq!(status, 200);
    assert!(page.contains(&job));
    let (status, log) = new.page(&format!("/scheduler/job/{job}/log_file/plain"));
    assert_eq!(status, 200);
    let listed = new.lava_backup(&["ls", "--store", STORE, backup, "data"], 0);
    let suffix = format!("/{job}/output.yaml");
    let files = listed["files"].as_array().unwrap();
    let paths = files.iter().filter_map(|f| f["path"].as_str());
    let member = paths.into_iter().find(|p| p.ends_with(&suffix)).unwrap();
    let kept = new.run(&["lava-backup", "cat", "--store", STORE, backup, member]);
    assert_eq!(
        log,
        kept.ends(0).out,
        "the log that users see is not the backup's"
    );

    // Every table but those that the plan changes on purpose.
    let compared = new.run(&[
        "lava-backup",
        "--json",
        "database",
        "compare",
        "--store",
        STORE,
        backup,
    ]);
    let compared = compared.json();
    let differ = compared["differ"].as_array().unwrap().iter();
    let differ: Vec<&str> = differ.map(|d| d["table"].as_str().unwrap()).collect();
    let on_purpose = [
        "public.django_admin_log",
        "public.lava_scheduler_app_device",
        "public.lava_scheduler_app_testjob",
        "public.lava_scheduler_app_worker",
    ];
    assert!(differ.iter().all(|t| on_purpose.contains(t)), "{differ:?}");
    assert!(compared["equal"].as_u64().unwrap() >= 49, "{compared:#}");

    // Every file, by digest, mode and owner; the host's name is its own.
    let check = [
        "extract", "--store", STORE, backup, "config", "data", "--root", "/",
    ];
    let own = ["--check", "--exclude", "config/etc/hostname"];
    new.lava_backup(&[&check[..], &own].concat(), 0);
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
