//! What a lab's hosts must have in common.

use super::{Case, note, ok, refuse, shown};
use crate::facts::Role;
use crate::finding::Finding;
use crate::release::Release;

/// Of each worker beside its master, when both are there.
pub(super) fn judge(cases: &[Case<'_>]) -> Vec<Finding> {
    let Some(master) = cases.iter().find(|case| case.planned.role == Role::Master) else {
        return vec![];
    };
    let workers = cases
        .iter()
        .filter(|case| case.planned.role == Role::Worker);
    let of = |worker: &Case<'_>| {
        let found = [release(master, worker), known(master, worker)];
        let found = found.into_iter().flatten();
        found
            .map(|finding| finding.on(&worker.planned.id))
            .collect::<Vec<_>>()
    };
    workers.flat_map(of).collect()
}

/// A worker's release against its master's.
fn release(master: &Case<'_>, worker: &Case<'_>) -> Option<Finding> {
    let (m, w) = (
        master.backup().facts.lava_version(),
        worker.backup().facts.lava_version(),
    );
    let (Some(master), Some(worker)) = (&m, &w) else {
        return None; // `release` refuses the one that is not known
    };
    let speaks = |version| Release::of(version).map(|release| release.gunicorn_serves_workers);
    let finding = if speaks(master) != speaks(worker) {
        refuse("worker.protocol", "LAVA").remedy("name backups of one release, as the lab had")
    } else if master != worker {
        refuse("worker.version", "LAVA")
            .remedy("name a backup of this worker from when it had the master's release")
    } else {
        ok("worker.version", "LAVA")
    };
    let why = "a master puts a worker of another version offline; before and after 2020.09 they \
               do not even speak the same language";
    let finding = finding.compared(shown(m), shown(w));
    Some(finding.because(why, "R129; measured"))
}

/// Whether the master's database knows the worker.
fn known(master: &Case<'_>, worker: &Case<'_>) -> Option<Finding> {
    let workers = master.backup().database.as_ref()?.workers.as_ref()?;
    let name = worker.worker_name()?;
    let finding =
        if workers.iter().any(|known| known == name) {
            ok("worker.known", "worker").compared("known", name)
        } else {
            refuse("worker.known", "worker")
            .compared(format!("one of the {} that the master knows", workers.len()), name)
            .remedy(
                "name a backup of a worker that the master's backup knows, or leave this one out \
                 and add it by hand",
            )
        };
    let others = workers.len();
    if others == 0 {
        return Some(note("worker.known", "worker").compared("known", "the master knows none"));
    }
    Some(finding.because(
        "a master answers a worker that it does not know with an error",
        "R126, R131; measured: error 404",
    ))
}
