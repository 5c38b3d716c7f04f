//! A disk that is full below the cluster.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use lava_backup_pg::{ErrorKind, Scratch, Stage, restore};

use crate::common::lab::{bring, cluster_in, databases, skip};
use crate::trip::{dumped, rows};

/// Where the small disk is; only the process that is told sees it.
const DISK: &str = "LAVA_BACKUP_TEST_SMALL_DISK";

/// It is gone with the processes that see it.
const SCRIPT: &str = r#"mount -t tmpfs -o size=300m,mode=711 none "$1" || exit 77
shift
exec "$@""#;

#[test]
fn a_disk_that_fills_while_a_dump_is_loaded_leaves_the_old_database() {
    on_a_small_disk(
        "full_disk::a_disk_that_fills_while_a_dump_is_loaded_leaves_the_old_database",
        fills_under_the_cluster,
    );
}

#[test]
fn a_disk_that_fills_while_indexes_are_made_is_no_reason_to_load_once_more() {
    on_a_small_disk(
        "full_disk::a_disk_that_fills_while_indexes_are_made_is_no_reason_to_load_once_more",
        fills_under_indexes,
    );
}

/// Runs a test once more, in a process that sees a disk of 300 MB.
fn on_a_small_disk(test: &str, run: impl FnOnce(&Path)) {
    if let Some(disk) = std::env::var_os(DISK) {
        return run(Path::new(&disk));
    }
    let disk = tempfile::tempdir().unwrap();
    let out = Command::new("unshare")
        .args(["--mount", "sh", "-uc", SCRIPT, "sh"])
        .arg(disk.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(DISK, disk.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    if out.status.code() == Some(77) || out.status.code() == Some(1) {
        return skip(test, "can't mount a small disk here");
    }
    assert!(out.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

fn fills_under_the_cluster(disk: &Path) {
    let cluster = cluster_in(disk);
    // Rows of an unlogged table fill no log, which would end the server itself.
    let script = "CREATE UNLOGGED TABLE t (id int, a text);
        ALTER TABLE t ALTER a SET STORAGE EXTERNAL;
        INSERT INTO t SELECT n, repeat('x', 100000) FROM generate_series(1, 250) n";
    let dumped = dumped(&cluster, "small", script);
    let admin = cluster.superuser();
    let before = rows(&cluster, "small");
    make_room_for_the_log(&cluster);
    let other = disk.join("other");
    let mut feed = |out: &mut dyn Write| out.write_all(&dumped.bytes);
    let restored = restore(admin, &dumped.spec("small"), &mut feed, &mut |stage| {
        if matches!(stage, Stage::Loading(_)) {
            fill_but(&other, 20 << 20);
        }
    });
    let refused = restored.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Io, "{refused}");
    assert!(tells_of_a_full_disk(&refused.to_string()), "{refused}");
    assert_eq!(databases(&cluster, "small"), ["small"]);
    assert_eq!(rows(&cluster, "small"), before);

    // With room it works: nothing of the first try is in the way.
    fs::remove_file(other).unwrap();
    assert!(bring(&cluster, &dumped.spec("small"), &dumped.bytes).is_ok());
}

fn fills_under_indexes(disk: &Path) {
    let cluster = cluster_in(disk);
    // Twelve megabytes of rows, and as much of each index.
    let script = "CREATE UNLOGGED TABLE t AS SELECT string_agg(md5((13 * n + m)::text), '') AS a
            FROM generate_series(1, 30000) n, generate_series(1, 12) m GROUP BY n;
        SELECT 'CREATE INDEX ON t (a)' FROM generate_series(1, 6) \\gexec
        ";
    let dumped = dumped(&cluster, "small", script);
    make_room_for_the_log(&cluster);
    let mut stages = Vec::new();
    let mut feed = |out: &mut dyn Write| out.write_all(&dumped.bytes);
    let restored = restore(
        cluster.superuser(),
        &dumped.spec("small"),
        &mut feed,
        &mut |stage| {
            if matches!(stage, Stage::Loading(_)) {
                fill_but(&disk.join("other"), 40 << 20);
            }
            stages.push(format!("{stage:?}"));
        },
    );
    let refused = restored.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Io, "{refused}");
    // Its workers write at once and a line in several pieces, of which what the server said is one.
    assert!(tells_of_a_full_disk(&refused.to_string()), "{refused}");
    assert_eq!(stages, ["Loading(3)"]);
    assert_eq!(databases(&cluster, "small"), ["small"]);
}

/// The server's own words: where half a page has found room it says how much of it was written.
fn tells_of_a_full_disk(said: &str) -> bool {
    said.contains("No space left on device") || said.contains("wrote only")
}

/// Without which the server would end itself.
fn make_room_for_the_log(cluster: &Scratch) {
    let admin = cluster.superuser();
    for _ in 0..4 {
        let room = "CHECKPOINT; SELECT pg_switch_wal()";
        admin.query("postgres", room).unwrap();
    }
    admin.query("postgres", "CHECKPOINT").unwrap();
}

/// Leaves so many bytes free.
fn fill_but(file: &Path, free: u64) {
    let mut file = File::create(file).unwrap();
    while file.write_all(&[0; 65536]).is_ok() {}
    let full = file.metadata().unwrap().len();
    file.set_len(full - free).unwrap();
}
