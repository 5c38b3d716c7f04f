//! The examples do what they say.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Output;

use common::noise;

/// As their first lines say to run them.
fn example(name: &str, arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--offline",
            "-p",
            "lava-backup-core",
            "--example",
            name,
            "--",
        ])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_directory_is_archived_and_a_file_of_it_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let text = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let content = noise(5 << 20, 3);
    std::fs::create_dir(text("tree")).unwrap();
    std::fs::write(text("tree/large"), &content).unwrap();
    std::fs::write(text("tree/small"), "small").unwrap();

    let made = example("archive", &[&text("tree"), &text("store")]);
    let said = String::from_utf8_lossy(&made.stdout);
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(said.ends_with(": 3 entries, 0 damaged\n"), "{said}{errors}");

    let large = format!(
        "files{}",
        dir.path()
            .canonicalize()
            .unwrap()
            .join("tree/large")
            .display()
    );
    let read = example("read", &[&text("store"), "latest", &large]);
    assert!(read.status.success() && read.stdout == content);
    let missing = example("read", &[&text("store"), "latest", "files/none"]);
    assert!(!missing.status.success());
    let usage = example("archive", &[]);
    assert!(String::from_utf8_lossy(&usage.stderr).contains("usage: archive DIR STORE"));
}
