//! What a plan comes to when things go wrong.

use lava_restore_plan::simulate::{End, Event, Fate, Journal, Lab, Moment};
use lava_restore_plan::{Action, Phase, Plan, Verdict};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::lab::cases::{Planned, planned};
use crate::{faults, rehearse};

/// A host, and a moment before it is given back to those who look after it.
fn moment(plan: &Plan, at: Index, which: Index) -> (String, Moment) {
    let host = some_host(plan, which);
    let given_back = |moment: &Moment| {
        let step = crate::step(plan, &moment.step);
        step.host == host && step.phase == Phase::Reopen
    };
    let moments = Moment::all(plan).take_while(|moment| !given_back(moment));
    let moments: Vec<Moment> = moments.collect();
    (host.clone(), at.get(&moments).clone())
}

fn some_host(plan: &Plan, which: Index) -> String {
    which.get(&plan.hosts).id.clone()
}

/// A unit that a plan has to do with.
fn some_unit(plan: &Plan, host: &str, which: Index) -> Option<String> {
    let steps = plan.steps.iter().filter(|step| step.host == host);
    let units = steps.filter_map(|step| match &step.action {
        Action::StopUnits { units } if step.phase == Phase::Quiesce => Some(units.clone()),
        _ => None,
    });
    let units: Vec<String> = units.flatten().collect();
    (!units.is_empty()).then(|| which.get(&units).clone())
}

/// Goes on after a run was cut off.
fn go_on(lab: &mut Lab, plan: &Plan, journal: &mut Journal) -> Vec<String> {
    let end = lab.run(plan, journal, &Fate::default()).unwrap();
    faults(lab, &end)
}

/// No harm, and at the end either the goal or a reason why not.
fn is_sound(lab: &Lab, end: &End) -> Result<(), TestCaseError> {
    prop_assert_eq!(lab.harms(), &[]);
    match end {
        End::Done => prop_assert_eq!(lab.lacks(), Vec::<String>::new(), "quietly wrong"),
        End::Stopped { why, .. } => prop_assert!(!why.is_empty()),
        End::CutOff { at } => prop_assert!(!at.step.is_empty()),
        other => panic!("another end: {other:?}"),
    }
    Ok(())
}

#[test]
fn p9_from_every_moment_of_some_labs_the_goal_is_reached() {
    let mut runner = TestRunner::deterministic();
    let strategy = planned();
    for _ in 0..10 {
        let Planned { case, plan } = strategy.new_tree(&mut runner).unwrap().current();
        for at in Moment::all(&plan) {
            for crash in [Event::Crash, Event::CrashWithin] {
                let fate = Fate::of(at.clone(), crash);
                let (mut lab, mut journal, _) = rehearse(&case, &plan, &fate);
                let faults = go_on(&mut lab, &plan, &mut journal);
                assert_eq!(faults, Vec::<String>::new(), "{at} of {case:?}");
            }
        }
    }
}

fn crashes() -> impl Strategy<Value = Event> {
    prop::sample::select(vec![Event::Crash, Event::CrashWithin])
}

proptest! {
    #![proptest_config(crate::cases(2500))]

    #[test]
    fn p9_a_run_that_is_cut_off_anywhere_goes_on_to_the_goal(
        Planned { case, plan } in planned(),
        cuts in prop::collection::vec((any::<Index>(), crashes()), 1..4),
    ) {
        let (mut lab, mut journal) = (case.lab(), Journal::default());
        let moments: Vec<Moment> = Moment::all(&plan).collect();
        for (at, crash) in cuts {
            let fate = Fate::of(at.get(&moments).clone(), crash);
            let end = lab.run(&plan, &mut journal, &fate).unwrap();
            is_sound(&lab, &end)?;
        }
        prop_assert_eq!(go_on(&mut lab, &plan, &mut journal), Vec::<String>::new());
    }

    #[test]
    fn p9_a_host_that_lost_its_power_goes_on_or_says_why_not(
        Planned { case, plan } in planned(), at in any::<Index>(), crash in crashes()
    ) {
        let moments: Vec<Moment> = Moment::all(&plan).collect();
        let at = at.get(&moments).clone();
        let host = crate::step(&plan, &at.step).host.clone();
        let (mut lab, mut journal, _) = rehearse(&case, &plan, &Fate::of(at, crash));
        lab.happen(&Event::Reboot { host });
        let end = lab.run(&plan, &mut journal, &Fate::default()).unwrap();
        is_sound(&lab, &end)?;
    }

    #[test]
    fn p9_a_host_that_boots_in_the_middle_does_no_harm(Planned { case, plan } in planned(), at in any::<Index>(), which in any::<Index>()) {
        let (host, at) = moment(&plan, at, which);
        let fate = Fate::of(at, Event::Reboot { host });
        let (lab, _, end) = rehearse(&case, &plan, &fate);
        is_sound(&lab, &end)?;
    }

    #[test]
    fn p9_a_plan_made_anew_after_a_crash_does_no_harm(Planned { case, plan } in planned(), at in any::<Index>(), crash in crashes()) {
        let moments: Vec<Moment> = Moment::all(&plan).collect();
        let fate = Fate::of(at.get(&moments).clone(), crash);
        let (lab, _, _) = rehearse(&case, &plan, &fate);
        // Whoever begins again says that what is there now may go.
        let mut again = case.clone();
        again.options.replace_data = true;
        again.hosts = lab.hosts();
        let new = again.plan();
        if new.verdict == Verdict::Refuse {
            return Ok(());
        }
        let mut lab = lab;
        let end = lab.run(&new, &mut Journal::default(), &Fate::default()).unwrap();
        prop_assert_eq!(lab.harms(), &[]);
        if let End::Stopped { why, .. } = &end {
            prop_assert!(!why.is_empty());
        }
    }

    #[test]
    fn p10_no_timer_upgrades_lava_in_a_restore(Planned { case, plan } in planned(), at in any::<Index>(), which in any::<Index>(), boots in any::<bool>()) {
        let (host, at) = moment(&plan, at, which);
        let mut fate = Fate::default();
        if boots {
            fate = fate.and(at.clone(), Event::Reboot { host: host.clone() });
        }
        let (lab, _, end) = rehearse(&case, &plan, &fate.and(at, Event::Timer { host }));
        is_sound(&lab, &end)?;
    }

    #[test]
    fn p10_nobody_upgrades_lava_in_a_restore_but_in_the_one_check_that_forbids_holds(
        Planned { case, plan } in planned(), at in any::<Index>(), which in any::<Index>()
    ) {
        let (host, at) = moment(&plan, at, which);
        let is_off = ["master.verify.unhold", "master.verify.deploy", "master.verify.hold"];
        // And but in the moment between a look at LAVA's version and its installation.
        let is_between = at.part == 0 && at.step.ends_with(".install.packages");
        prop_assume!(!is_between && !is_off.contains(&at.step.as_str()));
        let (lab, _, end) = rehearse(&case, &plan, &Fate::of(at, Event::Upgrade { host }));
        is_sound(&lab, &end)?;
    }

    #[test]
    fn a_mirror_that_has_gone_on_does_no_harm(Planned { case, plan } in planned()) {
        let (mut lab, mut journal) = (case.lab(), Journal::default());
        for host in &plan.hosts {
            lab.host_mut(&host.id).unwrap().lose_mirror();
        }
        let end = lab.run(&plan, &mut journal, &Fate::default()).unwrap();
        is_sound(&lab, &end)?;
        if let End::Stopped { at, .. } = end {
            prop_assert!(at.step.ends_with(".install.packages"), "{at}");
        }
    }

    #[test]
    fn what_somebody_starts_does_no_harm(Planned { case, plan } in planned(), at in any::<Index>(), which in any::<(Index, Index)>()) {
        let (host, at) = moment(&plan, at, which.0);
        let Some(unit) = some_unit(&plan, &host, which.1) else { return Ok(()) };
        let fate = Fate::of(at, Event::Start { host, unit });
        let (lab, _, end) = rehearse(&case, &plan, &fate);
        is_sound(&lab, &end)?;
    }

    #[test]
    fn no_command_is_believed(Planned { case, plan } in planned(), at in any::<Index>(), half in any::<bool>()) {
        // systemd is: nothing can be asked of it that it does not answer itself.
        let is_asked = |moment: &Moment| {
            let step = crate::step(&plan, &moment.step);
            step.argv[moment.part - step.pre.len()][0] != "systemctl"
        };
        let commands: Vec<Moment> = Moment::commands(&plan).filter(is_asked).collect();
        let at = at.get(&commands).clone();
        let event = if half { Event::Skimp } else { Event::Pretend };
        let (lab, _, end) = rehearse(&case, &plan, &Fate::of(at, event));
        is_sound(&lab, &end)?;
    }
}
