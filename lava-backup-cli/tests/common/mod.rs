//! A generated lab, its database in a cluster of its own, and the program.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lava_backup_benches::{Lab, master, sql};
use lava_backup_pg::{OsUser, Programs, Scratch};
use serde_json::Value;

/// What a run of the program gave.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("{e}: {}\n{}", self.out, self.err))
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// One clear sentence: it names what it is about, and is one line, or two
    /// with what to do.
    #[track_caller]
    pub fn says(self, code: i32, words: &[&str]) -> Self {
        let ran = self.ends(code);
        for word in words {
            assert!(ran.err.contains(word), "no {word:?} in: {}", ran.err);
        }
        let lines = ran.err.lines().count();
        assert!((1..=2).contains(&lines), "{} lines: {}", lines, ran.err);
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }
}

impl From<Output> for Ran {
    fn from(out: Output) -> Self {
        Self {
            code: out.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&out.stdout).into_owned(),
            err: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lava-backup"));
    command.stdin(Stdio::null()).env_remove("LAVA_BACKUP_STORE");
    command
}

pub fn lava_backup(arguments: &[&str]) -> Ran {
    program().args(arguments).output().unwrap().into()
}

/// A directory with a generated master in it, and a store.
pub struct Host {
    pub dir: tempfile::TempDir,
    pub lab: Lab,
}

impl Host {
    pub fn new(jobs: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab {
            jobs,
            job_bytes: 20_000,
            ..Lab::default()
        };
        master::write(&lab, &dir.path().join("root")).unwrap();
        let host = Self { dir, lab };
        lava_backup(&["init", "--store", &host.store()]).ends(0);
        host
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn text(&self, path: &str) -> String {
        self.at(path).to_str().unwrap().to_owned()
    }

    pub fn store(&self) -> String {
        self.text("store")
    }

    /// Backs the files up, without a database; gives the id.
    pub fn create(&self) -> String {
        let made = self.run(
            "create",
            &["--root", &self.text("root"), "--no-database", "--json"],
        );
        let made = made.ends(0).json();
        made["backup"].as_str().unwrap().to_owned()
    }

    pub fn run(&self, command: &str, arguments: &[&str]) -> Ran {
        let store = self.store();
        let mut all: Vec<&str> = command.split(' ').collect();
        all.extend(["--store", &store]);
        all.extend(arguments);
        lava_backup(&all)
    }
}

/// The unprivileged user that servers run as, if we are root.
pub fn server_user() -> Option<OsUser> {
    if fs::metadata("/proc/self")
        .map(|m| std::os::unix::fs::MetadataExt::uid(&m))
        .unwrap()
        != 0
    {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|l| l.starts_with("postgres:")).unwrap();
    let mut ids = line.split(':').skip(2).map(|id| id.parse().unwrap());
    Some(OsUser {
        uid: ids.next().unwrap(),
        gid: ids.next().unwrap(),
    })
}

pub fn cluster() -> Scratch {
    let programs = Programs::at_least(13).unwrap();
    Scratch::start(&programs, Path::new("/tmp"), server_user()).unwrap()
}

/// Makes LAVA's role and its database, with the rows of a lab if one is given.
pub fn database(cluster: &Scratch, lab: Option<&Lab>) {
    let admin = cluster.superuser();
    let role = "CREATE ROLE lavaserver LOGIN; CREATE DATABASE lavaserver OWNER lavaserver \
                TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'";
    for statement in role.split("; ") {
        admin.query("postgres", statement).unwrap();
    }
    if let Some(lab) = lab {
        let mut script = b"SET ROLE lavaserver;\n".to_vec();
        sql::write(lab, &mut script).unwrap();
        psql(cluster, "lavaserver", &script);
    }
}

fn psql(cluster: &Scratch, database: &str, script: &[u8]) {
    let address = cluster.address(database);
    let mut psql = Command::new("psql")
        .args(["-Xq", "-v", "ON_ERROR_STOP=1"])
        .env("PGHOST", &address.host)
        .env("PGPORT", address.port.to_string())
        .env("PGUSER", &address.user)
        .env("PGDATABASE", database)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    psql.stdin.take().unwrap().write_all(script).unwrap();
    assert!(psql.wait().unwrap().success());
}

pub fn url(cluster: &Scratch, database: &str) -> String {
    let address = cluster.address(database);
    format!(
        "host={} port={} user=lavaserver dbname={database}",
        address.host, address.port
    )
}

/// The blocks of `docs/RECOVERY.md` that begin with a fence of `sh`: the first says where
/// a store is, the second, where a file is, and the others go with either.
pub fn recovery_blocks() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/RECOVERY.md");
    let page = fs::read_to_string(page).unwrap();
    let mut blocks = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (line, blocks.last_mut()) {
            ("```sh", _) => {
                inside = true;
                blocks.push(String::new());
            }
            ("```", _) => inside = false,
            (line, Some(block)) if inside => *block += &format!("{line}\n"),
            _ => {}
        }
    }
    blocks
}

/// Says that a test did not run, and why: for people, and for `scripts/test`.
#[allow(clippy::print_stdout)]
pub fn skip(test: &str, why: &str) {
    println!("skipped: {test}: {why}");
    if let Some(list) = std::env::var_os("LAVA_BACKUP_SKIPPED") {
        let mut list = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(list)
            .unwrap();
        std::io::Write::write_all(&mut list, format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}
