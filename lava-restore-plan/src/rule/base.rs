//! The base system and what runs on it.

use super::{Case, note, ok, prepare, refuse, shown};
use crate::draft::{UNATTENDED, names};
use crate::facts::{Confidence, Role};
use crate::finding::Finding;
use crate::release::Release;

pub(super) fn suite(case: &Case<'_>) -> Vec<Finding> {
    let (backup, target) = (&case.backup().facts.suite, &case.target().suite);
    let unsure = |confidence| matches!(confidence, Confidence::Ambiguous | Confidence::Unknown);
    let compared = |finding: Finding| {
        finding
            .compared(shown(backup.base.as_ref()), shown(target.base.as_ref()))
            .because(
                "the backup's packages and its database's order of text belong to \
                 its base suite",
                "R44-R46",
            )
    };
    if backup.base.is_none()
        || target.base.is_none()
        || unsure(backup.confidence)
        || unsure(target.confidence)
    {
        return vec![compared(refuse("suite.unknown", "base system")).remedy(
            "gather the facts again as root; repair /etc/os-release where it is \
                 missing",
        )];
    }
    if backup.base != target.base {
        return vec![
            compared(refuse("suite.other", "base system"))
                .remedy("prepare a target of the backup's suite"),
        ];
    }
    let likely = backup.confidence == Confidence::Likely || target.confidence == Confidence::Likely;
    let finding = if likely {
        note("suite.same", "base system")
    } else {
        ok("suite.same", "base system")
    };
    vec![compared(finding)]
}

pub(super) fn architecture(case: &Case<'_>) -> Vec<Finding> {
    let (backup, target) = (
        &case.backup().facts.architecture,
        &case.target().architecture,
    );
    let finding = match (backup, target) {
        (Some(a), Some(b)) if a == b => ok("arch", "architecture"),
        (Some(_), Some(_)) => {
            refuse("arch", "architecture").remedy("prepare a target of the backup's architecture")
        }
        _ => refuse("arch.unknown", "architecture").remedy("gather the facts again"),
    };
    vec![
        finding
            .compared(shown(backup.as_ref()), shown(target.as_ref()))
            .because("the backup's packages are of its architecture", "R21, R52"),
    ]
}

pub(super) fn role(case: &Case<'_>) -> Vec<Finding> {
    let (wanted, found) = (case.planned.role, case.target().role);
    let finding = match found {
        found if found == wanted => ok("target.role", "target"),
        Role::Unknown if case.lacks_lava() => prepare("target.role", "target", names::PACKAGES)
            .remedy("install the backup's packages"),
        _ => refuse("target.role", "target")
            .remedy("give the facts of the host that this backup is for"),
    };
    vec![
        finding
            .compared(role_name(wanted), role_name(found))
            .because(
                "a master is restored to a master, a worker to a worker",
                "R85, R88",
            ),
    ]
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Master => "master",
        Role::Worker => "worker",
        Role::Unknown => "unknown",
    }
}

pub(super) fn apache(case: &Case<'_>) -> Vec<Finding> {
    let why = "users and their programs must be kept out by taking LAVA's site \
     out of apache, which itself stays up because the smoke test calls \
     it an error when it is down";
    let finding = match case.target().apache.lava_site_enabled {
        Some(true) => ok("isolation", "apache").compared("known", "serves LAVA"),
        Some(false) => ok("isolation", "apache").compared("known", "does not serve LAVA"),
        // The package brings it; it is closed as soon as it is installed.
        None if case.lacks_lava() => ok("isolation", "apache").compared("known", "no LAVA yet"),
        None => refuse("isolation.unknown", "apache")
            .compared("known", "unknown")
            .remedy("gather the target's facts again, as root"),
    };
    vec![finding.because(why, "R75, R79; measured on 2023.01")]
}

pub(super) fn units(case: &Case<'_>) -> Vec<Finding> {
    let Some(release) = case
        .backup()
        .facts
        .lava_version()
        .and_then(|v| Release::of(&v))
    else {
        return vec![]; // `release` refuses
    };
    let why = "every service of LAVA must be still while the database is \
     replaced: a worker runs again each job that it does not know and \
     the database calls running";
    let ground = "R93-R100, C6; measured on 2023.01";
    let Some(units) = &case.target().units else {
        let absent = case.lacks_lava();
        let finding = if absent {
            prepare("units.unknown", "services", names::PACKAGES)
                .remedy("install the backup's packages")
        } else {
            refuse("units.unknown", "services").remedy("gather the target's facts again, as root")
        };
        return vec![finding.compared("known", "unknown").because(why, ground)];
    };
    if case.lacks_lava() {
        return vec![];
    }
    let needed = match case.planned.role {
        Role::Master => release.master_units,
        Role::Worker | Role::Unknown => std::slice::from_ref(&release.worker_unit),
    };
    needed
        .iter()
        .map(|unit| {
            let has = units.iter().any(|known| known.name == *unit);
            let finding = if has {
                ok("units", unit)
            } else {
                refuse("units.missing", unit)
            };
            let found = if has { "there" } else { "missing" };
            let remedy = if has {
                ""
            } else {
                "repair the installation of LAVA on the target"
            };
            finding
                .compared("there", found)
                .because(why, ground)
                .remedy(remedy)
        })
        .collect()
}

/// What changes packages by itself. The plan stops it, so finding it is no fault.
pub(super) fn unattended(case: &Case<'_>) -> Vec<Finding> {
    let Some(timers) = &case.target().timers else {
        return vec![
            refuse("pkg.unattended_unknown", "timers")
                .compared("known", "unknown")
                .because(
                    "an upgrade of lava-server in the middle of a restore migrates the \
                     database",
                    "R34",
                )
                .remedy("gather the target's facts again, as root"),
        ];
    };
    let there = timers
        .iter()
        .filter(|unit| UNATTENDED.contains(&unit.name.as_str()));
    let stopped = |unit: &crate::facts::Unit| {
        note("pkg.unattended", &unit.name)
            .compared("stopped for the restore", "there")
            .because(
                "an upgrade of lava-server in the middle of a restore migrates the \
                 database",
                "R34",
            )
            .seen_to_by(names::TIMERS)
    };
    there.map(stopped).collect()
}
