//! What makes a worker one that its master takes.

use super::{Case, Code, WORKER_TOKEN, note, ok, prepare, shown};
use crate::draft::names;
use crate::finding::Finding;
use crate::release::{Release, WorkerIdentity};

/// The token, or the certificates of the time before 2020.09.
pub(super) fn identity(case: &Case<'_>) -> Vec<Finding> {
    if !case.restores_data() {
        return vec![
            prepare(Code::WorkerSecret, "worker", names::WORKER_IDENTITY)
                .compared("a secret of its own", "none yet")
                .remedy("add the worker on its master, and give it the token from there"),
        ];
    }
    vec![secret(case)]
}

/// A worker of the master's own, when its database knows one.
pub(super) fn own(case: &Case<'_>) -> Vec<Finding> {
    let dump = case.backup().database.as_ref();
    let known = dump.and_then(|dump| dump.workers.as_ref());
    let own = case.settled_worker_name();
    let is_known = known.is_some_and(|names| names.iter().any(|name| Some(name.as_str()) == own));
    let release = case.backup().facts.lava_version();
    let release = release.and_then(|version| Release::of(&version));
    let runs = release.is_some_and(|release| {
        let units = case.backup().facts.units.iter().flatten();
        let mut on = units.filter(|unit| unit.enabled == Some(true) || unit.active == Some(true));
        on.any(|unit| unit.name == release.worker_unit)
    });
    match is_known && runs {
        true => {
            let mut findings = vec![secret(case)];
            findings.extend(name(case));
            findings
        }
        false => vec![],
    }
}

/// Whether the backup holds what its worker proves with who it is.
pub(crate) fn holds_secret(case: &Case<'_>) -> bool {
    let release = case.backup().facts.lava_version();
    let release = release.and_then(|version| Release::of(&version));
    let is_secret = |path: &String| match release.map(|release| release.worker_identity) {
        Some(WorkerIdentity::Token) => path == WORKER_TOKEN,
        _ => true,
    };
    case.worker_secrets().iter().any(is_secret)
}

fn secret(case: &Case<'_>) -> Finding {
    if !holds_secret(case) {
        prepare(Code::WorkerSecret, "worker", names::WORKER_IDENTITY)
            .compared("its token or its certificates", "none in the backup")
            .remedy("take the worker's token from the master's page of workers")
    } else {
        ok(Code::WorkerSecret, "worker").compared("held", "held")
    }
}

/// A worker is its name; that of its host, unless it is configured.
pub(super) fn name(case: &Case<'_>) -> Vec<Finding> {
    let then = case.former_worker_name();
    let now = case.worker_name();
    let finding = if then.is_some() && then == now {
        ok(Code::WorkerName, "worker")
    } else {
        prepare(Code::WorkerName, "worker", names::WORKER_IDENTITY).remedy(
            "give the target the old host's full name, or set WORKER_NAME in \
             /etc/lava-dispatcher/lava-worker",
        )
    };
    vec![finding.compared(shown(then), shown(now))]
}

/// Whether the restored master takes workers of any version.
pub(super) fn mismatch(case: &Case<'_>) -> Vec<Finding> {
    match case.backup().facts.settings.allow_version_mismatch {
        Some(false) => vec![],
        found => {
            let found = found.map_or("unknown", |_| "true");
            let finding = note(Code::WorkerMismatch, "ALLOW_VERSION_MISMATCH");
            vec![finding.compared("false", found)]
        }
    }
}
