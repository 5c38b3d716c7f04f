//! What holds for every plan, tried on generated backups, targets and labs.
//!
//! | property | where |
//! |---|---|
//! | 1 nothing migrates or configures, in any rendering | `words` |
//! | 2 no package of a master changes once its database is touched | `order` |
//! | 3 the database is touched while LAVA is still | `order` |
//! | 4 isolation first, workers after their master, users last | `order` |
//! | 5 gunicorn starts last | `order` |
//! | 6 steps need only what is before them | `order` |
//! | 7 the same input gives the same bytes | `words` |
//! | 8 what is not refused reaches the goal | `verdicts`, `rehearsal` |
//! | 9 a run that was cut off goes on to the goal | `mischance` |
//! | 10 nothing upgrades LAVA in a restore | `mischance`, `guards` |
//! | 11 a target closer to its backup is never judged worse | `verdicts` |
//! | 12 a newer LAVA is refused, however it is written | `verdicts` |
//! | 13 versions are in one total order | `verdicts`; `dpkg_order` of `lava-backup-debian` |
//! | 14 documents are read as they were written, and anything else is an error | `verdicts` |
//! | 15 no secret is in a plan | `words` |
//! | 16 a shell sees the words that were meant | the unit tests of `render` |
//! | 17 commands are of a closed list, and paths absolute | `words` |
//! | 18 units and commands are those of the release | `words` |
//! | 19 every step of LAVA's manual is there, in its order | `order` |
//! | 20 what is to be prepared is well after the steps that see to it | `rehearsal` |
//! | 21 a plan of other facts is not run | `rehearsal` |
//!
//! And each guard bites: `guards`.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
#[path = "../lab/mod.rs"]
mod lab;

mod guards;
mod mischance;
mod order;
mod rehearsal;
mod verdicts;
mod words;

use lava_restore_plan::simulate::{End, Fate, Journal, Lab};
use lava_restore_plan::{Plan, Step};
use proptest::test_runner::Config;

use lab::cases::Case;

/// Of all properties together more than 100,000 labs are drawn.
fn cases(cases: u32) -> Config {
    Config {
        cases,
        max_local_rejects: cases * 20,
        ..Config::default()
    }
}

fn position(plan: &Plan, id: &str) -> usize {
    let at = plan.steps.iter().position(|step| step.id == id);
    at.unwrap_or_else(|| panic!("no step {id}"))
}

fn step<'p>(plan: &'p Plan, id: &str) -> &'p Step {
    &plan.steps[position(plan, id)]
}

/// Runs a plan on its lab, from the beginning.
fn rehearse(case: &Case, plan: &Plan, fate: &Fate) -> (Lab, Journal, End) {
    let (mut lab, mut journal) = (case.lab(), Journal::default());
    let end = lab.run(plan, &mut journal, fate).unwrap();
    (lab, journal, end)
}

/// What keeps a rehearsal from its goal: how it ended, what was harmed, what lacks.
fn faults(lab: &Lab, end: &End) -> Vec<String> {
    let mut faults: Vec<String> = lab.harms().iter().map(ToString::to_string).collect();
    match end {
        End::Done => faults.extend(lab.lacks()),
        other => faults.push(format!("{other:?}")),
    }
    faults
}
