//! A run that is killed at any moment and resumed ends where one ends that nobody disturbs.
//!
//! This program starts itself as the run that is killed.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;
#[allow(dead_code, unreachable_pub)]
mod simulated;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lava_restore_plan::run::{Ended, Entry, Event, Found, Planned, Run, State};
use lava_restore_plan::{Intent, Plan, plan};
use simulated::{Agreeing, Lab, Master};

const DIR: &str = "LAVA_RESTORE_TEST_DIR";
const MOMENT: &str = "LAVA_RESTORE_TEST_MOMENT";

fn the_plan() -> Plan {
    let host = lab::onto(&lab::backup(), &lab::target());
    plan(vec![host], Intent::RestoreMaster, &lab::options())
}

/// Begins or goes on, and calls `moment` at each record and around each effect of a command.
fn run(dir: &Path, moment: impl FnMut() + Clone + 'static) -> Ended {
    let plan = the_plan();
    let planned = Planned::find(&plan, None).unwrap();
    let state = State::open(&dir.join("state")).unwrap();
    let mut master = Master::new(dir, &plan);
    master.moment = Box::new(moment.clone());
    let run = if state.is_begun() {
        Run::resume(planned, state, &planned.host.seal_digest, "test")
    } else {
        let found = Found {
            seal_digest: planned.host.seal_digest.clone(),
            target_digest: planned.host.target_digest.clone(),
            target_fields: planned.host.target_fields.clone(),
        };
        Run::begin(planned, state, &found, "test")
    };
    let mut moment = moment;
    let mut watch = |event: Event<'_>| {
        if let Event::Recorded(_) = event {
            moment();
        }
    };
    let ended = run
        .unwrap()
        .go(&mut master, &mut Agreeing(vec![]), &mut watch);
    ended.unwrap().ended
}

/// The run that is killed; nothing when it is not told where.
#[test]
fn child() {
    let (Some(dir), Ok(at)) = (std::env::var_os(DIR), std::env::var(MOMENT)) else {
        return;
    };
    let at: u32 = at.parse().unwrap();
    let count = std::rc::Rc::new(std::cell::Cell::new(0));
    let kill = move || {
        count.set(count.get() + 1);
        if count.get() == at {
            let pid = rustix::process::getpid();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    };
    assert_eq!(run(&PathBuf::from(dir), kill), Ended::Finished);
}

/// Was it killed?
fn killed(dir: &Path, at: u32) -> bool {
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--quiet"])
        .env(DIR, dir)
        .env(MOMENT, at.to_string())
        .output()
        .unwrap();
    let was = ended.status.signal() == Some(9);
    assert!(was || ended.status.success(), "{ended:?}");
    was
}

/// In memory, where a sync costs nothing; what it promises is not tested here.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

/// The lab as it is, once it is seen that nothing was done again that was done.
fn lab_of(dir: &Path) -> Lab {
    let mut done = BTreeSet::new();
    let records = State::look(&dir.join("state")).unwrap();
    for record in &records {
        match &record.entry {
            Entry::StepDone { step, .. } => assert!(done.insert(step.clone()), "{step}"),
            Entry::CommandBegins { step, .. } => assert!(!done.contains(step), "{step} again"),
            _ => {}
        }
    }
    assert_eq!(done.len(), the_plan().steps.len());
    assert_eq!(records.last().unwrap().entry, Entry::Finished {});
    let verified = |e: &Entry| matches!(e, Entry::Verified { .. });
    assert_eq!(records.iter().filter(|r| verified(&r.entry)).count(), 1);
    assert!(dir.join("state/master-verified.json").exists());
    Master::new(dir, &the_plan()).lab()
}

#[test]
fn killed_after_every_record_and_around_every_effect_it_ends_the_same() {
    let whole = scratch();
    let moments = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = moments.clone();
    assert_eq!(
        run(whole.path(), move || counted.set(counted.get() + 1)),
        Ended::Finished
    );
    let expected = lab_of(whole.path());
    assert_eq!(expected.damage, Vec::<String>::new());
    assert!(expected.restored && !expected.closed);

    for at in 1..=moments.get() {
        let dir = scratch();
        assert!(killed(dir.path(), at), "{at}");
        assert_eq!(run(dir.path(), || ()), Ended::Finished, "{at}");
        assert_eq!(lab_of(dir.path()), expected, "killed at moment {at}");
    }
}

#[test]
fn killed_again_and_again_it_still_comes_to_its_end() {
    let dir = scratch();
    let mut lot = 7_u32;
    let mut kills = 0;
    loop {
        lot = lot.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if !killed(dir.path(), 3 + (lot >> 16) % 60) {
            break;
        }
        kills += 1;
    }
    assert!(kills > 5, "{kills}");
    assert_eq!(lab_of(dir.path()).damage, Vec::<String>::new());
}
