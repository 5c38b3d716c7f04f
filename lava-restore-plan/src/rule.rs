//! What is asked of a backup and a target before there is a plan.
//!
//! Each rule is a small function that says what it found, also when all is well, so that a report
//! can be audited. Unknown is never well.

mod archive;
mod base;
mod code;
mod content;
mod data;
mod itself;
mod lab;
mod package;
mod postgresql;
mod target;
mod worker;

pub(crate) use archive::held;
pub use code::Code;
pub(crate) use data::lacks_database;
pub(crate) use package::{
    accepted_versions, critical_packages, has_deb, is_lava, packages_to_name, ships_migrations_of,
};
pub(crate) use worker::holds_secret;

use crate::draft::names;
use crate::facts::Role;
use crate::finding::{Finding, Verdict};
use crate::host::{Host, PlannedHost};
use crate::{Backup, Facts, Intent, Options};

/// Where a backup holds the secret of a worker of 2020.09 or later.
pub(crate) const WORKER_TOKEN: &str = "data/var/lib/lava/dispatcher/worker/token";

/// What the rules look at.
pub(crate) struct Case<'a> {
    pub(crate) host: &'a Host,
    pub(crate) planned: &'a PlannedHost,
    pub(crate) intent: Intent,
    pub(crate) options: &'a Options,
}

impl Case<'_> {
    pub(crate) fn backup(&self) -> &Backup {
        &self.host.backup
    }

    pub(crate) fn target(&self) -> &Facts {
        &self.host.target
    }

    /// Whether the host's data comes back, and not its configuration alone.
    pub(crate) fn restores_data(&self) -> bool {
        self.intent != Intent::Grow
    }

    /// Whether the target's packages are known and LAVA's part for this role is not among them.
    pub(crate) fn lacks_lava(&self) -> bool {
        self.target().lacks(self.planned.role)
    }

    /// The name that a master will know this host's worker by: the one that its configuration
    /// gives it, or the full name of the target.
    pub(crate) fn worker_name(&self) -> Option<&str> {
        let (then, now) = (&self.backup().facts, self.target());
        let worker = then.worker.as_ref();
        let before = worker.and_then(|worker| worker.name.as_deref());
        if worker.is_some_and(|worker| worker.configured) {
            return before;
        }
        let own = now.worker.as_ref().filter(|worker| !worker.configured);
        let own = own.and_then(|worker| worker.name.as_deref());
        let same = then.hostname.is_some() && then.hostname == now.hostname;
        own.or(before.filter(|_| same)).or_else(|| self.host.name())
    }

    /// The name that the backup's master knew this host's worker by.
    pub(crate) fn former_worker_name(&self) -> Option<&str> {
        let then = &self.backup().facts;
        let worker = then.worker.as_ref();
        let name = worker.and_then(|worker| worker.name.as_deref());
        name.or(then.hostname.as_deref())
    }

    /// The name that this host's worker has when all is settled: its former one, which it is given
    /// where it would have another, but for a worker that is new or that nobody is there to name.
    pub(crate) fn settled_worker_name(&self) -> Option<&str> {
        let keeps = !matches!(self.intent, Intent::Grow | Intent::Drill);
        let former = self.former_worker_name().filter(|_| keeps);
        former.or_else(|| self.worker_name())
    }

    /// The files that make a worker this worker and no other.
    pub(crate) fn worker_secrets(&self) -> Vec<String> {
        const PATHS: [&str; 4] = [
            "config/etc/lava-dispatcher/certificates.d",
            "config/etc/lava-dispatcher/lava-slave",
            "config/etc/lava-dispatcher/lava-worker",
            WORKER_TOKEN,
        ];
        let held =
            |path: &&&str| self.backup().holds(path) || self.backup().holds(&format!("{path}/"));
        let paths = PATHS.iter().filter(held);
        paths.map(|path| (*path).to_owned()).collect()
    }
}

/// Asks one question of a host, and says what it found.
type Rule = fn(&Case<'_>) -> Vec<Finding>;

/// Of every host.
const EVERY: &[Rule] = &[
    itself::names,
    itself::sections,
    itself::degraded,
    itself::drilled,
    itself::release,
    itself::dpkg,
    itself::lists,
    itself::debs,
    base::suite,
    base::mixed,
    base::distribution,
    base::point,
    base::architecture,
    base::foreign_architectures,
    base::updates,
    base::clock,
    base::python,
    target::role,
    target::units,
    target::unattended,
    package::unclean,
    package::lava,
    package::critical,
    archive::local,
    archive::sources,
    archive::lists,
    archive::holds,
    archive::backports,
    archive::dependencies,
    archive::others,
    archive::errata,
];

/// Of a master, with or without its data.
const MASTER: &[Rule] = &[
    target::apache,
    target::hostname,
    target::smoke,
    postgresql::major,
    postgresql::client,
    data::data,
];

/// Of a master whose data comes back.
const MASTER_DATA: &[Rule] = &[
    content::settings,
    content::known,
    content::migrations,
    package::migrations,
    content::log_backend,
    content::media_root,
    content::next_job,
    content::jobs,
    content::devices,
    content::queries,
    worker::own,
    target::room,
    postgresql::server,
    postgresql::encoding,
    postgresql::locale,
    postgresql::collation,
    postgresql::role,
    postgresql::extensions,
    worker::mismatch,
];

/// Of a worker.
const WORKER: &[Rule] = &[worker::identity, worker::name];

/// Asks every rule of every host, and then those of the whole lab; the worst come first.
pub(crate) fn judge(cases: &[Case<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for case in cases {
        let of_role: [&[Rule]; 2] = match case.planned.role {
            Role::Master if case.restores_data() => [MASTER, MASTER_DATA],
            Role::Master => [MASTER, &[]],
            Role::Worker | Role::Unknown => [WORKER, &[]],
        };
        let rules = EVERY.iter().chain(of_role.into_iter().flatten());
        let found = rules.flat_map(|rule| rule(case));
        findings.extend(found.map(|finding| finding.on(&case.planned.id)));
    }
    findings.extend(lab::judge(cases));
    for finding in &mut findings {
        // In a drill nobody is there to decide, and nothing depends on it.
        let is_decision = finding.steps.iter().any(|step| names::is_decision(step));
        if is_decision && cases.iter().any(|case| case.intent == Intent::Drill) {
            finding.severity = Verdict::Note;
            finding.steps.clear();
        }
    }
    Finding::sort(&mut findings);
    findings
}

pub(crate) fn ok(code: Code, subject: &str) -> Finding {
    Finding::new(Verdict::Ok, code, subject)
}

pub(crate) fn note(code: Code, subject: &str) -> Finding {
    Finding::new(Verdict::Note, code, subject)
}

pub(crate) fn prepare(code: Code, subject: &str, step: &str) -> Finding {
    Finding::new(Verdict::Prepare, code, subject).seen_to_by(step)
}

pub(crate) fn refuse(code: Code, subject: &str) -> Finding {
    Finding::new(Verdict::Refuse, code, subject)
}

pub(crate) fn shown(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| value.to_string())
}

/// Names for a person to read: the first few and how many more there are.
pub(crate) fn list<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("and {more} more"));
    text.extend(more.as_deref());
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn of_many_names_the_first_are_shown_and_how_many_more_there_are() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        assert_eq!(list(&names[..1]), "a");
        assert_eq!(list(&names[..5]), "a, b, c, d, e");
        assert_eq!(list(&names), "a, b, c, d, e, and 2 more");
    }
}
