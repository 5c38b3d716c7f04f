//! A crash at every moment of every scenario.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::sync::Arc;

use rustix::io::Errno;

use super::disks::{Call, Failing, Fault, Quiet, Recorder};
use super::model::{Model, TORN, Torn};
use super::tree::Tree;
use super::{Known, SCENARIOS, Scenario, scratch};
use crate::disk::Disk;

/// Random subsets of what a crash may lose, for each moment.
const SUBSETS: u64 = 6;

/// Tries states, each once.
struct Tried<'a> {
    scenario: &'a Scenario,
    known: &'a Known,
    seen: BTreeSet<[u8; 32]>,
    published: BTreeSet<[u8; 32]>,
    states: usize,
    changed: usize,
}

impl<'a> Tried<'a> {
    fn new(scenario: &'a Scenario, known: &'a Known) -> Self {
        Self {
            scenario,
            known,
            seen: BTreeSet::new(),
            published: BTreeSet::new(),
            states: 0,
            changed: 0,
        }
    }

    fn counts(&self) -> String {
        format!(
            "{}: {} states, {} different, {} of them in what is published, {} with the change",
            self.scenario.name,
            self.states,
            self.seen.len(),
            self.published.len(),
            self.changed
        )
    }

    fn state(&mut self, tree: &Tree, done: bool, what: &dyn Fn() -> String) {
        self.states += 1;
        let key = |mut digest: [u8; 32], part: u8| {
            digest[0] = part + u8::from(done);
            digest
        };
        if !self.seen.insert(key(tree.digest_without("-"), 0)) {
            return;
        }
        // Many differ only in what nobody looks at but to remove it.
        let published = self
            .published
            .insert(key(tree.digest_without("store/tmp"), 2));
        let dir = scratch();
        tree.lay(dir.path());
        let checked = match published {
            true => self.known.check(self.scenario, dir.path(), done),
            false => Known::check_unfinished(dir.path()).map(|()| false),
        };
        match checked {
            Ok(changed) => self.changed += usize::from(changed),
            Err(e) => panic!("{}, {}: {e}", self.scenario.name, what()),
        }
    }

    /// All that a crash may leave at this moment, within bounds.
    fn moment(&mut self, model: &Model, moment: &str, done: bool, subsets: u64) {
        let pending = model.pending();
        let mut crash = |kind: &str, lost: &dyn Fn(usize) -> bool, torn: Torn| {
            let what = || format!("a crash after {moment}, {kind}, {torn:?}");
            self.state(&model.crash(lost, torn), done, &what);
        };
        for torn in TORN {
            crash("nothing lost", &|_| false, torn);
        }
        crash("all lost", &|_| true, Torn::Whole);
        for one in 0..pending {
            let torn = TORN[(one + pending) % TORN.len()];
            crash(&format!("name {one} lost"), &|at| at == one, torn);
            crash(&format!("name {one} kept"), &|at| at != one, torn);
        }
        for subset in 0..subsets {
            let seed = format!("{} {moment} {subset}", self.scenario.name);
            let mut lots = vec![0; pending];
            let mut drawn = blake3::Hasher::new();
            drawn.update(seed.as_bytes()).finalize_xof().fill(&mut lots);
            let torn = TORN[usize::from(lots.first().unwrap_or(&0) >> 6)];
            let lost = |at: usize| lots[at].is_multiple_of(2);
            let what = || format!("a crash after {moment}, subset {subset}, {torn:?}");
            self.state(&model.crash(&lost, torn), done, &what);
        }
    }
}

fn record(scenario: &Scenario, known: &Known) -> Vec<Call> {
    let dir = scratch();
    known.before.lay(dir.path());
    let recorder = Arc::new(Recorder::new(dir.path(), Arc::new(Quiet)));
    (scenario.run)(dir.path(), Arc::clone(&recorder) as Arc<dyn Disk>).unwrap();
    recorder.calls()
}

fn crashes(name: &str) {
    let scenario = Scenario::of(name);
    let known = Known::of(scenario);
    let calls = record(scenario, &known);
    let mut model = Model::new(&known.before);
    let mut tried = Tried::new(scenario, &known);
    tried.moment(&model, "no call", false, SUBSETS);
    for (moment, call) in calls.iter().enumerate() {
        model.call(call);
        let last = moment + 1 == calls.len();
        let what = format!("call {moment}, {call}");
        tried.moment(&model, &what, last, SUBSETS);
    }
    println!("{}: {} calls", tried.counts(), calls.len());
    assert!(tried.states > 5 * calls.len());
}

/// What is undone after an error may be lost in part, and what is found done by
/// who tries again may not last yet.
#[test]
fn a_crash_after_an_error_or_a_second_try_leaves_all_or_nothing() {
    for scenario in &SCENARIOS {
        let known = Known {
            unsealed: true,
            marked: None,
            ..Known::of(scenario)
        };
        let mut tried = Tried::new(scenario, &known);
        let whole = record(scenario, &known).len() as u64;
        // Making a backup is long by its frames alone.
        let first = match scenario.name.ends_with("backup") || scenario.name == "healing" {
            true => whole.saturating_sub(20),
            false => 0,
        };
        for call in first..whole {
            for fault in [Fault::Once(call, Errno::IO), Fault::From(call, Errno::IO)] {
                let dir = scratch();
                known.before.lay(dir.path());
                let disk = Arc::new(Failing::new(fault));
                let recorder = Arc::new(Recorder::new(dir.path(), Arc::clone(&disk) as _));
                for _ in 0..2 {
                    let done = (scenario.run)(dir.path(), Arc::clone(&recorder) as _).is_ok();
                    let mut model = Model::new(&known.before);
                    let calls = recorder.calls();
                    calls.iter().for_each(|call| model.call(call));
                    // A second repair has nothing to do; that the first is lost
                    // is seen by the next.
                    let done = done && scenario.name != "repair";
                    tried.moment(&model, &format!("{fault:?}"), done, 1);
                    disk.mend();
                }
            }
        }
        println!("{}", tried.counts());
    }
}

#[test]
fn a_crash_while_making_a_store_leaves_all_or_nothing() {
    crashes("init");
}

#[test]
fn a_crash_while_making_the_first_backup_leaves_all_or_nothing() {
    crashes("the first backup");
}

#[test]
fn a_crash_while_making_another_backup_leaves_all_or_nothing() {
    crashes("another backup");
}

#[test]
fn a_crash_while_healing_a_frame_leaves_all_or_nothing() {
    crashes("healing");
}

#[test]
fn a_crash_while_removing_a_backup_leaves_all_or_nothing() {
    crashes("withdraw");
}

#[test]
fn a_crash_while_removing_a_backup_and_its_frames_leaves_all_or_nothing() {
    crashes("withdraw and sweep");
}

#[test]
fn a_crash_while_marking_frames_leaves_all_or_nothing() {
    crashes("mark");
}

#[test]
fn a_crash_while_sweeping_frames_leaves_all_or_nothing() {
    crashes("sweep");
}

#[test]
fn a_crash_while_recording_the_first_evidence_leaves_all_or_nothing() {
    crashes("the first evidence");
}

#[test]
fn a_crash_while_recording_more_evidence_leaves_all_or_nothing() {
    crashes("more evidence");
}

#[test]
fn a_crash_while_importing_a_backup_leaves_all_or_nothing() {
    crashes("an imported backup");
}

#[test]
fn a_crash_while_repairing_an_index_leaves_all_or_nothing() {
    crashes("repair");
}
