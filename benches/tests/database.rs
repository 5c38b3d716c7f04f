//! The database, in a real PostgreSQL 15.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lava_backup_benches::{Lab, master, migrations, sql};
use tempfile::TempDir;
use walkdir::WalkDir;

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A server of its own, reached through a socket in its own directory.
struct Server {
    dir: TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = TempDir::with_prefix("pg").unwrap();
        let server = Self { dir };
        if root() {
            run(Command::new("chown")
                .arg("postgres:")
                .arg(server.dir.path()));
        }
        let data = server.data();
        run(as_postgres(&format!("{BIN}/initdb"))
            .args([
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "-D",
            ])
            .arg(&data));
        let options = format!(
            "-c listen_addresses= -c fsync=off -k {}",
            server.dir.path().display()
        );
        // The log is named, or the server would hold this test's pipes open.
        run(as_postgres(&format!("{BIN}/pg_ctl"))
            .args(["-w", "start", "-D"])
            .arg(&data)
            .arg("-l")
            .arg(server.dir.path().join("log"))
            .arg("-o")
            .arg(options));
        server
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn psql(&self, user: &str, database: &str) -> Command {
        let mut command = Command::new(format!("{BIN}/psql"));
        command
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "--set",
                "ON_ERROR_STOP=1",
                "-U",
                user,
                "-d",
                database,
                "-h",
            ])
            .arg(self.dir.path());
        command
    }

    fn ask(&self, query: &str) -> String {
        run(self.psql("postgres", "lab").args(["-c", query]))
            .trim_end()
            .to_string()
    }

    fn load(&self, user: &str, file: &Path) {
        run(self.psql("postgres", "postgres").args([
            "-c",
            "create role lavaserver login",
            "-c",
            "create database lab owner lavaserver",
        ]));
        run(self.psql(user, "lab").stdin(File::open(file).unwrap()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = as_postgres(&format!("{BIN}/pg_ctl"))
            .args(["-m", "immediate", "stop", "-D"])
            .arg(self.data())
            .output();
    }
}

fn root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &str) -> Command {
    let mut command = Command::new(if root() { "runuser" } else { program });
    if root() {
        command.args(["-u", "postgres", "--", program]);
    }
    command.current_dir("/");
    command
}

fn run(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    assert!(
        status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8(stdout).unwrap()
}

fn written(lab: &Lab, dir: &Path) -> PathBuf {
    let file = dir.join("lab.sql");
    sql::write(lab, &mut File::create(&file).unwrap()).unwrap();
    file
}

#[test]
fn the_database_loads_and_agrees_with_the_folders() {
    let lab = Lab {
        jobs: 300,
        job_bytes: 0,
        packed: 0,
        ..Lab::default()
    };
    let dir = TempDir::new().unwrap();
    let server = Server::start();
    server.load("postgres", &written(&lab, dir.path()));
    let root = dir.path().join("root");
    master::write(&lab, &root).unwrap();

    let mut folders: Vec<String> = WalkDir::new(root.join(master::JOB_OUTPUT))
        .min_depth(4)
        .max_depth(4)
        .into_iter()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .strip_prefix(root.join(master::JOB_OUTPUT))
                .unwrap()
                .to_str()
                .unwrap()
                .to_string()
        })
        .collect();
    folders.sort();
    let query = "select to_char(submit_time at time zone 'UTC', 'YYYY/MM/DD/') || id from lava_scheduler_app_testjob where state = 5";
    let answer = server.ask(query);
    let mut rows: Vec<&str> = answer.lines().collect();
    rows.sort_unstable();
    assert_eq!(rows, folders);
    assert_eq!(folders.len(), 300);
    for id in [1, 7, 13, 300, 303, 305] {
        let definition = server.ask(&format!(
            "select definition from lava_scheduler_app_testjob where id = {id}"
        ));
        assert_eq!(definition, lab.job(id).definition().trim_end());
        let comment = server.ask(&format!(
            "select failure_comment from lava_scheduler_app_testjob where id = {id}"
        ));
        assert_eq!(
            comment,
            lab.job(id).failure().unwrap_or_default().trim_end()
        );
    }

    assert_eq!(
        server.ask("select state, count(*) from lava_scheduler_app_testjob group by 1 order by 1"),
        "0|4\n3|3\n5|300"
    );
    let rows: Vec<String> = migrations::applied()
        .map(|(app, name)| format!("{app}|{name}"))
        .collect();
    assert_eq!(
        server
            .ask("select app, name from django_migrations order by id")
            .lines()
            .collect::<Vec<_>>(),
        rows
    );
    let cases: usize = (1..=300).map(|id| lab.job(id).cases().len()).sum();
    assert_eq!(
        server.ask("select count(*) from lava_results_app_testcase"),
        cases.to_string()
    );
    assert_eq!(
        server.ask("select count(*) from lava_results_app_testsuite"),
        "600"
    );
    let devices = lab.devices().to_string();
    assert_eq!(
        server.ask("select count(*) from lava_scheduler_app_device"),
        devices
    );
    assert_eq!(
        server.ask("select token from lava_scheduler_app_worker where hostname = 'rack-b'"),
        lab.worker_token("rack-b")
    );
}

#[test]
fn keys_sequences_and_the_cycle_are_those_of_a_real_master() {
    let lab = Lab {
        jobs: 400,
        ..Lab::default()
    };
    let dir = TempDir::new().unwrap();
    let server = Server::start();
    // As the owner, who is no superuser.
    server.load("lavaserver", &written(&lab, dir.path()));
    assert_eq!(server.ask("select count(*), count(*) filter (where condeferrable and condeferred) from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace"), "9|9");
    assert_eq!(
        server.ask("select count(*) from pg_constraint where contype = 'p' and connamespace = 'public'::regnamespace"),
        "8"
    );
    assert_eq!(server.ask("select count(*) from pg_tables where schemaname = 'public' and tableowner = 'lavaserver'"), "8");
    let cycle = "select count(*) > 10, bool_and(j.actual_device_id = d.hostname and j.health_check and j.state = 5) \
                 from lava_scheduler_app_device d join lava_scheduler_app_testjob j on j.id = d.last_health_report_job_id";
    assert_eq!(server.ask(cycle), "t|t");
    for table in [
        "django_migrations",
        "auth_user",
        "lava_scheduler_app_testjob",
        "lava_results_app_testsuite",
        "lava_results_app_testcase",
    ] {
        let query = format!(
            "select pg_get_serial_sequence('{table}', 'id'), (select max(id) from {table}) = (select last_value from {table}_id_seq)"
        );
        assert_eq!(server.ask(&query), format!("public.{table}_id_seq|t"));
    }
    assert_eq!(server.ask("select count(distinct actual_device_id) from lava_scheduler_app_testjob where state = 3"), "3");
}

#[test]
fn a_lab_without_history_loads_too() {
    let lab = Lab {
        jobs: 0,
        ..Lab::default()
    };
    let dir = TempDir::new().unwrap();
    let server = Server::start();
    server.load("postgres", &written(&lab, dir.path()));
    assert_eq!(
        server.ask("select max(id) from lava_scheduler_app_testjob"),
        "7"
    );
    assert_eq!(
        server.ask("select nextval('lava_results_app_testcase_id_seq')"),
        "1"
    );
}
