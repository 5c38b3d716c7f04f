//! What a run does, where it stops, and what it refuses, on a master that is made up.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;
#[allow(dead_code, unreachable_pub)]
mod simulated;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use lava_restore_plan::run::{
    Answers, Confirmed, Ended, Entry, Error, ErrorKind, Event, Evidence, Exited, Found, Person,
    Planned, Report, Run, State, plan_digest,
};
use lava_restore_plan::{Backup, Intent, Plan, Step, Verdict, plan, render};
use simulated::{Agreeing, Master};

fn the_plan() -> Plan {
    plan_of(&lab::backup())
}

fn plan_of(backup: &Backup) -> Plan {
    let host = lab::onto(backup, &lab::target());
    plan(vec![host], Intent::RestoreMaster, &lab::options())
}

fn found(plan: &Plan) -> Found {
    let host = &plan.hosts[0];
    Found {
        seal_digest: host.seal_digest.clone(),
        target_digest: host.target_digest.clone(),
        target_fields: host.target_fields.clone(),
    }
}

fn state(dir: &Path) -> State {
    State::open(&dir.join("state")).unwrap()
}

fn begin<'p>(plan: &'p Plan, dir: &Path, found: &Found) -> Result<Run<'p>, Error> {
    Run::begin(Planned::find(plan, None)?, state(dir), found, "test")
}

fn resume<'p>(plan: &'p Plan, dir: &Path) -> Result<Run<'p>, Error> {
    let planned = Planned::find(plan, None)?;
    Run::resume(planned, state(dir), &planned.host.seal_digest, "test")
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
        said,
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
    assert_eq!(kept, "password=*** is wrong\n");
    assert_eq!(*said, ["password=*** is wrong"]);
    let told = report.ended.to_string();
    assert!(told.ends_with(": password=*** is wrong"), "{told}");
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
fn who_says_that_the_queue_is_cancelled_is_not_believed() {
    struct Cancelling;
    impl Person for Cancelling {
        fn ask(&mut self, _: &Step, possible: &[String]) -> Option<Confirmed> {
            let (answer, by) = (possible.last()?.clone(), "anna".to_owned());
            Some(Confirmed { answer, by })
        }
    }
    let (plan, dir) = (the_plan(), tempfile::tempdir().unwrap());
    let mut master = Master::new(dir.path(), &plan);
    let run = begin(&plan, dir.path(), &found(&plan)).unwrap();
    let report = run.go(&mut master, &mut Cancelling, &mut |_| {}).unwrap();
    let Ended::Gate { gate, .. } = &report.ended else {
        panic!("{report:?}");
    };
    assert_eq!(gate.id, "master.maintenance.queue:cancelled");
    let mut lab = master.lab();
    lab.queue_ended = true;
    master.set(&lab);
    let run = resume(&plan, dir.path()).unwrap();
    let report = run.go(&mut master, &mut Cancelling, &mut |_| {}).unwrap();
    assert_eq!(report.ended, Ended::Finished);
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
    let mut before = plan.clone();
    before.hosts[0].target_fields = [("locales", "1"), ("packages", "2"), ("worker", "3")]
        .map(|(field, digest)| (field.to_owned(), digest.to_owned()))
        .into();
    target.target_fields = [("locales", "1"), ("packages", "4"), ("units", "5")]
        .map(|(field, digest)| (field.to_owned(), digest.to_owned()))
        .into();
    let changed = begin(&before, dir.path(), &target).map(drop).unwrap_err();
    let said = changed.to_string();
    assert!(said.ends_with(", in its packages, units, worker"), "{said}");
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
    let planned = Planned::find(&plan, None).unwrap();
    let run = Run::resume(planned, state(dir.path()), &other, "test");
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

/// A lab of a master that knows one worker, and that worker.
fn a_lab() -> Plan {
    let mut backup = lab::backup();
    backup.database.as_mut().unwrap().workers = Some(vec!["rack-a".into()]);
    let master = lab::onto(&backup, &lab::target());
    let worker = lab::worker("rack-a");
    let plan = plan(vec![master, worker], Intent::RestoreLab, &lab::options());
    assert!(plan.verdict < Verdict::Refuse, "{:#?}", plan.findings);
    plan
}

#[test]
fn a_worker_waits_for_the_evidence_of_its_master_and_nobody_may_say_it_instead() {
    let (plan, dir) = (a_lab(), tempfile::tempdir().unwrap());
    let error = Planned::find(&plan, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchHost);
    assert!(
        error.to_string().contains("master, worker_rack_a"),
        "{error}"
    );
    let mut master = Master::new(dir.path(), &plan);
    let mut written = Vec::new();
    let mut watch = |event: Event<'_>| {
        if let Event::Verified(path) = event {
            written.push(fs::read_to_string(path).unwrap());
        }
    };
    let of_master = Planned::find(&plan, Some("master")).unwrap();
    let run = Run::begin(of_master, state(dir.path()), &found(&plan), "test").unwrap();
    master.otherwise = Some(("'rack-a'", 61, 0));
    let report = run
        .go(&mut master, &mut Agreeing(vec![]), &mut watch)
        .unwrap();
    assert!(
        matches!(&report.ended, Ended::Gate { step, .. } if step == "master.workers.worker_rack_a")
    );
    // Once when it is verified, and once when workers are let in, which this one waits for.
    let path = report.evidence.unwrap();
    assert!(path.ends_with("state/master-verified.json"));
    let [early, late] = written.as_slice() else {
        panic!("{written:?}");
    };
    let read = |text: &str| Evidence::read(text, &path);
    let (early, late_text) = (read(early).unwrap(), late);
    let late = read(late_text).unwrap();
    assert_eq!(late.0.plan, plan_digest(&plan).unwrap());
    assert!(
        late.0
            .gates
            .contains(&"master.verify.deploy:deploy".to_owned())
    );
    let records = State::look(&dir.path().join("state")).unwrap();
    let tells = |e: &Entry| matches!(e, Entry::Verified { evidence, .. } if *evidence == late.1);
    let at = records.iter().position(|r| tells(&r.entry)).unwrap();
    assert_eq!(records[at].after, late.0.journal);

    let worker = Planned::find(&plan, Some("worker_rack_a")).unwrap();
    let run = |there: &Path, evidence: Option<&(Evidence, String)>| {
        let found = Found {
            seal_digest: worker.host.seal_digest.clone(),
            target_digest: worker.host.target_digest.clone(),
            target_fields: worker.host.target_fields.clone(),
        };
        let mut run = Run::begin(worker, state(there), &found, "test").unwrap();
        if let Some((evidence, digest)) = evidence {
            run.take(evidence.clone(), digest.clone())?;
        }
        let mut host = Master::new(there, &plan);
        let report = run.go(&mut host, &mut Agreeing(vec![]), &mut |_| {});
        Ok::<_, Error>(report.unwrap())
    };
    for evidence in [None, Some(&early)] {
        let there = tempfile::tempdir().unwrap();
        let report = run(there.path(), evidence).unwrap();
        assert!(matches!(report.ended, Ended::Unproved { .. }), "{report:?}");
        assert!(report.done.is_empty());
    }
    for spoil in [
        |evidence: &mut Evidence| evidence.seal_digest = "0".repeat(64),
        |evidence: &mut Evidence| evidence.host = "another".to_owned(),
        // An earlier restore of the same backup proves nothing of this one.
        |evidence: &mut Evidence| evidence.plan = "0".repeat(64),
    ] {
        let there = tempfile::tempdir().unwrap();
        let mut other = late.clone();
        spoil(&mut other.0);
        let error = run(there.path(), Some(&other)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unproved);
    }
    let there = tempfile::tempdir().unwrap();
    let report = run(there.path(), Some(&late)).unwrap();
    assert_eq!(report.ended, Ended::Finished);
    assert!(
        report
            .evidence
            .unwrap()
            .ends_with("worker_rack_a-verified.json")
    );
    let proved = |e: &Entry| matches!(e, Entry::Proved { evidence, .. } if *evidence == late.1);
    assert!(entries(there.path()).iter().any(proved));

    for at in 0..late_text.len() {
        let mut bytes = late_text.clone().into_bytes();
        bytes[at] ^= 1;
        assert!(read(&String::from_utf8_lossy(&bytes)).is_err(), "byte {at}");
    }
}

#[test]
fn a_gate_with_patience_is_asked_again_and_one_without_is_not() {
    let plan = the_plan();
    // `admit nobody` has a minute, and the question of the packages has none.
    for (word, times, holds) in [
        ("nobody", 60, true),
        ("nobody", 61, false),
        ("lava-common", 1, false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut master = Master::new(dir.path(), &plan);
        master.otherwise = Some((word, times, 3));
        let report = go(&plan, dir.path(), &mut master, &[]);
        assert_eq!(
            report.ended == Ended::Finished,
            holds,
            "{word} {times} {report:?}"
        );
    }
}

#[test]
fn what_an_answer_takes_is_of_the_gates_time() {
    let (mut plan, dir) = (the_plan(), tempfile::tempdir().unwrap());
    let mut gates = plan.steps.iter_mut().flat_map(|step| &mut step.post);
    let gate = gates.find(|gate| gate.argv.contains(&"nobody".to_owned()));
    gate.unwrap().patience = 2;
    let mut master = Master::new(dir.path(), &plan);
    (master.otherwise, master.slow) = (Some(("nobody", 9, 3)), Duration::from_secs(1));
    let report = go(&plan, dir.path(), &mut master, &[]);
    assert!(matches!(report.ended, Ended::Gate { .. }), "{report:?}");
    assert_eq!(master.otherwise, Some(("nobody", 7, 3)), "asked twice");
}

#[test]
fn the_text_of_a_gate_is_compared_word_for_word() {
    let (plan, dir) = (the_plan(), tempfile::tempdir().unwrap());
    let mut master = Master::new(dir.path(), &plan);
    master.otherwise = Some(("django_migrations", 1, 0));
    let report = go(&plan, dir.path(), &mut master, &[]);
    let Ended::Gate { found, .. } = &report.ended else {
        panic!("{report:?}");
    };
    assert_eq!(
        (found.ended, found.text.as_deref()),
        (Exited::Exit(0), Some("something else"))
    );
    assert_eq!(
        go(&plan, dir.path(), &mut master, &[]).ended,
        Ended::Finished
    );
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
