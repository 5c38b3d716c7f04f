//! Attributes of real files, beside what getfacl, getfattr and getcap say.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags};

use super::*;
use crate::owner::Owners;

/// As the tests of the crate's surface do it.
pub(crate) fn needs_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        let line = format!("{test}: needs root");
        #[allow(clippy::print_stdout)]
        {
            println!("skipped: {line}");
        }
        if let Some(list) = std::env::var_os("LAVA_BACKUP_SKIPPED") {
            let list = fs::OpenOptions::new().append(true).create(true).open(list);
            writeln!(list.unwrap(), "{line}").unwrap();
        }
    }
    root
}

pub(crate) fn run(program: &str, arguments: &[&str], dir: &Path) -> String {
    let done = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn owners() -> Owners {
    Owners::for_tests("root:x:0:\ndaemon:x:1:\n", "root:x:0:\nadm:x:4:\n")
}

fn text(attributes: &Option<Box<Attributes>>) -> String {
    serde_json::to_string(attributes).unwrap()
}

#[test]
fn the_attributes_of_a_file_are_read_and_given_to_another() {
    let this = "the_attributes_of_a_file_are_read_and_given_to_another";
    if !needs_root(this) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for name in ["file-a", "file-b"] {
        fs::write(at.join(name), "x").unwrap();
        fs::set_permissions(at.join(name), fs::Permissions::from_mode(0o640)).unwrap();
    }
    let (a, b) = (
        File::open(at.join("file-a")).unwrap(),
        File::open(at.join("file-b")).unwrap(),
    );
    assert_eq!(read(&a, Kind::File, &owners()).unwrap(), None);

    run(
        "setfacl",
        &["-m", "u:daemon:rx,u:4321:r,g:adm:w,m:rwx", "file-a"],
        at,
    );
    run(
        "setfattr",
        &["-n", "user.b", "-v", "0x000a3dff25", "file-a"],
        at,
    );
    run("setfattr", &["-n", "user.a=%", "file-a"], at);
    run("setfattr", &["-n", "trusted.t", "-v", "t", "file-a"], at);
    run("setcap", &["cap_net_raw=ep", "file-a"], at);
    let found = read(&a, Kind::File, &owners()).unwrap();
    let expected = concat!(
        r#"{"acl":"user::rw-,user:daemon:r-x:1,user:4321:r--:4321,group::r--,"#,
        r#"group:adm:-w-:4,mask::rwx,other::---","#,
        r#""xattrs":{"security.capability":"%01%00%00%02%00 %00%00%00%00%00%00%00%00%00%00%00%00%00%00","#,
        r#""trusted.t":"t","user.a=%25":"","user.b":"%00%0A=%FF%25"}}"#,
    );
    assert_eq!(text(&found), expected);

    // Another file that has something else gets just these.
    run("setfacl", &["-m", "u:2:rwx", "file-b"], at);
    run("setfattr", &["-n", "user.c", "-v", "c", "file-b"], at);
    run("setfattr", &["-n", "user.b", "-v", "other", "file-b"], at);
    let wanted = found.as_deref();
    assert!(!has(&b, Kind::File, wanted, &owners(), true).unwrap());
    assert_eq!(apply(&b, Kind::File, wanted, &owners(), true).unwrap(), []);
    assert!(has(&b, Kind::File, wanted, &owners(), true).unwrap());
    for (tool, arguments) in [
        ("getfacl", &["-n"][..]),
        ("getfattr", &["-d", "-m", "-", "-e", "hex"]),
        ("getcap", &[]),
    ] {
        let of = |name| {
            let arguments: Vec<&str> = arguments.iter().copied().chain([name]).collect();
            run(tool, &arguments, at).replace(name, "NAME")
        };
        assert_eq!(of("file-a"), of("file-b"), "{tool}");
    }
    assert!(run("getcap", &["file-b"], at).contains("cap_net_raw=ep"));

    // Without capabilities, where the owner is unknown.
    apply(&b, Kind::File, wanted, &owners(), false).unwrap();
    assert_eq!(run("getcap", &["file-b"], at), "");
    assert!(has(&b, Kind::File, wanted, &owners(), false).unwrap());
    // And to none.
    apply(&b, Kind::File, None, &owners(), true).unwrap();
    assert_eq!(read(&b, Kind::File, &owners()).unwrap(), None);
    assert_eq!(run("getfattr", &["-d", "-m", "-", "file-b"], at), "");
}

#[test]
fn a_directory_keeps_the_list_for_what_is_made_in_it() {
    let dir = tempfile::tempdir().unwrap();
    run("setfacl", &["-d", "-m", "u:daemon:rx", "."], dir.path());
    let fd = File::open(dir.path()).unwrap();
    let found = read(&fd, Kind::Dir, &owners()).unwrap().unwrap();
    assert_eq!(found.acl, None);
    let list = found.default_acl.as_deref().unwrap();
    assert!(list.contains("user:daemon:r-x:1"), "{list}");

    // What was made in it has inherited one, and gets rid of it.
    fs::write(dir.path().join("made"), "").unwrap();
    let made = File::open(dir.path().join("made")).unwrap();
    assert!(read(&made, Kind::File, &owners()).unwrap().is_some());
    apply(&made, Kind::File, None, &owners(), true).unwrap();
    assert_eq!(read(&made, Kind::File, &owners()).unwrap(), None);

    apply(&fd, Kind::Dir, None, &owners(), true).unwrap();
    assert_eq!(read(&fd, Kind::Dir, &owners()).unwrap(), None);
}

#[test]
fn links_and_pipes_have_attributes_of_their_own() {
    let this = "links_and_pipes_have_attributes_of_their_own";
    if !needs_root(this) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    run("mkfifo", &["pipe"], dir.path());
    for (name, kind) in [("link", Kind::Symlink), ("pipe", Kind::Fifo)] {
        run(
            "setfattr",
            &["-h", "-n", "trusted.t", "-v", name, name],
            dir.path(),
        );
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(dir.path().join(name), flags, Mode::empty()).unwrap();
        let found = read(&fd, kind, &owners()).unwrap();
        assert_eq!(
            text(&found),
            format!(r#"{{"xattrs":{{"trusted.t":"{name}"}}}}"#)
        );
        apply(&fd, kind, None, &owners(), true).unwrap();
        assert_eq!(read(&fd, kind, &owners()).unwrap(), None);
        apply(&fd, kind, found.as_deref(), &owners(), true).unwrap();
        let shown = run("getfattr", &["-h", "-d", "-m", "-", name], dir.path());
        assert!(shown.contains(&format!("trusted.t=\"{name}\"")), "{shown}");
    }
    let file = File::open(dir.path().join("file")).unwrap();
    assert_eq!(read(&file, Kind::File, &owners()).unwrap(), None);
}

#[test]
fn a_file_system_without_attributes_has_none_and_says_which_it_can_t_take() {
    // The process's own descriptors: a file system that keeps no attributes.
    let file = File::open("/proc/self/status").unwrap();
    assert_eq!(read(&file, Kind::File, &owners()).unwrap(), None);
    assert_eq!(apply(&file, Kind::File, None, &owners(), true).unwrap(), []);
    let xattrs = [(Bytes(b"user.x".to_vec()), Bytes(b"x".to_vec()))];
    let wanted = Attributes {
        xattrs: xattrs.into_iter().collect(),
        ..Attributes::default()
    };
    let refused = apply(&file, Kind::File, Some(&wanted), &owners(), true).unwrap_err();
    assert!(refused.to_string().contains("user.x"), "{refused}");
}
