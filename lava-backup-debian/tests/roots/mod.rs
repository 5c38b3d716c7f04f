//! Real LAVA masters of three suites, of which each test has its own copy.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::UNIX_EPOCH,
};

use lava_backup_debian::{FindingKind, HostState, Root};
use tempfile::TempDir;

const SUITES: [&str; 3] = ["bookworm", "bullseye", "trixie"];

/// A copy-on-write copy of a real master, with apt's lists, taken away at its end.
pub struct Master {
    pub suite: &'static str,
    /// When apt fetched its lists, in seconds since 1970: they are kept for longer than they are
    /// good for.
    pub now: i64,
    dir: TempDir,
}

impl Master {
    pub fn clone_of(suite: &'static str, master: &Path, lists: &Path) -> Self {
        let dir = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
        for inside in ["root", "own", "work"] {
            fs::create_dir(dir.path().join(inside)).unwrap();
        }
        let at = |inside: &str| dir.path().join(inside).display().to_string();
        let options = format!(
            "lowerdir={}:{},upperdir={},workdir={}",
            lists.display(),
            master.display(),
            at("own"),
            at("work")
        );
        let mounted = Command::new("mount")
            .args(["-t", "overlay", "-o", &options, "lava-roots"])
            .arg(at("root"))
            .status();
        assert!(mounted.unwrap().success());
        let fetched = fs::metadata(lists.join(".complete"))
            .unwrap()
            .modified()
            .unwrap();
        Self {
            suite,
            now: fetched.duration_since(UNIX_EPOCH).unwrap().as_secs() as i64,
            dir,
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn at(&self, inside: &str) -> PathBuf {
        self.path().join(inside.trim_start_matches('/'))
    }

    pub fn root(&self) -> Root {
        Root::open(self.path()).unwrap()
    }

    pub fn state(&self) -> HostState {
        HostState::capture(&self.root(), self.now).unwrap()
    }

    pub fn kinds(&self) -> BTreeSet<FindingKind> {
        self.state()
            .findings
            .iter()
            .map(|finding| finding.kind)
            .collect()
    }

    /// Runs a program of the master in it.
    pub fn run(&self, command: &[&str]) -> Output {
        Command::new("chroot")
            .arg(self.path())
            .args([
                "/usr/bin/env",
                "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL=C.UTF-8",
            ])
            .arg("DEBIAN_FRONTEND=noninteractive")
            .args(command)
            .output()
            .unwrap()
    }

    /// The sorted lines that a program of the master prints.
    pub fn lines(&self, command: &[&str]) -> Vec<String> {
        let output = self.run(command);
        assert!(
            output.status.success(),
            "{}: {command:?}: {output:?}",
            self.suite
        );
        let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    }

    /// Installs a package of nothing but a script.
    pub fn install(&self, name: &str, postinst: &str) -> Output {
        let tree = self.at("tmp").join(name);
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let control = format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: d\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        fs::write(
            tree.join("DEBIAN/postinst"),
            format!("#!/bin/sh\n{postinst}\n"),
        )
        .unwrap();
        let script = format!(
            "chmod 755 /tmp/{name}/DEBIAN /tmp/{name}/DEBIAN/postinst && dpkg-deb -b /tmp/{name} /tmp/{name}.deb >/dev/null && dpkg -i /tmp/{name}.deb"
        );
        self.run(&["sh", "-c", &script])
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let root = self.path();
        let unmounted = Command::new("umount").arg(&root).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "{} is still mounted",
            root.display()
        );
    }
}

/// Every real master that is there; each that is not is a test that was skipped.
pub fn masters(test: &str) -> Vec<Master> {
    let Some(cache) = std::env::var_os("LAVA_BACKUP_CACHE").map(PathBuf::from) else {
        skip(
            test,
            "LAVA_BACKUP_CACHE names no directory with real LAVA masters",
        );
        return Vec::new();
    };
    let uid = Command::new("id").arg("-u").output().unwrap().stdout;
    if uid != b"0\n" {
        skip(test, "mounting needs root");
        return Vec::new();
    }
    let mut masters = Vec::new();
    for suite in SUITES {
        let (master, lists) = (cache.join(suite), cache.join(format!("{suite}.lists")));
        if master.join(".lava-master").exists() && lists.join(".complete").exists() {
            masters.push(Master::clone_of(suite, &master, &lists));
        } else {
            skip(
                test,
                &format!("there is no {suite} master with apt's lists"),
            );
        }
    }
    masters
}

/// Says that a test did not run, and why: for people, and for `scripts/test`.
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
