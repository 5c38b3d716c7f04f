//! Whoever only reads needs no leave to write: a store on a medium that is
//! mounted to be read, or of another user.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::{Host, Ran, server_user, skip};

/// All that is in a store, with its times.
fn state(store: &Path) -> String {
    let found = Command::new("find")
        .arg(store)
        .args(["-printf", "%p %s %m %T@ %C@\n"])
        .output()
        .unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Every command that only reads does what it is for, and changes nothing.
fn reads(host: &Host, run: &dyn Fn(&[&str]) -> Ran) {
    let before = state(&host.at("store"));
    let (store, target) = (host.store(), host.text("target"));
    for command in [
        &["list"][..],
        &["show"],
        &["ls"],
        &["ls", "latest", "config"],
        &["cat", "latest", "facts/facts.json"],
        &["extract", "latest", "--root", &target, "--no-owners"],
        &["verify", "latest", "--quick"],
        &["verify", "--sample", "1"],
        &["verify"],
    ] {
        let ran = run(&[command, &["--store", &store]].concat()).ends(0);
        assert_eq!(ran.err, "", "{command:?}");
        let noted = ran
            .out
            .contains("note: what was found could not be recorded");
        assert_eq!(noted, command[0] == "verify", "{command:?}: {}", ran.out);
    }
    assert!(host.at("target/etc/lava-server").is_dir());
    assert_eq!(state(&host.at("store")), before);
}

#[test]
fn a_store_that_is_mounted_read_only_can_be_read() {
    let host = Host::new(2);
    host.create();
    fs::create_dir(host.at("target")).unwrap();
    // In a mount namespace of the command's own.
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let run = |arguments: &[&str]| -> Ran {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, &host.store()]);
        command.args(arguments).output().unwrap().into()
    };
    if run(&["true"]).code != 0 {
        let test = "a_store_that_is_mounted_read_only_can_be_read";
        return skip(test, "mounting needs root");
    }
    assert_ne!(run(&["touch", &host.text("store/x")]).code, 0);
    let program = env!("CARGO_BIN_EXE_lava-backup");
    reads(&host, &|arguments| run(&[&[program], arguments].concat()));
}

#[test]
fn a_store_of_another_user_can_be_read() {
    let host = Host::new(2);
    host.create();
    let Some(user) = server_user() else {
        let test = "a_store_of_another_user_can_be_read";
        return skip(test, "being another user needs root");
    };
    fs::set_permissions(host.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let opened = Command::new("chmod")
        .args(["-R", "a+rX,a-w", &host.store()])
        .status();
    assert!(opened.unwrap().success());
    fs::create_dir(host.at("target")).unwrap();
    std::os::unix::fs::chown(host.at("target"), Some(user.uid), Some(user.gid)).unwrap();
    let program = host.at("lava-backup");
    fs::copy(env!("CARGO_BIN_EXE_lava-backup"), &program).unwrap();
    let run = |command: &[&str]| -> Ran {
        let mut all = Command::new("setpriv");
        all.args([&format!("--reuid={}", user.uid), "--clear-groups"]);
        all.args([&format!("--regid={}", user.gid)]);
        all.args(command).output().unwrap().into()
    };
    assert_ne!(run(&["touch", &host.text("store/x")]).code, 0);
    let program = program.to_str().unwrap();
    reads(&host, &|arguments| run(&[&[program], arguments].concat()));
}
