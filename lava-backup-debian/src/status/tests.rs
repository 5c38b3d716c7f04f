#![allow(clippy::unwrap_used)]

use std::{fs, process::Command};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A root with this status file and these entries of the journal.
fn root_with(status: &[u8], journal: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "etc"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("var/lib/dpkg/status"), status).unwrap();
    fs::write(dir.path().join("var/lib/dpkg/available"), "").unwrap();
    fs::write(dir.path().join("etc/os-release"), "ID=debian\n").unwrap();
    for (name, text) in journal {
        fs::write(dir.path().join("var/lib/dpkg/updates").join(name), text).unwrap();
    }
    dir
}

/// The packages of a status file.
pub(crate) fn packages_of(status: &str) -> Vec<PackageState> {
    read_text(status).unwrap()
}

fn read(dir: &TempDir) -> Result<Vec<PackageState>> {
    read_status(&Root::open(dir.path())?)
}

fn read_text(status: &str) -> Result<Vec<PackageState>> {
    read(&root_with(status.as_bytes(), &[]))
}

fn stanza(name: &str, architecture: &str, version: &str, status: &str, more: &str) -> String {
    format!(
        "Package: {name}\nStatus: {status}\nMaintainer: x\nArchitecture: {architecture}\nVersion: {version}\n{more}Description: d\n\n"
    )
}

/// What dpkg itself reads there, in the form of [`rows`]; `None` when it refuses.
fn dpkg_says(dir: &TempDir) -> Option<String> {
    let output = Command::new("dpkg-query")
        .arg(format!(
            "--admindir={}",
            dir.path().join("var/lib/dpkg").display()
        ))
        .args([
            "-W",
            "-f",
            "${Package} ${Architecture} ${Version} ${Status} ${source:Package} ${source:Version}\n",
        ])
        .output()
        .unwrap();
    output.status.success().then(|| {
        let mut rows: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        rows.sort();
        rows.join("\n")
    })
}

fn rows(packages: &[PackageState]) -> String {
    let mut rows: Vec<String> = packages
        .iter()
        .map(|p| {
            let text = |v: &Option<PackageVersion>| {
                v.as_ref().map(ToString::to_string).unwrap_or_default()
            };
            format!(
                "{} {} {} {} {} {} {} {}",
                p.name,
                p.architecture,
                text(&p.version),
                p.want,
                p.flag,
                p.state,
                p.source.name,
                text(&p.source.version)
            )
        })
        .collect();
    rows.sort();
    rows.join("\n")
}

const INSTALLED: &str = "install ok installed";

#[test]
fn every_state_is_read_as_dpkg_reads_it() {
    let states = [
        ("clean", INSTALLED, true, false),
        ("held", "hold ok installed", true, false),
        ("leaving", "deinstall ok installed", true, false),
        ("removed", "deinstall ok config-files", false, false),
        ("unpacked", "install ok unpacked", false, true),
        ("half-configured", "install ok half-configured", false, true),
        (
            "half-installed",
            "install reinstreq half-installed",
            false,
            true,
        ),
        ("broken", "install reinstreq installed", false, true),
        ("awaiting", "install ok triggers-awaited", true, true),
        ("pending", "install ok triggers-pending", true, true),
    ];
    let status: String = states
        .iter()
        .map(|(name, status, ..)| {
            let more = match *name {
                "awaiting" => "Triggers-Awaited: clean\n",
                "pending" => "Triggers-Pending: x\n",
                _ => "",
            };
            stanza(name, "amd64", "1:2.0-3", status, more)
        })
        .collect();
    let dir = root_with(status.as_bytes(), &[]);
    let packages = read(&dir).unwrap();
    assert_eq!(rows(&packages), dpkg_says(&dir).unwrap());
    for (name, _, installed, unclean) in states {
        let package = packages
            .iter()
            .find(|package| package.name == name)
            .unwrap();
        assert_eq!(
            (package.is_installed(), package.is_unclean()),
            (installed, unclean),
            "{name}"
        );
        assert_eq!(package.is_held(), name == "held");
    }
}

#[test]
fn the_journal_is_merged_as_dpkg_merges_it() {
    let status = [
        stanza("lava-server", "all", "1", INSTALLED, ""),
        stanza("becomes-all", "amd64", "1", INSTALLED, ""),
        stanza("libc6", "amd64", "1", INSTALLED, "Multi-Arch: same\n"),
        stanza("libc6", "i386", "1", INSTALLED, "Multi-Arch: same\n"),
    ]
    .concat();
    let dir = root_with(
        status.as_bytes(),
        &[
            (
                "0000",
                &stanza("lava-server", "all", "2", "install ok unpacked", ""),
            ),
            (
                "0001",
                &stanza("lava-server", "all", "2", "install ok half-configured", ""),
            ),
            (
                "0002",
                &stanza("becomes-all", "all", "2", "install ok unpacked", ""),
            ),
            (
                "0003",
                &stanza(
                    "libc6",
                    "i386",
                    "2",
                    "install ok unpacked",
                    "Multi-Arch: same\n",
                ),
            ),
            (
                "0004",
                &stanza("new", "amd64", "1", "install reinstreq half-installed", ""),
            ),
            ("tmp.i", &stanza("lava-server", "all", "9", INSTALLED, "")),
        ],
    );
    let merged = rows(&read(&dir).unwrap());
    assert_eq!(merged, dpkg_says(&dir).unwrap());
    assert_eq!(
        merged,
        "becomes-all all 2 install ok unpacked becomes-all 2\n\
         lava-server all 2 install ok half-configured lava-server 2\n\
         libc6 amd64 1 install ok installed libc6 1\n\
         libc6 i386 2 install ok unpacked libc6 2\n\
         new amd64 1 install reinstreq half-installed new 1"
    );
}

#[test]
fn an_entry_of_the_journal_takes_the_place_that_dpkg_gives_it() {
    let plain = |architecture: &str| stanza("a", architecture, "1", INSTALLED, "");
    let same = |architecture: &str| stanza("a", architecture, "1", INSTALLED, "Multi-Arch: same\n");
    let none = |architecture: &str| {
        format!("Package: a\nStatus: hold ok not-installed\nArchitecture: {architecture}\n\n")
    };
    let removed = |text: String| text.replace(INSTALLED, "deinstall ok config-files");
    for (status, entry) in [
        (plain("amd64"), plain("all")),
        (plain("amd64"), same("i386")),
        (plain("amd64") + &none("i386"), plain("all")),
        (plain("amd64"), none("i386")),
        (removed(plain("amd64")), plain("i386")),
        (same("amd64"), plain("all")),
        (same("amd64"), plain("amd64")),
        (same("amd64"), same("i386")),
        (same("amd64"), none("i386")),
        (same("amd64") + &same("i386"), same("arm64")),
        (same("amd64") + &same("i386"), plain("amd64")),
        (same("amd64") + &same("i386"), none("i386")),
        (none("arm64") + &none("i386"), plain("amd64")),
        (String::new(), plain("amd64")),
    ] {
        let dir = root_with(status.as_bytes(), &[("0001", &entry)]);
        let ours = read(&dir).ok().map(|packages| {
            // dpkg tells only of those of which something is there.
            let there = |p: &PackageState| p.state != State::NotInstalled;
            rows(&packages.into_iter().filter(there).collect::<Vec<_>>())
        });
        assert_eq!(ours, dpkg_says(&dir), "{status}\n{entry}");
    }
}

#[test]
fn a_journal_of_which_dpkg_makes_no_order_is_refused() {
    let good = stanza("a", "amd64", "1", INSTALLED, "");
    let dir = root_with(good.as_bytes(), &[("10", &good), ("9", &good)]);
    assert_eq!(dpkg_says(&dir), None);
    let error = read(&dir).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(
        error.to_string().contains("var/lib/dpkg/updates"),
        "{error}"
    );
}

#[test]
fn what_dpkg_refuses_is_refused() {
    let good = stanza("a", "amd64", "1", INSTALLED, "");
    // What another architecture left behind is no second instance.
    let left = "Package: a\nStatus: purge ok not-installed\nArchitecture: i386\n\n";
    for good in [good.clone(), good.clone() + left, left.to_owned() + &good] {
        assert!(
            dpkg_says(&root_with(good.as_bytes(), &[])).is_some(),
            "{good}"
        );
        assert!(read_text(&good).is_ok(), "{good}");
    }
    for bad in [
        good.clone() + &good,
        good.clone() + &stanza("a", "i386", "1", INSTALLED, ""),
        stanza("a", "amd64", "1", INSTALLED, "Multi-Arch: same\n")
            + &stanza("a", "i386", "1", INSTALLED, ""),
        good.replace("Status", "Version: 1\nStatus"),
        good.replace("install ok", "perhaps ok"),
        good.replace(" installed", ""),
        good.replace("Package: a\n", ""),
        good.replace("Package: a", "Package: -"),
        good.replace("Maintainer", "#comment\nMaintainer"),
        good.replace("Maintainer", "no colon\nMaintainer"),
    ] {
        let dir = root_with(bad.as_bytes(), &[]);
        assert_eq!(dpkg_says(&dir), None, "{bad}");
        let error = read(&dir).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{bad}");
        assert!(error.to_string().contains("var/lib/dpkg/status"), "{error}");
    }
}

#[test]
fn what_dpkg_only_warns_about_is_refused_where_it_would_mislead() {
    for bad in [
        stanza("a", "amd64", "1_0", INSTALLED, ""),
        stanza("a", "amd64", "1", INSTALLED, "").replace("Version: 1\n", ""),
        stanza("a", "amd64", "1", INSTALLED, "Source: b (x\n"),
        stanza("a", "amd64", "1", INSTALLED, "Conffiles:\n /etc/a\n"),
        stanza(
            "a",
            "amd64",
            "1",
            INSTALLED,
            "Conffiles:\n etc/a d41d8cd98f00b204e9800998ecf8427e\n",
        ),
    ] {
        assert_eq!(
            read_text(&bad).unwrap_err().kind(),
            ErrorKind::Malformed,
            "{bad}"
        );
    }
}

#[test]
fn a_source_of_another_version_and_conffiles_are_read() {
    let more = "Source: python3-defaults (3.11.2-1)\nConffiles:\n /etc/a b d41d8cd98f00b204e9800998ecf8427e\n \
                /etc/c d41d8cd98f00b204e9800998ecf8427f obsolete\n /etc/d newconffile\n \
                /etc/e d41d8cd98f00b204e9800998ecf8427e remove-on-upgrade\n";
    let text = stanza("python3", "amd64", "3.11.2-1+b1", INSTALLED, more);
    for text in [text.clone(), text.replace('\n', "\r\n")] {
        let package = read_text(&text).unwrap().remove(0);
        assert_eq!(package.source.name, "python3-defaults");
        assert_eq!(package.source.version.unwrap().as_str(), "3.11.2-1");
        let conffiles: Vec<_> = package
            .conffiles
            .iter()
            .map(|c| {
                (
                    c.path.to_str().unwrap(),
                    c.md5.is_some(),
                    c.obsolete,
                    c.remove_on_upgrade,
                )
            })
            .collect();
        assert_eq!(
            conffiles,
            [
                ("/etc/a b", true, false, false),
                ("/etc/c", true, true, false),
                ("/etc/d", false, false, false),
                ("/etc/e", true, false, true),
            ]
        );
    }
}

#[test]
fn what_was_never_installed_needs_no_version() {
    let packages = read_text("Package: a\nStatus: hold ok not-installed\n").unwrap();
    assert_eq!(
        (
            packages[0].version.as_ref(),
            packages[0].architecture.as_str()
        ),
        (None, "")
    );
    assert!(packages[0].is_held() && !packages[0].is_installed());
}

proptest! {
    #[test]
    fn any_bytes_give_packages_or_an_error(bytes: Vec<u8>) {
        let mut packages = Packages::default();
        let _ = stanzas(&bytes[..], "test", |package, place| packages.add(package, place));
    }

    #[test]
    fn any_field_of_a_stanza_gives_a_package_or_an_error(
        name in "(Package|Status|Version|Source|Conffiles|Architecture)",
        value in "\\PC{0,12}([ (/\\)\n][ ]?[0-9a-f.-]{0,4}){0,6}"
    ) {
        let good = stanza("a", "amd64", "1", INSTALLED, "");
        for text in [
            format!("{good}\nPackage: b\n{name}: {value}\n"),
            good.replace("amd64", &value),
            good.replace("install ok", &value),
            good.replace("Maintainer: x", &format!("Conffiles: {value}")),
        ] {
            let mut packages = Packages::default();
            let _ = stanzas(text.as_bytes(), "test", |package, place| packages.add(package, place));
        }
        prop_assert!(conffile(value.as_bytes()).is_none_or(|c| c.path.is_absolute()));
    }
}
