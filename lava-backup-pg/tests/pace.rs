//! A dump and the work of others on a real server: what is seen of it, and what it
//! does to the pace.
#![allow(clippy::unwrap_used)]

mod common;

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::lab::{cluster, script};
use lava_backup_pg::archive::TableInfo;
use lava_backup_pg::{Address, DumpSink, ErrorKind, Pace, Scratch, Snapshot, WorkOfOthers, dump};

const LAB: &str = "
    CREATE ROLE lavaserver LOGIN;
    CREATE DATABASE lab OWNER lavaserver;
    \\connect lab
    SET ROLE lavaserver;
    CREATE TABLE job AS SELECT n AS id FROM generate_series(1, 5000) n;
";

/// Somebody else on the server.
fn psql(cluster: &Scratch, sql: &str) -> Command {
    let host = cluster.address("lab").host;
    let mut psql = Command::new("psql");
    psql.args(["-XAtq", "-U", "postgres", "-h", &host, "lab", "-c", sql])
        .stderr(Stdio::null());
    psql
}

/// Ends whoever sleeps there. The server ends with the cluster; psql is ours.
fn leave(cluster: &Scratch, other: &mut Child) {
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'";
    cluster.superuser().query("postgres", end).unwrap();
    other.wait().unwrap();
}

fn until(snapshot: &mut Snapshot, there: &dyn Fn(WorkOfOthers) -> bool) {
    for _ in 0..3000 {
        if there(snapshot.work_of_others().unwrap()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it was never seen");
}

#[test]
fn work_of_others_is_seen_and_our_own_is_not() {
    let cluster = cluster();
    let admin = cluster.superuser();
    script(&cluster, "postgres", LAB);
    admin.query("postgres", "CREATE DATABASE large").unwrap();
    // More than the pipe to us holds, so that the server waits for us.
    let large = "CREATE TABLE public.t AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)";
    admin.query("large", large).unwrap();
    let mut snapshot = Snapshot::take(&cluster.address("lab")).unwrap();
    // pg_dump is at work while its rows are held back here.
    struct Look<'s>(&'s mut Snapshot, Vec<u64>);
    impl DumpSink for Look<'_> {
        fn write(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn table_begins(&mut self, _: &TableInfo) -> io::Result<()> {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
                       AND application_name = 'lava-backup' AND pid <> pg_backend_pid()";
            let ours = self.0.query(sql).unwrap()[0][0].clone().unwrap();
            if ours != "0" {
                self.1.push(self.0.work_of_others().unwrap().sessions);
            }
            Ok(())
        }
    }
    let mut of_dump = Snapshot::take(&cluster.address("large")).unwrap();
    let mut look = Look(&mut snapshot, Vec::new());
    dump(&mut of_dump, Pace::Yielding, &mut look).unwrap();
    assert!(!look.1.is_empty(), "the dump was not seen at work");
    assert!(look.1.iter().all(|sessions| *sessions == 0), "{:?}", look.1);

    let nobody = snapshot.work_of_others().unwrap();
    assert_eq!(nobody.sessions, 0);
    let psql = |sql: &str| psql(&cluster, sql);
    assert!(psql("CREATE TABLE more ()").status().unwrap().success());
    until(&mut snapshot, &|seen| {
        seen.transactions > nobody.transactions
    });
    let mut other = psql("SELECT pg_sleep(600)").spawn().unwrap();
    until(&mut snapshot, &|seen| seen.sessions == 1);
    leave(&cluster, &mut other);
    until(&mut snapshot, &|seen| seen.sessions == 0);
}

#[test]
fn a_server_that_does_not_tell_who_is_at_work_is_dumped_all_the_same() {
    let cluster = cluster();
    let admin = cluster.superuser();
    script(&cluster, "postgres", LAB);
    let sql = "REVOKE SELECT ON pg_catalog.pg_stat_activity FROM PUBLIC";
    admin.query("lab", sql).unwrap();
    let by_lava = Address {
        user: "lavaserver".into(),
        ..cluster.address("lab")
    };
    let mut snapshot = Snapshot::take(&by_lava).unwrap();
    let untold = snapshot.work_of_others().unwrap_err();
    assert_eq!(untold.kind(), ErrorKind::Query, "{untold}");
    // It looks at least once.
    struct Slow;
    impl DumpSink for Slow {
        fn write(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn table_begins(&mut self, _: &TableInfo) -> io::Result<()> {
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        }
    }
    let dumped = dump(&mut snapshot, Pace::Yielding, &mut Slow).unwrap();
    assert_eq!(dumped.contents.table("public", "job").unwrap().rows, 5000);
}
