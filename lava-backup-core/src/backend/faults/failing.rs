//! An error of the disk at every call of every scenario.
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use rustix::io::Errno;

use super::disks::{Failing, Fault};
use super::{Known, SCENARIOS, Scenario, scratch};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind};

const ERRORS: [Errno; 4] = [Errno::NOSPC, Errno::IO, Errno::ROFS, Errno::DQUOT];

/// Runs a scenario on a disk that fails; gives its calls, and whether it said
/// that it did what it was to do.
fn run(scenario: &Scenario, known: &Known, fault: Fault) -> (u64, bool) {
    let dir = scratch();
    known.before.lay(dir.path());
    let disk = Arc::new(Failing::new(fault));
    let result = (scenario.run)(dir.path(), Arc::clone(&disk) as Arc<dyn Disk>);
    let clean = |e: &Error| {
        let told = e.to_string();
        e.kind() == ErrorKind::Io && told.contains("(os error ") && told.contains('/')
    };
    if let Err(e) = &result {
        assert!(clean(e), "{}, {fault:?}: {e:?}", scenario.name);
    }
    match known.check(scenario, dir.path(), result.is_ok()) {
        Ok(changed) => {
            // A disk that works again lets what was not done be taken back.
            let taken_back = !changed || result.is_ok() || !matches!(fault, Fault::Once(..));
            let publishes = scenario.name.ends_with("backup");
            assert!(taken_back || !publishes, "{}, {fault:?}", scenario.name);
        }
        Err(e) => panic!("{}, {fault:?}: {e}; it returned {result:?}", scenario.name),
    }
    (disk.calls(), result.is_ok())
}

fn fails(name: &str) {
    let scenario = Scenario::of(name);
    let known = Known::of(scenario);
    let (calls, done) = run(scenario, &known, Fault::Once(u64::MAX, Errno::IO));
    assert!(done);
    let mut failed = 0;
    for call in 0..calls {
        // Which error it is makes no difference to who passes it on.
        let errno = ERRORS[usize::try_from(call).unwrap() % ERRORS.len()];
        for fault in [Fault::Once(call, errno), Fault::From(call, errno)] {
            failed += u64::from(!run(scenario, &known, fault).1);
        }
    }
    println!("{name}: {calls} calls, {} runs, {failed} failed", 2 * calls);
    assert!(failed > calls / 2);
}

#[test]
fn writes_that_are_short_or_interrupted_are_gone_on_with() {
    for scenario in &SCENARIOS {
        let known = Known::of(scenario);
        let (calls, done) = run(scenario, &known, Fault::Slow);
        assert!(done, "{}", scenario.name);
        println!("{}: {calls} calls", scenario.name);
    }
}

#[test]
fn an_error_while_making_a_store_leaves_all_or_nothing() {
    fails("init");
}

#[test]
fn an_error_while_making_the_first_backup_leaves_all_or_nothing() {
    fails("the first backup");
}

#[test]
fn an_error_while_making_another_backup_leaves_all_or_nothing() {
    fails("another backup");
}

#[test]
fn an_error_while_healing_a_frame_leaves_all_or_nothing() {
    fails("healing");
}

#[test]
fn an_error_while_removing_a_backup_leaves_all_or_nothing() {
    fails("withdraw");
}

#[test]
fn an_error_while_removing_a_backup_and_its_frames_leaves_all_or_nothing() {
    fails("withdraw and sweep");
}

#[test]
fn an_error_while_marking_frames_leaves_all_or_nothing() {
    fails("mark");
}

#[test]
fn an_error_while_sweeping_frames_leaves_all_or_nothing() {
    fails("sweep");
}

#[test]
fn an_error_while_recording_the_first_evidence_leaves_all_or_nothing() {
    fails("the first evidence");
}

#[test]
fn an_error_while_recording_more_evidence_leaves_all_or_nothing() {
    fails("more evidence");
}

#[test]
fn an_error_while_importing_a_backup_leaves_all_or_nothing() {
    fails("an imported backup");
}

#[test]
fn an_error_while_repairing_an_index_leaves_all_or_nothing() {
    fails("repair");
}
