//! A lab at work: five jobs a second come and finish, and are packed and removed by LAVA's own
//! commands, while backups are made, one after the other. Each of them is whole, and no finished job
//! lacks its log.
//!
//! `LAVA_BACKUP_LIVE_ROUNDS` says how many backups are made.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::master::Master;
use crate::release::Release;

const STORE: &str = "/srv/store";
const JOBS: u32 = 100;
/// A second.
const RATE: u32 = 5;
/// Its work is over when this is there.
const OVER: &str = "/srv/over";
/// Of the jobs that it runs.
const LAST_FINISHED: &str = "SELECT coalesce(max(id), 0) FROM lava_scheduler_app_testjob
    WHERE state = 5 AND description LIKE 'work-%'";
const LEFT: &str =
    "SELECT count(*) FROM lava_scheduler_app_testjob WHERE description LIKE 'work-%'";
const PACKED: &str = "find /var/lib/lava-server -name output.yaml.xz -newer /srv/begun | wc -l";

on_each_release!(backups_of_a_lab_at_work_are_whole_and_no_finished_job_lacks_its_log);

fn backups_of_a_lab_at_work_are_whole_and_no_finished_job_lacks_its_log(release: &Release) {
    let rounds = std::env::var("LAVA_BACKUP_LIVE_ROUNDS").ok();
    let rounds: u32 = rounds.and_then(|text| text.parse().ok()).unwrap_or(5);
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let lab = release.master(dir.path().join("lab"));
    lab.populate(JOBS);
    lab.lava_backup(&["init", "--store", STORE], 0);

    let removes: &[&str] = match release.suite {
        // LAVA 2020.12 would remove jobs that are running, too.
        "bullseye" => &["rm", "--submitter", "ci-robot", "--state", "FINISHED"],
        _ => &["rm", "--submitter", "ci-robot"],
    };

    lab.run(&["touch", "/srv/begun"]).ends(0);
    let number = |sql: &str| lab.sql(sql).parse::<u32>().unwrap();
    let over = Over(lab.dir.join(&OVER[1..]));
    let mut backups = Vec::new();
    let (between, (ran, seconds)) = std::thread::scope(|scope| {
        // Over whatever happens below, or the threads would go on for ever.
        let _end = End(&over);
        let work = scope.spawn(|| lab.works(RATE, OVER));
        scope.spawn(|| over.until(|| jobs(&lab, &["compress", "--newer-than", "1d"])));
        scope.spawn(|| over.until(|| jobs(&lab, removes)));
        let began = Instant::now();
        while number(LAST_FINISHED) == 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "no job finishes");
            sleep(Duration::from_millis(100));
        }
        let mut finished = Vec::new();
        for _ in 0..rounds {
            let made = lab.lava_backup(&["create", "--store", STORE], 0);
            assert_eq!(made["outcome"], "complete", "{made:#}");
            for problem in made["problems"].as_array().unwrap() {
                if problem["code"] == "jobs.without-log" {
                    all_removed(&lab, problem["message"].as_str().unwrap());
                }
            }
            backups.push(made["backup"].as_str().unwrap().to_owned());
            finished.push(number(LAST_FINISHED));
        }
        over.now();
        let between = finished.last().unwrap() - finished.first().unwrap();
        (between, work.join().unwrap())
    });
    say(&format!(
        "{ran} jobs in {seconds} s, {between} of them between the first and the last of {rounds} \
         backups: {:.1} jobs a second",
        f64::from(ran) / seconds
    ));
    assert!(between > rounds, "the lab was not at work: {between}");
    assert!(number(LEFT) < ran, "no job was removed");
    let packed = lab.run(&["sh", "-c", PACKED]).ends(0).out;
    assert_ne!(packed.trim(), "0", "no job was packed");
    for backup in &backups {
        let drilled = lab.lava_backup(&["drill", "--store", STORE, backup], 0);
        assert_eq!(drilled["passed"], true, "{drilled:#}");
    }
}

/// The file that ends the work.
struct Over(PathBuf);

impl Over {
    fn now(&self) {
        fs::write(&self.0, "").unwrap();
    }

    fn until(&self, act: impl Fn()) {
        while !self.0.exists() {
            act();
        }
    }
}

struct End<'a>(&'a Over);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.now();
    }
}

#[allow(clippy::print_stdout)]
fn say(what: &str) {
    println!("{what}");
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
