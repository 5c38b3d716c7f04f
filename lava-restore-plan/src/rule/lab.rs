//! What a lab's hosts must have in common.

use std::net::Ipv4Addr;

use super::{Case, Code, note, ok, refuse, shown};
use crate::facts::Role;
use crate::finding::Finding;
use crate::release::Release;

/// Of each worker beside the others and its master.
pub(super) fn judge(cases: &[Case<'_>]) -> Vec<Finding> {
    let mut findings = twice(cases);
    findings.extend(beside_master(cases));
    findings
}

/// Whether two of the backups are of one worker: its master takes them for the same.
fn twice(cases: &[Case<'_>]) -> Vec<Finding> {
    let workers = cases
        .iter()
        .filter(|case| case.planned.role == Role::Worker);
    let mut names: Vec<&str> = workers.filter_map(Case::settled_worker_name).collect();
    names.sort_unstable();
    let mut twice: Vec<&str> = names
        .windows(2)
        .filter(|two| two[0] == two[1])
        .map(|two| two[0])
        .collect();
    twice.dedup();
    let finding = |name: &&str| {
        refuse(Code::PlanHosts, name)
            .compared("one backup of each worker", "several")
            .remedy("name one of them, the one that belongs to the master's")
    };
    twice.iter().map(finding).collect()
}

/// Of each worker beside its master, when both are there.
fn beside_master(cases: &[Case<'_>]) -> Vec<Finding> {
    let Some(master) = cases.iter().find(|case| case.planned.role == Role::Master) else {
        return vec![];
    };
    let workers = cases
        .iter()
        .filter(|case| case.planned.role == Role::Worker);
    let of = |worker: &Case<'_>| {
        let found = [
            release(master, worker),
            known(master, worker),
            address(master, worker),
        ];
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
        refuse(Code::WorkerProtocol, "LAVA").remedy("name backups of one release, as the lab had")
    } else if master != worker {
        refuse(Code::WorkerVersion, "LAVA")
            .remedy("name a backup of this worker from when it had the master's release")
    } else {
        ok(Code::WorkerVersion, "LAVA")
    };
    let finding = finding.compared(shown(m), shown(w));
    Some(finding)
}

/// Whether the master's database knows the worker.
fn known(master: &Case<'_>, worker: &Case<'_>) -> Option<Finding> {
    let workers = master.backup().database.as_ref()?.workers.as_ref()?;
    let name = worker.settled_worker_name()?;
    let finding =
        if workers
            .binary_search_by(|known| known.as_str().cmp(name))
            .is_ok()
        {
            ok(Code::WorkerKnown, "worker").compared("known", name)
        } else {
            refuse(Code::WorkerKnown, "worker")
            .compared(format!("one of the {} that the master knows", workers.len()), name)
            .remedy(
                "name a backup of a worker that the master's backup knows, or leave this one out \
                 and add it by hand",
            )
        };
    let others = workers.len();
    if others == 0 {
        return Some(note(Code::WorkerKnown, "worker").compared("known", "the master knows none"));
    }
    Some(finding)
}

/// Whether the worker's restored settings lead to the master that is restored.
fn address(master: &Case<'_>, worker: &Case<'_>) -> Option<Finding> {
    let server = worker.backup().facts.worker.as_ref()?.server.as_deref();
    let host = server.map(host_of);
    let now = master.host.name();
    let finding = match (host, now) {
        (Some(host), Some(name)) if is_named(host, name) => ok(Code::WorkerMaster, "worker"),
        _ => note(Code::WorkerMaster, "worker")
            .remedy("see that this name leads to the restored master, or change it there"),
    };
    Some(finding.compared(shown(now), shown(host)))
}

/// Whether both are one name, of which one may lack its domain. Of addresses no part is a name.
fn is_named(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    let lacks_domain = |short: &str, full: &str| {
        !short.is_empty()
            && full.split_once('.').is_some_and(|(name, _)| name == short)
            && full.parse::<Ipv4Addr>().is_err()
    };
    one == other || lacks_domain(&one, &other) || lacks_domain(&other, &one)
}

/// `lava.example.org` of `http://lava.example.org:8000/x`; never what stands before an `@`, for that
/// is a name and a password.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or_default();
    let host = rest
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    host.map_or(rest, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::{host_of, is_named};

    #[test]
    fn a_master_is_found_by_its_name_with_or_without_its_domain() {
        for (one, other) in [
            ("lab", "lab"),
            ("lab", "LAB.example.org"),
            ("lab.example.org", "lab"),
            ("lab.example.org", "lab.example.org"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert!(is_named(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("lab", "lab2"),
            ("lab.example.org", "lab.example.net"),
            ("10.0.0.1", "10.0.0.2"),
            ("10", "10.0.0.1"),
            ("", ".example.org"),
        ] {
            assert!(!is_named(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_host_is_read_out_of_an_address() {
        for (url, host) in [
            ("http://lava.example.org:8000/x", "lava.example.org"),
            ("https://me:secret@lava/", "lava"),
            ("lava", "lava"),
            ("http://[::1]:80/", "[::1]"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
