//! A root with archives beside it, for tests of what apt's lists say.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{
    Class, FindingKind, HostState, Origins, Root, Sha256, read_origins, read_sources, read_status,
};

/// A root with archives beside it, whose lists apt itself fetches.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) sources: String,
}

pub(crate) const OTHER: &str = "other";

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for inside in [
            "root/etc/apt/sources.list.d",
            "root/etc/apt/preferences.d",
            "root/etc/apt/apt.conf.d",
            "root/etc/apt/trusted.gpg.d",
            "root/var/lib/dpkg",
            "root/var/lib/apt/lists/partial",
            "root/var/cache/apt/archives/partial",
            "keys",
        ] {
            fs::create_dir_all(dir.path().join(inside)).unwrap();
        }
        let lab = Self {
            dir,
            sources: String::new(),
        };
        lab.write(
            "root/etc/os-release",
            "ID=debian\nVERSION_CODENAME=bookworm\n",
        );
        lab.write("root/var/lib/dpkg/arch", "amd64\n");
        Command::new("chmod")
            .arg("700")
            .arg(lab.at("keys"))
            .status()
            .unwrap();
        lab
    }

    pub(crate) fn at(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(inside)
    }

    pub(crate) fn write(&self, inside: impl AsRef<Path>, text: &str) {
        let path = self.at(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn gpg(&self, arguments: &[&str]) -> Output {
        let output = Command::new("gpg")
            .args([
                "--batch",
                "--quiet",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
                "--homedir",
            ])
            .arg(self.at("keys"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    }

    /// Makes a key and puts its public half, armoured or not, where it is said to lie in the root.
    pub(crate) fn key(&self, name: &str, inside: &str) -> String {
        let mail = format!("{name}@example.org");
        self.gpg(&["--quick-gen-key", &mail, "ed25519", "sign", "never"]);
        let public = match inside.ends_with(".asc") {
            true => self.gpg(&["--armor", "--export", &mail]).stdout,
            false => self.gpg(&["--export", &mail]).stdout,
        };
        let path = self.at("root").join(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, public).unwrap();
        let listing = self.gpg(&["--with-colons", "--list-keys", &mail]).stdout;
        let listing = String::from_utf8(listing).unwrap();
        let line = listing
            .lines()
            .find(|line| line.starts_with("fpr:"))
            .unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// Makes an archive, signed if there is a key, and names it in the sources with these options.
    pub(crate) fn archive(
        &mut self,
        name: &str,
        release: &str,
        packages: &str,
        key: Option<&str>,
        options: &str,
    ) {
        let suite = release
            .lines()
            .find_map(|l| l.strip_prefix("Codename: "))
            .unwrap_or("x");
        let dists = format!("{name}/dists/{suite}");
        self.write(format!("{dists}/main/binary-amd64/Packages"), packages);
        let release = format!(
            "{release}Date: Sun, 22 Nov 2020 20:17:03 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n {} {} main/binary-amd64/Packages\n",
            Sha256::of(packages.as_bytes()).unwrap(),
            packages.len()
        );
        self.write(format!("{dists}/Release"), &release);
        if let Some(key) = key {
            let (release, signed) = (
                self.at(format!("{dists}/Release")),
                self.at(format!("{dists}/InRelease")),
            );
            self.gpg(&[
                "--local-user",
                &format!("{key}@example.org"),
                "--clearsign",
                "-o",
                signed.to_str().unwrap(),
                release.to_str().unwrap(),
            ]);
        }
        self.sources += &format!(
            "deb {options} copy:{} {suite} main\n",
            self.at(name).display()
        );
        self.write("root/etc/apt/sources.list", &self.sources);
    }

    pub(crate) fn apt(&self, program: &str, arguments: &[&str]) -> Output {
        let root = self.at("root");
        Command::new(program)
            .arg("-o")
            .arg(format!("Dir={}", root.display()))
            .arg("-o")
            .arg(format!(
                "Dir::State::status={}",
                root.join("var/lib/dpkg/status").display()
            ))
            .args([
                "-o",
                "APT::Architecture=amd64",
                "-o",
                "APT::Architectures::=amd64",
                "-o",
                "APT::Sandbox::User=root",
            ])
            .args([
                "-o",
                "Acquire::Languages=none",
                "-o",
                "Acquire::GzipIndexes=false",
                "-o",
                "Acquire::Check-Valid-Until=true",
                "-o",
                "Acquire::Check-Date=true",
                "-o",
                "Dir::Etc::parts=/dev/null",
            ])
            .args(arguments)
            .env("LC_ALL", "C")
            .output()
            .unwrap()
    }

    pub(crate) fn update(&self, more: &[&str]) -> Output {
        let arguments: Vec<&str> = ["update", "-q"].iter().chain(more).copied().collect();
        self.apt("apt-get", &arguments)
    }

    pub(crate) fn other_key(&self) -> String {
        self.at("root/usr/share/keyrings/other.gpg")
            .display()
            .to_string()
    }

    pub(crate) fn root(&self) -> Root {
        Root::open(self.at("root")).unwrap()
    }

    pub(crate) fn origins(&self) -> Origins {
        let root = self.root();
        let packages = read_status(&root).unwrap();
        let sources = read_sources(&root).unwrap();
        read_origins(&root, &sources, &packages, &["amd64".to_owned()], NOW).unwrap()
    }

    pub(crate) fn findings(&self) -> Vec<(FindingKind, String)> {
        let state = HostState::capture(&self.root(), NOW).unwrap();
        let archives = self.dir.path().display().to_string();
        state
            .findings
            .into_iter()
            .map(|f| (f.kind, f.subject.replace(&archives, "")))
            .collect()
    }

    pub(crate) fn has(&self, kind: FindingKind) -> bool {
        self.findings().iter().any(|(found, _)| *found == kind)
    }
}

/// In November 2026.
pub(crate) const NOW: i64 = 1_795_000_000;

pub(crate) const DEBIAN: &str =
    "Origin: Debian\nLabel: Debian\nSuite: oldstable\nCodename: bookworm\n";
pub(crate) const SECURITY: &str = "Origin: Debian\nLabel: Debian-Security\nSuite: oldstable-security\nCodename: bookworm-security\n";
pub(crate) const BACKPORTS: &str = "Origin: Debian Backports\nLabel: Debian Backports\nSuite: oldstable-backports\nCodename: bookworm-backports\nNotAutomatic: yes\n";

pub(crate) fn listed(name: &str, version: &str, depends: &str) -> String {
    format!(
        "Package: {name}\nArchitecture: amd64\nVersion: {version}\nInstalled-Size: 10\nMaintainer: x\nDescription: d\n\
         Depends: {depends}\nFilename: pool/{name}_{version}.deb\nSize: 7\n\
         SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\n"
    )
}

pub(crate) fn installed(name: &str, version: &str, depends: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\nInstalled-Size: 10\n\
         Maintainer: x\nDescription: d\nDepends: {depends}\n\n"
    )
}

/// Name and class of every package, with the classes of all its origins.
pub(crate) fn classes(origins: &Origins) -> Vec<(&str, Class, Vec<Class>)> {
    origins
        .packages
        .iter()
        .map(|p| {
            (
                p.name.as_str(),
                p.class,
                p.origins.iter().map(|o| o.class).collect(),
            )
        })
        .collect()
}

pub(crate) fn lab_of_debian() -> Lab {
    let mut lab = Lab::new();
    lab.key("debian", "etc/apt/trusted.gpg.d/debian.asc");
    lab.key(OTHER, "usr/share/keyrings/other.gpg");
    lab.write(
        "root/var/lib/dpkg/status",
        &[
            installed("aged", "1.0-1", "b"),
            installed("both", "1.0-1", "b"),
            installed("dpkg", "1.21.22", "b (>= 1)"),
            installed("foreign", "1.0-1~bpo12+1", "b"),
            installed("home", "1.0-1", "b"),
            installed("rebuilt", "1.0-1", "b, made-at-home"),
            installed("unknown-to-all", "1.0-1~bpo12+1", "b"),
            installed("ported", "2.0-1~bpo12+1", "b"),
        ]
        .concat(),
    );
    let base = [
        listed("both", "1.0-1", "b"),
        listed("dpkg", "1.21.22", "b (>= 0:1)"),
        listed("home", "0.9-1", "b"),
        listed("rebuilt", "1.0-1", "b"),
        listed("aged", "1.0-2", "b"),
    ];
    lab.archive("debian", DEBIAN, &base.concat(), Some("debian"), "");
    lab.archive(
        "security",
        SECURITY,
        &listed("both", "1.0-1", "b"),
        Some("debian"),
        "",
    );
    lab.archive(
        "backports",
        BACKPORTS,
        &listed("ported", "2.0-1~bpo12+1", "b"),
        Some("debian"),
        "",
    );
    // apt looks for a key outside the root that it is told to work in, so it lies there twice.
    let signed_by = lab.other_key();
    let inside = lab.at("root").join(signed_by.trim_start_matches('/'));
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    fs::copy(&signed_by, inside).unwrap();
    let third = listed("foreign", "1.0-1~bpo12+1", "b");
    let third_release = DEBIAN.replace("Debian", "Example");
    lab.archive(
        "third",
        &third_release,
        &third,
        Some(OTHER),
        &format!("[signed-by={signed_by}]"),
    );
    let output = lab.update(&[]);
    assert!(output.status.success(), "{output:?}");
    lab
}

pub(crate) const EXPECTED: [(&str, Class, &[Class]); 8] = [
    ("aged", Class::Superseded, &[]),
    ("both", Class::Base, &[Class::Base, Class::Security]),
    ("dpkg", Class::Base, &[Class::Base]),
    ("foreign", Class::Other, &[Class::Other]),
    ("home", Class::Local, &[]),
    ("ported", Class::Backports, &[Class::Backports]),
    ("rebuilt", Class::Rebuilt, &[]),
    ("unknown-to-all", Class::Local, &[]),
];

pub(crate) fn assert_expected(origins: &Origins) {
    let expected: Vec<_> = EXPECTED
        .iter()
        .map(|(n, c, o)| (*n, *c, o.to_vec()))
        .collect();
    assert_eq!(classes(origins), expected);
}
