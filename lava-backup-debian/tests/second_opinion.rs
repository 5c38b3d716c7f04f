//! `debversion` orders versions too. Where it is known to be right, it and we
//! agree; where it was measured to be wrong, `dpkg` decides.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use lava_backup_debian::PackageVersion;

const ORDERED: &[&str] = &[
    "2016.12-1~bpo8+1",
    "2016.12-1",
    "2018.4-1",
    "2018.11-1~bpo9+1",
    "2019.01-5",
    "2020.12-5",
    "2020.12-5+b1",
    "2020.12-5+deb11u2",
    "2023.01-2",
    "2023.01+12+bookworm",
    "2026.10-2~bpo13+1",
    "2026.10-2",
    "1:1.11.29-1",
    "2:2.2.28-1~deb11u2",
    "3:3.2.25-0+deb12u3",
    "3:4.2.28-0+deb13u2",
];

#[test]
fn debversion_and_we_agree_on_versions_of_a_lab() {
    let ours: Vec<PackageVersion> = ORDERED.iter().map(|v| v.parse().unwrap()).collect();
    let theirs: Vec<debversion::Version> = ORDERED.iter().map(|v| v.parse().unwrap()).collect();
    for a in 0..ORDERED.len() {
        for b in 0..ORDERED.len() {
            let (a_text, b_text) = (ORDERED[a], ORDERED[b]);
            assert_eq!(ours[a].cmp(&ours[b]), a.cmp(&b), "{a_text} {b_text}");
            assert_eq!(theirs[a].cmp(&theirs[b]), a.cmp(&b), "{a_text} {b_text}");
        }
    }
}

#[test]
fn where_debversion_is_wrong_dpkg_and_we_are_one() {
    let (less, more) = ("1.16.2+ds-1+b3", "1.16.2+ds0-1");
    let dpkg = |op: &str| {
        let asked = Command::new("dpkg")
            .args(["--compare-versions", less, op, more])
            .status();
        asked.unwrap().success()
    };
    let (ours, other): (PackageVersion, PackageVersion) =
        (less.parse().unwrap(), more.parse().unwrap());
    assert_eq!(ours.cmp(&other).is_lt(), dpkg("lt"));
    assert_eq!(ours.cmp(&other).is_gt(), dpkg("gt"));
    let (theirs, their_other): (debversion::Version, debversion::Version) =
        (less.parse().unwrap(), more.parse().unwrap());
    assert_ne!(
        theirs.cmp(&their_other),
        ours.cmp(&other),
        "debversion was repaired"
    );
}
