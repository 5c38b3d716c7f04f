//! Promise 9, no lock-in: the commands of `docs/RECOVERY.md`, as they stand
//! there, bring a backup back with none of our programs.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use common::{Host, cluster, database, url};

/// The blocks of the page that begin with a fence of `sh`.
fn script_of(page: &str) -> String {
    let mut script = String::from("set -eu\n");
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => script += &format!("{line}\n"),
            _ => {}
        }
    }
    script
}

#[test]
fn the_recovery_page_restores_a_backup_without_our_programs() {
    let host = Host::new(12);
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

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/RECOVERY.md");
    let script = script_of(&fs::read_to_string(page).unwrap());
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
    let secret = "etc/lava-server/settings.d/00-database.yaml";
    let stat = |tree: &str| fs::metadata(host.at(tree).join(secret)).unwrap();
    assert_eq!(stat("target").mode(), stat("root").mode());
    assert_eq!(stat("target").mtime_nsec(), stat("root").mtime_nsec());

    let socket = [address.host.as_str()];
    let compare = [&[backup.as_str(), "--root", &root, "--socket"], &socket[..]].concat();
    host.run("database compare", &compare).ends(0);
}
