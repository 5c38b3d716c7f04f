//! A scratch PostgreSQL cluster: real, reachable through a socket in a directory of its own, gone
//! with the value that stands for it.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

pub(crate) mod lab;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

pub(crate) struct Cluster {
    dir: TempDir,
    bin: PathBuf,
    /// The server refuses to run as root.
    user: Option<(u32, u32)>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::start_as(&["-E", "UTF8", "--locale=C.UTF-8"])
    }

    /// One whose own databases are as `initdb` is told.
    pub(crate) fn start_as(made: &[&str]) -> Self {
        let bin = fs::read_dir("/usr/lib/postgresql")
            .expect("these tests need PostgreSQL as Debian packages it")
            .map(|entry| entry.unwrap().path().join("bin"))
            .filter(|bin| bin.join("initdb").exists())
            .max()
            .expect("these tests need a PostgreSQL server");
        let dir = TempDir::with_prefix("pg").unwrap();
        let user = rustix::process::geteuid().is_root().then(postgres_user);
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        let cluster = Self { dir, bin, user };
        let data = cluster.dir.path().join("data");
        cluster.run("initdb", |c| {
            c.args(["--no-sync", "-A", "trust", "-U", "postgres"])
                .args(made)
                .arg(&data)
        });
        let conf = data.join("postgresql.auto.conf");
        let socket = cluster.dir.path().display();
        fs::write(
            conf,
            format!("listen_addresses = ''\nunix_socket_directories = '{socket}'\nfsync = off\nmax_connections = 20\nshared_buffers = '16MB'\n"),
        )
        .unwrap();
        cluster.run("pg_ctl", |c| {
            c.args(["start", "--wait", "--silent", "-D"])
                .arg(&data)
                .arg("-l")
                .arg(cluster.dir.path().join("log"))
        });
        cluster
    }

    /// A command of PostgreSQL that finds the cluster by itself.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .env_clear()
            .env("PGHOST", self.dir.path())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", "postgres")
            .env("PGCLIENTENCODING", "UTF8")
            .env(
                "PGOPTIONS",
                "-c extra_float_digits=3 -c synchronize_seqscans=off",
            )
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// What a command printed, which must succeed.
    pub(crate) fn output<A: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Vec<u8> {
        let output = self.command(program).args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {stderr}");
        output.stdout
    }

    /// Its major version, such as `15`.
    pub(crate) fn major(&self) -> &str {
        let of_bin = self.bin.parent().and_then(|dir| dir.file_name());
        of_bin.and_then(OsStr::to_str).unwrap()
    }

    /// Runs SQL and gives what it returns: rows end with a newline, fields with a tab.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> Vec<u8> {
        self.output(
            "psql",
            [
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-F",
                "\t",
                "-d",
                database,
                "-c",
                sql,
            ],
        )
    }

    /// A dump as lava-backup makes it, through a pipe.
    pub(crate) fn dump(&self, database: &str) -> Vec<u8> {
        self.output("pg_dump", ["-Fc", "-Z0", database])
    }

    /// A path that the server's user can write to.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Comes and goes as its package would have it, with more in its settings.
    pub(crate) fn restart_with(&self, settings: &str) {
        let data = self.dir.path().join("data");
        let conf = fs::OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.auto.conf"));
        conf.unwrap().write_all(settings.as_bytes()).unwrap();
        self.run("pg_ctl", |c| {
            c.args(["restart", "--wait", "--silent", "--mode=fast", "-D"])
                .arg(&data)
                .arg("-l")
                .arg(self.dir.path().join("log"))
        });
    }

    pub(crate) fn restart(&self) {
        self.restart_with("");
    }

    /// No standard output is kept: the server would hold it open.
    fn run(&self, program: &str, args: impl FnOnce(&mut Command) -> &mut Command) {
        let mut command = self.command(program);
        args(&mut command).stdout(Stdio::null());
        assert!(command.status().unwrap().success(), "{program} failed");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "--wait", "--silent", "--mode=immediate", "-D"]);
        let _ = stop.arg(self.dir.path().join("data")).status();
    }
}

fn postgres_user() -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let ids: Vec<u32> = line
        .expect("there is a user postgres")
        .split(':')
        .skip(2)
        .take(2)
        .map(|id| id.parse().unwrap())
        .collect();
    (ids[0], ids[1])
}
