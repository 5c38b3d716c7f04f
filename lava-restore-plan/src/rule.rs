//! What is asked of a backup and a target before there is a plan.
//!
//! Each rule is a small function that says what it found, also when all is well, so that a report
//! can be audited. Unknown is never well.

mod base;
mod data;
mod itself;
mod package;
mod postgresql;

pub(crate) use package::{accepted_versions, critical_packages, is_lava};

use crate::finding::{Finding, Verdict};
use crate::{Backup, Facts, Options};

/// What the rules look at.
pub(crate) struct Case<'a> {
    pub(crate) backup: &'a Backup,
    pub(crate) target: &'a Facts,
    pub(crate) options: &'a Options,
}

type Rule = fn(&Case<'_>) -> Vec<Finding>;

const RULES: &[Rule] = &[
    itself::names,
    itself::sections,
    itself::degraded,
    itself::settings,
    itself::release,
    itself::content,
    itself::migrations,
    itself::log_backend,
    base::suite,
    base::architecture,
    base::role,
    base::apache,
    base::units,
    base::unattended,
    package::unclean,
    package::lava,
    package::critical,
    package::migrations,
    postgresql::major,
    postgresql::server,
    postgresql::encoding,
    data::data,
];

/// Asks every rule; the worst come first.
pub(crate) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(case)).collect();
    Finding::sort(&mut findings);
    findings
}

fn ok(code: &str, subject: &str) -> Finding {
    Finding::new(Verdict::Ok, code, subject)
}

fn note(code: &str, subject: &str) -> Finding {
    Finding::new(Verdict::Note, code, subject)
}

fn prepare(code: &str, subject: &str, step: &str) -> Finding {
    Finding::new(Verdict::Prepare, code, subject).seen_to_by(step)
}

fn refuse(code: &str, subject: &str) -> Finding {
    Finding::new(Verdict::Refuse, code, subject)
}

fn shown(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| value.to_string())
}
