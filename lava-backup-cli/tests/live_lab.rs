//! A lab at work: jobs come, finish, are packed and are removed by LAVA's own commands while
//! backups are made, one after the other. Each of them is whole, and no finished job lacks its log.
//!
//! `LAVA_BACKUP_LIVE_ROUNDS` says how many backups are made.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/real.rs"]
mod real;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use real::Master;

const TEST: &str = "backups_of_a_lab_at_work_are_whole_and_no_finished_job_lacks_its_log";
const STORE: &str = "/srv/store";
const JOBS: u32 = 100;

#[test]
fn backups_of_a_lab_at_work_are_whole_and_no_finished_job_lacks_its_log() {
    let Some(pristine) = real::pristine(TEST) else {
        return;
    };
    let rounds = std::env::var("LAVA_BACKUP_LIVE_ROUNDS").ok();
    let rounds: u32 = rounds.and_then(|text| text.parse().ok()).unwrap_or(5);
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_lava-backup"));
    let lab = Master::clone_of(&pristine, dir.path().join("lab"), program);
    lab.populate(JOBS);
    lab.lava_backup(&["init", "--store", STORE], 0);

    let work = Work::default();
    let mut backups = Vec::new();
    std::thread::scope(|scope| {
        // Ended whatever happens below, or the threads would go on for ever.
        let _end = End(&work.over);
        scope.spawn(|| work.until_over(&work.added, || lab.populate(5)));
        scope.spawn(|| work.until_over(&work.packed, || jobs(&lab, &["compress"])));
        scope.spawn(|| {
            work.until_over(&work.removed, || jobs(&lab, &["rm", "--older-than", "85d"]))
        });
        for _ in 0..rounds {
            let made = lab.lava_backup(&["create", "--store", STORE], 0);
            assert_eq!(made["outcome"], "complete", "{made:#}");
            for problem in made["problems"].as_array().unwrap() {
                if problem["code"] == "jobs.without-log" {
                    all_removed(&lab, problem["message"].as_str().unwrap());
                }
            }
            backups.push(made["backup"].as_str().unwrap().to_owned());
        }
    });
    let done = [&work.added, &work.packed, &work.removed].map(|n| n.load(Ordering::Relaxed));
    assert!(
        done.iter().all(|times| *times > 1),
        "the lab was not at work: {done:?}"
    );
    for backup in &backups {
        let drilled = lab.lava_backup(&["drill", "--store", STORE, backup], 0);
        assert_eq!(drilled["passed"], true, "{drilled:#}");
    }
}

/// What a lab does meanwhile, and how often it did.
#[derive(Default)]
struct Work {
    over: AtomicBool,
    added: AtomicU32,
    packed: AtomicU32,
    removed: AtomicU32,
}

impl Work {
    fn until_over(&self, times: &AtomicU32, act: impl Fn()) {
        while !self.over.load(Ordering::Relaxed) {
            act();
            times.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// LAVA's commands meet each other's work too, and end with an error when they do.
fn jobs(lab: &Master, arguments: &[&str]) {
    lab.run(&[&["lava-server", "manage", "jobs"], arguments].concat());
}

/// A job that was removed between the dump and its files has no log any more, and no row.
#[track_caller]
fn all_removed(lab: &Master, message: &str) {
    let (_, ids) = message.split_once("ids: ").unwrap();
    let ids: Vec<&str> = ids.split(", ").filter(|id| *id != "and others").collect();
    let left = "SELECT count(*) FROM lava_scheduler_app_testjob WHERE id IN (IDS)";
    let left = lab.sql(&left.replace("IDS", &ids.join(", ")));
    assert_eq!(left, "0", "{message}");
}
