//! A real LAVA master, brought back on a pristine one by `restore`: killed while the database is
//! loaded, stopped at a question, restarted with its host, and still at its end.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::master::{ACTIVE, AWAKE, BESIDE, Master, SERVICES};
use crate::release::Release;

const JOBS: u32 = 300;
const STORE: &str = "/srv/store";
const QUEUE: &str = "master.maintenance.queue";

on_each_release!(a_restore_that_is_killed_and_restarted_brings_a_real_master_back);

fn a_restore_that_is_killed_and_restarted_brings_a_real_master_back(release: &Release) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (new, backup) = release.master_to_become(dir.path(), STORE, |lab| lab.populate(JOBS));
    new.take_other_credentials();
    let plan = new.plan(&["--store", STORE, &backup], &[QUEUE]);

    // What its commands find is in the journal, and so is where it was killed.
    let dry = new.restore(&["--dry-run"], 0);
    assert_eq!(
        dry["steps"].as_u64().unwrap(),
        dry["left"].as_array().unwrap().len() as u64
    );
    kill_in_the_load(&new);
    let begun = new.run(&["lava-backup", "restore", "/root/plan.json"]);
    // The command that was killed with nobody to wait for it may be at work still.
    assert!([1, 3].contains(&begun.code), "{}", begun.err);
    assert!(begun.err.contains("--resume"), "{}", begun.err);

    // Nobody has decided on the queue: it stops there, the lab safe and closed.
    let stopped = new.restore(&["--resume"], 7);
    assert_eq!(stopped["outcome"], "unanswered", "{stopped:#}");
    assert_eq!(stopped["stopped"]["step"], QUEUE);
    assert_eq!(stopped["done"][0], "master.database.load", "{stopped:#}");
    is_safe_and_closed(&new);

    new.restart();
    is_safe_and_closed(&new);
    new.answer(&plan, &[]);
    let done = new.restore(&["--resume"], 0);
    assert_eq!(done["outcome"], "finished");
    assert_eq!(done["left"], json!([]));
    for service in SERVICES {
        let active = new.run(&["systemctl", "is-active", service]);
        assert_eq!(active.out.trim(), "active", "{service}");
    }
    new.is_the_lab_of(STORE, &backup);

    let evidence = done["evidence"].as_str().unwrap();
    let evidence = fs::read(new.dir.join(&evidence[1..])).unwrap();
    let evidence: Value = serde_json::from_slice(&evidence).unwrap();
    assert_eq!(evidence["backup"], backup.as_str());
    let steps = evidence["steps"].as_array().unwrap();
    assert!(steps.contains(&json!("master.verify.logs")), "{evidence:#}");
    assert_eq!(new.restore(&["--resume"], 0)["done"], json!([]));
}

/// Begins, and kills the run by SIGKILL while its command loads the database.
fn kill_in_the_load(new: &Master) {
    let runs = new.dir.join("var/lib/lava-backup/restore");
    let journal = || {
        let run = fs::read_dir(&runs).ok()?.next()?.ok()?;
        fs::read_to_string(run.path().join("journal")).ok()
    };
    let loads = "\"what\":\"command-begins\",\"step\":\"master.database.load\"";
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            new.run(&[
                "lava-backup",
                "restore",
                "/root/plan.json",
                "--confirm",
                "/root/answers",
            ])
        });
        let began = Instant::now();
        while !journal().is_some_and(|text| text.contains(loads)) {
            assert!(!run.is_finished(), "{}", run.join().unwrap().err);
            assert!(began.elapsed() < Duration::from_secs(600));
            std::thread::sleep(Duration::from_millis(5));
        }
        while new.sql(BESIDE) == "0" {
            assert!(!run.is_finished(), "the load has ended already");
        }
        let kill = "kill -KILL $(cut -d' ' -f1 /run/lava-backup/restore.lock)";
        new.run(&["sh", "-c", kill]).ends(0);
        run.join().unwrap()
    });
    assert_ne!(run.code, 0, "{}", run.out);
    let journal = journal().unwrap();
    let last = journal.lines().last().unwrap();
    assert!(last.contains(loads), "it was killed elsewhere: {last}");
}

fn is_safe_and_closed(new: &Master) {
    assert_eq!(new.sql(ACTIVE), "0");
    assert_eq!(new.sql(AWAKE), "0");
    let devices = "SELECT count(*) FROM lava_scheduler_app_device";
    assert_ne!(new.sql(devices), "0");
    for service in SERVICES {
        let active = new.run(&["systemctl", "is-active", service]);
        assert_eq!(active.out.trim(), "inactive", "{service}");
    }
    let (closed, _) = new.page("/scheduler/alljobs");
    assert_eq!(closed, 404, "users are not kept out");
}
