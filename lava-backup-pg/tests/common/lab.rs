//! A database dumped, brought back and compared, on scratch clusters.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lava_backup_pg::archive::{DumpContents, TableInfo};
use lava_backup_pg::{
    DumpSink, OsUser, Pace, Password, Programs, Restore, Restored, Result, Scratch, Snapshot, dump,
    restore,
};

/// The unprivileged user that servers run as, if we are root.
pub(crate) fn server_user() -> Option<OsUser> {
    if !rustix::process::geteuid().is_root() {
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

pub(crate) fn cluster() -> Scratch {
    cluster_in(Path::new("/tmp"))
}

pub(crate) fn cluster_in(parent: &Path) -> Scratch {
    let programs = Programs::at_least(13).unwrap();
    Scratch::start(&programs, parent, server_user()).unwrap()
}

/// One cluster for the tests of a program that do no harm to it; gone with the
/// last of them.
pub(crate) fn shared() -> Arc<Scratch> {
    static SHARED: Mutex<Weak<Scratch>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let started = Arc::new(cluster());
        *shared = Arc::downgrade(&started);
        started
    })
}

/// A dump that is kept in memory.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) bytes: Vec<u8>,
    pub(crate) tables: Vec<String>,
}

impl DumpSink for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn table_begins(&mut self, table: &TableInfo) -> io::Result<()> {
        self.tables.push(table.name.clone());
        Ok(())
    }
}

pub(crate) fn dump_of(cluster: &Scratch, database: &str) -> (Kept, DumpContents) {
    let mut snapshot = Snapshot::take(&cluster.address(database)).unwrap();
    let mut kept = Kept::default();
    let contents = dump(&mut snapshot, Pace::Unlimited, &mut kept)
        .unwrap()
        .contents;
    (kept, contents)
}

pub(crate) const STAMP: &str = "20261122";

/// To be restored as `lab`, which is LAVA's.
pub(crate) fn spec(contents: &DumpContents) -> Restore<'_> {
    Restore {
        database: "lab".into(),
        owner: "lavaserver".into(),
        password: Some(Password::new("new")),
        roles: Vec::new(),
        encoding: "UTF8".into(),
        collate: "C.UTF-8".into(),
        ctype: "C.UTF-8".into(),
        provider: "libc".into(),
        locale: None,
        grants: None,
        connection_limit: None,
        mark: None,
        contents,
        holds_data: "SELECT count(*) FROM public.job".into(),
        replace_data: false,
        low_sequences: false,
        stamp: STAMP.into(),
        jobs: 2,
    }
}

pub(crate) fn bring(cluster: &Scratch, spec: &Restore<'_>, bytes: &[u8]) -> Result<Restored> {
    let mut feed = |out: &mut dyn Write| out.write_all(bytes);
    restore(cluster.superuser(), spec, &mut feed, &mut |_| ())
}

/// The databases whose names begin so.
pub(crate) fn databases(cluster: &Scratch, like: &str) -> Vec<String> {
    let sql =
        format!("SELECT datname FROM pg_database WHERE starts_with(datname, '{like}') ORDER BY 1");
    let rows = cluster.superuser().query("postgres", &sql).unwrap();
    rows.into_iter().flatten().collect()
}

/// Says that a test did not run, and why: for people, and for `scripts/test`.
#[allow(clippy::print_stdout)]
pub(crate) fn skip(test: &str, why: &str) {
    println!("skipped: {test}: {why}");
    if let Some(list) = std::env::var_os("LAVA_BACKUP_SKIPPED") {
        let list = fs::OpenOptions::new().append(true).create(true).open(list);
        writeln!(list.unwrap(), "{test}: {why}").unwrap();
    }
}

/// What a script for `psql` answers: rows of fields. Nothing of ours is asked.
pub(crate) fn script(cluster: &Scratch, database: &str, script: &str) -> Vec<Vec<String>> {
    let address = cluster.address(database);
    let mut psql = Command::new("psql")
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-F", "\u{1f}", "-0"])
        .env("PGHOST", &address.host)
        .env("PGPORT", address.port.to_string())
        .env("PGUSER", &address.user)
        .env("PGDATABASE", database)
        .env("PGCLIENTENCODING", "UTF8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may stop reading at the first error, which it tells.
    let _ = psql.stdin.take().unwrap().write_all(script.as_bytes());
    let out = psql.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{script}: {said}");
    let text = String::from_utf8(out.stdout).unwrap();
    let rows = text.split_terminator('\0').filter(|row| !row.is_empty());
    rows.map(|row| row.split('\u{1f}').map(str::to_owned).collect())
        .collect()
}
