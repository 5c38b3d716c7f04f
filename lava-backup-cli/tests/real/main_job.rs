//! A real LAVA master, backed up while it works, proved, and brought back on a
//! pristine one by the commands that `plan` printed.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::common::Ran;
use crate::master::{self, ACTIVE, AWAKE, Master};
use crate::playbook::Playbook;
use crate::release::Release;

const TEST: &str = "a_real_master_is_backed_up_at_work_and_brought_back_on_a_pristine_one";
const JOBS: u32 = 300;
const STORE: &str = "/srv/store";

#[test]
fn a_real_master_is_backed_up_at_work_and_brought_back_on_a_pristine_one() {
    let Some(release) = Release::at_hand("bookworm", TEST) else {
        return;
    };
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let lab = release.master(dir.path().join("lab"));
    lab.populate(JOBS);
    let before = job_files(&lab);
    let backup = back_up_at_work(&lab);

    for (name, way) in [
        ("script", by_script as fn(&Master, &str)),
        ("playbook", by_playbook),
    ] {
        let new = release.master(dir.path().join(name));
        new.take_other_credentials();
        new.take_store(&lab, STORE);
        way(&new, &backup);
        is_the_lab_again(&new, &lab, &backup, &before);
    }
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

/// By the script that `plan` prints.
fn by_script(new: &Master, backup: &str) {
    fs::write(new.dir.join("root/plan.sh"), plan(new, backup, "sh")).unwrap();
    let run = |answers: &str| {
        let answers = format!("LAVA_RESTORE_CONFIRM={answers}");
        new.run(&["env", &answers, "sh", "/root/plan.sh"])
    };
    bring_back(new, backup, 7, run);
}

/// By its playbook.
fn by_playbook(new: &Master, backup: &str) {
    let playbook = Playbook::new(new, None, &plan(new, backup, "ansible"));
    playbook.check();
    bring_back(new, backup, 2, |answers| playbook.run(&[], answers));
}

/// Runs what `plan` printed until all is done, with stops on the way.
fn bring_back(new: &Master, backup: &str, stop: i32, run: impl Fn(&str) -> Ran) {
    let document: Value = serde_json::from_str(&plan(new, backup, "json")).unwrap();
    let answers = master::answers(&document, "master");
    let without = |id: &str| {
        let others = answers.iter().filter(|answer| !answer.starts_with(id));
        let others: Vec<&str> = others.map(String::as_str).collect();
        assert_eq!(others.len() + 1, answers.len(), "{id} in {answers:?}");
        let stopped = run(&others.join(" ")).ends(stop);
        let said = stopped.out + &stopped.err;
        assert!(
            said.contains(&format!("step {id} is not confirmed")),
            "{said}"
        );
    };

    // Nobody has decided on the queue: it stops there, the lab safe and closed.
    without("master.maintenance.queue");
    assert_eq!(new.sql(ACTIVE), "0");
    assert_eq!(new.sql(AWAKE), "0");
    let devices = "SELECT count(*) FROM lava_scheduler_app_device";
    assert_ne!(new.sql(devices), "0");
    new.services_are("inactive");
    let (closed, _) = new.page("/scheduler/alljobs");
    assert_eq!(closed, 404, "users are not kept out");

    // Workers are let in before users are.
    without("master.workers.health_checks");
    let (status, _) = new.page("/scheduler/alljobs");
    assert_eq!(status, 403, "users are not kept out");
    let (status, answer) = new.page("/scheduler/internal/v1/workers/nobody/?version=1");
    assert_eq!(status, 404, "{answer}");
    assert!(answer.contains("Unknown worker"), "{answer}");

    // What is done is not done again: it would put jobs and devices back as they were.
    let load = new.dir.join(format!(
        "var/lib/lava-backup/restore/{backup}/done/master.database.load"
    ));
    let loaded = fs::metadata(&load).unwrap().modified().unwrap();
    run(&answers.join(" ")).ends(0);
    assert_eq!(fs::metadata(&load).unwrap().modified().unwrap(), loaded);
    new.services_are("active");
}

fn plan(new: &Master, backup: &str, format: &str) -> String {
    let script = format!(
        "lava-backup facts >/root/facts.json && exec lava-backup plan --store {STORE} {backup} \
         --target /root/facts.json --format {format}"
    );
    new.run(&["sh", "-c", &script]).ends(0).out
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
