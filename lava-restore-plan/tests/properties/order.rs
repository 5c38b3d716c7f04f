//! Which step comes after which.

use std::collections::{BTreeMap, BTreeSet};

use lava_restore_plan::facts::Role;
use lava_restore_plan::step::Touch;
use lava_restore_plan::{Action, Intent, Phase, Plan, Step};
use proptest::prelude::*;

use crate::lab::cases::{Planned, planned};
use crate::position;

/// For each step all that must be done before it, by its needs.
fn ancestors(plan: &Plan) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for step in &plan.steps {
        let mut of_step = BTreeSet::new();
        for need in &step.needs {
            of_step.insert(need.as_str());
            of_step.extend(all[need.as_str()].iter().copied());
        }
        all.insert(&step.id, of_step);
    }
    all
}

fn has_master(plan: &Plan) -> bool {
    plan.hosts.iter().any(|host| host.role == Role::Master)
}

fn touches(step: &Step, what: Touch) -> bool {
    step.touches.contains(&what)
}

fn starts(plan: &Plan, host: &str) -> Vec<(usize, String)> {
    let mut starts = Vec::new();
    for (at, step) in plan.steps.iter().enumerate() {
        let counts = step.host == host && step.phase == Phase::Start;
        if let (Action::StartUnits { units }, true) = (&step.action, counts) {
            starts.extend(units.iter().map(|unit| (at, unit.clone())));
        }
    }
    starts
}

proptest! {
    #![proptest_config(crate::cases(5500))]

    #[test]
    fn p2_no_package_of_a_master_changes_once_its_database_is_touched(Planned { plan, .. } in planned()) {
        let mut touched = false;
        for step in plan.steps.iter().filter(|step| step.host == "master") {
            if touched && touches(step, Touch::Packages) {
                let holds = matches!(step.action, Action::HoldPackages { .. } | Action::UnholdPackages { .. });
                prop_assert!(holds, "{}", step.id);
            }
            touched |= touches(step, Touch::Database);
        }
    }

    #[test]
    fn p3_the_database_is_touched_while_lava_is_still(Planned { plan, .. } in planned()) {
        let before = ancestors(&plan);
        for step in plan.steps.iter().filter(|step| touches(step, Touch::Database)) {
            prop_assert!(before[step.id.as_str()].contains("master.quiesce.stop"), "{}", step.id);
            let between = position(&plan, "master.quiesce.stop")..position(&plan, &step.id);
            let starts = |step: &Step| matches!(step.action, Action::StartUnits { .. } | Action::ReleaseUnits { .. });
            prop_assert!(!plan.steps[between].iter().any(starts), "{}", step.id);
        }
    }

    #[test]
    fn p4_isolation_comes_first_workers_after_their_master_and_users_last(Planned { case, plan } in planned()) {
        let before = ancestors(&plan);
        let first = &plan.steps[0];
        prop_assert!(first.needs.is_empty());
        for step in &plan.steps[1..] {
            prop_assert!(before[step.id.as_str()].contains(first.id.as_str()), "{}", step.id);
        }
        if !has_master(&plan) {
            return Ok(());
        }
        prop_assert_eq!(first.phase, Phase::Isolate);
        let verified = plan.steps.iter().rfind(|step| step.host == "master" && step.phase == Phase::Verify).unwrap();
        for step in plan.steps.iter().filter(|step| step.host != "master") {
            prop_assert!(before[step.id.as_str()].contains(verified.id.as_str()), "{}", step.id);
        }
        let opens = |step: &&Step| matches!(step.action, Action::AdmitAll { .. });
        let opened: Vec<&Step> = plan.steps.iter().filter(opens).collect();
        prop_assert_eq!(opened.len(), 1);
        let asked = case.intent != Intent::Drill;
        for host in &plan.hosts {
            // A master looks at each worker when that is back.
            let seen = format!("master.workers.{}", host.id);
            prop_assert!(host.role == Role::Master || before[opened[0].id.as_str()].contains(seen.as_str()));
        }
        for id in ["master.workers.health_checks", "master.reopen.confirm"] {
            prop_assert_eq!(before[opened[0].id.as_str()].contains(id), asked);
        }
    }

    #[test]
    fn p5_nothing_starts_before_jobs_and_devices_are_safe_and_gunicorn_starts_last(Planned { plan, .. } in planned()) {
        if !has_master(&plan) {
            return Ok(());
        }
        let starts = starts(&plan, "master");
        let safe = position(&plan, "master.start.safe");
        prop_assert!(starts.iter().all(|(at, _)| *at > safe));
        prop_assert_eq!(&starts.last().unwrap().1, "lava-server-gunicorn.service");
        let Action::StopUnits { units: stopped } = &crate::step(&plan, "master.quiesce.stop").action else {
            panic!("another action stops LAVA")
        };
        prop_assert!(starts.iter().all(|(_, unit)| stopped.contains(unit)));
    }

    #[test]
    fn p6_steps_need_only_what_is_before_them_and_have_ids_of_their_own(Planned { plan, .. } in planned()) {
        let mut before = BTreeSet::new();
        for step in &plan.steps {
            prop_assert!(step.needs.iter().all(|id| before.contains(id)));
            prop_assert!(!step.needs.is_empty() || before.is_empty(), "{} hangs in the air", step.id);
            prop_assert!(before.insert(step.id.clone()));
            prop_assert_eq!(&step.argv, &step.action.argv());
        }
        let gates: Vec<_> = plan.steps.iter().flat_map(|s| s.pre.iter().chain(&s.post)).collect();
        let ids: BTreeSet<_> = gates.iter().map(|gate| &gate.id).collect();
        prop_assert_eq!(ids.len(), gates.len());
        let last = &plan.steps.last().unwrap().id;
        for step in plan.steps.iter().filter(|step| step.action == Action::Check) {
            let waits = plan.steps.iter().any(|other| other.needs.contains(&step.id));
            prop_assert!(waits || step.id == *last, "nothing waits for {}", step.id);
        }
        prop_assert!(plan.check().is_ok());
    }

    #[test]
    fn p19_every_step_of_lavas_manual_is_there_in_its_order(Planned { case, plan } in planned()) {
        let of = |host: &str| -> Vec<u8> {
            let steps = plan.steps.iter().filter(|step| step.host == host);
            steps.map(|step| step.manual_step).collect()
        };
        for host in plan.hosts.iter().filter(|host| host.role == Role::Worker) {
            prop_assert!(of(&host.id).iter().all(|step| *step == 2));
        }
        if !has_master(&plan) {
            return Ok(());
        }
        let covered = of("master");
        prop_assert!(covered.is_sorted());
        let data = case.intent != Intent::Grow;
        let asked = case.intent != Intent::Drill;
        let seen = |step| covered.contains(&step);
        for step in 1..=14 {
            let needed = match step {
                2 => false, // the workers'
                4 => crate::lab::cases::has_timers(&case),
                8 | 9 => data,
                13 => asked || case.release().gunicorn_serves_workers,
                _ => true,
            };
            prop_assert!(!needed || seen(step), "step {step} is missing");
        }
    }

    #[test]
    fn packages_are_held_from_the_load_on_but_for_the_one_check_that_forbids_it(Planned { case, plan } in planned()) {
        let mut held: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for step in &plan.steps {
            let held = held.entry(step.host.as_str()).or_default();
            match &step.action {
                Action::HoldPackages { packages } => held.extend(packages.clone()),
                Action::UnholdPackages { packages } => held.retain(|name| !packages.contains(name)),
                _ => {}
            }
            let checks = step.post.iter().any(|gate| gate.argv.contains(&"--deploy".to_owned()));
            let stands = step.phase > Phase::Quiesce && step.phase < Phase::Reopen && step.id != "master.verify.unhold";
            let of_host = if step.host == "master" { "lava-server" } else { "lava-dispatcher" };
            if checks {
                prop_assert!(!held.contains("lava-server"), "{}", step.id);
            } else if stands {
                prop_assert!(held.contains(of_host), "{} of {case:?}", step.id);
            }
        }
    }

    #[test]
    fn the_way_in_stays_out_of_the_files_until_users_may_come(Planned { plan, .. } in planned()) {
        let link = "config/etc/apache2/sites-enabled/lava-server.conf".to_owned();
        for step in plan.steps.iter().filter(|step| step.host == "master") {
            if let Action::Extract { paths, exclude, .. } = &step.action {
                let whole = paths.contains(&"config".to_owned());
                prop_assert!(!whole || exclude.contains(&link), "{}", step.id);
            }
        }
        if has_master(&plan) {
            prop_assert_eq!(plan.steps.last().unwrap().phase, Phase::Reopen);
        }
    }
}
