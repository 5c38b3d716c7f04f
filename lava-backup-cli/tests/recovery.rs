//! Promise 9, no lock-in: the commands of `docs/RECOVERY.md`, as they stand
//! there, bring a backup back with none of our programs.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use common::{Host, cluster, database, recovery_blocks, url};

/// What a piece of an exported file begins with.
const PIECE: [u8; 4] = 0x184D_2A5C_u32.to_le_bytes();

#[test]
fn the_recovery_page_restores_a_backup_without_our_programs() {
    let host = Host::new(12);
    let listed = "etc/lava-server/settings.d/00-database.yaml";
    let tell = |tree: &str, tool: &[&str]| {
        let file = host.at(tree).join(listed);
        let out = Command::new(tool[0]).args(&tool[1..]).arg(file).output();
        let out = out.unwrap();
        assert!(out.status.success(), "{tool:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    tell("root", &["setfacl", "-m", "u:daemon:r"]);
    tell("root", &["setfattr", "-n", "user.note", "-v", "kept"]);
    let from = cluster();
    database(&from, Some(&host.lab));
    let root = host.text("root");
    let made = host.run(
        "create",
        &[
            "--root",
            &root,
            "--database",
            &url(&from, "lavaserver"),
            "--json",
        ],
    );
    let backup = made.ends(0).json()["backup"].as_str().unwrap().to_owned();

    let mut blocks = recovery_blocks();
    // This backup has no .debs; `packages.rs` runs what is for them.
    blocks.retain(|block| !block.contains("packages/debs"));
    let (store, file) = (&blocks[0], &blocks[1]);
    assert!(store.contains("STORE") && file.contains("FILE"));
    let script = format!("set -eu\n{store}{}", blocks[2..].concat());
    assert!(script.lines().count() > 15, "{script}");
    assert!(!script.contains("lava-backup"), "{script}");
    let to = cluster();
    let address = to.address("postgres");
    fs::create_dir(host.at("target")).unwrap();
    let out = Command::new("sh")
        .args(["-c", &script])
        .env("STORE", host.store())
        .env("ID", &backup)
        .env("TARGET", host.at("target"))
        .env("ROLE", "lavaserver")
        .env("NAME", "lavaserver")
        .env("PGHOST", &address.host)
        .env("PGPORT", address.port.to_string())
        .env("PGUSER", "postgres")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");

    let restored = fs::read_to_string(host.at("target/facts.json")).unwrap();
    assert!(restored.contains("lava-server"));
    let differs = Command::new("diff")
        .args(["-r", "--no-dereference", "root/var/lib/lava-server"])
        .arg("target/var/lib/lava-server")
        .current_dir(host.dir.path())
        .output()
        .unwrap();
    assert!(
        differs.status.success(),
        "{}",
        String::from_utf8_lossy(&differs.stdout)
    );
    let stat = |tree: &str| fs::metadata(host.at(tree).join(listed)).unwrap();
    assert_eq!(stat("target").mode(), stat("root").mode());
    assert_eq!(stat("target").mtime_nsec(), stat("root").mtime_nsec());
    let list = tell("target", &["getfacl", "-cE"]);
    assert!(list.contains("user:daemon:r--"), "{list}");
    assert_eq!(list, tell("root", &["getfacl", "-cE"]));
    let note = tell("target", &["getfattr", "--only-values", "-n", "user.note"]);
    assert_eq!(note, "kept");

    // The same from one file, up to the database, which was loaded once.
    let exported = host.text("b.tar.zst");
    host.run("export", &[&backup, "--to", &exported]).ends(0);
    let files = blocks[2..].iter().filter(|b| !b.contains("psql"));
    let files: String = files.map(String::as_str).collect();
    assert!(files.contains("config data logs") && files.contains("database"));
    let of_file = |script: &str, exported: &str, target: &str| {
        fs::create_dir(host.at(target)).unwrap();
        let out = Command::new("sh")
            .args(["-c", script])
            .env("FILE", exported)
            .env("TARGET", host.at(target))
            .output()
            .unwrap();
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let whole = format!("set -eu\n{file}{files}");
    let (done, said) = of_file(&whole, &exported, "second");
    assert!(done && said.is_empty(), "{said}");
    fs::remove_file(host.at("second/backup.json")).unwrap();
    let same = Command::new("diff")
        .args(["-r", "--no-dereference", "target", "second"])
        .current_dir(host.dir.path())
        .output()
        .unwrap();
    assert!(same.status.success(), "{same:?}");

    // Cut off before its end, even between two frames, it is not taken.
    let bytes = fs::read(&exported).unwrap();
    let last = bytes.windows(4).rposition(|w| w == PIECE).unwrap();
    fs::write(host.at("cut.tar.zst"), &bytes[..last]).unwrap();
    let cut = format!("set -eu\n{file}");
    assert!(!of_file(&cut, &host.text("cut.tar.zst"), "third").0);

    let socket = [address.host.as_str()];
    let compare = [&[backup.as_str(), "--root", &root, "--socket"], &socket[..]].concat();
    host.run("database compare", &compare).ends(0);
}
