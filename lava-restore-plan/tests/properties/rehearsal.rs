//! What a plan comes to on the lab that it was made for.

use lava_restore_plan::plan as plan_of;
use lava_restore_plan::simulate::{End, Fate, Journal};
use lava_restore_plan::{Action, ErrorKind, Facts, Plan, Verdict};
use proptest::prelude::*;

use crate::lab::cases::{Planned, planned};
use crate::{faults, rehearse};

/// The first steps of a plan, up to this one.
fn up_to(plan: &Plan, id: &str) -> Plan {
    let mut part = plan.clone();
    part.steps.truncate(crate::position(plan, id) + 1);
    part
}

/// A digest of facts, as whoever makes a plan binds it to them.
fn digest(facts: &Facts) -> String {
    serde_json::to_string(&facts.lasting()).unwrap()
}

/// A small change of a host.
fn change(facts: &mut Facts, which: usize) {
    match which {
        0 => facts.packages[0].hold ^= true,
        1 => facts.packages[0].version = "0~changed".parse().unwrap(),
        2 => facts.hostname = Some("changed".into()),
        3 => facts.architecture = Some("changed".into()),
        4 => facts.settings.log_backend = Some("changed".into()),
        5 => facts.apache.lava_site_enabled = None,
        _ => facts.timers = Some(vec![]),
    }
}

proptest! {
    #![proptest_config(crate::cases(6000))]

    #[test]
    fn p8_what_is_not_refused_reaches_the_goal(
        Planned { case, plan } in planned(), cancels in any::<bool>(), kept in any::<bool>()
    ) {
        let mut fate = Fate::default();
        fate.cancels_queue = cancels;
        let (mut lab, mut journal) = (case.lab(), Journal::default());
        // Hosts that were not lost: their workers come in as soon as they may.
        for host in plan.hosts.iter().filter(|_| kept) {
            lab.host_mut(&host.id).unwrap().keep_worker_secret();
        }
        let end = lab.run(&plan, &mut journal, &fate).unwrap();
        prop_assert_eq!(faults(&lab, &end), Vec::<String>::new());
        prop_assert!(plan.steps.iter().all(|step| journal.has(&step.id)));
    }
}

proptest! {
    #![proptest_config(crate::cases(1500))]

    #[test]
    fn a_plan_that_is_run_again_changes_nothing(Planned { case, plan } in planned()) {
        let (mut lab, mut journal, _) = rehearse(&case, &plan, &Fate::default());
        let before: Vec<Facts> = plan.hosts.iter().map(|host| lab.host(&host.id).unwrap().facts()).collect();
        prop_assert_eq!(lab.run(&plan, &mut journal, &Fate::default()).unwrap(), End::Done);
        let after: Vec<Facts> = plan.hosts.iter().map(|host| lab.host(&host.id).unwrap().facts()).collect();
        prop_assert_eq!(before, after);
    }

    #[test]
    fn p20_what_is_to_be_prepared_is_well_after_the_steps_that_see_to_it(Planned { case, plan } in planned()) {
        for finding in plan.findings.iter().filter(|finding| finding.severity == Verdict::Prepare) {
            for id in &finding.steps {
                let part = up_to(&plan, id);
                let mut lab = case.lab();
                let end = lab.run(&part, &mut Journal::default(), &Fate::default()).unwrap();
                prop_assert_eq!(end, End::Done);
                let host = lab.host(&finding.host).unwrap();
                if matches!(crate::step(&plan, id).action, Action::Confirm { .. }) {
                    prop_assert!(host.has_decided(id), "{} has no decision", finding.code);
                    continue;
                }
                let again = plan_of(lab.hosts(), case.intent, &case.options);
                let stands = again.findings.iter().find(|f| {
                    (&f.host, &f.code, &f.subject) == (&finding.host, &finding.code, &finding.subject)
                        && f.severity >= Verdict::Prepare
                });
                prop_assert_eq!(stands, None);
            }
        }
    }

    #[test]
    fn p21_a_plan_of_other_facts_is_not_run(Planned { case, .. } in planned(), which in 0..7_usize, backup in any::<bool>()) {
        let mut bound = case;
        for host in &mut bound.hosts {
            host.target_digest = Some(digest(&host.target));
        }
        let plan = bound.plan();
        let (_, _, end) = rehearse(&bound, &plan, &Fate::default());
        prop_assert_eq!(end, End::Done);

        let mut changed = bound.clone();
        let host = &mut changed.hosts[0];
        if backup {
            host.backup.seal_digest = "another".into();
        } else {
            change(&mut host.target, which);
            let digest = digest(&host.target);
            prop_assume!(host.target_digest.as_ref() != Some(&digest));
            host.target_digest = Some(digest);
        }
        let refused = changed.lab().run(&plan, &mut Journal::default(), &Fate::default());
        prop_assert_eq!(refused.unwrap_err().kind(), ErrorKind::Stale);
        prop_assert!(changed.plan().hosts != plan.hosts, "a plan of other facts says so");
    }
}
