//! What makes a worker one that its master takes.

use super::{Case, Code, note, ok, prepare, shown};
use crate::draft::names;
use crate::finding::Finding;

/// The token, or the certificates of the time before 2020.09.
pub(super) fn identity(case: &Case<'_>) -> Vec<Finding> {
    if !case.restores_data() {
        return vec![
            prepare(Code::WorkerSecret, "worker", names::WORKER_IDENTITY)
                .compared("a secret of its own", "none yet")
                .remedy("add the worker on its master, and give it the token from there"),
        ];
    }
    let held = case.worker_secrets();
    let finding = if held.is_empty() {
        prepare(Code::WorkerSecret, "worker", names::WORKER_IDENTITY)
            .compared("its token or its certificates", "none in the backup")
            .remedy("take the worker's token from the master's page of workers")
    } else {
        ok(Code::WorkerSecret, "worker").compared("held", "held")
    };
    vec![finding]
}

/// A worker is its name; that of its host, unless it is configured.
pub(super) fn name(case: &Case<'_>) -> Vec<Finding> {
    let backup = &case.backup().facts;
    let worker = backup.worker.as_ref();
    let worker = worker.and_then(|worker| worker.name.as_deref());
    let then = worker.or(backup.hostname.as_deref());
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
