//! The base system.

use super::{Case, Code, note, ok, prepare, refuse, shown};
use crate::draft::names;
use crate::facts::{Confidence, Facts};
use crate::finding::Finding;

const GATHER: &str = "gather the facts again as root; repair /etc/os-release where it is missing";

pub(super) fn suite(case: &Case<'_>) -> Vec<Finding> {
    let (backup, target) = (&case.backup().facts.suite, &case.target().suite);
    let unsure = |confidence| matches!(confidence, Confidence::Ambiguous | Confidence::Unknown);
    let unknown = backup.base.is_none() || target.base.is_none();
    let likely = backup.confidence == Confidence::Likely || target.confidence == Confidence::Likely;
    const SUBJECT: &str = "base system";
    let finding = if unknown || unsure(backup.confidence) || unsure(target.confidence) {
        refuse(Code::SuiteUnknown, SUBJECT).remedy(GATHER)
    } else if backup.base != target.base {
        refuse(Code::SuiteOther, SUBJECT).remedy("prepare a target of the backup's suite")
    } else if likely {
        note(Code::SuiteSame, SUBJECT)
    } else {
        ok(Code::SuiteSame, SUBJECT)
    };
    vec![finding.compared(shown(backup.base.as_ref()), shown(target.base.as_ref()))]
}

/// An upgrade that stopped half-way.
pub(super) fn mixed(case: &Case<'_>) -> Vec<Finding> {
    let mixed = |facts: &Facts| facts.has_disorder("base.mixed");
    let mut findings = Vec::new();
    if mixed(case.target()) {
        findings.push(
            refuse(Code::SuiteMixed, "target")
                .compared("one release", "two")
                .remedy("finish the upgrade of the base system, or set the target up anew"),
        );
    }
    if mixed(&case.backup().facts) {
        findings.push(note(Code::SuiteMixed, "backup").compared("one release", "two"));
    }
    findings
}

/// Raspbian and others have Debian's codenames and other packages.
pub(super) fn distribution(case: &Case<'_>) -> Vec<Finding> {
    const DEBIAN: &str = "debian";
    let of = |whose: &str, facts: &Facts| {
        let found = facts.suite.distribution.as_deref();
        let finding = match found {
            Some(DEBIAN) => ok(Code::SuiteDistribution, whose),
            Some(_) => refuse(Code::SuiteDistribution, whose).remedy("use a host with Debian"),
            None => note(Code::SuiteDistribution, whose).remedy(GATHER),
        };
        finding.compared(DEBIAN, shown(found))
    };
    vec![
        of("backup", &case.backup().facts),
        of("target", case.target()),
    ]
}

pub(super) fn point(case: &Case<'_>) -> Vec<Finding> {
    let point = |facts: &Facts| facts.suite.point.clone();
    let (backup, target) = (point(&case.backup().facts), point(case.target()));
    let finding = match (&backup, &target) {
        (Some(b), Some(t)) if b == t => ok(Code::SuitePoint, "point release"),
        _ => note(Code::SuitePoint, "point release"),
    };
    vec![finding.compared(shown(backup), shown(target))]
}

pub(super) fn architecture(case: &Case<'_>) -> Vec<Finding> {
    const SUBJECT: &str = "architecture";
    let of = |facts: &Facts| facts.architecture.clone();
    let (backup, target) = (of(&case.backup().facts), of(case.target()));
    let finding = match (&backup, &target) {
        (Some(a), Some(b)) if a == b => ok(Code::Arch, SUBJECT),
        (Some(_), Some(_)) => {
            refuse(Code::Arch, SUBJECT).remedy("prepare a target of the backup's architecture")
        }
        _ => refuse(Code::ArchUnknown, SUBJECT).remedy("gather the facts again"),
    };
    vec![finding.compared(shown(backup), shown(target))]
}

/// Boards' tools are often of another architecture than their worker.
pub(super) fn foreign_architectures(case: &Case<'_>) -> Vec<Finding> {
    let Some(wanted) = &case.backup().facts.foreign_architectures else {
        return vec![
            note(Code::ArchForeign, "dpkg").compared("those of the backup's host", "unknown"),
        ];
    };
    let Some(there) = &case.target().foreign_architectures else {
        return match wanted.is_empty() {
            true => vec![],
            false => vec![note(Code::ArchForeign, "dpkg").compared(wanted.join(" "), "unknown")],
        };
    };
    let of = |name: &String| {
        if there.binary_search(name).is_ok() {
            return ok(Code::ArchForeign, name).compared("taken", "taken");
        }
        prepare(Code::ArchForeign, name, names::BY_HAND)
            .compared("taken", "not taken")
            .remedy(format!("dpkg --add-architecture {name}"))
    };
    wanted.iter().map(of).collect()
}

pub(super) fn updates(case: &Case<'_>) -> Vec<Finding> {
    let waiting = case.target().updates;
    let finding = match waiting {
        Some(0) => ok(Code::BaseOutdated, "updates"),
        _ => note(Code::BaseOutdated, "updates")
            .remedy("bring the target's base up to date before the restore, LAVA's packages apart"),
    };
    vec![finding.compared("none wait", shown(waiting))]
}

/// Times are compared as their texts, which is right for those that `lava-backup` writes.
pub(super) fn clock(case: &Case<'_>) -> Vec<Finding> {
    let (then, now) = (&case.backup().created, case.target().captured_at.as_ref());
    let finding = match now.filter(|now| is_utc(now) && is_utc(then)) {
        Some(now) if now >= then => {
            return vec![ok(Code::Clock, "clock").compared("after the backup", "after the backup")];
        }
        Some(_) => note(Code::Clock, "clock")
            .compared("after the backup", "before it")
            .remedy("set the target's clock"),
        None => note(Code::Clock, "clock").compared("after the backup", "unknown"),
    };
    vec![finding]
}

/// `2026-11-22T04:00:00Z`.
fn is_utc(text: &str) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00Z";
    let fits = |(at, shape): (u8, u8)| match shape {
        b'0' => at.is_ascii_digit(),
        _ => at == shape,
    };
    text.len() == SHAPE.len() && text.bytes().zip(SHAPE.iter().copied()).all(fits)
}

pub(super) fn python(case: &Case<'_>) -> Vec<Finding> {
    let of = |facts: &Facts| {
        let package = facts.installed("python3")?;
        let mut parts = package.version.upstream().split('.');
        Some(format!("{}.{}", parts.next()?, parts.next()?))
    };
    let (backup, target) = (of(&case.backup().facts), of(case.target()));
    let finding = match (&backup, &target) {
        (Some(b), Some(t)) if b == t => ok(Code::Python, "python3"),
        (Some(_), Some(_)) => {
            refuse(Code::Python, "python3").remedy("prepare a target of the backup's suite")
        }
        _ => note(Code::Python, "python3"),
    };
    vec![finding.compared(shown(backup), shown(target))]
}

#[cfg(test)]
mod tests {
    use super::is_utc;

    #[test]
    fn only_times_that_sort_as_text_are_compared() {
        assert!(is_utc("2026-11-22T04:00:00Z"));
        for other in [
            "",
            "yesterday",
            "2026-11-22T04:00:00+01:00",
            "2026-11-22 04:00:00Z",
        ] {
            assert!(!is_utc(other), "{other}");
        }
    }
}
