//! Real LAVA masters of three suites against their own dpkg and apt, package by package.
//!
//! They lie in `$LAVA_BACKUP_CACHE`, each with a layer of apt's lists beside it, as
//! `scripts/test` makes them, and are not changed: what is done is done in an overlay.
#![cfg(feature = "readers")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

mod roots;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use lava_backup_debian::{
    Class, ConffileContent, Confidence, FindingKind, Fingerprint, HostState, LavaVersion, Root,
    Signature, Trust, changed_conffiles, read_status,
};
use roots::masters;
#[test]
fn every_package_comes_from_where_its_own_apt_says() {
    for master in masters("every_package_comes_from_where_its_own_apt_says") {
        let state = master.state();
        let native = &state.architectures[0];
        let names: Vec<String> = state
            .origins
            .iter()
            .map(|o| format!("{}:{}", o.name, arch_of(&o.architecture, native)))
            .collect();
        let mut command = vec!["apt-cache", "policy"];
        command.extend(names.iter().map(String::as_str));
        let output = master.run(&command);
        let policy = String::from_utf8(output.stdout).unwrap();
        let mut rows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let (mut package, mut is_installed) = (String::new(), false);
        for line in policy.lines() {
            if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
                package = name.split(':').next().unwrap().to_owned();
                rows.insert(package.clone(), BTreeSet::new());
                is_installed = false;
            } else if line.starts_with(" *** ") {
                is_installed = true;
            } else if !line.starts_with("        ") {
                is_installed = false;
            } else if is_installed && !line.ends_with("/var/lib/dpkg/status") {
                let (_, place) = line.trim().split_once(' ').unwrap();
                rows.get_mut(&package).unwrap().insert(place.to_owned());
            }
        }
        assert!(
            rows.len() == state.origins.len() && rows.len() > 200,
            "{}",
            rows.len()
        );
        for origin in &state.origins {
            let ours: BTreeSet<String> = origin
                .origins
                .iter()
                .map(|o| {
                    format!(
                        "{} {}/{} {} Packages",
                        o.uri, o.suite, o.component, o.architecture
                    )
                })
                .collect();
            assert_eq!(ours, rows[&origin.name], "{} {}", master.suite, origin.name);
            assert!(
                origin.origins.iter().all(|o| o.trust == Trust::Signed),
                "{origin:?}"
            );
        }
        let lava = state
            .origins
            .iter()
            .find(|o| o.name == "lava-server")
            .unwrap();
        let expected = if master.suite == "trixie" {
            Class::Backports
        } else {
            Class::Base
        };
        assert_eq!(lava.class, expected, "{}", master.suite);
        assert!(LavaVersion::of(&lava.version).is_ok());
        assert!(
            lava.origins
                .iter()
                .all(|o| o.base.as_ref().unwrap().as_str() == master.suite)
        );
        let suite: lava_backup_debian::Suite = master.suite.parse().unwrap();
        assert_eq!(
            (state.base.suite.as_ref(), state.base.confidence),
            (Some(&suite), Confidence::Certain),
            "{:?}",
            state.base
        );
        assert!(!state.base.is_mixed(), "{:?}", state.base.releases);
        let by_class =
            state
                .origins
                .iter()
                .fold(BTreeMap::new(), |mut counts: BTreeMap<Class, usize>, o| {
                    *counts.entry(o.class).or_default() += 1;
                    counts
                });
        println!(
            "{}: {} packages agree with apt: {by_class:?}",
            master.suite,
            rows.len()
        );
    }
}

fn arch_of<'a>(architecture: &'a str, native: &'a str) -> &'a str {
    if architecture == "all" {
        native
    } else {
        architecture
    }
}

#[test]
fn every_state_mark_and_hold_is_that_of_its_own_dpkg_and_apt() {
    for master in masters("every_state_mark_and_hold_is_that_of_its_own_dpkg_and_apt") {
        assert!(
            master
                .run(&["apt-mark", "hold", "lava-server"])
                .status
                .success()
        );
        assert!(
            master
                .run(&["apt-mark", "auto", "apache2"])
                .status
                .success()
        );
        let state = master.state();
        let form = "${Package} ${Architecture} ${Version} ${db:Status-Want} ${db:Status-Eflag} ${db:Status-Status} ${source:Package} ${source:Version}\n";
        let mut ours: Vec<String> = state
            .packages
            .iter()
            .map(|p| {
                let version = p.version.as_ref().unwrap();
                let source = p.source.version.as_ref().unwrap();
                format!(
                    "{} {} {version} {} {} {} {} {source}",
                    p.name, p.architecture, p.want, p.flag, p.state, p.source.name
                )
            })
            .collect();
        ours.sort();
        assert_eq!(
            ours,
            master.lines(&["dpkg-query", "-W", "-f", form]),
            "{}",
            master.suite
        );
        let marked = |auto: bool| {
            let mut names: Vec<String> = state
                .packages
                .iter()
                .filter(|p| p.is_installed() && state.auto.contains(p) == auto)
                .map(|p| p.name.clone())
                .collect();
            names.sort();
            names
        };
        assert_eq!(
            marked(true),
            master.lines(&["apt-mark", "showauto"]),
            "{}",
            master.suite
        );
        assert_eq!(
            marked(false),
            master.lines(&["apt-mark", "showmanual"]),
            "{}",
            master.suite
        );
        let held: Vec<&str> = state
            .packages
            .iter()
            .filter(|p| p.is_held())
            .map(|p| p.name.as_str())
            .collect();
        assert_eq!(held, master.lines(&["apt-mark", "showhold"]));
        assert_eq!(held, ["lava-server"]);
        let mut architectures = master.lines(&["dpkg", "--print-architecture"]);
        architectures.extend(master.lines(&["dpkg", "--print-foreign-architectures"]));
        assert_eq!(state.architectures, architectures);
    }
}

#[test]
fn conffiles_an_admin_changed_or_removed_are_those_that_its_own_dpkg_finds() {
    for master in masters("conffiles_an_admin_changed_or_removed_are_those_that_its_own_dpkg_finds")
    {
        fs::write(master.at("etc/bash.bashrc"), "changed\n").unwrap();
        fs::remove_file(master.at("etc/debconf.conf")).unwrap();
        fs::write(master.at("etc/apache2/apache2.conf"), "").unwrap();
        let root = master.root();
        let packages = read_status(&root).unwrap();
        let ours: BTreeSet<(String, bool)> = changed_conffiles(&root, &packages)
            .unwrap()
            .into_iter()
            .filter(|c| c.content != ConffileContent::Shipped && !c.obsolete)
            .map(|c| {
                (
                    c.path.display().to_string(),
                    c.content == ConffileContent::Missing,
                )
            })
            .collect();
        let output = master.run(&["dpkg", "-V"]);
        let theirs: BTreeSet<(String, bool)> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| {
                let (flags, path) = line.split_once(" c ")?;
                // bullseye's dpkg 1.20 says of one that is missing that it was changed.
                let missing = match master.suite {
                    "bullseye" => !master.at(path).exists(),
                    _ => flags.starts_with("missing"),
                };
                Some((path.to_owned(), missing))
            })
            .collect();
        assert_eq!(ours, theirs, "{}", master.suite);
        for (path, missing) in [
            ("/etc/bash.bashrc", false),
            ("/etc/debconf.conf", true),
            ("/etc/apache2/apache2.conf", false),
        ] {
            assert!(ours.contains(&(path.to_owned(), missing)), "{path}");
        }
    }
}

#[test]
fn diversions_overrides_alternatives_and_settings_are_those_that_its_own_tools_list() {
    for master in
        masters("diversions_overrides_alternatives_and_settings_are_those_that_its_own_tools_list")
    {
        let divert = [
            "dpkg-divert",
            "--local",
            "--rename",
            "--divert",
            "/etc/motd.mine",
            "--add",
            "/etc/motd",
        ];
        assert!(master.run(&divert).status.success());
        let stat = [
            "dpkg-statoverride",
            "--add",
            "--update",
            "root",
            "adm",
            "0750",
            "/usr/bin/sudo",
        ];
        assert!(master.run(&stat).status.success());
        assert!(
            master
                .run(&["update-alternatives", "--set", "awk", "/usr/bin/mawk"])
                .status
                .success()
        );
        let state = master.state();
        let mut ours: Vec<String> = state
            .diversions
            .iter()
            .map(|d| match &d.package {
                Some(package) => format!(
                    "diversion of {} to {} by {package}",
                    d.from.display(),
                    d.to.display()
                ),
                None => format!(
                    "local diversion of {} to {}",
                    d.from.display(),
                    d.to.display()
                ),
            })
            .collect();
        ours.sort();
        assert_eq!(
            ours,
            master.lines(&["dpkg-divert", "--list"]),
            "{}",
            master.suite
        );
        assert!(state.diversions.iter().any(|d| d.package.is_none()));
        let mut ours: Vec<String> = state
            .stat_overrides
            .iter()
            .map(|o| format!("{} {} {:o} {}", o.user, o.group, o.mode, o.path.display()))
            .collect();
        ours.sort();
        assert_eq!(
            ours,
            master.lines(&["dpkg-statoverride", "--list"]),
            "{}",
            master.suite
        );
        let mut ours: Vec<String> = state
            .alternatives
            .iter()
            .map(|a| {
                let mode = if a.manual { "manual" } else { "auto" };
                format!("{} {mode} {}", a.name, a.value.as_ref().unwrap().display())
            })
            .collect();
        ours.sort();
        let theirs: Vec<String> = master
            .lines(&["update-alternatives", "--get-selections"])
            .iter()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(ours, theirs, "{}", master.suite);
        assert!(
            state
                .alternatives
                .iter()
                .any(|a| a.name == "awk" && a.manual)
        );
        let dump = master.lines(&["apt-config", "dump"]);
        assert!(!state.settings.is_empty());
        for setting in &state.settings {
            let value = setting.value.clone().unwrap_or_default();
            let line = format!("{} \"{value}\";", setting.name);
            assert!(dump.contains(&line), "{}: {line}", master.suite);
        }
        let questions: BTreeSet<&str> = state
            .selections
            .iter()
            .map(|s| s.question.as_str())
            .collect();
        let show = "for q in \"$@\"; do echo GET \"$q\"; done | debconf-communicate";
        let mut command = vec!["sh", "-c", show, "sh"];
        command.extend(questions.iter());
        let answers = String::from_utf8(master.run(&command).stdout).unwrap();
        assert_eq!(
            answers.lines().count(),
            state.selections.len(),
            "{}",
            master.suite
        );
        for (selection, answer) in state.selections.iter().zip(answers.lines()) {
            let value = answer.strip_prefix("0 ").or(answer.strip_prefix("0"));
            let Some(value) = value.filter(|_| !selection.secret && selection.answered) else {
                continue;
            };
            assert_eq!(
                selection.value.as_deref(),
                Some(value),
                "{}",
                selection.question
            );
        }
        let timers: BTreeSet<&str> = state
            .timers
            .iter()
            .filter(|t| t.enabled)
            .map(|t| t.name.as_str())
            .collect();
        for timer in ["apt-daily.timer", "apt-daily-upgrade.timer"] {
            let enabled = master.run(&["systemctl", "is-enabled", timer]).stdout == b"enabled\n";
            assert_eq!(timers.contains(timer), enabled, "{} {timer}", master.suite);
        }
    }
}

/// Not a test but a part of one: run by it again, in the root of a master, as a live host.
#[test]
fn captured_as_a_live_host() {
    let Some(root) = std::env::var_os("LAVA_ROOTS_LIVE") else {
        return;
    };
    std::os::unix::fs::chroot(root).unwrap();
    std::env::set_current_dir("/").unwrap();
    let root = Root::open("/").unwrap();
    let now = std::env::var("LAVA_ROOTS_NOW").unwrap().parse().unwrap();
    assert!(root.is_live());
    let state = HostState::capture(&root, now).unwrap();
    println!("state: {}", serde_json::to_string(&state).unwrap());
}

#[test]
fn a_live_host_and_its_offline_root_are_the_same() {
    for master in masters("a_live_host_and_its_offline_root_are_the_same") {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "captured_as_a_live_host", "--nocapture"])
            .env("LAVA_ROOTS_LIVE", master.path())
            .env("LAVA_ROOTS_NOW", master.now.to_string())
            .env("TMPDIR", "/tmp")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {output:?}", master.suite);
        let text = String::from_utf8(output.stdout).unwrap();
        let live = text
            .lines()
            .find_map(|line| Some(line.split_once("state: ")?.1))
            .unwrap();
        let mut live: serde_json::Value = serde_json::from_str(live).unwrap();
        let state = master.state();
        let mut offline = serde_json::to_value(&state).unwrap();
        // Each was checked by what its machine has: trixie has sqv alone.
        let checkers: Vec<String> = [&mut live, &mut offline]
            .into_iter()
            .flat_map(|state| state["archives"].as_array_mut().unwrap())
            .map(|archive| {
                let signature = &mut archive["signature"];
                assert_eq!(signature["result"], "good", "{}: {signature}", master.suite);
                // sqv names certificates, gpgv the keys that signed.
                signature["keys"] = serde_json::Value::Null;
                let checker = signature["checker"].as_str().unwrap().to_owned();
                signature["checker"] = serde_json::Value::Null;
                checker
            })
            .collect();
        assert_eq!(live, offline, "{}", master.suite);
        let ours = &state.archives[0].signature;
        assert!(matches!(ours, Signature::Good { .. }));
        println!(
            "{}: live and offline are the same; checked by {checkers:?}",
            master.suite
        );
    }
}

#[test]
fn what_is_out_of_order_is_found_by_its_own_code_and_nothing_else() {
    let with = |before: &BTreeSet<FindingKind>, kind| {
        let mut kinds = before.clone();
        kinds.insert(kind);
        kinds
    };
    for master in masters("what_is_out_of_order_is_found_by_its_own_code_and_nothing_else") {
        let before = master.kinds();
        // The mirror may have had newer versions when the lists were fetched.
        assert!(
            before.iter().all(|kind| *kind == FindingKind::Superseded),
            "{}: {:?}",
            master.suite,
            master.state().findings
        );
        let fingerprint = Fingerprint::of(&master.root()).unwrap();
        assert!(
            fingerprint
                .moved(&Fingerprint::of(&master.root()).unwrap())
                .is_empty()
        );

        assert!(
            master
                .run(&["apt-mark", "hold", "lava-server"])
                .status
                .success()
        );
        assert_eq!(master.kinds(), with(&before, FindingKind::Held));
        assert_eq!(
            fingerprint.moved(&Fingerprint::of(&master.root()).unwrap()),
            ["the state of packages"]
        );
        assert!(
            master
                .run(&["apt-mark", "unhold", "lava-server"])
                .status
                .success()
        );

        assert!(
            !master
                .install("fails-to-configure", "exit 1")
                .status
                .success()
        );
        assert_eq!(master.kinds(), with(&before, FindingKind::HalfConfigured));
        assert!(
            master
                .run(&["dpkg", "--purge", "fails-to-configure"])
                .status
                .success()
        );

        assert!(master.install("made-at-home", "exit 0").status.success());
        assert_eq!(master.kinds(), with(&before, FindingKind::Local));
        assert!(
            master
                .run(&["dpkg", "--purge", "made-at-home"])
                .status
                .success()
        );
        assert_eq!(master.kinds(), before);

        // dpkg is killed by the script that it runs.
        assert!(
            !master
                .install("kills-dpkg", "kill -9 $PPID")
                .status
                .success()
        );
        let kinds = master.kinds();
        assert!(
            kinds.contains(&FindingKind::Interrupted),
            "{}: {kinds:?}",
            master.suite
        );
        assert!(
            kinds.contains(&FindingKind::HalfConfigured),
            "{}: {kinds:?}",
            master.suite
        );
        assert!(
            master
                .run(&["dpkg", "--purge", "--force-all", "kills-dpkg"])
                .status
                .success()
        );
        assert_eq!(master.kinds(), before);

        // Lists that were once in order: at a later time, without their signature, and gone.
        let later = HostState::capture(&master.root(), master.now + 3600 * 24 * 365).unwrap();
        let expired: Vec<&str> = later
            .findings
            .iter()
            .filter(|f| f.kind == FindingKind::ListsExpired)
            .map(|f| f.subject.as_str())
            .collect();
        // bullseye's archives, which change no more, are good for ever.
        let ages = later.archives.iter().filter(|archive| {
            archive
                .release
                .as_ref()
                .is_some_and(|release| release.valid_until.is_some())
        });
        assert_eq!(
            expired.len(),
            ages.count(),
            "{}: {:?}",
            master.suite,
            later.findings
        );
        assert!(master.suite == "bullseye" || !expired.is_empty());
        let lists = master.at("var/lib/apt/lists");
        for entry in fs::read_dir(&lists).unwrap() {
            let path = entry.unwrap().path();
            if path
                .to_str()
                .unwrap()
                .ends_with(&format!("_{}_InRelease", master.suite))
            {
                let text = fs::read_to_string(&path).unwrap();
                let signed = text
                    .split("\n\n")
                    .nth(1)
                    .unwrap()
                    .split("-----BEGIN")
                    .next()
                    .unwrap();
                fs::write(
                    path.with_file_name(
                        path.file_name()
                            .unwrap()
                            .to_str()
                            .unwrap()
                            .replace("InRelease", "Release"),
                    ),
                    signed,
                )
                .unwrap();
                fs::remove_file(&path).unwrap();
            }
        }
        assert_eq!(
            master.kinds(),
            with(&before, FindingKind::Unsigned),
            "{:?}",
            master.state().findings
        );
        fs::remove_dir_all(&lists).unwrap();
        assert_eq!(master.kinds(), BTreeSet::from([FindingKind::NoLists]));
    }
}
