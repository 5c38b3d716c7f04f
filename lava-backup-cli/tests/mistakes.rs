//! What can be wrong, and what the program says: one clear sentence, the right
//! exit code, nothing half-made.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Host, cluster, database, lava_backup, url};

fn files_below(path: &std::path::Path) -> Vec<String> {
    let found = std::process::Command::new("find")
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_store_that_can_not_be_used_is_named() {
    let host = Host::new(1);
    let create = |store: &str| {
        let root = host.text("root");
        lava_backup(&["create", "--store", store, "--root", &root, "--no-database"])
    };
    create(&host.text("nowhere")).says(1, &["nowhere", "no such directory", "init"]);
    assert!(!host.at("nowhere").exists());
    create(&host.text("root")).says(1, &["root", "is no store"]);
    fs::write(host.at("file"), "x").unwrap();
    create(&host.text("file")).says(1, &["file", "is no directory"]);

    let config = host.at("store/store.json");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good.replace("store/1", "store/9")).unwrap();
    create(&host.store()).says(5, &["store.json", "digest"]);
    fs::write(&config, newer(&good)).unwrap();
    create(&host.store()).says(3, &["store.json", "lava-backup-store/9", "version"]);
    fs::write(&config, &good).unwrap();

    lava_backup(&["init", "--store", &host.store()]).says(3, &["is a store already"]);
    let before = files_below(&host.at("root"));
    lava_backup(&["init", "--store", &host.text("root")]).says(3, &["is not empty"]);
    assert_eq!(files_below(&host.at("root")), before);
    host.run("show", &[]).says(1, &["holds no backup"]);
    host.run("show", &["nope"])
        .says(1, &["holds no backup", "nope"]);
}

/// The document of a later version, whose digest is right.
fn newer(good: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(good).unwrap();
    value["format"] = "lava-backup-store/9".into();
    value.as_object_mut().unwrap().remove("digest");
    let digest = blake3_of(&format!("{value:#}\n"));
    value["digest"] = digest.into();
    format!("{value:#}\n")
}

/// The BLAKE3 of a text, by way of a frame's name.
fn blake3_of(text: &str) -> String {
    lava_backup_core::FrameName::of(text.as_bytes()).to_string()
}

#[test]
fn a_store_that_may_not_be_read_is_said_to_be_so() {
    let host = Host::new(1);
    fs::set_permissions(host.at("store"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(host.at("store")).is_ok() {
        // Root reads what it likes; another user does not.
        let Some(user) = common::server_user() else {
            return;
        };
        fs::set_permissions(host.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = std::process::Command::new("setpriv");
        command.args([&format!("--reuid={}", user.uid), "--clear-groups"]);
        let binary = host.at("lava-backup");
        fs::copy(env!("CARGO_BIN_EXE_lava-backup"), &binary).unwrap();
        command
            .arg(&binary)
            .args(["list", "--store", &host.store()]);
        let ran: common::Ran = command.output().unwrap().into();
        ran.says(1, &["store.json", "ermission denied"]);
    } else {
        host.run("list", &[])
            .says(1, &["store.json", "ermission denied"]);
    }
    fs::set_permissions(host.at("store"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_database_that_can_not_be_read_leaves_no_backup() {
    let host = Host::new(1);
    let cluster = cluster();
    let root = host.text("root");
    let create = |url: &str| host.run("create", &["--root", &root, "--database", url]);
    create("nonsense").says(2, &["could not understand", "postgres://"]);
    create("postgres://l@db/lab?sslmode=require").says(2, &["TLS"]);
    let address = url(&cluster, "lavaserver");
    let worker = ["--root", &root, "--role", "worker", "--database", &address];
    host.run("create", &worker).says(2, &["worker"]);
    create("postgres://lavaserver@localhost:5432").says(2, &["names no database"]);
    create("postgres://lavaserver@127.0.0.1:1/lavaserver").says(1, &["127.0.0.1:1", "refused"]);
    create(&url(&cluster, "nowhere")).says(1, &["nowhere", "does not exist"]);
    host.run("create", &["--root", &root])
        .says(1, &["database", "--database"]);
    assert_eq!(files_below(&host.at("store/backups")).len(), 1);
    assert_eq!(files_below(&host.at("store/tmp")).len(), 1);
    host.run("list", &[]).ends(0);
}

#[test]
fn a_root_that_is_no_debian_or_has_no_lava_is_named() {
    let host = Host::new(1);
    let create = |root: &str| host.run("create", &["--root", &host.text(root), "--no-database"]);
    create("missing").says(1, &["missing"]);
    fs::create_dir(host.at("empty")).unwrap();
    create("empty").says(1, &["empty", "Debian"]);
    let status = host.at("root/var/lib/dpkg/status");
    let text = fs::read_to_string(&status).unwrap();
    let without = text.replace("Package: lava-", "Package: java-");
    fs::write(&status, without).unwrap();
    create("root").says(1, &["could not find LAVA", "--role"]);
    fs::write(&status, "Package: x\nPackage: y\n").unwrap();
    create("root").says(1, &["status"]);
    assert_eq!(files_below(&host.at("store/backups")).len(), 1);
}

/// A store may be mounted read-only just to be looked at.
#[test]
fn what_was_found_is_told_though_it_can_not_be_recorded() {
    let host = Host::new(1);
    let root = host.text("root");
    host.run("create", &["--root", &root, "--no-database"])
        .ends(0);
    fs::remove_dir(host.at("store/tmp")).unwrap();
    fs::write(host.at("store/tmp"), "in the way").unwrap();
    let said = host.run("verify", &["latest"]).ends(0).out;
    assert!(
        said.contains("note: what was found could not be recorded"),
        "{said}"
    );
    let sound = host.run("verify", &["latest", "--json"]).ends(0).json();
    assert_eq!(sound["backups"][0]["sound"], true);
    assert!(sound["backups"][0]["unrecorded"].is_string());
    for frame in files_below(&host.at("store/frames")) {
        let frame = std::path::Path::new(&frame);
        if frame.is_file() {
            fs::write(frame, "damaged").unwrap();
        }
    }
    host.run("verify", &["latest"]).ends(5);
    let drilled = host.run("drill", &["--json"]).ends(5).json();
    assert!(drilled["unrecorded"].is_string());
}

/// The settings name a server elsewhere; the one on this host is another lab's.
#[test]
fn a_database_elsewhere_is_not_restored_into_the_server_that_is_here() {
    let host = Host::new(1);
    let cluster = cluster();
    database(&cluster, Some(&host.lab));
    let root = host.text("root");
    let address = url(&cluster, "lavaserver");
    host.run("create", &["--root", &root, "--database", &address])
        .ends(0);
    let text = "DATABASES: {default: {NAME: l, USER: l, PASSWORD: hunter2, HOST: db.example.com}}";
    let settings = host.at("root/etc/lava-server/settings.d/99-site.yaml");
    fs::write(settings, text).unwrap();
    for verb in ["restore", "compare"] {
        let store = host.text("store");
        let target = [
            "database", verb, "--store", &store, "latest", "--root", &root,
        ];
        lava_backup(&target).says(3, &["db.example.com", "--socket"]);
    }
}

/// One changed byte anywhere in the store.
#[test]
fn damage_ends_with_5_and_names_the_files() {
    let host = Host::new(2);
    let backup = host.create();
    let frames = files_below(&host.at("store/frames"));
    let list = fs::read_to_string(host.at("store/backups").join(&backup).join("frames")).unwrap();
    // The end of the stream is no file's, and nor are the blocks of the index.
    let mut held: Vec<&str> = list.lines().collect();
    held.pop();
    let file = |f: &&String| fs::metadata(f).unwrap().is_file();
    for frame in frames.iter().filter(file) {
        let good = fs::read(frame).unwrap();
        let mut bad = good.clone();
        let at = bad.len() / 2;
        bad[at] ^= 4;
        fs::write(frame, &bad).unwrap();
        let ran = host.run("verify", &["--json"]).ends(5).json();
        let damage = &ran["backups"][0]["damage"][0];
        assert_eq!(damage["file"].as_str(), Some(frame.as_str()));
        let members = damage["members"].as_array().unwrap();
        assert_eq!(
            members.is_empty(),
            !held.iter().any(|held| frame.ends_with(held)),
            "{ran:#}"
        );
        let said = host.run("verify", &[]).ends(5).out;
        for member in members.iter().take(1) {
            let lost = format!("lost: {}", member.as_str().unwrap());
            assert!(said.contains(&lost), "{said}");
        }
        fs::write(frame, &good).unwrap();
    }
    let dir = host.at("store/backups").join(&backup);
    for part in ["backup.json", "frames", "index.zst"] {
        let good = fs::read(dir.join(part)).unwrap();
        let mut bad = good.clone();
        let at = bad.len() / 3;
        bad[at] ^= 4;
        fs::write(dir.join(part), &bad).unwrap();
        let ran = host.run("verify", &[]).ends(5);
        assert!(ran.out.contains(part), "{}", ran.out);
        fs::write(dir.join(part), &good).unwrap();
    }
    host.run("verify", &[]).ends(0);
}

#[test]
fn a_target_that_is_not_empty_is_not_overwritten() {
    let host = Host::new(1);
    let backup = host.create();
    fs::create_dir_all(host.at("target/etc/lava-server")).unwrap();
    fs::write(host.at("target/etc/lava-server/env.yaml"), "mine").unwrap();
    let before = files_below(&host.at("target"));
    let target = host.text("target");
    let refused = host.run("extract", &[&backup, "--root", &target]);
    refused.says(3, &["env.yaml", "differs", "--replace"]);
    assert_eq!(files_below(&host.at("target")), before);
    host.run("extract", &[&backup, "--root", &target, "--check"])
        .ends(3);
    assert_eq!(files_below(&host.at("target")), before);
    host.run("extract", &[&backup, "--root", &host.text("missing")])
        .says(1, &["missing"]);
    host.run("extract", &[&backup, "config/none", "--root", &target])
        .says(1, &["config/none", "no such member"]);
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["nonsense"][..],
        &["create"],
        &["create", "--store", "x", "--rate", "fast"],
        &["extract", "--store", "x", "b", "../etc", "--root", "/tmp/x"],
        &["cat", "--store", "x", "b", "/etc/passwd"],
    ] {
        lava_backup(arguments).ends(2);
    }
    lava_backup(&["--help"]).ends(0);
    lava_backup(&["--version"]).ends(0);
}

#[test]
fn a_backup_without_its_database_is_degraded_and_says_so() {
    let host = Host::new(1);
    let root = host.text("root");
    let ran = host
        .run("create", &["--root", &root, "--no-database"])
        .ends(0);
    assert!(ran.out.contains("degraded"), "{}", ran.out);
    assert!(ran.out.contains("the database was left out"), "{}", ran.out);
    host.run("database show", &[]).says(1, &["made without"]);
}
