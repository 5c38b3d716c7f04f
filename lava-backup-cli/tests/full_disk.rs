//! Promise 3 on a disk that is really full.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Host, Ran, skip};

/// Only here is the disk to be seen: it goes with the shell that mounts it.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=1m,mode=700 none "$1" || exit 77
run() {
    name=$1
    shift
    "$program" "$@" >"$out/$name.out" 2>"$out/$name.err"
    echo $? >"$out/$name.code"
}
run init init --store "$1/store"
cat /dev/zero >"$1/other" 2>/dev/null
truncate -s -128K "$1/other"
run full create --store "$1/store" --root "$root" --no-database
ls -A "$1/store/backups" "$1/store/tmp" >"$out/left"
rm "$1/other"
run again create --store "$1/store" --root "$root" --no-database
run verify verify --store "$1/store"
"#;

fn ran(out: &Path, name: &str) -> Ran {
    let read = |end: &str| fs::read_to_string(out.join(format!("{name}.{end}"))).unwrap();
    Ran {
        code: read("code").trim().parse().unwrap(),
        out: read("out"),
        err: read("err"),
    }
}

#[test]
fn a_full_disk_is_named_leaves_no_backup_and_works_when_there_is_room() {
    let host = Host::new(1);
    // 300 kB that do not compress.
    let jobs = host.at("root/var/lib/lava-server/default/media/job-output");
    let mut lot = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        lot.to_be_bytes()[0]
    })
    .take(300_000)
    .collect();
    fs::create_dir_all(&jobs).unwrap();
    fs::write(jobs.join("noise"), noise).unwrap();
    let (disk, out) = (host.at("disk"), host.at("out"));
    fs::create_dir(&disk).unwrap();
    fs::create_dir(&out).unwrap();
    let shell = Command::new("unshare")
        .args(["--mount", "sh", "-uc", SCRIPT, "sh"])
        .arg(&disk)
        .env("program", env!("CARGO_BIN_EXE_lava-backup"))
        .env("root", host.at("root"))
        .env("out", &out)
        .status();
    if !shell.is_ok_and(|s| s.success()) {
        // Nothing ran: this user may not mount, or there is no unshare.
        assert!(!out.join("init.code").exists());
        return skip("a full disk", "can't mount a small disk here");
    }
    ran(&out, "init").ends(0);
    let full = ran(&out, "full").ends(1);
    assert!(full.err.contains("No space left"), "{}", full.err);
    assert!(full.err.contains("disk/store/"), "{}", full.err);
    let left = fs::read_to_string(out.join("left")).unwrap();
    let mut names = left
        .lines()
        .filter(|line| !line.is_empty() && !line.ends_with(':'));
    assert_eq!(names.next(), None, "{left}");
    ran(&out, "again").ends(0);
    ran(&out, "verify").ends(0);
}
