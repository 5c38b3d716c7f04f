//! Where packages come from, and those that are not critical by themselves.

use std::collections::BTreeSet;

use super::package::{changed_packages, differing_packages, install, is_backport, is_critical};
use super::{Case, Code, list, note, ok, prepare, refuse, shown};
use crate::draft::names;
use crate::facts::{Facts, Package};
use crate::finding::Finding;
use crate::{Class, rule};

/// The packages that the plan has to install: those that differ, or all that LAVA stands on where
/// there is no LAVA yet.
fn to_install<'a>(case: &'a Case<'_>) -> Vec<&'a Package> {
    let facts = &case.backup().facts;
    if case.target().packages.is_empty() {
        return vec![]; // `package::lava` refuses
    }
    let differing: BTreeSet<String> = differing_packages(case).into_iter().collect();
    let critical = rule::critical_packages(facts, case.planned.role);
    critical
        .filter(|package| differing.contains(&package.name))
        .collect()
}

fn archived(case: &Case<'_>, name: &str) -> bool {
    rule::has_deb(case.backup(), case.planned.role, name)
}

/// Critical packages that no mirror has and the backup does not hold either.
pub(super) fn local(case: &Case<'_>) -> Vec<Finding> {
    let missing: BTreeSet<&str> = to_install(case)
        .into_iter()
        .map(|package| package.name.as_str())
        .collect();
    let critical = rule::critical_packages(&case.backup().facts, case.planned.role);
    let of = |package: &Package| {
        let name = package.name.as_str();
        let gone = match package.origin? {
            Class::Local | Class::Rebuilt => "no archive has this build",
            Class::Superseded => "archives have a newer version alone",
            _ => return None,
        };
        let finding = match (
            archived(case, name),
            missing.contains(name),
            package.origin?,
        ) {
            (true, ..) => ok(Code::SelfLocalPackage, name),
            (_, false, _) => note(Code::SelfLocalPackage, name)
                .remedy("keep the target, which has it, or find its .deb"),
            (_, _, Class::Superseded) => prepare(Code::SelfLocalPackage, name, names::BY_HAND)
                .remedy(format!(
                    "get {name} {} from snapshot.debian.org, and put it among the target's archives",
                    package.version
                )),
            _ => refuse(Code::SelfLocalPackage, name)
                .remedy("find its .deb and install it on the target, or take another backup"),
        };
        let found = if archived(case, name) {
            "in the backup"
        } else {
            gone
        };
        Some(finding.compared("a .deb in the backup or in an archive", found))
    };
    critical.filter_map(of).collect()
}

/// Archives other than Debian's own that packages to be installed came from.
pub(super) fn sources(case: &Case<'_>) -> Vec<Finding> {
    let lacks_deb = |package: &&Package| !archived(case, &package.name);
    let special = |class: Class| {
        matches!(
            class,
            Class::Backports | Class::BackportsSloppy | Class::Lava | Class::Pgdg | Class::Other
        )
    };
    let to_install = to_install(case);
    let needed: BTreeSet<Class> = to_install
        .iter()
        .copied()
        .filter(lacks_deb)
        .filter_map(|package| package.origin.filter(|class| special(*class)))
        .collect();
    let there = case.target().sources.as_ref();
    let of = |class: Class| {
        let finding = match there {
            Some(there) if there.binary_search(&class).is_ok() => {
                ok(Code::SourceMissing, class.as_str())
            }
            Some(_) => prepare(Code::SourceMissing, class.as_str(), names::BY_HAND).remedy(
                "add the archive to the target's sources, as the backup's configuration \
                 has it, and read the lists of packages again",
            ),
            None => note(Code::SourceMissing, class.as_str())
                .remedy("see that the target's sources name such an archive"),
        };
        let found = shown(there.map(|there| {
            let names: Vec<&str> = there.iter().map(|class| class.as_str()).collect();
            names.join(", ")
        }));
        finding.compared(format!("a source of {}", class.as_str()), found)
    };
    needed.into_iter().map(of).collect()
}

/// Whether apt could install anything from elsewhere than the backup.
pub(super) fn lists(case: &Case<'_>) -> Vec<Finding> {
    if to_install(case).is_empty() && !case.lacks_lava() {
        return vec![];
    }
    let Some(disorder) = &case.target().disorder else {
        return vec![
            note(Code::TargetLists, "lists of packages").compared("there and fresh", "unknown"),
        ];
    };
    let mut kinds: Vec<&str> = disorder.iter().map(|found| found.kind.as_str()).collect();
    kinds.retain(|kind| matches!(*kind, "lists.none" | "lists.missing" | "lists.expired"));
    kinds.dedup();
    let finding = if kinds.is_empty() {
        ok(Code::TargetLists, "lists of packages").compared("there and fresh", "there and fresh")
    } else {
        note(Code::TargetLists, "lists of packages")
            .compared("there and fresh", list(&kinds))
            .remedy("read the lists of packages again on the target")
    };
    vec![finding]
}

/// Packages that must change and are on hold.
pub(super) fn holds(case: &Case<'_>) -> Vec<Finding> {
    let held = held(case);
    let of = |name: &String| {
        prepare(Code::PkgHoldBlocks, name, names::LET_GO)
            .compared("not on hold while it is installed", "on hold")
            .remedy(match is_critical(name) {
                true => "take it off hold; it is held again for the load",
                false => "take it off hold; hold it again when the lab is open",
            })
    };
    held.iter().map(of).collect()
}

/// The names of the target's packages that are on hold and must change.
pub(crate) fn held(case: &Case<'_>) -> Vec<String> {
    let wanted = |name: &str| case.backup().facts.installed(name);
    let blocks = |there: &Package| {
        let same = |wanted: &Package| wanted.version.as_str() == there.version.as_str();
        there.hold && !wanted(&there.name).is_some_and(same)
    };
    let mut names = changed_packages(case);
    names.retain(|name| case.target().installed(name).is_some_and(blocks));
    names.sort();
    names.dedup();
    names
}

/// Backports among packages that are not critical; of those that are, their own rules speak.
pub(super) fn backports(case: &Case<'_>) -> Vec<Finding> {
    let of = |facts: &Facts, others: &Facts| {
        let mut names = Vec::new();
        for package in facts
            .packages
            .iter()
            .filter(|p| p.is_installed() && is_backport(p))
        {
            let other = others.installed(&package.name);
            if !is_critical(&package.name) && other.is_some_and(|other| !is_backport(other)) {
                names.push(package.name.as_str());
            }
        }
        names.dedup();
        list(&names)
    };
    let (backup, target) = (&case.backup().facts, case.target());
    let (missing, extra) = (of(backup, target), of(target, backup));
    let mut findings = Vec::new();
    if !missing.is_empty() {
        findings.push(
            note(Code::BpoMissing, "other packages")
                .compared("from backports", missing)
                .remedy("install them from backports too, if what uses them fails"),
        );
    }
    if !extra.is_empty() {
        let finding = note(Code::BpoExtra, "other packages");
        findings.push(finding.compared("the suite's own version", extra));
    }
    findings
}

/// What LAVA's packages name in their dependencies.
pub(super) fn dependencies(case: &Case<'_>) -> Vec<Finding> {
    let Some(names) = &case.backup().facts.dependencies else {
        let finding = note(Code::DepDiffers, "dependencies");
        return vec![finding.compared("those of the backup", "unknown")];
    };
    let of = |name: &String| {
        let wanted = differing_dependency(case, name)?;
        let finding = match () {
            _ if archived(case, name) => prepare(Code::DepDiffers, name, names::PACKAGES),
            _ => note(Code::DepDiffers, name),
        };
        let found = case.target().installed(name);
        let found = found.map_or_else(|| "not installed".to_owned(), |p| p.version.to_string());
        Some(
            finding
                .compared(&wanted.version, found)
                .remedy(install(wanted)),
        )
    };
    let mut findings: Vec<Finding> = names.iter().filter_map(of).collect();
    if findings.is_empty() {
        let finding = ok(Code::DepDiffers, "dependencies");
        findings.push(finding.compared("those of the backup", "the same, or revisions of them"));
    }
    findings
}

/// The backup's version of a dependency, where the target has none or another upstream one: a
/// revision of the same is what updates bring.
fn differing_dependency<'a>(case: &'a Case<'_>, name: &str) -> Option<&'a Package> {
    let wanted = case
        .backup()
        .facts
        .installed(name)
        .filter(|_| !is_critical(name))?;
    match case.target().installed(name) {
        Some(found) if found.version.upstream() == wanted.version.upstream() => None,
        // It comes with the package that needs it.
        None if case.lacks_lava() => None,
        _ => Some(wanted),
    }
}

/// The dependencies that differ and whose .debs the backup holds.
pub(super) fn differing_dependencies(case: &Case<'_>) -> Vec<String> {
    let names = case.backup().facts.dependencies.iter().flatten();
    let differs =
        |name: &&String| archived(case, name) && differing_dependency(case, name).is_some();
    names.filter(differs).cloned().collect()
}

/// What an admin installed by hand beside LAVA.
pub(super) fn others(case: &Case<'_>) -> Vec<Finding> {
    let target = case.target();
    if target.packages.is_empty() {
        return vec![]; // `package::lava` refuses
    }
    let packages = case.backup().facts.packages.iter();
    let by_hand = packages.filter(|p| p.is_installed() && !p.auto && !is_critical(&p.name));
    let mut missing: Vec<&str> = by_hand
        .filter(|package| target.installed(&package.name).is_none())
        .map(|package| package.name.as_str())
        .collect();
    missing.dedup();
    let finding = if missing.is_empty() {
        ok(Code::PkgOthers, "other packages").compared("there", "there")
    } else {
        note(Code::PkgOthers, "other packages")
            .compared("there", format!("missing: {}", list(&missing)))
            .remedy("install on the target what the lab needs of them")
    };
    vec![finding]
}

/// A package that LAVA's developers warned of.
struct Erratum {
    suite: &'static str,
    package: &'static str,
    /// A mark in the versions that do not work.
    broken: &'static str,
    remedy: &'static str,
}

const ERRATA: &[Erratum] = &[Erratum {
    suite: "jessie",
    package: "python-lockfile",
    broken: "~bpo8",
    remedy: "install python-lockfile=1:0.8-2 from jessie itself",
}];

/// Known bad combinations on the target.
pub(super) fn errata(case: &Case<'_>) -> Vec<Finding> {
    let suite = case
        .target()
        .suite
        .base
        .as_ref()
        .map(|suite| suite.as_str());
    let of = |erratum: &Erratum| {
        let found = case.target().installed(erratum.package)?;
        let bad = suite == Some(erratum.suite) && found.version.as_str().contains(erratum.broken);
        bad.then(|| {
            prepare(Code::PkgErratum, erratum.package, names::BY_HAND)
                .compared("the suite's own version", &found.version)
                .remedy(erratum.remedy)
        })
    };
    ERRATA.iter().filter_map(of).collect()
}
