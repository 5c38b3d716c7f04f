//! What the rules say of a case: of one in which nothing is wrong, of each fault alone, and of what
//! is nearly a fault.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
#[path = "../lab/mod.rs"]
mod lab;

#[allow(unreachable_pub)]
mod edges;
#[allow(unreachable_pub)]
mod faults;
#[allow(unreachable_pub)]
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use lava_restore_plan::Verdict::{self, Note, Ok, Prepare, Refuse};
use lava_restore_plan::facts::{DatabaseState, Facts, Role, WorkerFacts};
use lava_restore_plan::release::JobState;
use lava_restore_plan::{Backup, Code, Host, Intent, Plan, plan};

use faults::{FAULTS, IN_COMPANY};
use whole::{Fault, bare, database, dump, package, remove, version, whole};

fn host(backup: &Backup, target: &Facts) -> Host {
    lab::onto(backup, target)
}

fn severity(plan: &Plan, code: &str) -> Option<Verdict> {
    let of_code = plan.findings.iter().filter(|finding| finding.code == code);
    of_code.map(|finding| finding.severity).max()
}

#[test]
fn nothing_is_said_of_a_case_in_which_nothing_is_wrong() {
    let (backup, target, options) = whole();
    let plan = plan(
        vec![host(&backup, &target)],
        Intent::RestoreMaster,
        &options,
    );
    let spoken: Vec<_> = plan.findings.iter().filter(|f| f.severity > Ok).collect();
    assert!(spoken.is_empty(), "{spoken:#?}");
}

#[test]
fn every_fault_has_its_code() {
    for (wanted, code, fault) in FAULTS {
        let (mut backup, mut target, mut options) = whole();
        fault(&mut backup, &mut target, &mut options);
        let plan = plan(
            vec![host(&backup, &target)],
            Intent::RestoreMaster,
            &options,
        );
        let said: Vec<_> = plan.findings.iter().filter(|f| f.severity > Ok).collect();
        assert_eq!(severity(&plan, code), Some(*wanted), "{code}: {said:#?}");
        let known = Code::ALL.iter().any(|known| known.as_str() == *code);
        assert!(known && plan.verdict >= *wanted, "{code}: {said:#?}");
        assert_eq!(plan.verdict == Refuse, plan.steps.is_empty(), "{code}");
        for finding in plan.findings.iter().filter(|f| f.severity == Prepare) {
            let there = |id: &String| plan.steps.iter().any(|step| step.id == *id);
            assert!(!finding.steps.is_empty(), "{finding:#?}");
            assert!(
                plan.verdict == Refuse || finding.steps.iter().all(there),
                "{finding:#?}"
            );
        }
        // What must be done, or can't be, is not for another reason.
        assert!(
            plan.verdict == *wanted || *wanted < Prepare || IN_COMPANY.contains(code),
            "{code}: {said:#?}"
        );
    }
}

#[test]
fn only_what_has_to_change_is_taken_off_hold() {
    for (there, blocks) in [("5.2.15-2+b8", None), ("5.2.15-2+b2", Some(Prepare))] {
        let (mut backup, mut target, options) = whole();
        let debs = backup.debs.as_mut().unwrap();
        (debs.scope, debs.held) = ("closure".into(), None);
        bare(&mut target);
        version(&mut target, "bash", there);
        package(&mut target, "bash").hold = true;
        let plan = plan(
            vec![host(&backup, &target)],
            Intent::RestoreMaster,
            &options,
        );
        assert_eq!(severity(&plan, "pkg.hold_blocks"), blocks, "{there}");
    }
}

fn worker(name: &str) -> Host {
    let (mut backup, mut target, _) = whole();
    for facts in [&mut backup.facts, &mut target] {
        facts.role = Role::Worker;
        facts.hostname = Some(name.into());
        remove(facts, "lava-server");
        facts
            .units
            .as_mut()
            .unwrap()
            .retain(|unit| unit.name == "lava-worker.service");
        let server = Some("http://lava.example.org/".to_owned());
        facts.worker = Some(WorkerFacts {
            server,
            ..WorkerFacts::default()
        });
        facts.lava = None;
    }
    backup.paths = vec!["data/var/lib/lava/dispatcher/worker/token".into()];
    backup.database = None;
    backup.seal_digest = "3e".repeat(32);
    host(&backup, &target)
}

fn lab_of(workers: &[&str], change: impl FnOnce(&mut Host)) -> Plan {
    let (mut backup, target, options) = whole();
    let names = workers.iter().map(|name| (*name).to_owned());
    dump(&mut backup).workers = Some(names.collect());
    let mut worker = worker("rack-a");
    change(&mut worker);
    plan(
        vec![host(&backup, &target), worker],
        Intent::RestoreLab,
        &options,
    )
}

#[test]
fn the_hosts_of_a_lab_are_held_against_each_other() {
    let fine = lab_of(&["rack-a"], |_| {});
    let spoken: Vec<_> = fine.findings.iter().filter(|f| f.severity > Ok).collect();
    assert!(spoken.is_empty(), "{spoken:#?}");
    type Change = fn(&mut Host);
    let bring = |worker: &mut Host, to: &str| {
        for facts in [&mut worker.backup.facts, &mut worker.target] {
            version(facts, "lava-dispatcher", to);
            version(facts, "lava-common", to);
        }
    };
    let older = lab_of(&["rack-a"], |worker| bring(worker, "2022.11-1"));
    assert_eq!(severity(&older, "worker.version"), Some(Refuse));
    let old = lab_of(&["rack-a"], |worker| {
        bring(worker, "2020.01-1");
        let unit = &mut worker.target.units.as_mut().unwrap()[0];
        unit.name = "lava-slave.service".into();
    });
    assert_eq!(severity(&old, "worker.protocol"), Some(Refuse));
    assert_eq!(
        severity(&lab_of(&["rack-b"], |_| {}), "worker.known"),
        Some(Refuse)
    );
    assert_eq!(severity(&lab_of(&[], |_| {}), "worker.known"), Some(Note));
    let changes: &[(Verdict, &str, Change)] = &[
        (Note, "worker.master_address", |worker| {
            let facts = worker.backup.facts.worker.as_mut().unwrap();
            facts.server = Some("https://other.example.org:8000/x".into());
        }),
        (Prepare, "worker.secret", |worker| {
            worker.backup.paths.clear()
        }),
        (Prepare, "worker.name", |worker| {
            worker.target.hostname = Some("rack-new".into())
        }),
        (Prepare, "worker.package", |worker| {
            version(&mut worker.target, "lava-dispatcher", "2022.11-1");
        }),
    ];
    for (wanted, code, change) in changes {
        let plan = lab_of(&["rack-a", "rack-new"], change);
        assert_eq!(severity(&plan, code), Some(*wanted), "{code}");
    }
}

/// Nobody is there to decide or to prepare anything, and no mirror is.
const IN_A_DRILL: &[(Verdict, &str, Fault)] = &[
    (Note, "self.no_debs", |b, _, _| b.debs = None),
    (Refuse, "self.no_debs", |b, t, _| {
        b.debs = None;
        remove(t, "lava-server");
    }),
    (Refuse, "self.deb_missing", |b, t, _| {
        b.debs.as_mut().unwrap().lacking = vec!["bash".into()];
        remove(t, "lava-server");
    }),
    (Refuse, "self.closure_open", |b, t, _| {
        b.debs.as_mut().unwrap().closed = Some(false);
        remove(t, "lava-server");
    }),
    (Refuse, "self.closure_open", |_, t, _| {
        remove(t, "lava-server")
    }),
    (Note, "self.missing_part", |b, _, _| {
        b.sections.retain(|section| section != "data")
    }),
    (Note, "backup.degraded", |b, _, _| {
        b.degraded.push("a file vanished".into())
    }),
    (Note, "self.drill_failed", |b, _, _| {
        b.drill_passed = Some(false)
    }),
    (Note, "self.no_settings", |b, _, _| b.paths.clear()),
    (Note, "log_backend", |b, _, _| {
        b.facts.settings.log_backend = None
    }),
    (Note, "arch.foreign", |b, _, _| {
        b.facts.foreign_architectures = Some(vec!["armhf".into()])
    }),
    (Note, "pkg.erratum", |b, t, _| {
        for facts in [&mut b.facts, t] {
            facts.suite.base = Some("jessie".parse().unwrap());
            facts
                .packages
                .push(lab::package("python-lockfile", "all", "1:0.10.2-2~bpo8+1"));
        }
    }),
    (Note, "target.has_data", |_, t, o| {
        database(t).jobs_by_state = Some(BTreeMap::from([(JobState::Finished, 1)]));
        o.replace_data = true;
    }),
    (Note, "worker.secret", |b, _, _| {
        dump(b).workers = Some(vec!["lava.example.org".into()])
    }),
    (Note, "worker.name", |b, t, _| {
        dump(b).workers = Some(vec!["new.example.org".into()]);
        t.hostname = Some("new.example.org".into());
    }),
];

fn drill(fault: Fault) -> Plan {
    let (mut backup, mut target, mut options) = whole();
    fault(&mut backup, &mut target, &mut options);
    plan(vec![host(&backup, &target)], Intent::Drill, &options)
}

#[test]
fn a_drill_has_nobody_to_decide_and_no_mirror() {
    for (wanted, code, fault) in IN_A_DRILL {
        let plan = drill(*fault);
        let said: Vec<_> = plan.findings.iter().filter(|f| f.severity > Ok).collect();
        assert_eq!(severity(&plan, code), Some(*wanted), "{code}: {said:#?}");
        let of_code = plan.findings.iter().filter(|finding| finding.code == *code);
        assert!(
            of_code.clone().all(|finding| finding.steps.is_empty()),
            "{code}"
        );
    }
}

/// What no case here can bring about, and why.
const NOT_SEEN: &[(&str, Verdict)] = &[
    // Every command is from a closed enum.
    ("plan.forbidden", Refuse),
];

#[test]
fn every_code_is_brought_about_with_every_severity_that_it_names() {
    let mut seen: BTreeSet<(String, Verdict)> = BTreeSet::new();
    let mut see = |plan: Plan| {
        let findings = plan.findings.into_iter();
        seen.extend(findings.map(|finding| (finding.code, finding.severity)));
    };
    for (_, _, fault) in IN_A_DRILL {
        see(drill(*fault));
    }
    for (_, _, fault) in FAULTS {
        let (mut backup, mut target, mut options) = whole();
        fault(&mut backup, &mut target, &mut options);
        see(plan(
            vec![host(&backup, &target)],
            Intent::RestoreMaster,
            &options,
        ));
    }
    let (mut backup, mut target, options) = whole();
    for facts in [&mut backup.facts, &mut target] {
        for name in ["lava-common", "lava-dispatcher", "lava-server"] {
            version(facts, name, "2019.01-5");
        }
    }
    see(plan(
        vec![host(&backup, &target)],
        Intent::RestoreMaster,
        &options,
    ));
    see(plan(vec![], Intent::RestoreMaster, &options));
    target.database = DatabaseState::Absent;
    see(plan(vec![host(&backup, &target)], Intent::Grow, &options));
    for workers in [&["rack-a"][..], &["rack-b"], &[]] {
        see(lab_of(workers, |_| {}));
    }
    see(lab_of(&["rack-a"], |worker| {
        worker.backup.facts.worker = Some(WorkerFacts::default())
    }));
    see(lab_of(&["rack-a"], |worker| worker.backup.paths.clear()));
    see(lab_of(&["rack-a"], |worker| {
        worker.target.hostname = Some("rack-new".into())
    }));
    for (backup, target) in [
        ("2022.11-1", "2022.11-1"),
        ("2020.01-1", "2020.01-1"),
        ("2023.01-2", "2022.11-1"),
    ] {
        see(lab_of(&["rack-a"], |worker| {
            version(&mut worker.backup.facts, "lava-dispatcher", backup);
            version(&mut worker.target, "lava-dispatcher", target);
        }));
    }
    for code in Code::ALL {
        for severity in code.severities() {
            let known = (code.as_str(), *severity);
            let expected = !NOT_SEEN.contains(&known);
            let found = seen.contains(&(code.as_str().to_owned(), *severity));
            assert_eq!(found, expected, "{} {severity}", code.as_str());
        }
    }
}
