//! One database takes the place of another, whoever is in the way and wherever
//! it is interrupted.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::lab::{STAMP, bring, cluster, databases, dump_of, script, server_user, spec};
use lava_backup_pg::archive::DumpContents;
use lava_backup_pg::{
    ErrorKind, Programs, Restore, Restored, Scratch, Stage, Superuser, compare, restore,
};
use rustix::process::{Pid, Signal, getpid, kill_process};

const LAB: &str = "
    CREATE ROLE lavaserver LOGIN PASSWORD 'old';
    CREATE DATABASE lab OWNER lavaserver TEMPLATE template0;
    \\connect lab
    CREATE TABLE job (id serial PRIMARY KEY, name text);
    INSERT INTO job (name) SELECT 'job ' || n FROM generate_series(1, 500) n;
    ALTER TABLE job OWNER TO lavaserver;
";

/// A cluster with a database `lab`, a dump of it, and one row more in the
/// database than in the dump.
fn lab() -> (Scratch, Vec<u8>, DumpContents) {
    let cluster = cluster();
    let admin = cluster.superuser();
    script(&cluster, "postgres", LAB);
    let (kept, contents) = dump_of(&cluster, "lab");
    let later = "INSERT INTO public.job (name) VALUES ('later')";
    admin.query("lab", later).unwrap();
    // A scratch server commits without waiting for its log, and is made to crash.
    admin.query("postgres", "CHECKPOINT").unwrap();
    (cluster, kept.bytes, contents)
}

fn replacing(contents: &DumpContents) -> Restore<'_> {
    let mut spec = spec(contents);
    spec.replace_data = true;
    spec
}

fn bring_and(
    admin: &Superuser,
    spec: &Restore<'_>,
    bytes: &[u8],
    mut at: impl FnMut(Stage<'_>),
) -> lava_backup_pg::Result<Restored> {
    restore(admin, spec, &mut |out| out.write_all(bytes), &mut at)
}

fn jobs(cluster: &Scratch, database: &str) -> String {
    let count = "SELECT count(*) FROM public.job";
    cluster.superuser().value(database, count).unwrap().unwrap()
}

fn client(cluster: &Scratch, database: &str) -> postgres::Client {
    let address = cluster.address(database);
    let mut config = postgres::Config::new();
    config.host_path(&address.host).port(address.port);
    config.user("postgres").dbname(database);
    config.connect(postgres::NoTls).unwrap()
}

/// A monitor looks into every database that it finds.
#[test]
fn sessions_that_came_meanwhile_are_ended_by_the_swap_and_come_back_to_the_new_database() {
    let (cluster, bytes, contents) = lab();
    let mut others = Vec::new();
    let restored = bring_and(
        cluster.superuser(),
        &replacing(&contents),
        &bytes,
        |stage| {
            if stage == Stage::Swapping {
                others.push(client(&cluster, "lab"));
                others.push(client(&cluster, "lab_restoring"));
            }
        },
    );
    assert!(restored.unwrap().comparison.holds());
    assert_eq!(others.len(), 2);
    for other in &mut others {
        assert!(other.simple_query("SELECT 1").is_err());
    }
    assert_eq!(jobs(&cluster, "lab"), "500");
    assert_eq!(jobs(&cluster, "lab_before_20261122"), "501");
    let planned = "SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'job'";
    let planned = cluster.superuser().value("lab", planned).unwrap();
    assert_eq!(planned.as_deref(), Some("t"), "there are no statistics");
    // Neither is an unfinished one, for anybody to drop.
    let marks = "SELECT count(*) FROM pg_shdescription d JOIN pg_database b ON b.oid = d.objoid \
        WHERE d.description LIKE 'lava-backup%'";
    let marks = cluster.superuser().value("postgres", marks).unwrap();
    assert_eq!(marks.as_deref(), Some("0"));
}

#[test]
fn a_swap_that_fails_leaves_the_old_database_open_its_role_as_it_was_and_nothing_beside() {
    let (cluster, bytes, contents) = lab();
    let admin = cluster.superuser();
    let verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'lavaserver'";
    let before = admin.value("postgres", verifier).unwrap();
    let aside = "CREATE DATABASE lab_before_20261122";
    let failed = bring_and(admin, &replacing(&contents), &bytes, |stage| {
        if stage == Stage::Swapping {
            admin.query("postgres", aside).unwrap();
        }
    });
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Query);
    assert_eq!(databases(&cluster, "lab"), ["lab", "lab_before_20261122"]);
    assert_eq!(jobs(&cluster, "lab"), "501");
    assert_eq!(admin.value("postgres", verifier).unwrap(), before);
    // A server logs what fails, in full.
    let log = Path::new(&cluster.address("lab").host).with_file_name("server.log");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains(" RENAME TO "), "{log}");
    assert!(!log.contains("SCRAM-SHA-256$"), "{log}");

    // Now that it is there from the beginning, both are kept.
    let restored = bring(&cluster, &replacing(&contents), &bytes).unwrap();
    assert_eq!(restored.kept.as_deref(), Some("lab_before_20261122_2"));
    assert_eq!(
        databases(&cluster, "lab"),
        ["lab", "lab_before_20261122", "lab_before_20261122_2"]
    );
    assert_eq!(jobs(&cluster, "lab_before_20261122_2"), "501");
    assert_ne!(admin.value("postgres", verifier).unwrap(), before);
}

#[test]
fn data_that_came_while_the_dump_was_loaded_is_not_put_aside() {
    let (cluster, bytes, contents) = lab();
    let admin = cluster.superuser();
    admin.query("lab", "DELETE FROM public.job").unwrap();
    let refused = bring_and(admin, &spec(&contents), &bytes, |stage| {
        if matches!(stage, Stage::Loading(_)) {
            let row = "INSERT INTO public.job (name) VALUES ('new')";
            admin.query("lab", row).unwrap();
        }
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::HoldsData);
    assert_eq!(databases(&cluster, "lab"), ["lab"]);
    assert_eq!(jobs(&cluster, "lab"), "1");
}

#[test]
fn two_restores_of_one_database_do_not_meet() {
    let (cluster, bytes, contents) = lab();
    let mut second = None;
    let first = bring_and(
        cluster.superuser(),
        &replacing(&contents),
        &bytes,
        |stage| {
            if stage == Stage::Analysing {
                second = Some(bring(&cluster, &replacing(&contents), &bytes));
            }
        },
    );
    let refused = second.unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains("another restore"), "{refused}");
    assert!(first.is_ok());
}

/// A run that was killed leaves what it had begun at work on the server.
#[test]
fn an_unfinished_database_is_removed_though_somebody_is_in_it() {
    let (cluster, bytes, contents) = lab();
    let admin = cluster.superuser();
    let left = "CREATE DATABASE lab_restoring; \
        COMMENT ON DATABASE lab_restoring IS 'lava-backup: being restored'";
    script(&cluster, "postgres", left);
    let mut at_work = client(&cluster, "lab_restoring");
    let restored = bring(&cluster, &replacing(&contents), &bytes).unwrap();
    assert_eq!(restored.removed.as_deref(), Some("lab_restoring"));
    assert!(at_work.simple_query("SELECT 1").is_err());
    assert_eq!(databases(&cluster, "lab_restoring"), [""; 0]);

    // One that is not ours to remove stays.
    let theirs = "CREATE DATABASE lab_restoring";
    admin.query("postgres", theirs).unwrap();
    let mut later = replacing(&contents);
    later.stamp = "later".into();
    let refused = bring(&cluster, &later, &bytes).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(
        refused
            .to_string()
            .contains("not an unfinished one of ours")
    );
    assert_eq!(databases(&cluster, "lab_restoring"), ["lab_restoring"]);
}

#[test]
fn a_name_that_leaves_no_room_for_the_names_beside_it_is_refused() {
    let (cluster, bytes, contents) = lab();
    let mut long = replacing(&contents);
    long.database = "n".repeat(63 - "_before_".len() - STAMP.len());
    assert!(bring(&cluster, &long, &bytes).is_ok());
    long.database.push('n');
    let refused = bring(&cluster, &long, &bytes).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains("63 bytes"), "{refused}");
}

/// As the kernel does when memory is short: the server ends all its sessions and
/// recovers.
#[test]
fn a_server_that_crashes_under_a_restore_keeps_the_old_database_and_the_next_one_clears_up() {
    let (cluster, bytes, contents) = lab();
    let admin = cluster.superuser();
    // Who loads may still be on its way.
    let pid = |sql: &str| -> i32 {
        loop {
            if let Some(pid) = admin.value("postgres", sql).unwrap() {
                return pid.parse().unwrap();
            }
        }
    };
    let mut feed = |out: &mut dyn Write| {
        let (begun, rest) = bytes.split_at(bytes.len() * 2 / 3);
        out.write_all(begun)?;
        let loading = pid("SELECT pid FROM pg_stat_activity WHERE datname = 'lab_restoring'");
        let other = pid("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
        kill_process(Pid::from_raw(other).unwrap(), Signal::KILL).unwrap();
        while Path::new("/proc").join(loading.to_string()).exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        out.write_all(rest)
    };
    let failed = restore(admin, &replacing(&contents), &mut feed, &mut |_| ());
    // That says nothing against the dump.
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Connection);
    while admin.query("postgres", "SELECT 1").is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(jobs(&cluster, "lab"), "501");
    let left = databases(&cluster, "lab_restoring").pop();
    let restored = bring(&cluster, &replacing(&contents), &bytes).unwrap();
    assert_eq!(restored.removed, left);
    assert_eq!(jobs(&cluster, "lab"), "500");
}

/// The rows are loaded without waiting for the disk; who swaps them in waits.
#[test]
fn a_server_that_crashes_right_after_a_restore_has_the_new_database_whole() {
    let (cluster, bytes, contents) = lab();
    let admin = cluster.superuser();
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    let checkpointer = admin.value("postgres", sql).unwrap().unwrap();
    let checkpointer = Pid::from_raw(checkpointer.parse().unwrap()).unwrap();
    bring(&cluster, &replacing(&contents), &bytes).unwrap();
    kill_process(checkpointer, Signal::KILL).unwrap();
    while admin.query("postgres", "SELECT 1").is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let again = compare(admin, "lab", &contents, &mut |_| ()).unwrap();
    assert!(again.holds(), "{again:?}");
    assert_eq!(jobs(&cluster, "lab_before_20261122"), "501");
}

/// A way to a server that ends when a session that has renamed databases asks for
/// that to last: after that has come to the server, or before.
fn deaf_way(to: &Scratch, dir: &Path, after: bool) -> Superuser {
    let at = dir.join(".s.PGSQL.5432");
    let listener = UnixListener::bind(&at).unwrap();
    for path in [dir, &at] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let server = Path::new(&to.address("lab").host).join(".s.PGSQL.5432");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = UnixStream::connect(&server).unwrap();
            let deaf = Arc::new(AtomicBool::new(false));
            let (asks, answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let hears = Arc::clone(&deaf);
            std::thread::spawn(move || {
                let mut renames = false;
                pass(asks, &server, |said| {
                    let says = |word: &[u8]| said.windows(word.len()).any(|w| w == word);
                    renames |= says(b" RENAME TO ");
                    let commits = renames && says(b"COMMIT\0");
                    deaf.fetch_or(commits, Ordering::SeqCst);
                    after || !commits
                })
            });
            std::thread::spawn(move || {
                pass(answers, &client, |_| !hears.load(Ordering::SeqCst));
            });
        }
    });
    let programs = to.superuser().programs().clone();
    Superuser::new(programs, server_user(), dir.to_str().unwrap(), 5432)
}

/// Passes on what comes, until it must not; then both ends hear of it.
fn pass(mut from: UnixStream, mut to: &UnixStream, mut may: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !may(&buffer[..read]) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_swap_whose_answer_is_lost_is_seen_by_its_names() {
    let (cluster, bytes, contents) = lab();
    let dir = tempfile::tempdir().unwrap();
    let admin = deaf_way(&cluster, dir.path(), true);
    let restored = bring_and(&admin, &replacing(&contents), &bytes, |_| ());
    let kept = restored.unwrap().kept;
    assert_eq!(kept.as_deref(), Some("lab_before_20261122"));
    assert_eq!(jobs(&cluster, "lab"), "500");

    // And where there was none.
    let mut fresh = replacing(&contents);
    fresh.database = "fresh".into();
    let restored = bring_and(&admin, &fresh, &bytes, |_| ());
    assert_eq!(restored.unwrap().kept, None);
    assert_eq!(databases(&cluster, "fresh"), ["fresh"]);
}

#[test]
fn a_swap_that_the_server_has_not_heard_of_is_none() {
    let (cluster, bytes, contents) = lab();
    let dir = tempfile::tempdir().unwrap();
    let admin = deaf_way(&cluster, dir.path(), false);
    let failed = bring_and(&admin, &replacing(&contents), &bytes, |_| ());
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Connection);
    assert_eq!(jobs(&cluster, "lab"), "501");

    // What it has left is no other's.
    let restored = bring(&cluster, &replacing(&contents), &bytes).unwrap();
    assert_eq!(restored.removed.as_deref(), Some("lab_restoring"));
    assert_eq!(jobs(&cluster, "lab"), "500");
}

/// What it has begun may be another's by then.
#[test]
fn a_restore_that_has_lost_its_turn_leaves_what_is_there() {
    let (cluster, bytes, contents) = lab();
    let admin = cluster.superuser();
    let holders = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks \
        WHERE locktype = 'advisory'";
    let mut bent = bytes.clone();
    let at = bent.windows(7).position(|w| w == b"job 321").unwrap();
    bent[at + 4] = b'9';
    for jobs in [1, 2] {
        let mut spec = replacing(&contents);
        spec.jobs = jobs;
        let differs = bring_and(admin, &spec, &bent, |stage| {
            if stage == Stage::Analysing {
                admin.query("postgres", holders).unwrap();
            }
        });
        assert_eq!(differs.unwrap_err().kind(), ErrorKind::Differs);
        assert_eq!(databases(&cluster, "lab"), ["lab", "lab_restoring"]);
    }
}

const VICTIM: &str = "LAVA_BACKUP_TEST_VICTIM";

/// Not a test of its own: what [`killed_at_any_step`] starts and what ends by its
/// own hand, as `kill -9` would end it.
#[test]
fn a_restore_that_kills_itself() {
    let Ok(told) = std::env::var(VICTIM) else {
        return;
    };
    let [socket, dump, stage, after]: [&str; 4] =
        told.split('|').collect::<Vec<_>>().try_into().unwrap();
    let after = Duration::from_millis(after.parse().unwrap());
    let contents = read(dump);
    let programs = Programs::at_least(13).unwrap();
    let admin = Superuser::new(programs, server_user(), socket, 5432);
    let bytes = fs::read(dump).unwrap();
    let die = || kill_process(getpid(), Signal::KILL).unwrap();
    let _ = bring_and(&admin, &replacing(&contents), &bytes, |at| {
        if format!("{at:?}").starts_with(stage) {
            if after.is_zero() {
                die();
            }
            std::thread::spawn(move || {
                std::thread::sleep(after);
                die();
            });
        }
    });
    // The swap was quicker.
    die();
}

/// What the dump at that path holds.
fn read(dump: &str) -> DumpContents {
    let mut reader = lava_backup_pg::archive::DumpReader::new();
    reader.feed(&fs::read(dump).unwrap(), &mut ()).unwrap();
    reader.finish().unwrap()
}

#[test]
fn a_restore_killed_at_any_step_leaves_a_whole_database_open_and_the_next_one_clears_up() {
    let (cluster, bytes, contents) = lab();
    let dir = tempfile::tempdir().unwrap();
    let dump = dir.path().join("dump");
    fs::write(&dump, &bytes).unwrap();
    let socket = cluster.address("lab").host;
    let steps = ["Loading", "Analysing", "Comparing"].map(|step| (step, 0));
    let moments = [0, 5, 15, 30, 50, 80].map(|moment| ("Swapping", moment));
    for (run, (step, after)) in steps.into_iter().chain(moments).enumerate() {
        let dump = dump.display();
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_restore_that_kills_itself"])
            .env(VICTIM, format!("{socket}|{dump}|{step}|{after}"))
            .output()
            .unwrap();
        assert_eq!(ended.status.signal(), Some(9), "{step}: {ended:?}");
        settle(&cluster);

        let found = databases(&cluster, "lab");
        let swapped = found.contains(&"lab_before_20261122".to_owned());
        let left = found.contains(&"lab_restoring".to_owned());
        assert_ne!(swapped, left, "{step} after {after} ms: {found:?}");
        assert!(!swapped || step == "Swapping", "{step}: {found:?}");
        let wanted = if swapped { "500" } else { "501" };
        assert_eq!(jobs(&cluster, "lab"), wanted, "{step} after {after} ms");

        let mut again = replacing(&contents);
        again.stamp = format!("run_{run}");
        let restored = bring(&cluster, &again, &bytes).unwrap();
        assert_eq!(restored.removed.is_some(), left, "{step}");
        assert!(!databases(&cluster, "lab_restoring").iter().any(|_| true));
        let admin = cluster.superuser();
        admin
            .query("lab", "INSERT INTO public.job (name) VALUES ('later')")
            .unwrap();
        let aside = "DROP DATABASE IF EXISTS lab_before_20261122";
        admin.query("postgres", aside).unwrap();
    }
    assert!(Path::new(&socket).exists());
}

/// What a killed restore had begun on the server comes to its end by itself.
fn settle(cluster: &Scratch) {
    let others = "SELECT count(*) FROM pg_stat_activity \
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    while cluster
        .superuser()
        .value("postgres", others)
        .unwrap()
        .unwrap()
        != "0"
    {
        std::thread::sleep(Duration::from_millis(10));
    }
}
