#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;
use crate::lab::{DEBIAN, Lab, NOW, installed, lab_of_debian, listed};

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
