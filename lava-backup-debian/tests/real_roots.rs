//! This host's own `/` against dpkg and apt, and a real LAVA master's root when there is one.
#![cfg(feature = "readers")]
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use lava_backup_debian::{
    AutoInstalled, Confidence, LavaVersion, Migration, PackageState, Root, Suite, auto_installed,
    base, expand, native_architecture, read_sources, read_status, shipped_migrations, state_bytes,
};

fn lines(program: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    let mut lines: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

fn live() -> (Root, Vec<PackageState>) {
    let root = Root::open("/").unwrap();
    let packages = read_status(&root).unwrap();
    (root, packages)
}

/// apt names a package of another architecture `name:arch`.
fn as_apt_names<'a>(packages: impl Iterator<Item = &'a PackageState>, native: &str) -> Vec<String> {
    let mut names: Vec<String> = packages
        .map(|package| match package.architecture.as_str() {
            "all" => package.name.clone(),
            arch if arch == native => package.name.clone(),
            arch => format!("{}:{arch}", package.name),
        })
        .collect();
    names.sort();
    names
}

#[test]
fn this_hosts_packages_are_those_that_dpkg_query_prints() {
    let (root, packages) = live();
    assert!(root.is_live());
    let form = "${Package} ${Architecture} ${Version} ${db:Status-Want} ${db:Status-Eflag} ${db:Status-Status} \
                ${source:Package} ${source:Version} ${Essential} ${Priority} ${Section} ${Depends}\n";
    let theirs = lines("dpkg-query", &["-W", "-f", form]);
    assert!(theirs.len() > 100);
    let mut ours: Vec<String> = packages
        .iter()
        .map(|p| {
            let essential = if p.essential { "yes" } else { "no" };
            format!(
                "{} {} {} {} {} {} {} {} {essential} {} {} {}",
                p.name,
                p.architecture,
                p.version.as_ref().unwrap(),
                p.want,
                p.flag,
                p.state,
                p.source.name,
                p.source.version.as_ref().unwrap(),
                p.priority.as_deref().unwrap_or_default(),
                p.section.as_deref().unwrap_or_default(),
                p.depends.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    let in_order: Vec<(&str, &str)> = packages
        .iter()
        .map(|p| (p.name.as_str(), p.architecture.as_str()))
        .collect();
    assert!(in_order.is_sorted());
    ours.sort();
    assert_eq!(
        ours,
        theirs
            .iter()
            .map(|line| line.replace("  ", " no "))
            .collect::<Vec<_>>()
    );
}

#[test]
fn this_hosts_conffiles_are_those_that_dpkg_query_prints() {
    let (_, packages) = live();
    let theirs: Vec<String> = lines("dpkg-query", &["-W", "-f", "${Conffiles}\n"])
        .into_iter()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let mut ours: Vec<String> = packages
        .iter()
        .flat_map(|package| &package.conffiles)
        .map(|conffile| {
            let mut line = format!(
                "{} {}",
                conffile.path.display(),
                conffile.md5.as_deref().unwrap_or("newconffile")
            );
            line.push_str(if conffile.obsolete { " obsolete" } else { "" });
            line.push_str(if conffile.remove_on_upgrade {
                " remove-on-upgrade"
            } else {
                ""
            });
            line
        })
        .collect();
    ours.sort();
    let mut theirs = theirs;
    theirs.sort();
    assert_eq!(ours, theirs);
}

#[test]
fn this_hosts_marks_holds_and_architecture_are_those_that_apt_and_dpkg_print() {
    let (root, packages) = live();
    let native = native_architecture(&root, &packages).unwrap();
    assert_eq!(lines("dpkg", &["--print-architecture"]), [native.as_str()]);
    let auto: AutoInstalled = auto_installed(&root, &packages).unwrap();
    let installed = || packages.iter().filter(|package| package.is_installed());
    let ours = as_apt_names(
        installed().filter(|package| auto.contains(package)),
        &native,
    );
    assert_eq!(ours, lines("apt-mark", &["showauto"]));
    let manual = as_apt_names(
        installed().filter(|package| !auto.contains(package)),
        &native,
    );
    assert_eq!(manual, lines("apt-mark", &["showmanual"]));
    let held = as_apt_names(packages.iter().filter(|package| package.is_held()), &native);
    assert_eq!(held, lines("apt-mark", &["showhold"]));
}

#[test]
fn this_hosts_base_its_sources_and_its_listing_can_be_told() {
    let (root, packages) = live();
    let base = base(&root).unwrap();
    assert_eq!(base.confidence, Confidence::Certain, "{base:?}");
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap();
    let suite = base.suite.unwrap();
    assert!(os_release.contains(&format!("VERSION_CODENAME={suite}\n")));
    let sources = read_sources(&root).unwrap();
    assert!(
        sources
            .iter()
            .any(|entry| entry.suites.contains(&suite.to_string())),
        "{sources:?}"
    );
    shipped_migrations(&root, &packages).unwrap();
    let listing = String::from_utf8(state_bytes(&root).unwrap()).unwrap();
    assert_eq!(listing.lines().count(), packages.len());
    let dpkg = listing
        .lines()
        .find(|line| line.starts_with("dpkg "))
        .unwrap();
    let auto = lines("apt-mark", &["showauto", "dpkg"]) == ["dpkg"];
    let mark = if auto { "auto" } else { "manual" };
    assert!(
        dpkg.ends_with(&format!(" install ok installed {mark}")),
        "{dpkg}"
    );
}

#[test]
fn a_real_lava_master_ships_the_migrations_that_its_database_has() {
    let Some(cache) = std::env::var_os("LAVA_BACKUP_CACHE").map(PathBuf::from) else {
        skip(
            "a_real_lava_master_ships_the_migrations_that_its_database_has",
            "LAVA_BACKUP_CACHE names no directory with real LAVA masters",
        );
        return;
    };
    let root = Root::open(cache.join("bookworm")).unwrap();
    let packages = read_status(&root).unwrap();
    let base = base(&root).unwrap();
    assert_eq!(
        (base.suite, base.confidence),
        (Some(Suite::Bookworm), Confidence::Certain)
    );
    let lava = packages
        .iter()
        .find(|package| package.name == "lava-server")
        .unwrap();
    assert!(lava.is_installed());
    assert_eq!(
        LavaVersion::of(lava.version.as_ref().unwrap())
            .unwrap()
            .to_string(),
        "2023.01"
    );

    let shipped = shipped_migrations(&root, &packages).unwrap();
    let apps = shipped.apps();
    let counts = [
        ("admin", 3),
        ("auth", 12),
        ("authtoken", 3),
        ("contenttypes", 2),
        ("lava_results_app", 18),
        ("lava_scheduler_app", 56),
        ("linaro_django_xmlrpc", 1),
        ("sessions", 1),
        ("sites", 2),
        ("flatpages", 1),
        ("redirects", 2),
    ];
    for (app, count) in counts {
        assert_eq!(apps.get(app), Some(&count), "{app}");
    }
    let of_scheduler = shipped.of_apps(["lava_scheduler_app"]);
    assert!(
        of_scheduler
            .iter()
            .all(|file| file.package == "lava-server")
    );
    let applied = shipped
        .of_apps(counts[..9].iter().map(|(app, _)| *app))
        .migrations();
    assert_eq!(
        applied.len(),
        98,
        "as many as its django_migrations has rows"
    );

    let used: BTreeSet<&str> = applied
        .iter()
        .map(|migration| migration.app.as_str())
        .collect();
    let in_use = shipped.of_apps(used);
    assert!(expand(&applied, &in_use).is_empty());
    let mut newer = applied.clone();
    newer.insert(Migration::new("lava_scheduler_app", "0057_from_the_future"));
    assert_eq!(expand(&newer, &in_use).unknown.len(), 1);
    let mut older = applied;
    older.remove(&Migration::new(
        "lava_scheduler_app",
        "0056_testjob_queue_timeout",
    ));
    assert_eq!(expand(&older, &in_use).missing.len(), 1);
}

/// Says that a test did not run, and why: for people, and for `scripts/test`.
fn skip(test: &str, why: &str) {
    println!("skipped: {test}: {why}");
    if let Some(list) = std::env::var_os("LAVA_BACKUP_SKIPPED") {
        let mut list = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(list)
            .unwrap();
        std::io::Write::write_all(&mut list, format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}
