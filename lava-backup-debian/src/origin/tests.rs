#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use sha2::Digest;
use tempfile::TempDir;

use super::*;
use crate::{
    Content, FindingKind, HostState, List, Signature, auto_installed, read_sources, read_status,
};

/// A root with archives beside it, whose lists apt itself fetches.
struct Lab {
    dir: TempDir,
    sources: String,
}

const OTHER: &str = "other";

impl Lab {
    fn new() -> Self {
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

    fn at(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(inside)
    }

    fn write(&self, inside: impl AsRef<Path>, text: &str) {
        let path = self.at(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn gpg(&self, arguments: &[&str]) -> Output {
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
    fn key(&self, name: &str, inside: &str) -> String {
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
    fn archive(
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
            crate::hex::hex(&sha2::Sha256::digest(packages)),
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

    fn apt(&self, program: &str, arguments: &[&str]) -> Output {
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

    fn update(&self, more: &[&str]) -> Output {
        let arguments: Vec<&str> = ["update", "-q"].iter().chain(more).copied().collect();
        self.apt("apt-get", &arguments)
    }

    fn other_key(&self) -> String {
        self.at("root/usr/share/keyrings/other.gpg")
            .display()
            .to_string()
    }

    fn root(&self) -> Root {
        Root::open(self.at("root")).unwrap()
    }

    fn origins(&self) -> Origins {
        let root = self.root();
        let packages = read_status(&root).unwrap();
        let sources = read_sources(&root).unwrap();
        read_origins(&root, &sources, &packages, &["amd64".to_owned()], NOW).unwrap()
    }

    fn findings(&self) -> Vec<(FindingKind, String)> {
        let state = HostState::capture(&self.root(), NOW).unwrap();
        let archives = self.dir.path().display().to_string();
        state
            .findings
            .into_iter()
            .map(|f| (f.kind, f.subject.replace(&archives, "")))
            .collect()
    }

    fn has(&self, kind: FindingKind) -> bool {
        self.findings().iter().any(|(found, _)| *found == kind)
    }
}

/// In November 2026.
const NOW: i64 = 1_795_000_000;

const DEBIAN: &str = "Origin: Debian\nLabel: Debian\nSuite: oldstable\nCodename: bookworm\n";
const SECURITY: &str = "Origin: Debian\nLabel: Debian-Security\nSuite: oldstable-security\nCodename: bookworm-security\n";
const BACKPORTS: &str = "Origin: Debian Backports\nLabel: Debian Backports\nSuite: oldstable-backports\nCodename: bookworm-backports\nNotAutomatic: yes\n";

fn listed(name: &str, version: &str, depends: &str) -> String {
    format!(
        "Package: {name}\nArchitecture: amd64\nVersion: {version}\nInstalled-Size: 10\nMaintainer: x\nDescription: d\n\
         Depends: {depends}\nFilename: pool/{name}_{version}.deb\nSize: 7\n\
         SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\n"
    )
}

fn installed(name: &str, version: &str, depends: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\nInstalled-Size: 10\n\
         Maintainer: x\nDescription: d\nDepends: {depends}\n\n"
    )
}

/// Name and class of every package, with the classes of all its origins.
fn classes(origins: &Origins) -> Vec<(&str, Class, Vec<Class>)> {
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

fn lab_of_debian() -> Lab {
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

const EXPECTED: [(&str, Class, &[Class]); 8] = [
    ("aged", Class::Superseded, &[]),
    ("both", Class::Base, &[Class::Base, Class::Security]),
    ("dpkg", Class::Base, &[Class::Base]),
    ("foreign", Class::Other, &[Class::Other]),
    ("home", Class::Local, &[]),
    ("ported", Class::Backports, &[Class::Backports]),
    ("rebuilt", Class::Rebuilt, &[]),
    ("unknown-to-all", Class::Local, &[]),
];

fn assert_expected(origins: &Origins) {
    let expected: Vec<_> = EXPECTED
        .iter()
        .map(|(n, c, o)| (*n, *c, o.to_vec()))
        .collect();
    assert_eq!(classes(origins), expected);
}

#[test]
fn every_class_is_told_from_lists_that_apt_fetched() {
    let lab = lab_of_debian();
    let origins = lab.origins();
    assert_expected(&origins);
    for package in &origins.packages {
        assert!(
            package.origins.iter().all(|o| o.trust == Trust::Signed),
            "{package:?}"
        );
    }
    let good = |archive: &Archive| matches!(&archive.signature, Signature::Good { keys, .. } if keys.len() == 1);
    assert!(
        origins.archives.len() == 4 && origins.archives.iter().all(good),
        "{:?}",
        origins.archives
    );
    assert_eq!(
        origins.packages[0].newer.as_ref().unwrap().as_str(),
        "1.0-2"
    );
    assert_eq!(origins.packages[6].other_builds.len(), 1);
    // apt sees the rebuilt one in dpkg's status alone, and both archives of the other.
    let policy = lab.apt("apt-cache", &["policy", "rebuilt", "both"]).stdout;
    let policy = String::from_utf8(policy).unwrap();
    assert_eq!(policy.matches("*** 1.0-1").count(), 2, "{policy}");
    assert_eq!(policy.matches("     1.0-1 500").count(), 1, "{policy}");
    assert_eq!(
        policy.matches("bookworm-security/main").count(),
        1,
        "{policy}"
    );
}

#[test]
fn lists_are_read_in_every_compression_and_all_say_the_same() {
    let lab = lab_of_debian();
    let lists = lab.at("root/var/lib/apt/lists");
    let kept = |compressed: bool| {
        fs::remove_dir_all(&lists).unwrap();
        fs::create_dir_all(lists.join("partial")).unwrap();
        let option = format!("Acquire::GzipIndexes={compressed}");
        assert!(lab.update(&["-o", &option]).status.success());
        let names = lab.root().names("var/lib/apt/lists").unwrap();
        names
            .iter()
            .any(|name| name.to_str().unwrap().ends_with("_Packages.lz4"))
    };
    // As apt itself compresses them.
    assert!(kept(true));
    assert_expected(&lab.origins());
    assert!(!kept(false));
    let plain: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(&lists)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with("_Packages"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    assert_eq!(plain.len(), 4);
    for (program, extension) in [
        ("lz4", "lz4"),
        ("gzip", "gz"),
        ("xz", "xz"),
        ("zstd", "zst"),
    ] {
        let mut compressed = Vec::new();
        for (path, _) in &plain {
            let output = Command::new(program).arg("-c").arg(path).output().unwrap();
            assert!(output.status.success());
            fs::remove_file(path).unwrap();
            compressed.push((
                PathBuf::from(format!("{}.{extension}", path.display())),
                output.stdout,
            ));
        }
        for (path, bytes) in &compressed {
            fs::write(path, bytes).unwrap();
        }
        let origins = lab.origins();
        assert_expected(&origins);
        let all: Vec<&List> = origins
            .archives
            .iter()
            .flat_map(|archive| &archive.lists)
            .collect();
        assert_eq!(all.len(), 4);
        for list in all {
            assert_eq!(list.content, Content::Listed);
            assert_eq!(list.file.extension().unwrap(), extension);
        }
        // Of what is cut off nothing is used.
        for (path, bytes) in &compressed {
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }
        assert!(lab.has(FindingKind::ListsUnreadable), "{extension}");
        assert!(
            lab.origins()
                .packages
                .iter()
                .all(|p| p.class == Class::Unknown)
        );
        for (path, _) in &compressed {
            fs::remove_file(path).unwrap();
        }
        for (path, bytes) in &plain {
            fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn what_is_not_signed_by_the_right_key_is_found_with_a_code_of_its_own() {
    let mut lab = lab_of_debian();
    let ours = [
        FindingKind::Unsigned,
        FindingKind::BadSignature,
        FindingKind::Trusted,
        FindingKind::ListsExpired,
        FindingKind::ListsAltered,
        FindingKind::ListsMissing,
        FindingKind::NoLists,
        FindingKind::KeyringMissing,
    ];
    let found = |lab: &Lab| -> Vec<(FindingKind, String)> {
        lab.findings()
            .into_iter()
            .filter(|(kind, _)| ours.contains(kind))
            .collect()
    };
    assert_eq!(found(&lab), []);

    // The third archive is signed by a key that is not for all sources.
    let sources = lab.sources.clone();
    lab.write(
        "root/etc/apt/sources.list",
        &sources.replace(&format!("[signed-by={}] ", lab.other_key()), ""),
    );
    assert_eq!(
        found(&lab),
        [(FindingKind::BadSignature, "copy:/third bookworm".into())]
    );
    let no_such = sources.replace("other.gpg", "none.gpg");
    lab.write("root/etc/apt/sources.list", &no_such);
    let kinds: Vec<FindingKind> = found(&lab).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(
        kinds,
        [FindingKind::BadSignature, FindingKind::KeyringMissing]
    );
    // apt sees it the same way.
    let lists = lab.at("root/var/lib/apt/lists");
    fs::remove_dir_all(&lists).unwrap();
    fs::create_dir_all(lists.join("partial")).unwrap();
    let update = lab.update(&["-o", "APT::Update::Error-Mode=any"]);
    assert!(!update.status.success(), "{update:?}");
    lab.write("root/etc/apt/sources.list", &sources);
    assert!(lab.update(&[]).status.success());

    // One byte of what was signed.
    let base = lab
        .dir
        .path()
        .display()
        .to_string()
        .replace('_', "%5f")
        .replace('/', "_");
    let in_release = lists.join(format!("{base}_debian_dists_bookworm_InRelease"));
    let good = fs::read_to_string(&in_release).unwrap();
    fs::write(&in_release, good.replace("Label: Debian", "Label: debian")).unwrap();
    assert_eq!(
        found(&lab),
        [(FindingKind::BadSignature, "copy:/debian bookworm".into())]
    );
    assert!(
        lab.origins().packages[2]
            .origins
            .iter()
            .all(|o| o.trust == Trust::None)
    );
    fs::write(&in_release, &good).unwrap();

    // A list that is not the one that was signed.
    let list = lists.join(format!(
        "{base}_debian_dists_bookworm_main_binary-amd64_Packages"
    ));
    let packages = fs::read_to_string(&list).unwrap();
    fs::write(&list, packages.replace("Description: d", "Description: e")).unwrap();
    assert_eq!(found(&lab)[0].0, FindingKind::ListsAltered);
    assert!(
        lab.origins().packages[2]
            .origins
            .iter()
            .all(|o| o.trust == Trust::None)
    );
    fs::write(&list, packages).unwrap();
    assert_eq!(found(&lab), []);

    // Without a signature, with and without leave.
    lab.archive(
        "plain",
        "Origin: Plain\nCodename: x\n",
        &listed("home", "1.0-1", "b"),
        None,
        "",
    );
    assert!(
        lab.update(&["--allow-insecure-repositories"])
            .status
            .success()
    );
    assert_eq!(
        found(&lab),
        [(FindingKind::Unsigned, "copy:/plain x".into())]
    );
    assert_eq!(lab.origins().packages[4].origins[0].trust, Trust::None);
    let trusting = lab.sources.replace("deb  copy", "deb [trusted=yes] copy");
    lab.write(
        "root/etc/apt/sources.list",
        &trusting.replacen("[trusted=yes] ", "", 3),
    );
    let kinds: Vec<FindingKind> = found(&lab).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [FindingKind::Unsigned, FindingKind::Trusted]);
    assert_eq!(lab.origins().packages[4].origins[0].trust, Trust::ByOption);
    lab.write("root/etc/apt/sources.list", &sources);

    // Old lists.
    lab.sources = sources.clone();
    let old = format!("{BACKPORTS}Valid-Until: Sun, 29 Nov 2020 20:17:03 UTC\n")
        .replace("backports", "old");
    lab.archive("old", &old, "", Some("debian"), "");
    let update = lab.update(&["-o", "APT::Update::Error-Mode=any"]);
    assert!(!update.status.success(), "{update:?}");
    assert!(
        lab.update(&["-o", "Acquire::Check-Valid-Until=false"])
            .status
            .success()
    );
    assert_eq!(
        found(&lab),
        [(FindingKind::ListsExpired, "copy:/old bookworm-old".into())]
    );
    let lenient = lab
        .sources
        .replace("deb  copy", "deb [check-valid-until=no] copy");
    lab.write("root/etc/apt/sources.list", &lenient);
    assert_eq!(found(&lab), []);

    // None of one archive, then none at all.
    lab.sources = sources;
    lab.archive("new", BACKPORTS, "", Some("debian"), "");
    assert_eq!(
        found(&lab),
        [(
            FindingKind::ListsMissing,
            "copy:/new bookworm-backports".into()
        )]
    );
    assert_eq!(
        lab.origins().packages[4].class,
        Class::Unknown,
        "the new one might have it"
    );
    fs::remove_dir_all(&lists).unwrap();
    assert_eq!(
        found(&lab),
        [(FindingKind::NoLists, "/var/lib/apt/lists".into())]
    );
    assert!(
        lab.origins()
            .packages
            .iter()
            .all(|p| p.class == Class::Unknown)
    );
}

#[test]
fn a_source_may_name_keys_by_fingerprint_or_hold_one_itself() {
    let lab = lab_of_debian();
    let own = lab
        .gpg(&["--with-colons", "--list-keys", "debian@example.org"])
        .stdout;
    let own = String::from_utf8(own).unwrap();
    let own = own
        .lines()
        .find(|l| l.starts_with("fpr:"))
        .unwrap()
        .split(':')
        .nth(9)
        .unwrap()
        .to_owned();
    let sources = |signed_by: &str| {
        let debian = lab.at("debian");
        format!(
            "Types: deb\nURIs: copy:{}\nSuites: bookworm\nComponents: main\nSigned-By: {signed_by}\n",
            debian.display()
        )
    };
    fs::remove_file(lab.at("root/etc/apt/sources.list")).unwrap();
    let armoured = lab
        .gpg(&["--armor", "--export", "debian@example.org"])
        .stdout;
    let block: String = String::from_utf8(armoured)
        .unwrap()
        .lines()
        .map(|l| {
            if l.is_empty() {
                "\n .".to_owned()
            } else {
                format!("\n {l}")
            }
        })
        .collect();
    let wrong = "0".repeat(40);
    for (signed_by, good) in [
        (own.as_str(), true),
        (&*format!("{own}!"), true),
        (&block, true),
        (&wrong, false),
    ] {
        lab.write("root/etc/apt/sources.list.d/x.sources", &sources(signed_by));
        let archives = lab.origins().archives;
        assert_eq!(
            matches!(archives[0].signature, Signature::Good { .. }),
            good,
            "{signed_by}: {archives:?}"
        );
        fs::remove_dir_all(lab.at("root/var/lib/apt/lists")).unwrap();
        fs::create_dir_all(lab.at("root/var/lib/apt/lists/partial")).unwrap();
        let apt = lab.update(&["-o", "APT::Update::Error-Mode=any"]);
        assert_eq!(apt.status.success(), good, "{apt:?}");
    }
}

#[test]
fn where_one_list_of_an_archive_is_lacking_no_package_is_called_local() {
    let lab = lab_of_debian();
    let class = |lab: &Lab| lab.origins().packages[4].class;
    assert_eq!(class(&lab), Class::Local);
    let lists = lab.root().names("var/lib/apt/lists").unwrap();
    let packages = |name: &&std::ffi::OsString| {
        let name = name.to_str().unwrap();
        name.contains("_security_") && name.ends_with("_Packages")
    };
    let list = lists.iter().find(packages).unwrap();
    fs::remove_file(lab.at("root/var/lib/apt/lists").join(list)).unwrap();
    assert_eq!(class(&lab), Class::Unknown);
    let subject = "copy:/security bookworm-security".to_owned();
    assert!(
        lab.findings()
            .contains(&(FindingKind::ListsMissing, subject))
    );
}

#[test]
fn entries_that_name_different_keys_for_one_archive_are_no_good_as_apt_sees_it() {
    let lab = lab_of_debian();
    let line = |option: &str| {
        let debian = lab.at("debian");
        format!("deb {option} copy:{} bookworm main\n", debian.display())
    };
    let other = format!("[signed-by={}]", lab.other_key());
    // Which of the two comes first makes a difference to apt.
    for (first, second, good, apt_takes) in [
        ("", "", true, true),
        ("", other.as_str(), false, false),
        (&other, "", false, false),
    ] {
        lab.write("root/etc/apt/sources.list", &(line(first) + &line(second)));
        let archives = lab.origins().archives;
        assert_eq!(archives.len(), 1);
        assert_eq!(
            matches!(archives[0].signature, Signature::Good { .. }),
            good,
            "{first} {second}: {archives:?}"
        );
        let apt = lab.update(&["-o", "APT::Update::Error-Mode=any"]);
        assert_eq!(apt.status.success(), apt_takes, "{apt:?}");
    }
}

#[test]
fn what_is_no_file_among_keys_and_sources_is_passed_over_as_apt_does() {
    let lab = lab_of_debian();
    let keys = lab.at("root/etc/apt/trusted.gpg.d");
    std::os::unix::fs::symlink("/nowhere.gpg", keys.join("dangling.gpg")).unwrap();
    fs::create_dir(keys.join("directory.gpg")).unwrap();
    fs::create_dir(lab.at("root/usr/share/keyrings/directory.gpg")).unwrap();
    for inside in ["sources.list.d/x.list", "preferences.d/x", "apt.conf.d/x"] {
        fs::create_dir(lab.at("root/etc/apt").join(inside)).unwrap();
    }
    assert!(
        lab.update(&["-o", "APT::Update::Error-Mode=any"])
            .status
            .success()
    );
    assert_expected(&lab.origins());
    let root = lab.root();
    let sources = read_sources(&root).unwrap();
    let keyrings = crate::read_keyrings(&root, &sources).unwrap();
    assert!(keyrings.iter().all(|k| k.size.is_some()), "{keyrings:?}");
    assert!(!lab.has(FindingKind::Unreadable) && !lab.has(FindingKind::KeyringMissing));
    crate::Fingerprint::of(&root).unwrap();
}

#[test]
fn a_release_that_can_not_be_read_spoils_its_own_archive_alone() {
    let lab = lab_of_debian();
    let lists = lab.at("root/var/lib/apt/lists");
    let names = lab.root().names("var/lib/apt/lists").unwrap();
    let third = |name: &&std::ffi::OsString| {
        let name = name.to_str().unwrap();
        name.contains("_third_") && name.ends_with("InRelease")
    };
    let release = lists.join(names.iter().find(third).unwrap());
    fs::remove_file(&release).unwrap();
    fs::create_dir(&release).unwrap();
    let origins = lab.origins();
    assert_eq!(origins.packages[1].class, Class::Base);
    assert_eq!(origins.packages[3].origins[0].trust, Trust::None);
    let subject = "copy:/third bookworm".to_owned();
    assert!(
        lab.findings()
            .contains(&(FindingKind::BadSignature, subject))
    );
}

#[test]
fn packages_on_hold_half_done_and_of_two_releases_are_found() {
    let mut lab = Lab::new();
    lab.key("debian", "etc/apt/trusted.gpg.d/debian.gpg");
    let essential = |text: String| text.replace("Maintainer", "Essential: yes\nMaintainer");
    let status = [
        essential(installed("base-files", "12.4+deb12u1", "b")),
        essential(installed("dpkg", "1.21.22", "b")),
        essential(installed("libc6", "2.41-12", "b")),
        installed("held", "1", "b").replace("install ok", "hold ok"),
        installed("half", "1", "b").replace("ok installed", "ok half-configured"),
        installed("broken", "1", "b")
            .replace("install ok installed", "install reinstreq half-installed"),
    ]
    .concat();
    lab.write("root/var/lib/dpkg/status", &status);
    let bookworm = [
        listed("base-files", "12.4+deb12u1", "b"),
        listed("dpkg", "1.21.22", "b"),
    ]
    .concat();
    lab.archive("debian", DEBIAN, &bookworm, Some("debian"), "");
    let trixie = DEBIAN.replace("bookworm", "trixie");
    lab.archive(
        "next",
        &trixie,
        &listed("libc6", "2.41-12", "b"),
        Some("debian"),
        "",
    );
    assert!(lab.update(&[]).status.success());
    let has =
        |kind: FindingKind, subject: &str| lab.findings().contains(&(kind, subject.to_owned()));
    assert!(has(FindingKind::Held, "held:amd64"));
    assert!(has(FindingKind::HalfConfigured, "half:amd64"));
    assert!(has(FindingKind::Unclean, "broken:amd64"));
    assert!(has(FindingKind::BaseMixed, "base"));
    assert!(!lab.has(FindingKind::Interrupted));
    lab.write(
        "root/var/lib/dpkg/updates/0001",
        &installed("half", "2", "b"),
    );
    assert!(has(FindingKind::Interrupted, "/var/lib/dpkg/updates"));
    let state = HostState::capture(&lab.root(), NOW).unwrap();
    assert!(state.base.is_mixed() && state.base.confidence < crate::Confidence::Certain);
    assert_eq!(state.base.suite, Some(Suite::Bookworm));
}

#[test]
fn a_base_whose_packages_or_sources_say_otherwise_is_not_certain() {
    let mut lab = Lab::new();
    lab.key("debian", "etc/apt/trusted.gpg.d/debian.gpg");
    let names = ["apt", "base-files", "dpkg", "libc6"];
    let of = |make: fn(&str, &str, &str) -> String| -> String {
        names.iter().map(|name| make(name, "12.4", "b")).collect()
    };
    lab.write("root/var/lib/dpkg/status", &of(installed));
    let base = |lab: &Lab| {
        let base = HostState::capture(&lab.root(), NOW).unwrap().base;
        (base.suite.map(|suite| suite.to_string()), base.confidence)
    };
    lab.archive("debian", DEBIAN, &of(listed), Some("debian"), "");
    assert!(lab.update(&[]).status.success());
    let bookworm = Some("bookworm".to_owned());
    assert_eq!(base(&lab), (bookworm.clone(), crate::Confidence::Certain));

    // Somebody is about to upgrade.
    let sources = lab.sources.clone();
    lab.write(
        "root/etc/apt/sources.list",
        &sources.replace(" bookworm main", " trixie main"),
    );
    assert_eq!(base(&lab), (bookworm, crate::Confidence::Likely));

    // All that the files say is bookworm, and all packages are another release's.
    lab.sources.clear();
    lab.archive(
        "other",
        &DEBIAN.replace("bookworm", "trixie"),
        &of(listed),
        Some("debian"),
        "",
    );
    assert!(lab.update(&[]).status.success());
    assert_eq!(base(&lab), (None, crate::Confidence::Ambiguous));
    assert!(lab.has(FindingKind::BaseAmbiguous));
}

#[test]
fn no_password_is_in_the_state_and_every_file_that_has_one_is_named() {
    let lab = lab_of_debian();
    let secret = "hunter2";
    lab.write(
        "root/etc/apt/sources.list.d/a.list",
        &format!("deb http://u:{secret}@h/d x main\n"),
    );
    lab.write(
        "root/etc/apt/apt.conf.d/90proxy",
        &format!("Acquire::http::Proxy \"http://u:{secret}@p:1\";\n"),
    );
    lab.write(
        "root/etc/apt/auth.conf",
        &format!("machine h login u password {secret}\n"),
    );
    // What apt does not read, and what it can't.
    lab.write(
        "root/etc/apt/sources.list.d/a.list.save",
        &format!("# deb http://u:{secret}@h/d x main\n"),
    );
    lab.write(
        "root/etc/apt/preferences.d/own",
        &format!("Explanation: as http://u:{secret}@h/why says\nno colon\n"),
    );
    lab.write(
        "root/etc/apt/auth.conf~",
        &format!("machine h login u password {secret}\n"),
    );
    lab.write("root/etc/apt/trusted.gpg.d/x.asc", "a:b@c\n");
    lab.write(
        "root/srv/other.list",
        &format!("deb http://u:{secret}@h/e x main\n"),
    );
    std::os::unix::fs::symlink(
        "/srv/other.list",
        lab.at("root/etc/apt/sources.list.d/other.list"),
    )
    .unwrap();
    lab.write(
        "root/var/cache/debconf/config.dat",
        &format!("Name: p/proxy\nTemplate: t\nValue: http://u:{secret}@p/\n"),
    );
    lab.write(
        "root/etc/apt/auth.conf.d/x.conf",
        &format!("machine h login u password {secret}\n"),
    );
    lab.write(
        "root/var/cache/debconf/passwords.dat",
        &format!("Name: p/p\nTemplate: t\nValue: {secret}\n"),
    );
    lab.write(
        "root/etc/apt/preferences.d/broken",
        &format!("Package: a\nPin: x\nPin-Priority: {secret}\n"),
    );
    let state = HostState::capture(&lab.root(), NOW).unwrap();
    let json = serde_json::to_string(&state).unwrap();
    assert!(!json.contains(secret) && !format!("{state:?}").contains(secret));
    let files: Vec<&str> = state
        .secrets
        .iter()
        .map(|file| file.to_str().unwrap())
        .collect();
    assert_eq!(
        files,
        [
            "/etc/apt/apt.conf.d/90proxy",
            "/etc/apt/auth.conf",
            "/etc/apt/auth.conf.d/x.conf",
            "/etc/apt/auth.conf~",
            "/etc/apt/preferences.d/own",
            "/etc/apt/sources.list.d/a.list",
            "/etc/apt/sources.list.d/a.list.save",
            "/etc/apt/sources.list.d/other.list",
            "/srv/other.list",
            "/var/cache/debconf/config.dat",
            "/var/cache/debconf/passwords.dat",
        ]
    );
    let found = state
        .findings
        .iter()
        .filter(|f| f.kind == FindingKind::Secret);
    let found: Vec<&str> = found.map(|f| f.subject.as_str()).collect();
    assert_eq!(
        found,
        [
            "/etc/apt/apt.conf.d/90proxy:1",
            "/etc/apt/sources.list.d/a.list:1",
            "/etc/apt/sources.list.d/other.list:1"
        ]
    );
    assert!(
        state.findings.iter().any(
            |f| f.kind == FindingKind::Unreadable && f.subject.contains("preferences.d/broken")
        )
    );
}

#[test]
fn a_fingerprint_tells_what_moved_and_stays_when_nothing_did() {
    let lab = lab_of_debian();
    lab.write("root/etc/a.conf", "as shipped");
    let conffiles = "Conffiles:\n /etc/a.conf d41d8cd98f00b204e9800998ecf8427e\n";
    let status = fs::read_to_string(lab.at("root/var/lib/dpkg/status")).unwrap();
    lab.write(
        "root/var/lib/dpkg/status",
        &status.replacen("Maintainer", &format!("{conffiles}Maintainer"), 1),
    );
    for (file, part) in [
        ("root/var/lib/dpkg/status", "the state of packages"),
        ("root/var/lib/dpkg/updates/0007", "the state of packages"),
        ("root/var/lib/apt/extended_states", "the state of packages"),
        ("root/var/lib/dpkg/diversions", "diversions and overrides"),
        ("root/var/lib/dpkg/statoverride", "diversions and overrides"),
        ("root/var/lib/dpkg/alternatives/editor", "alternatives"),
        ("root/var/cache/debconf/config.dat", "answers to debconf"),
        ("root/var/cache/debconf/passwords.dat", "answers to debconf"),
        ("root/etc/a.conf", "configuration files"),
        ("root/etc/apt/sources.list", "the configuration of apt"),
        ("root/etc/apt/preferences.d/x", "the configuration of apt"),
        ("root/etc/apt/apt.conf.d/x", "the configuration of apt"),
        ("root/etc/apt/auth.conf", "the configuration of apt"),
        ("root/usr/share/keyrings/other.gpg", "the keys of apt"),
        ("root/var/lib/apt/lists/a_Packages", "the lists of apt"),
        ("root/etc/debian_version", "the release of Debian"),
        ("root/etc/cron.daily/apt", "timers"),
    ] {
        let before = crate::Fingerprint::of(&lab.root()).unwrap();
        let again = crate::Fingerprint::of(&lab.root()).unwrap();
        assert!(before == again && before.moved(&again).is_empty());
        let text = fs::read_to_string(lab.at(file)).unwrap_or_default();
        let added = match file.rsplit('/').next().unwrap() {
            "0007" | "status" | "extended_states" => {
                "\nPackage: new\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n"
            }
            _ => "\n# changed\n",
        };
        fs::create_dir_all(lab.at(file).parent().unwrap()).unwrap();
        fs::write(lab.at(file), text.replace('\u{fffd}', "") + added).unwrap_or_default();
        let after = crate::Fingerprint::of(&lab.root()).unwrap();
        assert_eq!(before.moved(&after), [part], "{file}");
        assert_eq!(format!("{after:?}"), "Fingerprint(…)");
    }
    auto_installed(&lab.root(), &read_status(&lab.root()).unwrap()).unwrap();
}

#[test]
fn archives_are_classed_by_origin_label_and_codename_and_never_by_an_alias() {
    let class = |origin: &str, label: &str, codename: &str, uri: &str| {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let release = Release {
            origin: some(origin),
            label: some(label),
            suite: some("stretch-backports"),
            codename: some(codename),
            ..Release::default()
        };
        let (class, base) = Class::of_archive(&release, &SourceUri::of_text(uri));
        (class, base.map(|base| base.to_string()).unwrap_or_default())
    };
    let debian = "http://deb.debian.org/debian";
    for (origin, label, codename, uri, expected, base) in [
        (
            "Debian",
            "Debian",
            "bookworm",
            debian,
            Class::Base,
            "bookworm",
        ),
        (
            "Debian",
            "Debian",
            "bookworm-updates",
            debian,
            Class::Updates,
            "bookworm",
        ),
        (
            "Debian",
            "Debian",
            "bookworm-proposed-updates",
            debian,
            Class::ProposedUpdates,
            "bookworm",
        ),
        (
            "Debian",
            "Debian-Security",
            "bookworm-security",
            debian,
            Class::Security,
            "bookworm",
        ),
        (
            "Debian",
            "Debian-Security",
            "buster",
            debian,
            Class::Security,
            "buster",
        ),
        (
            "Debian",
            "Debian-Security",
            "buster/updates",
            debian,
            Class::Security,
            "buster",
        ),
        (
            "Debian Backports",
            "Debian Backports",
            "bookworm-backports",
            debian,
            Class::Backports,
            "bookworm",
        ),
        (
            "Debian Backports",
            "Debian Backports",
            "bullseye-backports-sloppy",
            debian,
            Class::BackportsSloppy,
            "bullseye",
        ),
        (
            "Raspbian",
            "Raspbian",
            "bookworm",
            debian,
            Class::Other,
            "bookworm",
        ),
        (
            "apt.postgresql.org",
            "PostgreSQL for Debian/Ubuntu repository",
            "bookworm-pgdg",
            "https://apt.postgresql.org/pub/repos/apt",
            Class::Pgdg,
            "bookworm",
        ),
        (
            "",
            "",
            "bookworm",
            "https://u:p@apt.lavasoftware.org/release",
            Class::Lava,
            "bookworm",
        ),
        (
            "",
            "",
            "stretch-backports",
            "https://images.validation.linaro.org/production-repo",
            Class::Lava,
            "stretch",
        ),
        (
            "",
            "",
            "sid",
            "https://images.validation.linaro.org/x",
            Class::Other,
            "sid",
        ),
        (
            "",
            "",
            "bookworm",
            "https://apt.lavasoftware.org.example/release",
            Class::Other,
            "bookworm",
        ),
        ("", "", "", "https://example.org/apt", Class::Other, ""),
    ] {
        assert_eq!(
            class(origin, label, codename, uri),
            (expected, base.to_owned()),
            "{origin} {codename} {uri}"
        );
    }
}
