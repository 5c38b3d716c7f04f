//! Trees and stores that the tests share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use lava_backup_core::{
    Backup, Capture, Choice, Class, Extract, MemberPath, Root, SealInput, Store,
};

pub fn path(text: &str) -> MemberPath {
    text.parse().unwrap()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A small tree with what makes archives stumble.
pub fn odd_tree(root: &Path) {
    let dir = root.join("etc/lava");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("plain"), "plain\n").unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    fs::write(dir.join("secret"), "key").unwrap();
    fs::set_permissions(dir.join("secret"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(dir.join("exactly-a-block"), [b'x'; 512]).unwrap();
    fs::write(dir.join("new\nline %41 é"), "odd").unwrap();
    fs::write(
        dir.join(std::ffi::OsStr::from_bytes(b"not\xffutf8")),
        "bytes",
    )
    .unwrap();
    let long = "n".repeat(200);
    fs::create_dir_all(dir.join(&long)).unwrap();
    fs::write(dir.join(&long).join(&long), "long").unwrap();
    symlink("../../nowhere", dir.join("link")).unwrap();
    symlink("x".repeat(180), dir.join("long-link")).unwrap();
    let made = Command::new("mkfifo")
        .arg(dir.join("pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    fs::create_dir_all(dir.join("empty-dir")).unwrap();
    fs::set_permissions(dir.join("empty-dir"), fs::Permissions::from_mode(0o2750)).unwrap();
    fs::write(dir.join("large"), noise(5 << 20, 1)).unwrap();
    touch(&dir.join("plain"), "2001-02-03 04:05:06.123456789");
    touch(&dir.join("secret"), "1965-02-03 04:05:06.25");
    touch(&dir.join("empty-dir"), "2030-01-01 00:00:00.5");
}

fn touch(path: &Path, when: &str) {
    let done = Command::new("touch").args(["-d", when]).arg(path).status();
    assert!(done.unwrap().success());
}

pub fn back_up(store: &Store, root: &Path, id: &str) -> Backup {
    let tree = Root::open(root).unwrap();
    let mut writer = store.create(id.parse().unwrap()).unwrap();
    let choose = |_: &MemberPath| Choice::Take(Class::Plain);
    let mut observe = |_: &lava_backup_core::Entry| ();
    Capture::new(&tree, &choose, &mut observe)
        .section(&mut writer, "config", &[path("etc")])
        .unwrap();
    let sealed = writer.seal(SealInput::default()).unwrap();
    store.backup(&sealed.seal.id).unwrap()
}

pub fn whole(select: &[&str]) -> Extract {
    Extract {
        select: select.iter().map(|s| path(s)).collect(),
        exclude: Vec::new(),
        complete: Vec::new(),
        dry_run: false,
        replace: false,
        keep_in: path("kept"),
        own: true,
        sync: false,
    }
}

/// Everything that `find` can tell of a tree, and the content of its files.
pub fn listing(root: &Path) -> String {
    let found = Command::new("find")
        .args([".", "-printf", "%P|%y|%m|%U|%G|%l|%s|%T@\\n"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(found.status.success());
    // A directory's size is the file system's affair.
    let mut lines: Vec<String> = String::from_utf8_lossy(&found.stdout)
        .lines()
        .filter(|line| !line.starts_with('|'))
        .map(|line| {
            let mut fields: Vec<&str> = line.split('|').collect();
            if fields.get(1) == Some(&"d") {
                fields[6] = "";
            }
            fields.join("|")
        })
        .collect();
    lines.sort();
    let sums = Command::new("sh")
        .args(["-c", "find . -type f -exec sha256sum {} + | sort"])
        .current_dir(root)
        .output()
        .unwrap();
    lines.join("\n") + &String::from_utf8_lossy(&sums.stdout)
}

pub fn sh(script: &str, dir: &Path) -> String {
    let out = Command::new("sh")
        .args(["-euc", script])
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Says that a test did not run, and why: for people, and for `scripts/test`.
#[allow(clippy::print_stdout)]
pub fn skip(test: &str, why: &str) {
    println!("skipped: {test}: {why}");
    if let Some(list) = std::env::var_os("LAVA_BACKUP_SKIPPED") {
        let mut list = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(list)
            .unwrap();
        std::io::Write::write_all(&mut list, format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}
