//! What a run does, where it stops, and what it refuses, on a master that is made up.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;
#[allow(dead_code, unreachable_pub)]
mod simulated;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lava_restore_plan::run::{
    Answers, Ended, Entry, Error, ErrorKind, Event, Evidence, Exited, Found, Planned, Report, Run,
    State, plan_digest,
};
use lava_restore_plan::{Action, Intent, Plan, Step, plan, render};
use simulated::{Agreeing, Master};

fn the_plan() -> Plan {
    let intent = Intent::RestoreMaster;
    plan(&lab::backup(), &lab::target(), &intent, &lab::options())
}

fn found(plan: &Plan) -> Found {
    let host = Planned::all(plan)[0];
    Found {
        seal_digest: host.seal_digest.to_owned(),
        target_digest: host.target_digest.map(str::to_owned),
    }
}

fn state(dir: &Path) -> State {
    State::open(&dir.join("state")).unwrap()
}

fn begin<'p>(plan: &'p Plan, dir: &Path, found: &Found) -> Result<Run<'p>, Error> {
    let host = Planned::find(plan, None).unwrap();
    Run::begin(plan, host, state(dir), found, None, "test")
}

fn resume<'p>(plan: &'p Plan, dir: &Path) -> Result<Run<'p>, Error> {
    let host = Planned::find(plan, None).unwrap();
    Run::resume(plan, host, state(dir), host.seal_digest, "test")
}

/// Begins or goes on.
fn go(plan: &Plan, dir: &Path, master: &mut Master, refuses: &[&str]) -> Report {
    let run = match state(dir).is_begun() {
        true => resume(plan, dir),
        false => begin(plan, dir, &found(plan)),
    };
    let refuses = refuses.iter().map(|id| (*id).to_owned()).collect();
    let report = run.unwrap().go(master, &mut Agreeing(refuses), &mut |_| {});
    report.unwrap()
}

fn entries(dir: &Path) -> Vec<Entry> {
    let records = State::look(&dir.join("state")).unwrap();
    records.into_iter().map(|record| record.entry).collect()
}

#[test]
fn a_run_does_every_step_in_order_and_writes_down_what_it_saw() {
    let (plan, dir) = (the_plan(), tempfile::tempdir().unwrap());
    let mut master = Master::new(dir.path(), &plan);
    let report = go(&plan, dir.path(), &mut master, &[]);
    assert_eq!(report.ended, Ended::Finished);
    let ids: Vec<String> = plan.steps.iter().map(|step| step.id.clone()).collect();
    assert_eq!(report.done, ids);
    let entries = entries(dir.path());
    let done = entries.iter().filter_map(|entry| match entry {
        Entry::StepDone { step, .. } => Some(step.clone()),
        _ => None,
    });
    assert_eq!(done.collect::<Vec<_>>(), ids);
    let gates = plan
        .steps
        .iter()
        .map(|step| step.pre.len() + step.post.len());
    let held = |entry: &&Entry| matches!(entry, Entry::GateHeld { .. });
    assert_eq!(entries.iter().filter(held).count(), gates.sum::<usize>());
    let by_anna = |entry: &Entry| matches!(entry, Entry::Confirmed { by, .. } if by == "anna");
    assert!(entries.iter().any(by_anna));
    // Nobody else may look.
    for path in ["", "journal", "plan.json", "output", "master-verified.json"] {
        let mode = fs::metadata(dir.path().join("state").join(path))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o077, 0, "{path}");
    }
    let kept = fs::read(dir.path().join("state/plan.json")).unwrap();
    assert_eq!(Plan::from_json(&kept).unwrap(), plan);
}

#[test]
fn it_stops_at_a_gate_that_does_not_hold_and_goes_on_there() {
    let (plan, dir) = (the_plan(), tempfile::tempdir().unwrap());
    let mut master = Master::new(dir.path(), &plan);
    master.broken = Some("--audit".into());
    let report = go(&plan, dir.path(), &mut master, &[]);
    let Ended::Gate {
        step, gate, found, ..
    } = &report.ended
    else {
        panic!("{report:?}");
    };
    assert_eq!(
        (step.as_str(), found.ended),
        ("master.install.exact", Exited::Exit(1))
    );
    assert!(gate.id.ends_with(":audit"));
    let said = report.ended.to_string();
    assert!(
        said.contains("expected exit 0, and nothing printed, found exit 1"),
        "{said}"
    );
    assert!(!master.lab().restored, "nothing after it was run");

    master.broken = None;
    let rest = go(&plan, dir.path(), &mut master, &[]);
    assert_eq!(rest.ended, Ended::Finished);
    assert_eq!(rest.done[0], "master.install.exact");
    assert_eq!(rest.done_before + rest.done.len(), plan.steps.len());
    assert!(master.lab().damage.is_empty());
}

#[test]
fn it_stops_when_a_command_fails_and_keeps_what_it_said_without_secrets() {
    let (plan, dir) = (the_plan(), tempfile::tempdir().unwrap());
    let mut master = Master::new(dir.path(), &plan);
    master.broken = Some("restore".into());
    let report = go(&plan, dir.path(), &mut master, &[]);
    let Ended::Failed {
        step,
        ended,
        output,
        ..
    } = &report.ended
    else {
        panic!("{report:?}");
    };
    assert_eq!(
        (step.as_str(), *ended),
        ("master.database.load", Exited::Exit(1))
    );
    let kept = fs::read_to_string(output.as_ref().unwrap()).unwrap();
    assert_eq!(kept, "password=***\n".replace("***", "*** is wrong"));
    assert!(matches!(
        entries(dir.path()).last(),
        Some(Entry::Stopped { .. })
    ));
    master.broken = None;
    assert_eq!(
        go(&plan, dir.path(), &mut master, &[]).ended,
        Ended::Finished
    );
}

#[test]
fn the_gates_of_what_was_done_last_are_asked_again() {
    let (plan, dir) = (the_plan(), tempfile::tempdir().unwrap());
    let mut master = Master::new(dir.path(), &plan);
    // Its own commands and gates all come after the question whether the packages are exact.
    master.broken = Some("--audit".into());
    go(&plan, dir.path(), &mut master, &[]);
    master.broken = None;
    let mut lab = master.lab();
    lab.running.insert("apt-daily.timer".into());
    master.set(&lab);
    let report = go(&plan, dir.path(), &mut master, &[]);
    let Ended::Gate {
        gate, held_before, ..
    } = &report.ended
    else {
        panic!("{report:?}");
    };
    assert_eq!(
        (gate.id.as_str(), *held_before),
        ("master.base.timers:still", true)
    );
    assert!(report.done.is_empty());
}

#[test]
fn without_an_answer_it_stops_and_says_what_it_may_be() {
    let (plan, dir) = (the_plan(), tempfile::tempdir().unwrap());
    let mut master = Master::new(dir.path(), &plan);
    let queue = "master.maintenance.queue";
    let report = go(&plan, dir.path(), &mut master, &[queue]);
    let possible = vec![format!("{queue}=keep"), format!("{queue}=cancel")];
    let step = queue.to_owned();
    assert_eq!(report.ended, Ended::Unanswered { step, possible });
    assert!(master.lab().closed);
    assert_eq!(
        go(&plan, dir.path(), &mut master, &[]).ended,
        Ended::Finished
    );
}

#[test]
fn a_signal_stops_it_between_two_commands() {
    let (plan, dir) = (the_plan(), tempfile::tempdir().unwrap());
    let mut master = Master::new(dir.path(), &plan);
    master.stop = Some(15);
    let report = go(&plan, dir.path(), &mut master, &[]);
    assert!(
        matches!(report.ended, Ended::Told { signal: 15, .. }),
        "{report:?}"
    );
    master.stop = None;
    assert_eq!(
        go(&plan, dir.path(), &mut master, &[]).ended,
        Ended::Finished
    );
}

#[test]
fn a_plan_runs_only_where_and_for_what_it_was_made() {
    let (plan, dir) = (the_plan(), tempfile::tempdir().unwrap());
    let kind = |result: Result<Run<'_>, Error>| result.map(drop).unwrap_err().kind();
    let other = "0".repeat(64);
    let (mut seal, mut target) = (found(&plan), found(&plan));
    seal.seal_digest = other.clone();
    target.target_digest = Some(other.clone());
    assert_eq!(kind(begin(&plan, dir.path(), &seal)), ErrorKind::Stale);
    assert_eq!(kind(begin(&plan, dir.path(), &target)), ErrorKind::Stale);
    target.target_digest = None;
    assert_eq!(kind(begin(&plan, dir.path(), &target)), ErrorKind::Stale);
    assert_eq!(kind(resume(&plan, dir.path())), ErrorKind::NotBegun);
    assert!(entries(dir.path()).is_empty());

    let mut master = Master::new(dir.path(), &plan);
    go(&plan, dir.path(), &mut master, &["master.isolate.window"]);
    assert_eq!(
        kind(begin(&plan, dir.path(), &found(&plan))),
        ErrorKind::Begun
    );
    let host = Planned::find(&plan, None).unwrap();
    let run = Run::resume(&plan, host, state(dir.path()), &other, "test");
    assert_eq!(kind(run), ErrorKind::Stale);
    let mut changed = plan.clone();
    changed.steps[0].title = "something else".into();
    assert_eq!(kind(resume(&changed, dir.path())), ErrorKind::OtherPlan);
    assert_ne!(plan_digest(&changed).unwrap(), plan_digest(&plan).unwrap());

    let refused = {
        let mut backup = lab::backup();
        backup.facts.migrations_shipped = None;
        plan_of(&backup)
    };
    let error = Planned::find(&refused, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let mut hostile = plan.clone();
    hostile.steps[1].argv = vec![vec!["rm".into(), "-rf".into(), "/".into()]];
    assert_eq!(
        kind(begin(&hostile, dir.path(), &found(&plan))),
        ErrorKind::Refused
    );
}

fn plan_of(backup: &lava_restore_plan::Backup) -> Plan {
    plan(
        backup,
        &lab::target(),
        &Intent::RestoreMaster,
        &lab::options(),
    )
}

#[test]
fn a_directory_that_others_may_enter_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("open")).unwrap();
    fs::set_permissions(dir.path().join("open"), fs::Permissions::from_mode(0o755)).unwrap();
    let error = State::open(&dir.path().join("open")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsafe);
    fs::create_dir(dir.path().join("real")).unwrap();
    fs::set_permissions(dir.path().join("real"), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
    let error = State::open(&dir.path().join("link")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsafe);
}

/// A worker's only step, which needs the master's checks.
fn with_a_worker(mut plan: Plan) -> Plan {
    let last = "master.verify.health_checks";
    let mut step: Step = plan.steps.iter().find(|s| s.id == last).unwrap().clone();
    step.id = "worker.reopen.connected".into();
    step.host = "worker".into();
    step.phase = lava_restore_plan::Phase::Reopen;
    step.needs = vec![last.to_owned()];
    step.action = Action::Confirm { ask: "?".into() };
    plan.steps.push(step);
    plan
}

#[test]
fn a_worker_begins_only_with_the_evidence_that_its_master_is_verified() {
    let (plan, dir) = (with_a_worker(the_plan()), tempfile::tempdir().unwrap());
    let error = Planned::find(&plan, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchHost);
    assert!(error.to_string().contains("master, worker"), "{error}");
    let master_of_lab = Planned::find(&plan, Some("master")).unwrap();
    let run = Run::begin(
        &plan,
        master_of_lab,
        state(dir.path()),
        &found(&plan),
        None,
        "test",
    );
    let mut master = Master::new(dir.path(), &plan);
    let mut written = None;
    let mut watch = |event: Event<'_>| {
        if let Event::Verified(path) = event {
            written = Some(path.to_owned());
        }
    };
    // It stops before the lab reopens: the evidence is there for the workers.
    let mut person = Agreeing(vec!["master.reopen.confirm".into()]);
    let report = run
        .unwrap()
        .go(&mut master, &mut person, &mut watch)
        .unwrap();
    assert!(matches!(report.ended, Ended::Unanswered { .. }));
    let path = written.unwrap();
    assert_eq!(report.evidence.as_ref(), Some(&path));
    let text = fs::read_to_string(&path).unwrap();
    let (evidence, digest) = Evidence::read(&text, &path).unwrap();
    assert_eq!(evidence.plan, plan_digest(&plan).unwrap());
    assert!(
        evidence
            .gates
            .contains(&"master.verify.deploy:deploy".to_owned())
    );
    let before = |e: &Entry| matches!(e, Entry::Verified { evidence } if *evidence == digest);
    let records = State::look(&dir.path().join("state")).unwrap();
    let at = records.iter().position(|r| before(&r.entry)).unwrap();
    assert_eq!(records[at].after, evidence.journal);

    let worker = Planned::find(&plan, Some("worker")).unwrap();
    let there = tempfile::tempdir().unwrap();
    let begin = |evidence: Option<&(Evidence, String)>| {
        let state = state(there.path());
        Run::begin(&plan, worker, state, &found(&plan), evidence, "test").map(drop)
    };
    let missing = begin(None).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Unproved);
    assert!(
        missing.to_string().contains("master.verify.health_checks"),
        "{missing}"
    );
    let mut other = evidence.clone();
    other.seal_digest = "0".repeat(64);
    let wrong = begin(Some(&(other, digest.clone()))).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Unproved);
    assert!(wrong.to_string().contains("another"), "{wrong}");
    let mut less = evidence.clone();
    less.steps.pop();
    assert_eq!(
        begin(Some(&(less, digest.clone()))).unwrap_err().kind(),
        ErrorKind::Unproved
    );
    begin(Some(&(evidence, digest))).unwrap();

    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let changed = String::from_utf8_lossy(&bytes);
        assert!(Evidence::read(&changed, &path).is_err(), "byte {at}");
    }
}

#[test]
fn answers_are_lines_that_its_steps_may_be_answered_with() {
    let plan = the_plan();
    let step = |id: &str| plan.steps.iter().find(|step| step.id == id).unwrap();
    let text =
        "# of anna\n\nmaster.isolate.window\n master.maintenance.queue=keep \nother.base.x\n";
    let answers = Answers::parse(text, &plan).unwrap();
    assert_eq!(
        answers.of(step("master.isolate.window")),
        Some("master.isolate.window")
    );
    let queue = step("master.maintenance.queue");
    assert_eq!(answers.of(queue), Some("master.maintenance.queue=keep"));
    assert_eq!(answers.of(step("master.reopen.confirm")), None);
    for (wrong, why) in [
        (
            "master.maintenance.queue",
            "line 1: master.maintenance.queue is answered by",
        ),
        ("master.maintenance.queue=perhaps", "keep or"),
        ("master.isolate.closed", "asks nothing"),
        ("master.isolate.window yes", "not one step"),
        (
            "master.maintenance.queue=keep\nmaster.maintenance.queue=cancel",
            "line 2",
        ),
    ] {
        let error = Answers::parse(wrong, &plan).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Answers);
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn the_digest_of_a_plan_is_that_of_its_json() {
    let plan = the_plan();
    let json = render::json(&plan).unwrap();
    // As `--json` prints it, with other spaces and another order.
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let again = Plan::from_json(value.to_string().as_bytes()).unwrap();
    assert_eq!(plan_digest(&again).unwrap(), plan_digest(&plan).unwrap());
    let hash = blake3::hash(json.as_bytes()).to_hex();
    assert_eq!(plan_digest(&plan).unwrap(), hash.as_str());
}
