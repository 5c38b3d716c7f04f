#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    Signature,
    lab::{DEBIAN, Lab, assert_expected, installed, lab_of_debian, listed},
};

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
    assert_eq!(origins.packages[1].newer, None, "it is the newest");
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
fn the_newest_version_is_the_highest_of_all_archives() {
    let mut lab = Lab::new();
    lab.key("debian", "etc/apt/trusted.gpg.d/debian.gpg");
    lab.write("root/var/lib/dpkg/status", &installed("a", "1.5", "b"));
    for (archive, version) in [("one", "2"), ("three", "10"), ("two", "1")] {
        let packages = listed("a", version, "b");
        lab.archive(archive, DEBIAN, &packages, Some("debian"), "");
    }
    assert!(lab.update(&[]).status.success());
    let origins = lab.origins();
    let newer = origins.packages[0].newer.as_ref().unwrap();
    assert_eq!(newer.as_str(), "10");
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
            "jessie",
            debian,
            Class::Backports,
            "jessie",
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
