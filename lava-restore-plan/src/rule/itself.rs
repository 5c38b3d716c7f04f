//! The backup by itself: is it whole, and can its names be trusted?

use super::{Case, Code, list, note, ok, prepare, refuse, shown};
use crate::draft::names;
use crate::facts::{Package, Role};
use crate::finding::Finding;
use crate::release::Release;
use crate::{Intent, command, master, name};

/// Everything from the backup or the caller that will stand on a command line.
pub(super) fn names(case: &Case<'_>) -> Vec<Finding> {
    let (backup, target, options) = (case.backup(), case.target(), case.options);
    let mut bad: Vec<(&str, &str)> = Vec::new();
    let mut check = |what: &'static str, value: &'static str, good: bool| {
        if !good {
            bad.push((what, value));
        }
    };
    check("backup id", "", name::is_plain(&backup.id));
    check("store", "", name::is_argument(&case.host.store));
    check("program", "", command::is_own_program(&options.program));
    let database = master::database_name(case);
    check(
        "database name",
        "",
        database.as_deref().is_none_or(name::is_database),
    );
    let units = |facts: &crate::Facts| {
        let mut units = facts.units.iter().chain(&facts.timers).flatten();
        units.all(|unit| name::is_unit(&unit.name))
    };
    check("unit name", "of the backup", units(&backup.facts));
    check("unit name", "of the target", units(target));
    let sites = |facts: &crate::Facts| {
        let mut sites = facts.apache.sites.iter().flatten();
        sites.all(|site| name::is_plain(site))
    };
    check("site of apache", "of the target", sites(target));
    let packages = |facts: &crate::Facts| facts.packages.iter().all(|p| name::is_package(&p.name));
    check("package name", "of the backup", packages(&backup.facts));
    check("package name", "of the target", packages(target));
    let architectures = |facts: &crate::Facts| {
        let mut foreign = facts.foreign_architectures.iter().flatten();
        foreign.all(|architecture| name::is_package(architecture))
    };
    check(
        "architecture",
        "of the backup",
        architectures(&backup.facts),
    );
    check(
        "section",
        "",
        backup
            .sections
            .iter()
            .all(|section| name::is_plain(section)),
    );
    check(
        "path in config",
        "",
        backup.paths.iter().all(|path| name::is_member(path)),
    );
    let devices = backup
        .database
        .iter()
        .flat_map(|dump| &dump.devices_by_health);
    check(
        "device name",
        "",
        devices
            .flat_map(|map| map.values().flatten())
            .all(|d| name::is_plain(d)),
    );
    let workers = backup.database.iter().flat_map(|dump| &dump.workers);
    let mut workers = workers
        .flatten()
        .map(String::as_str)
        .chain(case.worker_name())
        .chain(case.former_worker_name());
    check("worker name", "", workers.all(name::is_plain));
    bad.into_iter()
        .map(|(what, whose)| {
            let subject = format!("{what} {whose}");
            refuse(Code::NameUnsafe, subject.trim_end())
                .compared(
                    "a plain name",
                    "one that could be taken for something else on a command line",
                )
                .remedy("look at the backup's index and at both hosts' facts by hand")
        })
        .collect()
}

/// The parts without which there is nothing to restore.
pub(super) fn sections(case: &Case<'_>) -> Vec<Finding> {
    let held = |name: &str| case.backup().sections.iter().any(|section| section == name);
    let wanted: &[&str] = match case.planned.role {
        Role::Master if case.restores_data() => &["facts", "database", "config", "data", "logs"],
        _ => &["facts", "config"],
    };
    wanted
        .iter()
        .map(|name| {
            let missing = match *name {
                name if held(name) => return ok(Code::SelfPart, name).compared("held", "held"),
                "logs" => note(Code::SelfMissingPart, name),
                "data" => prepare(Code::SelfMissingPart, name, names::ACCEPT).remedy(
                    "accept that the output of all jobs stays lost, or take another \
                     backup",
                ),
                name => refuse(Code::SelfMissingPart, name).remedy("take another backup"),
            };
            missing.compared("held", "missing")
        })
        .collect()
}

pub(super) fn degraded(case: &Case<'_>) -> Vec<Finding> {
    let reasons = &case.backup().degraded;
    if reasons.is_empty() {
        return vec![ok(Code::BackupDegraded, "backup").compared("whole", "whole")];
    }
    let finding = |reason: &String| {
        prepare(Code::BackupDegraded, "backup", names::ACCEPT)
            .compared("whole", reason)
            .remedy("take a whole backup, or accept the loss")
    };
    reasons.iter().map(finding).collect()
}

/// Whether it was ever restored, be it in throwaway surroundings.
pub(super) fn drilled(case: &Case<'_>) -> Vec<Finding> {
    let finding = match case.backup().drill_passed {
        Some(true) => return vec![ok(Code::SelfDrilled, "drill").compared("passed", "passed")],
        Some(false) => prepare(Code::SelfDrillFailed, "drill", names::ACCEPT)
            .compared("passed", "failed")
            .remedy("look at what the drill said, and take another backup or accept the loss"),
        None => note(Code::SelfUntested, "drill")
            .compared("passed", "none is known")
            .remedy("`lava-backup drill` it first, if there is time"),
    };
    vec![finding]
}

/// Whether LAVA's release is one that this planner plans for.
pub(super) fn release(case: &Case<'_>) -> Vec<Finding> {
    const KNOWN: &str = "2016.12 to 2026.10";
    const MEASURED: (u16, u8) = (2020, 12);
    let version = case.backup().facts.lava_version();
    let finding = match &version {
        Some(known) if Release::of(known).is_some() && known.year_month() >= MEASURED => {
            ok(Code::Release, "LAVA")
        }
        Some(known) if Release::of(known).is_some() => note(Code::ReleaseNotMeasured, "LAVA")
            .remedy("read each step before you run it, and drill first"),
        _ => refuse(Code::ReleaseUnknown, "LAVA")
            .remedy("use a version of this planner that knows the release"),
    };
    vec![finding.compared(KNOWN, shown(version))]
}

/// What dpkg had left undone when the backup was made.
pub(super) fn dpkg(case: &Case<'_>) -> Vec<Finding> {
    let facts = &case.backup().facts;
    let mut findings = Vec::new();
    if facts.has_disorder("dpkg.interrupted") {
        findings.push(
            refuse(Code::SelfDpkg, "dpkg")
                .compared("idle", "interrupted, or running")
                .remedy("take another backup, from before or after"),
        );
    }
    let of = |package: &Package| {
        let finding = if super::package::is_critical(&package.name) {
            refuse(Code::SelfDpkg, &package.name)
                .remedy("take another backup, from before or after")
        } else {
            note(Code::SelfDpkg, &package.name)
        };
        finding.compared("installed", &package.state)
    };
    findings.extend(
        facts
            .packages
            .iter()
            .filter(|package| package.is_unclean())
            .map(of),
    );
    if findings.is_empty() {
        findings.push(ok(Code::SelfDpkg, "dpkg").compared("nothing left undone", "nothing"));
    }
    findings
}

/// What the words on where packages came from rest on.
pub(super) fn lists(case: &Case<'_>) -> Vec<Finding> {
    let Some(disorder) = &case.backup().facts.disorder else {
        return vec![
            note(Code::SelfLists, "lists of packages").compared("signed and fresh", "unknown"),
        ];
    };
    let doubtful = |kind: &str| {
        kind.starts_with("lists.")
            || matches!(
                kind,
                "source.unsigned" | "source.bad-signature" | "source.unchecked" | "source.trusted"
            )
    };
    let mut kinds: Vec<&str> = disorder.iter().map(|found| found.kind.as_str()).collect();
    kinds.retain(|kind| doubtful(kind));
    kinds.dedup();
    let mut findings = vec![if kinds.is_empty() {
        ok(Code::SelfLists, "lists of packages").compared("signed and fresh", "signed and fresh")
    } else {
        note(Code::SelfLists, "lists of packages").compared("signed and fresh", list(&kinds))
    }];
    let aliases = disorder.iter().filter(|found| found.kind == "source.alias");
    findings.extend(aliases.map(|found| {
        note(Code::SourceAlias, &found.subject)
            .compared("a codename", "an alias")
            .remedy("write the suite's codename there when the restore is done")
    }));
    findings
}

/// Where the exact packages can come from.
pub(super) fn debs(case: &Case<'_>) -> Vec<Finding> {
    let installs = case.lacks_lava() || !super::packages_to_name(case).is_empty();
    // In a drill there is no mirror either.
    let grave = match installs && case.intent == Intent::Drill {
        true => refuse,
        false => note,
    };
    let Some(debs) = &case.backup().debs else {
        return vec![
            grave(Code::SelfNoDebs, "packages")
                .compared("the .debs of the backup's packages", "none")
                .remedy("have the exact versions at hand, or back up with `--packages closure`"),
        ];
    };
    let lacking = debs.lacking.iter().map(|package| {
        grave(Code::SelfDebMissing, package)
            .compared("a .deb in the backup", "none")
            .remedy("have this version at hand")
    });
    let repacked = debs.repacked.iter().map(|package| {
        note(Code::SelfDebRepacked, package).compared("the archive's .deb", "packed anew")
    });
    let mut findings: Vec<Finding> = lacking.chain(repacked).collect();
    if debs.closed == Some(false) || debs.closed.is_none() && case.intent == Intent::Drill {
        findings.push(
            grave(Code::SelfClosureOpen, "packages")
                .compared(
                    "enough by themselves",
                    match debs.closed {
                        Some(_) => "others are needed too",
                        None => "not asked",
                    },
                )
                .remedy("have the sources of the suite at hand"),
        );
    }
    if findings.is_empty() {
        findings.push(ok(Code::SelfDebs, "packages").compared("held", &debs.scope));
    }
    findings
}
