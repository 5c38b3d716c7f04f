//! A dump whose server, program or snapshot goes away, or that can't begin.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use lava_backup_pg::archive::TableInfo;
use lava_backup_pg::{
    Address, DumpSink, Dumped, ErrorKind, Pace, Programs, Restore, Result, Scratch, Snapshot,
    Superuser, compare, dump, restore,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::Cluster;
use crate::common::lab::{Kept, STAMP, cluster, server_user, shared};
use crate::trip::{back_from, dumped};

/// Two tables, each larger than all that may lie in pipes and buffers.
const LARGE: &str = "CREATE TABLE a AS SELECT n AS id, repeat(md5(n::text), 100) AS text FROM generate_series(1, 2000) n;
    CREATE TABLE b AS SELECT * FROM a";

/// Does something when the first table begins.
struct AtFirstTable<F> {
    act: Option<F>,
    bytes: usize,
}

impl<F: FnOnce()> DumpSink for AtFirstTable<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len();
        if self.act.is_none() {
            // The heart beats meanwhile.
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn table_begins(&mut self, _: &TableInfo) -> io::Result<()> {
        if let Some(act) = self.act.take() {
            act();
        }
        Ok(())
    }
}

fn dump_and(snapshot: &mut Snapshot, act: impl FnOnce()) -> (Result<Dumped>, usize) {
    let mut sink = AtFirstTable {
        act: Some(act),
        bytes: 0,
    };
    let dumped = dump(snapshot, Pace::Unlimited, &mut sink);
    (dumped, sink.bytes)
}

fn snapshot(cluster: &Scratch, database: &str) -> Snapshot {
    Snapshot::take(&cluster.address(database)).unwrap()
}

/// Somebody else, who migrates it.
fn client(cluster: &Scratch, database: &str) -> postgres::Client {
    let address = cluster.address(database);
    let mut config = postgres::Config::new();
    config
        .host_path(&address.host)
        .port(address.port)
        .user("postgres");
    config.dbname(database).application_name("migrate");
    config.connect(postgres::NoTls).unwrap()
}

/// The processes of the server that stand for the snapshot, or for `pg_dump`.
fn backends(cluster: &Scratch, database: &str, of_dump: bool) -> Vec<i32> {
    let sql = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND application_name = 'lava-backup' \
         AND pid <> pg_backend_pid() AND (state = 'idle in transaction') <> {of_dump}"
    );
    let rows = cluster.superuser().query("postgres", &sql).unwrap();
    rows.iter().map(|row| row[0].parse().unwrap()).collect()
}

/// Waits for what comes by itself; far longer than it takes.
fn wait(mut until: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if until() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come about");
}

/// A scratch server commits without waiting for its log: a crash at once would
/// take the last tables with it.
fn lasting(cluster: &Scratch) {
    cluster.superuser().query("postgres", "CHECKPOINT").unwrap();
}

fn terminate(cluster: &Scratch, pids: &[i32]) {
    for pid in pids {
        let end = format!("SELECT pg_terminate_backend({pid})");
        cluster.superuser().query("postgres", &end).unwrap();
        let there = format!("SELECT FROM pg_stat_activity WHERE pid = {pid}");
        let count = format!("SELECT count(*) FROM ({there}) t");
        wait(|| {
            cluster
                .superuser()
                .value("postgres", &count)
                .unwrap()
                .as_deref()
                == Some("0")
        });
    }
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Ours, of this database.
fn pg_dump_of(database: &str) -> i32 {
    let me = format!("PPid:\t{}\n", std::process::id());
    let dbname = format!("--dbname=dbname='{database}'");
    let found = fs::read_dir("/proc").unwrap().find_map(|process| {
        let process = process.ok()?;
        let pid: i32 = process.file_name().to_str()?.parse().ok()?;
        let ours = fs::read_to_string(process.path().join("status"))
            .ok()?
            .contains(&me);
        let line = fs::read(process.path().join("cmdline")).ok()?;
        let of_it = line.split(|b| *b == 0).any(|arg| arg == dbname.as_bytes());
        (ours && of_it).then_some(pid)
    });
    found.unwrap()
}

#[test]
fn a_dump_whose_snapshot_ends_is_void_and_ends_with_it() {
    let cluster = shared();
    let whole = dumped(&cluster, "void", LARGE).bytes.len();
    let mut holding = snapshot(&cluster, "void");
    holding.set_heartbeat(Duration::from_millis(1));
    // That of the dump before may be on its way out.
    wait(|| backends(&cluster, "void", false).len() == 1);
    let pids = backends(&cluster, "void", false);
    let (result, bytes) = dump_and(&mut holding, || terminate(&cluster, &pids));
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Void, "{error}");
    assert!(bytes < whole, "{bytes} of {whole}");
    wait(|| backends(&cluster, "void", true).is_empty());

    // Noticed at the end where no heart beats.
    let mut holding = snapshot(&cluster, "void");
    let pids = backends(&cluster, "void", false);
    let (result, bytes) = dump_and(&mut holding, || terminate(&cluster, &pids));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Void);
    assert_eq!(bytes, whole);

    // And before it begins.
    let mut holding = snapshot(&cluster, "void");
    terminate(&cluster, &backends(&cluster, "void", false));
    let error = dump(&mut holding, Pace::Unlimited, &mut Kept::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Void, "{error}");
}

#[test]
fn a_dump_program_that_is_killed_leaves_no_dump() {
    let cluster = shared();
    dumped(&cluster, "killed", LARGE);
    let mut holding = snapshot(&cluster, "killed");
    let (result, _) = dump_and(&mut holding, || kill(pg_dump_of("killed")));
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("signal: 9"), "{error}");
    // The snapshot is still good for another.
    assert!(dump(&mut holding, Pace::Unlimited, &mut Kept::default()).is_ok());
}

#[test]
fn a_server_that_crashes_or_is_restarted_ends_the_dump() {
    let cluster = cluster();
    let before = dumped(&cluster, "crash", LARGE);
    lasting(&cluster);
    let mut holding = snapshot(&cluster, "crash");
    let (result, _) = dump_and(&mut holding, || {
        for pid in backends(&cluster, "crash", true) {
            kill(pid);
        }
    });
    let error = result.unwrap_err();
    // The server ends the snapshot's session a moment after the one that died.
    let ended = [ErrorKind::Void, ErrorKind::Failed].contains(&error.kind());
    assert!(ended, "{error}");
    assert!(error.to_string().contains("pg_dump"), "{error}");

    // Back by itself, it holds what it held, and the old snapshot is void.
    while cluster.superuser().query("crash", "SELECT 1").is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let error = dump(&mut holding, Pace::Unlimited, &mut Kept::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Void, "{error}");
    let same = compare(cluster.superuser(), "crash", &before.contents, &mut |_| ()).unwrap();
    assert!(same.holds(), "{same:?}");
    back_from(&cluster, &crate::trip::dump_again(&cluster, "crash"));

    // The whole server, at once.
    let mut holding = snapshot(&cluster, "crash");
    let socket = cluster.address("crash").host;
    let file = Path::new(&socket).with_file_name("data/postmaster.pid");
    let server = fs::read_to_string(file).unwrap();
    let server = server.lines().next().unwrap().parse().unwrap();
    let (result, _) = dump_and(&mut holding, || kill(server));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Void);
}

#[test]
fn a_table_that_an_alter_locks_is_named_with_who_does() {
    let cluster = shared();
    dumped(
        &cluster,
        "locked",
        "CREATE TABLE job (id int); CREATE TABLE free (id int)",
    );
    let mut other = client(&cluster, "locked");
    let mut holding = snapshot(&cluster, "locked");
    holding.set_lock_wait(Duration::from_millis(100)).unwrap();
    let told = holding.query("SHOW lock_timeout").unwrap();
    assert_eq!(told[0][0].as_deref(), Some("100ms"));
    let alter = "BEGIN; ALTER TABLE job ADD COLUMN more int";
    other.batch_execute(alter).unwrap();
    let error = dump(&mut holding, Pace::Unlimited, &mut Kept::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    let said = error.to_string();
    for word in ["public.job", "locked by postgres (migrate, process "] {
        assert!(said.contains(word), "{said}");
    }
    let asked = holding
        .query("SELECT count(*) FROM public.job")
        .unwrap_err();
    assert!(asked.to_string().contains("lock timeout"), "{asked}");
    // Nobody was harmed.
    other.batch_execute("ROLLBACK").unwrap();
    assert!(dump(&mut holding, Pace::Unlimited, &mut Kept::default()).is_ok());
}

#[test]
fn no_time_out_of_the_role_or_the_database_ends_a_dump() {
    let cluster = shared();
    let admin = cluster.superuser();
    dumped(&cluster, "slow", LARGE);
    // Only newer servers know all of them.
    let sql = "SELECT name FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', \
               'idle_in_transaction_session_timeout', 'transaction_timeout')";
    let settings = admin.query("postgres", sql).unwrap().concat();
    assert!(settings.len() >= 3, "{settings:?}");
    for setting in settings {
        let sql = format!("ALTER DATABASE slow SET {setting} = '100ms'");
        admin.query("postgres", &sql).unwrap();
    }
    let mut holding = snapshot(&cluster, "slow");
    let (result, _) = dump_and(&mut holding, || {
        std::thread::sleep(Duration::from_millis(200));
        let sql = "SELECT DISTINCT application_name FROM pg_stat_activity \
                   WHERE datname = 'slow' AND backend_type = 'client backend'";
        let names = admin.query("postgres", sql).unwrap();
        assert_eq!(names, [["lava-backup"]]);
    });
    assert_eq!(result.unwrap().contents.tables.len(), 2);
    assert!(holding.query("SELECT pg_sleep(0.2)").is_ok());
}

#[test]
fn a_comparison_whose_session_is_ended_fails_and_tells_of_no_difference() {
    let cluster = shared();
    let dumped = dumped(&cluster, "ended", "CREATE TABLE job (id int)");
    let mut other = client(&cluster, "ended");
    // It gives up where nobody comes to wait.
    let lock = "SET idle_in_transaction_session_timeout = '1min'; BEGIN; LOCK TABLE job";
    other.batch_execute(lock).unwrap();
    let waiting = || {
        let sql = "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
            WHERE d.datname = 'ended' AND l.relation IS NOT NULL AND NOT l.granted";
        let rows = cluster.superuser().query("ended", sql).unwrap();
        let pids = rows.iter().map(|row| row[0].parse().unwrap());
        pids.collect::<Vec<i32>>()
    };
    let compared = compare(cluster.superuser(), "ended", &dumped.contents, &mut |_| {
        wait(|| !waiting().is_empty());
        terminate(&cluster, &waiting());
    });
    let error = compared.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
}

/// As an upgrade of its package does.
#[test]
fn a_server_that_is_restarted_voids_the_dump_and_fails_the_restore_and_both_work_again() {
    let cluster = Cluster::start();
    cluster.output("createdb", ["lab"]);
    cluster.sql("lab", LARGE);
    let socket = cluster.path("").to_string_lossy().into_owned();
    let socket = socket.trim_end_matches('/');
    let url = format!("host={socket} dbname=lab user=postgres");
    let address = Address::parse(&url).unwrap();
    let mut holding = Snapshot::take(&address).unwrap();
    let (result, _) = dump_and(&mut holding, || cluster.restart());
    let void = result.unwrap_err();
    assert_eq!(void.kind(), ErrorKind::Void, "{void}");

    let mut holding = Snapshot::take(&address).unwrap();
    let mut kept = Kept::default();
    let contents = dump(&mut holding, Pace::Unlimited, &mut kept)
        .unwrap()
        .contents;
    let facts = holding.facts().clone();
    drop(holding);
    let programs = Programs::find(facts.major).unwrap();
    let admin = Superuser::new(programs, server_user(), socket, 5432);
    for jobs in [1, 2] {
        let spec = Restore {
            jobs,
            replace_data: true,
            ..Restore::of(&facts, &contents, STAMP)
        };
        let mut feed = |out: &mut dyn Write| {
            let (begun, rest) = kept.bytes.split_at(kept.bytes.len() / 2);
            out.write_all(begun)?;
            cluster.restart();
            out.write_all(rest)
        };
        let gone = restore(&admin, &spec, &mut feed, &mut |_| ()).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::Connection, "{gone}");
        let same = compare(&admin, "lab", &contents, &mut |_| ()).unwrap();
        assert!(same.holds(), "{same:?}");
        let mut feed = |out: &mut dyn Write| out.write_all(&kept.bytes);
        let restored = restore(&admin, &spec, &mut feed, &mut |_| ()).unwrap();
        assert_eq!(restored.removed.as_deref(), Some("lab_restoring"));
        assert!(restored.comparison.holds());
    }
}
