//! Real LAVA masters: copy-on-write clones of pristine ones.
#![allow(unreachable_pub)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::common::Ran;

/// Counts the jobs that are between queue and end.
pub const ACTIVE: &str =
    "SELECT count(*) FROM lava_scheduler_app_testjob WHERE state IN (1, 2, 3, 4)";
/// Counts the databases in the making.
pub const BESIDE: &str = "SELECT count(*) FROM pg_database WHERE datname LIKE '%restoring%'";
/// What of LAVA runs on a master.
pub const SERVICES: [&str; 3] = ["lava-server-gunicorn", "lava-scheduler", "lava-publisher"];
/// Counts the devices that would take a job.
pub const AWAKE: &str = "SELECT count(*) FROM lava_scheduler_app_device WHERE health NOT IN (4, 5)";

/// A clone of the pristine master, running; gone when dropped.
pub struct Master {
    pub dir: PathBuf,
}

impl Master {
    /// With our program in it.
    pub fn clone_of(pristine: &Path, dir: PathBuf, program: &Path) -> Self {
        let master = Self { dir };
        tool(&["clone", text(pristine), text(&master.dir)]);
        tool(&["start", text(&master.dir)]);
        let binary = master.dir.join("usr/local/bin/lava-backup");
        fs::copy(program, binary).unwrap();
        master
    }

    /// Gives it an address, 10.77.0.N, in a network with another that is 10.77.0.1 there.
    pub fn join(&self, master: &Self, number: u8) {
        tool(&[
            "join",
            text(&self.dir),
            text(&master.dir),
            &number.to_string(),
        ]);
    }

    pub fn populate(&self, jobs: u32) {
        tool(&["populate", text(&self.dir), &jobs.to_string()]);
    }

    /// Runs so many jobs a second, as LAVA would, until a file is there; how many, and in how
    /// many seconds.
    pub fn works(&self, rate: u32, until: &str) -> (u32, f64) {
        let rate = rate.to_string();
        let work = ["populate", text(&self.dir), "at-work", &rate, until];
        let out = Ran::from(lava_master(&work)).ends(0).out;
        let (jobs, seconds) = out.trim().split_once(' ').unwrap();
        (jobs.parse().unwrap(), seconds.parse().unwrap())
    }

    /// Ends at once, with all that runs in it.
    pub fn crash(&self) {
        tool(&["crash", text(&self.dir)]);
    }

    pub fn start(&self) {
        tool(&["start", text(&self.dir)]);
    }

    /// Starts, stops or restarts its PostgreSQL.
    pub fn server(&self, verb: &str) {
        let unit = format!("systemctl {verb} postgresql@$(ls /etc/postgresql)-main");
        self.run(&["sh", "-c", &unit]).ends(0);
    }

    /// Shuts it down cleanly, and boots it again.
    pub fn restart(&self) {
        tool(&["stop", text(&self.dir)]);
        self.start();
    }

    pub fn run(&self, command: &[&str]) -> Ran {
        let mut all = vec!["run", text(&self.dir)];
        all.extend(command);
        lava_master(&all).into()
    }

    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("lavaserver", sql)
    }

    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        let psql = [
            "runuser", "-u", "postgres", "--", "psql", "-XAtq", "-d", database, "-c", sql,
        ];
        let psql = ["env", "-C", "/"].iter().chain(&psql).copied();
        let ran = self.run(&psql.collect::<Vec<_>>()).ends(0);
        ran.out.trim().to_owned()
    }

    /// Runs our program inside and reads its document.
    pub fn lava_backup(&self, arguments: &[&str], code: i32) -> Value {
        let mut all = vec!["lava-backup", "--json"];
        all.extend(arguments);
        self.run(&all).ends(code).json()
    }

    /// Brings a store of another one's here.
    pub fn take_store(&self, from: &Self, store: &str) {
        let [from, to] = [from, self].map(|master| master.dir.join(&store[1..]));
        let copied = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(copied.unwrap().success());
    }

    /// A complete backup of it in a store, which is brought to another one.
    pub fn back_up_for(&self, other: &Self, store: &str) -> String {
        self.lava_backup(&["init", "--store", store], 0);
        let made = self.lava_backup(&["create", "--store", store], 0);
        assert_eq!(made["outcome"], "complete", "{made:#}");
        other.take_store(self, store);
        made["backup"].as_str().unwrap().to_owned()
    }

    /// Plans for it as it is, into `/root/plan.json`; writes an answer to all that the plan asks,
    /// but for some steps, into `/root/answers`.
    pub fn plan(&self, arguments: &[&str], unanswered: &[&str]) -> Value {
        let known = ["lava-backup", "plan", "--format", "json"];
        let made = self.run(&[&known[..], arguments].concat());
        if ![0, 4].contains(&made.code) {
            let why = self.run(&[&known[..2], arguments].concat());
            panic!("{}{}", why.out, why.err);
        }
        fs::write(self.dir.join("root/plan.json"), &made.out).unwrap();
        let plan = made.json();
        self.answer(&plan, unanswered);
        plan
    }

    /// Writes an answer to all that a plan asks, but for some steps, into `/root/answers`.
    pub fn answer(&self, plan: &Value, unanswered: &[&str]) {
        let mut answers = answers(plan, "master");
        answers.retain(|answer| !unanswered.iter().any(|id| answer.starts_with(id)));
        fs::write(self.dir.join("root/answers"), answers.join("\n")).unwrap();
    }

    /// Runs the plan with the answers that are there.
    pub fn restore(&self, more: &[&str], code: i32) -> Value {
        let known = ["restore", "/root/plan.json", "--confirm", "/root/answers"];
        self.lava_backup(&[&known[..], more].concat(), code)
    }

    /// All that is LAVA's here.
    #[track_caller]
    pub fn services_are(&self, state: &str) {
        for service in SERVICES {
            let active = self.run(&["systemctl", "is-active", service]);
            assert_eq!(active.out.trim(), state, "{service}");
        }
    }

    /// A page through apache, as a user would see it: its status and text. Apache answers 502 where
    /// gunicorn ends a kept connection, two seconds old, just as it is used again; a user asks again.
    pub fn page(&self, path: &str) -> (u16, String) {
        let script = "import sys, urllib.request, urllib.error\n\
            for _ in range(3):\n\
            \x20 try: r = urllib.request.urlopen('http://localhost' + sys.argv[1], timeout=60)\n\
            \x20 except urllib.error.HTTPError as e: r = e\n\
            \x20 if r.status != 502: break\n\
            print(r.status); sys.stdout.flush(); sys.stdout.buffer.write(r.read())";
        let ran = self.run(&["python3", "-c", script, path]).ends(0);
        let (status, body) = ran.out.split_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// Clones of one installation share its credentials; another host would have made its own.
    pub fn take_other_credentials(&self) {
        let script = "set -e; cd /etc/lava-server/settings.d\n\
            sed -i 's/PASSWORD: .*/PASSWORD: \"anotherpassword\"/' 00-database.yaml\n\
            sed -i 's/SECRET_KEY: .*/SECRET_KEY: \"another-secret-key-of-this-host\"/' 00-secret-key.yaml\n\
            grep -q anotherpassword 00-database.yaml; grep -q another-secret 00-secret-key.yaml\n\
            cd /; runuser -u postgres -- psql -Xq -c \"ALTER ROLE lavaserver PASSWORD 'anotherpassword'\"\n\
            systemctl restart lava-server-gunicorn lava-scheduler lava-publisher";
        self.run(&["sh", "-c", script]).ends(0);
    }

    /// Is this the lab of that backup, closed to jobs but open to users?
    pub fn is_the_lab_of(&self, store: &str, backup: &str) {
        self.is_the_lab_but_for(&[], store, backup);
    }

    /// The same of a lab in which these tables have changed since.
    pub fn is_the_lab_but_for(&self, changed: &[&str], store: &str, backup: &str) {
        self.run(&["lava-server", "manage", "check", "--deploy"])
            .ends(0);
        assert_eq!(self.sql(ACTIVE), "0");
        assert_eq!(self.sql(AWAKE), "0");

        // A job that everybody may see, with a log that is not packed yet.
        let job = self.sql(
            "SELECT max(id) FROM lava_scheduler_app_testjob WHERE is_public AND state = 5 AND health = 1",
        );
        let (status, page) = self.page(&format!("/scheduler/job/{job}"));
        assert_eq!(status, 200);
        assert!(page.contains(&job));
        let (status, log) = self.page(&format!("/scheduler/job/{job}/log_file/plain"));
        assert_eq!(status, 200);
        let listed = self.lava_backup(&["ls", "--store", store, backup, "data"], 0);
        let suffix = format!("/{job}/output.yaml");
        let files = listed["files"].as_array().unwrap();
        let paths = files.iter().filter_map(|f| f["path"].as_str());
        let member = paths.into_iter().find(|p| p.ends_with(&suffix)).unwrap();
        let kept = self.run(&["lava-backup", "cat", "--store", store, backup, member]);
        assert_eq!(
            log,
            kept.ends(0).out,
            "the log that users see is not the backup's"
        );

        // Every table but those that the plan changes on purpose.
        let compared = self.run(&[
            "lava-backup",
            "--json",
            "database",
            "compare",
            "--store",
            store,
            backup,
        ]);
        let compared = compared.json();
        let differ = compared["differ"].as_array().unwrap().iter();
        let differ: Vec<&str> = differ.map(|d| d["table"].as_str().unwrap()).collect();
        let on_purpose = [
            "public.django_admin_log",
            "public.lava_scheduler_app_device",
            // What an admin did to devices, since LAVA keeps that by itself.
            "public.lava_scheduler_app_lavalogentrydevice",
            "public.lava_scheduler_app_testjob",
            "public.lava_scheduler_app_worker",
        ];
        let may_differ = |table: &&str| on_purpose.contains(table) || changed.contains(table);
        assert!(differ.iter().all(may_differ), "{differ:?}");
        let equal = compared["equal"].as_u64().unwrap();
        let shown = self.lava_backup(&["show", "--store", store, backup], 0);
        let tables = shown["database"]["tables"].as_u64().unwrap();
        assert_eq!(equal + differ.len() as u64, tables, "{compared:#}");

        // Every file, by digest, mode and owner; the host's name is its own.
        let check = [
            "extract", "--store", store, backup, "config", "data", "--root", "/",
        ];
        let own = ["--check", "--exclude", "config/etc/hostname"];
        self.lava_backup(&[&check[..], &own].concat(), 0);
    }
}

/// What a person is asked for by a plan on one of its hosts, with an answer to each.
pub fn answers(plan: &Value, host: &str) -> Vec<String> {
    let steps = plan["steps"].as_array().unwrap().iter();
    let asked = steps
        .filter(|step| step["host"] == host)
        .filter_map(|step| {
            let id = step["id"].as_str().unwrap();
            match step["action"]["type"].as_str().unwrap() {
                "confirm" | "review-logs" | "await-host" => Some(id.to_owned()),
                "decide-queue" => Some(format!("{id}=keep")),
                _ => None,
            }
        });
    asked.collect()
}

/// For so many seconds the gates of this name are asked again, which bounds the wait for one that
/// will not hold.
pub fn be_patient(plan: &mut Value, name: &str, seconds: u16) {
    let steps = plan["steps"].as_array_mut().unwrap().iter_mut();
    for gate in steps.flat_map(|step| step["post"].as_array_mut().unwrap()) {
        if gate["id"].as_str().unwrap().ends_with(&format!(":{name}")) {
            gate["patience"] = seconds.into();
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        lava_master(&["delete", text(&self.dir)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What makes and runs masters.
pub const TOOL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../scripts/real-lava/lava-master"
);

fn lava_master(arguments: &[&str]) -> Output {
    Command::new(TOOL)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn tool(arguments: &[&str]) {
    Ran::from(lava_master(arguments)).ends(0);
}
