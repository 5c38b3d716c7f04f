//! A real LAVA master that is at work, in whose place another is brought back by a `restore` that is
//! killed after every step and in the longest, whose disk is full under the files and under the
//! database, whose server of PostgreSQL is killed, and whose host ends at once.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::Ran;
use crate::master::{BESIDE, Master};
use crate::release::Release;

const JOBS: u32 = 300;
const STORE: &str = "/srv/store";
const SETTINGS: &str = "master.database.settings";
const LOAD: &str = "master.database.load";
const FILES: &str = "master.config.files";
const CLUSTERS: &str = "/var/lib/postgresql";
/// Where most of the files go.
const MEDIA: &str = "/var/lib/lava-server/default/media";
/// Of a disk with room for all.
const ROOM: &str = "2G";
/// All jobs of a lab, as the server makes text of them.
const LAB: &str = "SELECT count(*), md5(string_agg(t::text, '' ORDER BY id)) \
    FROM lava_scheduler_app_testjob t";
/// Some thirty megabytes, so that a disk is full in the middle of the load.
const BALLAST: &str =
    "CREATE TABLE ballast AS SELECT md5(n::text) FROM generate_series(1, 450000) n";

on_each_release!(a_restore_that_is_killed_after_every_step_brings_a_real_master_back);

fn a_restore_that_is_killed_after_every_step_brings_a_real_master_back(release: &Release) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (new, backup) = release.master_to_become(dir.path(), STORE, |lab| {
        lab.populate(JOBS);
        lab.sql(BALLAST);
        lab.sql("ALTER TABLE ballast OWNER TO lavaserver");
    });
    new.take_other_credentials();
    new.populate(30);
    let refused = new.run(&["lava-backup", "plan", "--store", STORE, &backup]);
    assert_eq!(refused.code, 3, "{}", refused.out);
    assert!(refused.out.contains("`target.has_data`"), "{}", refused.out);
    no_package_is_installed_over_a_lab(&new, &backup);
    let plan = new.plan(&["--store", STORE, &backup, "--replace-data"], &[]);
    let steps = plan["steps"].as_array().unwrap().iter();
    let steps = steps.map(|step| step["id"].as_str().unwrap().to_owned());
    let steps: Vec<String> = steps.collect();
    let mut kills = 0;
    let mut old = String::new();
    while let Some(next) = steps.get(done(&new).len()) {
        match next.as_str() {
            // Or the next run, killed when this is done, might leave the load at work.
            SETTINGS => new.server("stop"),
            LOAD => {
                // Whatever had to be stopped is.
                put_on_a_disk(&new, CLUSTERS);
                new.server("start");
                for _ in 0..4 {
                    // The server lets the log of earlier work go, and no more of it later.
                    new.sql("CHECKPOINT");
                    new.sql("SELECT pg_switch_wal()");
                }
                leave_free(&new, CLUSTERS, 22);
                old = new.sql(LAB);
                assert!(!old.starts_with("0|"), "{old}");
                let is_whole = || assert_eq!(new.sql(LAB), old, "the old database is not whole");
                the_load_meets_a_full_disk(&new);
                is_whole();
                the_load_loses_its_server(&new);
                is_whole();
                the_load_loses_its_host(&new);
                is_whole();
                assert_ne!(new.sql(BESIDE), "0", "it was not in the load");
                put_on_a_disk(&new, MEDIA);
                leave_free(&new, MEDIA, 1);
            }
            FILES => {
                meets_a_full_disk(&new, FILES, MEDIA);
                the_files_lose_their_writer(&new);
            }
            _ => {}
        }
        kills += u32::from(killed_after_a_step(&new));
    }
    assert_eq!(done(&new), steps);
    assert!(
        kills as usize > steps.len() / 2,
        "{kills} kills of {}",
        steps.len()
    );
    let last = new.lava_backup(&["restore", "/root/plan.json", "--resume"], 0);
    assert_eq!(last["outcome"], "finished", "{last:#}");
    new.is_the_lab_of(STORE, &backup);
    assert_eq!(new.sql(BESIDE), "0", "a try that failed has left something");
    let before = "SELECT datname FROM pg_database WHERE datname LIKE 'lavaserver_before_%'";
    let before = new.sql(before);
    assert_eq!(before.lines().count(), 1, "the old database: {before}");
    assert_eq!(new.sql_in(&before, LAB), old, "the old database");
}

/// Its scripts would migrate the database, and those of a package whose upgrade was cut off, too.
fn no_package_is_installed_over_a_lab(new: &Master, backup: &str) {
    let refused = || {
        let install = [
            "packages",
            "install",
            "--store",
            STORE,
            backup,
            "lava-common",
        ];
        let refused = new.run(&[&["lava-backup"], &install[..]].concat());
        assert_eq!(refused.code, 3, "{}", refused.err);
        assert!(
            refused.err.contains("LAVA's database on this host holds"),
            "{}",
            refused.err
        );
    };
    refused();
    let half = "sed -i.kept '/^Package: lava-server$/,/^$/s/^Status: .*/Status: install ok half-configured/' \
        /var/lib/dpkg/status; ! cmp -s /var/lib/dpkg/status.kept /var/lib/dpkg/status";
    new.run(&["sh", "-c", half]).ends(0);
    refused();
    let whole = ["mv", "/var/lib/dpkg/status.kept", "/var/lib/dpkg/status"];
    new.run(&whole).ends(0);
}

fn journal(new: &Master) -> String {
    let runs = new.dir.join("var/lib/lava-backup/restore");
    let Some(run) = fs::read_dir(runs).ok().and_then(|mut runs| runs.next()) else {
        return String::new();
    };
    fs::read_to_string(run.unwrap().path().join("journal")).unwrap_or_default()
}

/// The steps that its journal calls done, in that order.
fn done(new: &Master) -> Vec<String> {
    let journal = journal(new);
    // A record that is being written may be half there.
    let records = journal
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ended = records.filter(|record| record["entry"]["what"] == "step-done");
    ended
        .map(|record| record["entry"]["step"].as_str().unwrap().to_owned())
        .collect()
}

fn restore(new: &Master) -> Ran {
    let run = new.dir.join("var/lib/lava-backup/restore");
    let resume = if run.exists() { " --resume" } else { "" };
    let restore =
        format!("exec lava-backup --json restore /root/plan.json --confirm /root/answers{resume}");
    new.run(&["sh", "-c", &restore])
}

/// Goes on, and is killed by SIGKILL as soon as one more step is done; whether it was.
fn killed_after_a_step(new: &Master) -> bool {
    let before = done(new).len();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| restore(new));
        let began = Instant::now();
        while done(new).len() == before && !run.is_finished() {
            assert!(began.elapsed() < Duration::from_secs(600));
            std::thread::sleep(Duration::from_millis(2));
        }
        // It may end by itself meanwhile.
        let kill = "kill -KILL $(cut -d' ' -f1 /run/lava-backup/restore.lock)";
        new.run(&["sh", "-c", kill]);
        let run = run.join().unwrap();
        let killed = run.code != 0;
        assert!(killed || run.json()["outcome"] == "finished", "{}", run.out);
        assert!(done(new).len() > before, "{}\n{}", run.out, run.err);
        killed
    })
}

/// Puts a directory on a disk of its own.
fn put_on_a_disk(new: &Master, directory: &str) {
    let script = "cp -a DIRECTORY /root/kept
        mount -t tmpfs -o size=SIZE,mode=$(stat -c %a DIRECTORY) tmpfs DIRECTORY
        chown --reference=/root/kept DIRECTORY
        cp -a /root/kept/. DIRECTORY; rm -r /root/kept";
    let script = script.replace("DIRECTORY", directory).replace("SIZE", ROOM);
    new.run(&["sh", "-ec", &script]).ends(0);
}

/// Makes that disk so small that so many megabytes are free.
fn leave_free(new: &Master, directory: &str, megabytes: u32) {
    let script = format!(
        "used=$(df --output=used --block-size=1M {directory} | tail -n 1)
        mount -o remount,size=$((used + {megabytes}))M {directory}"
    );
    new.run(&["sh", "-ec", &script]).ends(0);
}

/// A step fails for the disk is full, which is told; there is room for the next try.
fn meets_a_full_disk(new: &Master, step: &str, directory: &str) {
    let stopped = restore(new);
    assert_eq!(stopped.code, 1, "{}{}", stopped.out, stopped.err);
    let said = stopped.err.to_lowercase();
    assert_eq!(stopped.json()["stopped"]["step"], step, "{said}");
    // PostgreSQL has words of its own for where it could not write, and where that was its log
    // it ends itself with them.
    let words = [
        "no space",
        "could not write",
        "could not extend",
        "its log says why",
    ];
    assert!(words.iter().any(|word| said.contains(word)), "{said}");
    let enough = format!("remount,size={ROOM}");
    new.run(&["mount", "-o", &enough, directory]).ends(0);
}

fn the_load_meets_a_full_disk(new: &Master) {
    meets_a_full_disk(new, LOAD, CLUSTERS);
    // A server that can't write its log ends itself.
    new.server("restart");
}

/// Begins to load, and lets something happen meanwhile.
fn in_the_load(new: &Master, happens: impl FnOnce()) -> Ran {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| restore(new));
        while new.sql(BESIDE) == "0" {
            assert!(!run.is_finished(), "the load has ended already");
        }
        happens();
        run.join().unwrap()
    })
}

fn the_load_loses_its_server(new: &Master) {
    let ran = in_the_load(new, || {
        new.run(&["pkill", "-KILL", "-u", "postgres"]).ends(0);
    });
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert_eq!(ran.json()["stopped"]["step"], LOAD, "{}", ran.out);
    new.server("restart");
}

/// Its database is on a disk that stays.
fn the_load_loses_its_host(new: &Master) {
    new.server("stop");
    new.run(&["umount", CLUSTERS]).ends(0);
    new.server("start");
    let ran = in_the_load(new, || new.crash());
    assert_ne!(ran.code, 0, "{}", ran.out);
    was_at(new, LOAD);
    new.start();
}

/// Killed with its command, while some files are there and some are not.
fn the_files_lose_their_writer(new: &Master) {
    let ran = std::thread::scope(|scope| {
        // It looks from within, or all would be there before the signal is.
        let kill = "cd /var/lib/lava-backup/restore/*/
            tries=$(grep -c BEGINS journal)
            touch /root/ready
            until [ $(grep -c BEGINS journal) -gt $tries ]; do sleep 0.002; done
            sleep 0.1
            run=$(cut -d' ' -f1 /run/lava-backup/restore.lock)
            kill -KILL $run $(pgrep -P $run)";
        let kill = kill.replace("BEGINS", &format!("'{}'", begins(FILES)));
        let killer = scope.spawn(move || new.run(&["timeout", "60", "sh", "-c", &kill]));
        while !new.dir.join("root/ready").exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        let run = restore(new);
        killer.join().unwrap().ends(0);
        run
    });
    assert_ne!(ran.code, 0, "{}", ran.out);
    was_at(new, FILES);
}

/// Of a step's command, in the journal.
fn begins(step: &str) -> String {
    format!("\"what\":\"command-begins\",\"step\":\"{step}\"")
}

#[track_caller]
fn was_at(new: &Master, step: &str) {
    let journal = journal(new);
    let last = journal.lines().last().unwrap();
    assert!(last.contains(&begins(step)), "it ended elsewhere: {last}");
}
