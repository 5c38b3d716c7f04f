//! What is said of two plans.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use lava_restore_plan::{ErrorKind, Plan, Side, Verdict, diff, render};
use proptest::prelude::*;

#[test]
fn a_plan_is_no_other_than_itself() {
    for plan in [
        lab::plan(),
        lab::lab_plan(),
        lab::longest_plan(),
        lab::refused_plan(),
    ] {
        let diff = diff(&plan, &plan.clone());
        assert!(diff.is_empty(), "{diff}");
        assert_eq!(diff.to_string(), "");
    }
}

/// As after a day: another backup, one device more, one package less, nothing queued.
#[test]
fn what_another_day_changes_is_told_by_id_and_field() {
    let (mut backup, mut target) = (lab::backup(), lab::target());
    backup.id = "20261123T040000Z-lava".into();
    backup.seal_digest = "70".repeat(32);
    target
        .packages
        .retain(|package| package.name != "python3-djangorestframework");
    let dump = backup.database.as_mut().unwrap();
    let queued = lava_restore_plan::release::JobState::Submitted;
    dump.jobs_by_state.as_mut().unwrap().remove(&queued);
    dump.devices_by_health
        .as_mut()
        .unwrap()
        .values_mut()
        .next()
        .unwrap()
        .push("zcu-01".into());
    let later = lab::of(&backup, &target, &lab::options());
    let diff = diff(&lab::plan(), &later);
    insta::assert_snapshot!("diff", diff.to_string());
    let step = |id: &str| diff.steps.iter().find(|step| step.id == id).unwrap();
    assert_eq!(step("master.maintenance.queue").side, Side::Removed);
    assert_eq!(step("master.install.packages").side, Side::Added);
    assert_eq!(step("master.database.load").side, Side::Changed);
}

#[test]
fn text_of_a_plan_is_one_line_and_steers_nothing() {
    let mut plan = lab::plan();
    plan.steps[0].title = "a\n+ step b\u{1b}[2J\u{202e}".into();
    plan.findings[0].subject = "x\n- gate y".into();
    let text = diff(&lab::plan(), &plan).to_string();
    assert!(
        !text.contains("\n+ step b") && !text.contains("\n- gate y"),
        "{text}"
    );
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{202e}'),
        "{text}"
    );
}

#[test]
fn a_plan_that_nobody_may_follow_can_be_compared() {
    let json = render::json(&lab::plan()).unwrap();
    let altered = json.replacen("\"a2dissite\"", "\"a2ensite\"", 1);
    assert_eq!(
        Plan::from_json(altered.as_bytes()).unwrap_err().kind(),
        ErrorKind::Altered
    );
    let altered = Plan::from_json_unchecked(altered.as_bytes()).unwrap();
    let told = diff(&lab::plan(), &altered);
    assert_eq!(told.steps.len(), 1);
    assert_eq!(told.steps[0].fields[0].field, "argv");
    assert!(render::html(&altered).is_err() && render::ansible(&altered).is_err());
    let other = json.replacen("plan/plan/1", "plan/plan/2", 1);
    let error = Plan::from_json_unchecked(other.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownSchema);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_change_is_told(which in 0..12_usize, at in any::<prop::sample::Index>()) {
        let (before, mut after) = (lab::plan(), lab::plan());
        let step = at.index(after.steps.len());
        let finding = at.index(after.findings.len());
        let gated: Vec<usize> = (0..after.steps.len()).filter(|at| !after.steps[*at].post.is_empty()).collect();
        let gate = gated[at.index(gated.len())];
        match which {
            0 => drop(after.steps.remove(step)),
            1 => after.steps.swap(step, 0),
            2 => after.steps[step].why.push('.'),
            3 => drop(after.steps[step].needs.pop()),
            4 => drop(after.steps[gate].post.remove(0)),
            5 => after.steps[gate].post[0].expect.exit += 1,
            6 => { let gates = std::mem::take(&mut after.steps[gate].post); after.steps[gate].pre = gates; }
            7 => drop(after.findings.remove(finding)),
            8 => after.findings.swap(finding, 0),
            9 => after.findings[finding].severity = Verdict::Refuse,
            10 => after.hosts[0].target_digest = None,
            _ => { let again = after.steps[step].clone(); after.steps.push(again); }
        }
        let (there, back) = (diff(&before, &after), diff(&after, &before));
        prop_assert_eq!(there.is_empty(), before == after);
        prop_assert_eq!(back.is_empty(), before == after);
        prop_assert_eq!(there.to_string().is_empty(), before == after);
        prop_assert_eq!(there.steps.len(), back.steps.len());
        let json = serde_json::to_string(&there).unwrap();
        prop_assert_eq!(serde_json::from_str::<lava_restore_plan::PlanDiff>(&json).unwrap(), there);
    }
}
