//! A master and two workers, each backed up and each restored to a pristine host of its own, in a
//! network of theirs alone: the restored master takes its workers, they start no job, and one that
//! is not what it should be is stopped by its gate.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::Ran;
use crate::master::{self, Master};
use crate::release::Release;

const WORKERS: [&str; 2] = ["rack-a", "rack-b"];
const SETTINGS: &str = "/etc/lava-dispatcher/lava-worker";
const TOKEN: &str = "/var/lib/lava/dispatcher/worker/token";
const LOG: &str = "/var/log/lava-dispatcher/lava-worker.log";
/// Of LAVA 2026.10, which notes there that a worker came online.
const WORKERS_LOG: &str = "public.lava_scheduler_app_lavalogentryworker";
/// A worker asks every 20 seconds; a gate that will not hold is waited for to its end.
const PATIENCE: u16 = 25;

/// The hosts of a lab, running, with a network between them.
struct Lab {
    master: Master,
    workers: [Master; 2],
}

impl Lab {
    fn pristine(release: &Release, dir: &Path) -> Self {
        let master = release.master(dir.join("master"));
        let workers = WORKERS.map(|name| release.worker(dir.join(name)));
        for (number, worker) in (11..).zip(&workers) {
            worker.join(&master, number);
        }
        Self { master, workers }
    }

    fn master_goes_on(&self) -> Ran {
        let known = "lava-backup --json restore /root/plan.json --host master --resume";
        let restore = format!("{known} --confirm /root/answers");
        self.master.run(&["sh", "-c", &restore])
    }

    fn hosts(&self) -> impl Iterator<Item = (&Master, &'static str)> {
        let workers = self.workers.iter().zip(WORKERS);
        [(&self.master, "master")].into_iter().chain(workers)
    }
}

on_each_release!(a_lab_of_a_master_and_two_workers_comes_back_and_a_false_worker_is_stopped);

fn a_lab_of_a_master_and_two_workers_comes_back_and_a_false_worker_is_stopped(release: &Release) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let lab = Lab::pristine(release, &dir.path().join("lab"));
    lab.master.populate(20);
    // Whoever has remote workers has told Django the name that they call.
    let allow = "printf 'ALLOWED_HOSTS: [\"*\"]\\n' > FILE; chown lavaserver: FILE; chmod 640 FILE; \
        systemctl restart lava-server-gunicorn";
    let allow = allow.replace("FILE", "/etc/lava-server/settings.d/20-hosts.yaml");
    lab.master.run(&["sh", "-c", &allow]).ends(0);
    for (worker, name) in lab.workers.iter().zip(WORKERS) {
        let token = "SELECT token FROM lava_scheduler_app_worker WHERE hostname = 'NAME'";
        let token = lab.master.sql(&token.replace("NAME", name));
        fs::write(inside(worker, TOKEN), token).unwrap();
        let url = "printf 'URL=\"http://10.77.0.1/\"\\n' >> FILE; chmod 600 TOKEN; \
            systemctl restart lava-worker";
        let url = url.replace("FILE", SETTINGS).replace("TOKEN", TOKEN);
        worker.run(&["sh", "-c", &url]).ends(0);
    }
    for name in WORKERS {
        comes_online(&lab.master, name);
    }

    let backed_up = each_worker_is_at_a_job(&lab);
    let new = Lab::pristine(release, &dir.path().join("new"));
    for (host, name) in lab.hosts() {
        let file = file_of(name);
        let made = host.lava_backup(&["create", "--to", &file], 0);
        assert_eq!(made["outcome"], "complete", "{name}: {made:#}");
        for (target, _) in new.hosts() {
            fs::copy(inside(host, &file), inside(target, &file)).unwrap();
        }
    }
    let plan = planned(&new);
    come_back(&new, &plan);

    for name in WORKERS {
        let seen = "SELECT state, health FROM lava_scheduler_app_worker WHERE hostname = 'NAME'";
        let seen = seen.replace("NAME", name);
        assert_eq!(
            new.master.sql(&seen),
            "0|0",
            "{name} is not online and active"
        );
    }
    let (status, page) = new.master.page("/scheduler/allworkers");
    assert!(
        status == 200 && WORKERS.iter().all(|name| page.contains(name)),
        "{status}\n{page}"
    );
    no_job_has_started(&new, &backed_up);
}

/// In the database, from this time on. The workers stand still, so that none of them ends it.
fn each_worker_is_at_a_job(lab: &Lab) -> String {
    for worker in &lab.workers {
        let still = ["systemctl", "kill", "--signal=STOP", "lava-worker"];
        worker.run(&still).ends(0);
    }
    lab.master.sql(
        "UPDATE lava_scheduler_app_testjob SET state = 3 WHERE id IN (
             SELECT max(job.id) FROM lava_scheduler_app_testjob AS job
             JOIN lava_scheduler_app_device AS device ON device.hostname = actual_device_id
             WHERE job.state = 5 AND worker_host_id IN ('rack-a', 'rack-b')
             AND NOT EXISTS (SELECT FROM lava_scheduler_app_testjob AS other
                 WHERE other.actual_device_id = hostname AND other.state IN (1, 2, 3, 4))
             GROUP BY worker_host_id)",
    );
    let at_work = "SELECT count(DISTINCT worker_host_id) FROM lava_scheduler_app_testjob AS job
        JOIN lava_scheduler_app_device AS device ON device.hostname = actual_device_id
        WHERE job.state = 3 AND worker_host_id IN ('rack-a', 'rack-b')";
    assert_eq!(lab.master.sql(at_work), "2");
    lab.master.sql("SELECT now()")
}

/// Whatever the workers ask and are told, they and the master stay as the backup has them.
fn no_job_has_started(new: &Lab, since: &str) {
    let now = new.master.sql("SELECT now()");
    let asked = format!(
        "SELECT count(*) FROM lava_scheduler_app_worker
         WHERE hostname IN ('rack-a', 'rack-b') AND last_ping > '{now}'"
    );
    let end = Instant::now() + Duration::from_secs(60);
    while new.master.sql(&asked) != "2" {
        assert!(Instant::now() < end, "a worker asks for no work");
        std::thread::sleep(Duration::from_secs(1));
    }
    // Every job's log, too, is what it was.
    let master = &new.master;
    master.is_the_lab_but_for(&[WORKERS_LOG], "/srv", &file_of("master"));
    // One that is failed before it starts is said to start as it ends.
    let started = format!(
        "SELECT count(*) FROM lava_scheduler_app_testjob
         WHERE start_time > '{since}' AND end_time IS DISTINCT FROM start_time"
    );
    assert_eq!(new.master.sql(&started), "0");
    for (worker, name) in new.workers.iter().zip(WORKERS) {
        // Its list of jobs begins anew.
        let file = file_of(name);
        let list = "data/var/lib/lava/dispatcher/worker/db.sqlite3";
        let check = ["extract", &file, "config", "data", "--root", "/", "--check"];
        worker.lava_backup(&[&check[..], &["--exclude", list]].concat(), 0);
        let log = fs::read_to_string(inside(worker, LOG)).unwrap();
        assert!(
            log.contains("PING => server"),
            "{name} asked nothing:\n{log}"
        );
        assert!(
            !log.contains("server => START"),
            "{name} started a job:\n{log}"
        );
    }
}

/// The backup of a host of this name, on every host.
fn file_of(name: &str) -> String {
    format!("/srv/{name}.tar.zst")
}

fn inside(host: &Master, path: &str) -> PathBuf {
    host.dir.join(path.trim_start_matches('/'))
}

/// What is down is still, however it ended. Its timer has missed a day since the worker was made and
/// may start it again at once, so it is stopped.
const AN_UPGRADE_FAILED: &str = "set -e
    systemctl stop apt-daily-upgrade.timer
    mkdir /run/systemd/system/apt-daily-upgrade.service.d
    cd /run/systemd/system/apt-daily-upgrade.service.d
    printf '[Service]\nExecStartPre=/bin/false\n' >fails.conf
    systemctl daemon-reload
    systemctl start apt-daily-upgrade.service && exit 1
    rm fails.conf
    systemctl daemon-reload
    systemctl is-failed apt-daily-upgrade.service";

const ONLINE: &str = "SELECT count(*) FROM lava_scheduler_app_worker WHERE hostname = 'NAME' \
    AND state = 0 AND last_ping > now() - interval '30 seconds'";

#[track_caller]
fn comes_online(master: &Master, name: &str) {
    let end = Instant::now() + Duration::from_secs(120);
    while master.sql(&ONLINE.replace("NAME", name)) != "1" {
        assert!(Instant::now() < end, "{name} does not come online");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// One plan for all, from the facts of each; each host gets it, and its script.
fn planned(new: &Lab) -> Value {
    let mut command = vec!["lava-backup".to_owned(), "--json".into(), "plan".into()];
    for (host, name) in new.hosts() {
        let facts = host.run(&["lava-backup", "facts"]).ends(0).out;
        fs::write(inside(&new.master, &format!("/srv/{name}.json")), facts).unwrap();
        command.push(file_of(name));
    }
    for (_, name) in new.hosts() {
        command.extend(["--target".into(), format!("/srv/{name}.json")]);
    }
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let plan = new.master.run(&words).ends(0).json();
    let whole = [&words[..], &["--format", "json"]].concat();
    let whole: Vec<&str> = whole.into_iter().filter(|word| *word != "--json").collect();
    let mut whole = new.master.run(&whole).ends(0).json();
    master::be_patient(&mut whole, "online", PATIENCE);
    let whole = whole.to_string();
    for ((host, _), planned) in new.hosts().zip(plan["hosts"].as_array().unwrap()) {
        let id = planned["id"].as_str().unwrap();
        let script = [&words[..], &["--format", "sh", "--host", id]].concat();
        let script: Vec<&str> = script
            .into_iter()
            .filter(|word| *word != "--json")
            .collect();
        let script = new.master.run(&script).ends(0).out;
        fs::write(inside(host, "/root/plan.sh"), script).unwrap();
        fs::write(inside(host, "/root/plan.json"), &whole).unwrap();
        let answers = master::answers(&plan, id).join("\n");
        fs::write(inside(host, "/root/answers"), answers).unwrap();
    }
    plan
}

/// Its part of the plan by the program itself.
fn restore(host: &Master, id: &str, more: &[&str], code: i32) -> Value {
    let known = ["restore", "/root/plan.json", "--host", id];
    host.lava_backup(&[&known[..], more].concat(), code)
}

fn script(host: &Master, plan: &Value, id: &str) -> Ran {
    let answers = master::answers(plan, id).join(" ");
    let answers = format!("LAVA_RESTORE_CONFIRM={answers}");
    host.run(&["env", &answers, "sh", "/root/plan.sh"])
}

/// The master's part waits for each worker, and goes on when it is what it should be.
fn come_back(new: &Lab, plan: &Value) {
    let [first, second] = &new.workers;
    // No worker before its master is verified, whatever somebody answers.
    let answers = ["--confirm", "/root/answers"];
    let early = restore(first, "worker_rack_a", &answers, 7);
    assert_eq!(early["outcome"], "unproved", "{early:#}");
    assert_eq!(early["done"], serde_json::json!([]), "{early:#}");

    // Nobody has restored a worker yet.
    let alone = restore(&new.master, "master", &answers, 7);
    let gate = "master.workers.worker_rack_a:online";
    assert_eq!(alone["stopped"]["gate"], gate, "{alone:#}");
    let (closed, _) = new.master.page("/scheduler/alljobs");
    assert_eq!(closed, 403, "users are not kept out");

    let evidence = alone["evidence"].as_str().unwrap();
    fs::copy(
        inside(&new.master, evidence),
        inside(first, "/root/evidence"),
    )
    .unwrap();
    let proved = [
        "--confirm",
        "/root/answers",
        "--resume",
        "--evidence",
        "/root/evidence",
    ];
    let done = restore(first, "worker_rack_a", &proved, 0);
    assert_eq!(done["outcome"], "finished", "{done:#}");
    // One of another version stops before anything of it is touched.
    let newer = "sed -i.kept '/^Package: lava-dispatcher$/,/^$/s/^Version: .*/Version: 2023.03-1/' \
        /var/lib/dpkg/status";
    second.run(&["sh", "-c", newer]).ends(0);
    second.run(&["sh", "-c", AN_UPGRADE_FAILED]).ends(0);
    let other = script(second, plan, "worker_rack_b");
    assert_eq!(other.code, 7, "{}\n{}", other.out, other.err);
    let gate = "worker_rack_b.install.exact:lava-dispatcher";
    assert!(other.err.contains(gate), "{}", other.err);
    second
        .run(&["mv", "/var/lib/dpkg/status.kept", "/var/lib/dpkg/status"])
        .ends(0);
    script(second, plan, "worker_rack_b").ends(0);
    comes_online(&new.master, "rack-a");
    // A worker of another name or with another secret is none of this lab's.
    let spoil = "sed -i.kept -e 's/^URL=/WORKER_NAME=\"--name rack-x\"\\nURL=/' FILE; \
        systemctl restart lava-worker";
    second
        .run(&["sh", "-c", &spoil.replace("FILE", SETTINGS)])
        .ends(0);
    new.master
        .sql("UPDATE lava_scheduler_app_worker SET state = 1 WHERE hostname = 'rack-b'");
    let named = new.master_goes_on();
    stopped_at(&named, "master.workers.worker_rack_b:online");
    let right = "mv FILE.kept FILE; cp -p TOKEN TOKEN.kept; echo false > TOKEN; \
        systemctl restart lava-worker";
    let right = right.replace("FILE", SETTINGS).replace("TOKEN", TOKEN);
    second.run(&["sh", "-c", &right]).ends(0);
    let keyed = new.master_goes_on();
    stopped_at(&keyed, "master.workers.worker_rack_b:online");
    let right = "mv TOKEN.kept TOKEN; systemctl restart lava-worker";
    second
        .run(&["sh", "-c", &right.replace("TOKEN", TOKEN)])
        .ends(0);

    let done = new.master_goes_on().ends(0).json();
    assert_eq!(done["outcome"], "finished", "{done:#}");
}

#[track_caller]
fn stopped_at(ran: &Ran, gate: &str) {
    assert_eq!(ran.code, 7, "{}\n{}", ran.out, ran.err);
    let stopped = &ran.json()["stopped"];
    assert_eq!(stopped["gate"], gate, "{stopped:#}");
    let why = stopped["why"].as_str().unwrap();
    assert!(why.contains("a wrong token is an error 400"), "{why}");
}
