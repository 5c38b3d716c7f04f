//! What makes a worker one that its master takes.

use super::{Case, ok, prepare, shown};
use crate::draft::names;
use crate::finding::Finding;

/// The token, or the certificates of the time before 2020.09.
pub(super) fn identity(case: &Case<'_>) -> Vec<Finding> {
    const WHY: &str = "a master hands jobs to workers that prove who they are";
    const GROUND: &str = "R57, R67, R127; measured: error 400 for another token";
    if !case.restores_data() {
        return vec![
            prepare("worker.secret", "worker", names::WORKER_IDENTITY)
                .compared("a secret of its own", "none yet")
                .because(WHY, GROUND)
                .remedy("add the worker on its master, and give it the token from there"),
        ];
    }
    let held = case.worker_secrets();
    let finding = if held.is_empty() {
        prepare("worker.secret", "worker", names::WORKER_IDENTITY)
            .compared("its token or its certificates", "none in the backup")
            .remedy("take the worker's token from the master's page of workers")
    } else {
        ok("worker.secret", "worker").compared("held", "held")
    };
    vec![finding.because(WHY, GROUND)]
}

/// A worker is its name; that of its host, unless it is configured.
pub(super) fn name(case: &Case<'_>) -> Vec<Finding> {
    let backup = &case.backup().facts;
    let worker = backup
        .worker
        .as_ref()
        .and_then(|worker| worker.name.as_deref());
    let then = worker.or(backup.hostname.as_deref());
    let now = case.worker_name();
    let finding = if then.is_some() && then == now {
        ok("worker.name", "worker")
    } else {
        prepare("worker.name", "worker", names::WORKER_IDENTITY).remedy(
            "give the target the old host's full name, or set WORKER_NAME in \
             /etc/lava-dispatcher/lava-worker",
        )
    };
    let finding = finding.compared(shown(then), shown(now));
    vec![finding.because(
        "a host of another name is another worker to the master, with none of its devices",
        "R127; measured: error 404",
    )]
}
