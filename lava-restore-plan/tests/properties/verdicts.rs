//! What the rules say of a backup and a target.

use lava_restore_plan::facts::{DatabaseState, Facts, Role};
use lava_restore_plan::{
    Action, Backup, ErrorKind, Intent, LavaVersion, Options, PackageVersion, Phase, Plan, Verdict,
    plan,
};
use proptest::prelude::*;

use crate::lab;
use crate::lab::cases::cases;
use crate::lab::draw::ERAS;

fn make(backup: &Backup, target: &Facts, options: &Options) -> Plan {
    let hosts = vec![lab::onto(backup, target)];
    plan(hosts, Intent::RestoreMaster, options)
}

/// A version as Debian, its backports or LAVA's own builds write it.
fn versions() -> impl Strategy<Value = String> {
    let form = prop::sample::select(vec![
        "-1",
        "-2~bpo12+1",
        "+12+bookworm",
        "+10+buster",
        ".1-1",
        ".post1-1",
        "-5+deb11u2",
    ]);
    let year = 2016..2027_u16;
    (year, 1..13_u8, form).prop_map(|(year, month, form)| match year < 2019 {
        true => format!("{year}.{month}{form}"),
        false => format!("{year}.{month:02}{form}"),
    })
}

fn lava(version: &str) -> LavaVersion {
    LavaVersion::of(&version.parse().unwrap()).unwrap()
}

proptest! {
    #![proptest_config(crate::cases(3000))]

    #[test]
    fn p8_a_refused_case_has_no_steps_and_every_other_has_some(case in cases()) {
        let plan = case.plan();
        prop_assert_eq!(plan.verdict == Verdict::Refuse, plan.steps.is_empty());
        let worst = plan.findings.iter().map(|finding| finding.severity).max();
        prop_assert_eq!(Some(plan.verdict), worst, "a verdict is the worst of its findings");
        prop_assert!(plan.findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
    }

    #[test]
    fn p11_a_package_of_the_backups_version_never_makes_it_worse(case in cases(), which in 0..8_usize) {
        let before = case.plan();
        let mut closer = case;
        let host = &mut closer.hosts[0];
        let wanted = &host.backup.facts.packages;
        let wanted = wanted[which % wanted.len()].clone();
        // LAVA's packages are made from one source; one of them alone is no step closer.
        let ours = wanted.name.starts_with("lava-");
        let changes = |name: &str| name == wanted.name || ours && name.starts_with("lava-");
        let there: Vec<String> = host.target.packages.iter().map(|p| p.name.clone()).collect();
        prop_assume!(there.iter().any(|name| changes(name)));
        for package in &mut host.target.packages {
            let mut wanted = host.backup.facts.packages.iter();
            if let Some(wanted) = wanted.find(|w| w.name == package.name && changes(&w.name)) {
                package.version = wanted.version.clone();
            }
        }
        // What packages ship comes with them.
        host.target.migrations_shipped = host.backup.facts.migrations_shipped.clone();
        prop_assert!(closer.plan().verdict <= before.verdict);
    }

    #[test]
    fn p20_every_finding_that_waits_for_a_step_finds_it(case in cases()) {
        let plan = case.plan();
        for finding in plan.findings.iter().filter(|finding| finding.severity == Verdict::Prepare) {
            prop_assert!(!finding.steps.is_empty(), "{}", finding.code);
            if plan.verdict < Verdict::Refuse {
                let is_there = |id: &String| plan.steps.iter().any(|step| step.id == *id);
                prop_assert!(finding.steps.iter().all(is_there), "{}", finding.code);
            }
        }
    }
}

proptest! {
    #![proptest_config(crate::cases(8000))]

    #[test]
    fn p12_a_newer_lava_is_refused_however_it_is_written(a in versions(), b in versions()) {
        let (older, newer) = if lava(&a) < lava(&b) { (a, b) } else { (b, a) };
        let (mut backup, mut target) = (lab::backup(), lab::target());
        for (facts, version) in [(&mut backup.facts, &older), (&mut target, &newer)] {
            let lava = facts.packages.iter_mut().filter(|package| package.name.starts_with("lava-"));
            lava.for_each(|package| package.version = version.parse().unwrap());
        }
        let plan = make(&backup, &target, &lab::options());
        let refused = plan.findings.iter().any(|f| f.code == "lava.newer" && f.severity == Verdict::Refuse);
        prop_assert_eq!(refused, lava(&newer) > lava(&older), "{} onto {}", older, newer);
        let equal = make(&backup, &backup.facts, &lab::options());
        prop_assert!(!equal.findings.iter().any(|f| f.code == "lava.newer"), "{}", older);
    }

    #[test]
    fn p14_documents_are_read_as_they_were_written_and_anything_else_is_an_error(
        case in cases(), at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let facts = &case.hosts[0].target;
        let mut json = serde_json::to_vec(facts).unwrap();
        prop_assert_eq!(&Facts::from_json(&json).unwrap(), facts);
        let backup = &case.hosts[0].backup;
        prop_assert_eq!(&Backup::from_json(&serde_json::to_vec(backup).unwrap()).unwrap(), backup);
        let at = at.index(json.len());
        json[at] = byte;
        // Whatever it says, reading it and planning for it ends well.
        if let Ok(read) = Facts::from_json(&json) {
            let plan = make(&lab::backup(), &read, &lab::options());
            prop_assert!(plan.check().is_ok());
        }
        json.truncate(at);
        let kind = Facts::from_json(&json).unwrap_err().kind();
        prop_assert_eq!(kind, ErrorKind::Malformed);
    }
}

proptest! {
    #![proptest_config(crate::cases(20_000))]

    #[test]
    fn p13_releases_are_in_one_total_order(a in versions(), b in versions(), c in versions()) {
        let [x, y, z] = [&a, &b, &c].map(|version| lava(version));
        prop_assert_eq!(x.cmp(&y), y.cmp(&x).reverse());
        prop_assert_eq!(x == y, x.cmp(&y).is_eq());
        if x <= y && y <= z {
            prop_assert!(x <= z);
        }
        let [p, q] = [&a, &b].map(|version| version.parse::<PackageVersion>().unwrap());
        prop_assert_eq!(p.as_str(), a.as_str());
        prop_assert_eq!(p.cmp(&q), q.cmp(&p).reverse());
    }
}

#[test]
fn every_era_has_a_release() {
    for era in &ERAS {
        for version in [era.version, era.rebuilt, era.older] {
            let _ = lab::draw::release(version);
        }
        assert_eq!(lava(era.rebuilt), lava(era.version), "{}", era.version);
        assert!(lava(era.older) <= lava(era.version) && lava(era.version) < lava(era.newer));
    }
}

#[test]
fn a_lab_on_the_target_is_replaced_only_when_that_was_asked_for() {
    let (backup, mut options) = (lab::backup(), lab::options());
    let mut target = lab::target();
    target.database = backup.facts.database.clone();
    assert_eq!(make(&backup, &target, &options).verdict, Verdict::Refuse);
    options.replace_data = true;
    let plan = make(&backup, &target, &options);
    assert_eq!(plan.verdict, Verdict::Prepare);
    assert!(
        plan.steps
            .iter()
            .any(|step| step.id == "master.isolate.replace")
    );
}

#[test]
fn a_host_without_lava_gets_a_plan_that_waits_for_its_packages() {
    let backup = lab::backup();
    let mut target = lab::target();
    target.packages.retain(|package| package.name == "bash");
    target.role = Role::Unknown;
    (target.lava, target.postgresql, target.units) = (None, None, Some(vec![]));
    (target.migrations_shipped, target.database) = (Some(vec![]), DatabaseState::Unknown);
    target.apache.lava_site_enabled = Some(false);
    let plan = make(&backup, &target, &lab::options());
    assert_eq!(plan.verdict, Verdict::Prepare, "{:#?}", plan.findings);
    assert!(
        plan.steps
            .iter()
            .any(|step| step.id == "master.install.packages")
    );
    let starts = plan.steps.iter().filter(|step| step.phase == Phase::Start);
    let starts: Vec<&str> = starts
        .filter_map(|step| match &step.action {
            Action::StartUnits { units } => Some(units.iter().map(String::as_str)),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(
        starts,
        [
            "lava-publisher.service",
            "lava-scheduler.service",
            "lava-worker.service",
            "lava-server-gunicorn.service"
        ]
    );
}

#[test]
fn another_hosts_identity_stays_in_the_backup() {
    let mut target = lab::target();
    target.hostname = Some("new.example.org".into());
    let plan = make(&lab::backup(), &target, &lab::options());
    let excluded = plan.steps.iter().find_map(|step| match &step.action {
        Action::Extract { exclude, .. } if step.phase == Phase::Config => Some(exclude.clone()),
        _ => None,
    });
    assert!(
        excluded
            .unwrap()
            .contains(&"config/etc/hostname".to_owned())
    );
}
