//! A pristine master of each suite becomes the lab that was backed up, by the script and by
//! the playbook that `plan` prints, with every gate asked of the real system.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::master::{self, Master};
use crate::playbook::Playbook;
use crate::release::Release;

const JOBS: u32 = 50;
/// Within a master.
const FILE: &str = "/srv/backup.tar.zst";
const TEST: &str =
    "masters_of_every_suite_are_restored_by_the_script_and_the_playbook_of_their_plan";

#[test]
fn masters_of_every_suite_are_restored_by_the_script_and_the_playbook_of_their_plan() {
    // That of bookworm is restored by main_job.rs. The oldest is restored by the Ansible of this
    // machine, the newest by that of its own release.
    for (suite, has_ansible) in [("bullseye", false), ("trixie", true)] {
        let Some(release) = Release::at_hand(suite, TEST) else {
            return;
        };
        let own = has_ansible.then(|| release.root("ansible"));
        let control = own.as_deref();
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let lab = release.master(dir.path().join("lab"));
        lab.populate(JOBS);
        let made = lab.lava_backup(&["create", "--to", FILE], 0);
        assert_eq!(made["outcome"], "complete", "{suite}: {made:#}");
        let ways: [&dyn Fn(&Master); 2] = [&|new| by_script(new, suite), &|new| {
            by_playbook(new, control, suite);
        }];
        for way in ways {
            let new = release.master(dir.path().join("new"));
            fs::copy(inside(&lab, FILE), inside(&new, FILE)).unwrap();
            way(&new);
            is_the_lab(&new, &lab, suite);
        }
    }
}

fn inside(master: &Master, path: &str) -> PathBuf {
    master.dir.join(Path::new(path).strip_prefix("/").unwrap())
}

fn by_script(new: &Master, suite: &str) {
    fs::write(new.dir.join("root/plan.sh"), plan(new, "sh")).unwrap();
    let answers = format!("LAVA_RESTORE_CONFIRM={}", answers(new));
    let ran = new.run(&["env", &answers, "sh", "/root/plan.sh"]);
    assert_eq!(ran.code, 0, "{suite}\n{}\n{}", ran.out, ran.err);
    assert!(
        ran.out.ends_with("all steps done\n"),
        "{suite}\n{}",
        ran.out
    );
}

fn by_playbook(new: &Master, control: Option<&Path>, suite: &str) {
    let playbook = Playbook::new(new, control, &plan(new, "ansible"));
    playbook.check();
    let ran = playbook.run(&[], &answers(new));
    assert_eq!(ran.code, 0, "{suite}\n{}\n{}", ran.out, ran.err);
}

/// Some of a lab's own ways are findings, with which a plan ends with 4.
fn plan(new: &Master, format: &str) -> String {
    let script = format!(
        "set -e; lava-backup facts >/root/facts.json\n\
        lava-backup plan {FILE} --target /root/facts.json --format {format} || [ $? = 4 ]"
    );
    new.run(&["sh", "-c", &script]).ends(0).out
}

fn answers(new: &Master) -> String {
    let plan: Value = serde_json::from_str(&plan(new, "json")).unwrap();
    master::answers(&plan, "master").join(" ")
}

fn is_the_lab(new: &Master, lab: &Master, suite: &str) {
    let awake = "SELECT count(*) FROM lava_scheduler_app_device WHERE health NOT IN (4, 5)";
    let active = "SELECT count(*) FROM lava_scheduler_app_testjob WHERE state IN (1, 2, 3, 4)";
    assert_eq!(
        (new.sql(awake), new.sql(active)),
        ("0".into(), "0".into()),
        "{suite}"
    );
    for table in ["testjob", "device", "worker", "notification"] {
        let count = format!("SELECT count(*) FROM lava_scheduler_app_{table}");
        assert_eq!(new.sql(&count), lab.sql(&count), "{suite}: {table}");
    }
    let job = new.sql(
        "SELECT max(id) FROM lava_scheduler_app_testjob WHERE is_public AND state = 5 AND health = 1",
    );
    // What the made-up jobs look like to each release is the lab's affair.
    let job = format!("/scheduler/job/{job}");
    assert_eq!(new.page(&job).0, lab.page(&job).0, "{suite}");
    let log = format!("{job}/log_file/plain");
    assert_eq!(new.page(&log), lab.page(&log), "{suite}");
    let jobs = new.page("/scheduler/alljobs");
    assert!(
        jobs.0 == 200 && jobs.1.contains(&job),
        "{suite}: {}",
        jobs.0
    );
    new.services_are("active");
    new.run(&["lava-server", "manage", "check", "--deploy"])
        .ends(0);
}
