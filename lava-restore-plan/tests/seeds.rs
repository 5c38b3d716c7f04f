//! What fuzzing begins with is read, or it would begin with nothing. `UPDATE_SEEDS=1 cargo test`
//! draws the plans among it anew.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lava_restore_plan::{Backup, Facts, Plan, plan_schema};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::Value;

/// More than are drawn before there is each action.
const DRAWN: usize = 1000;

fn seeds(target: &str) -> PathBuf {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    seeds.join(target)
}

fn each(target: &str, mut read: impl FnMut(&[u8])) {
    for seed in fs::read_dir(seeds(target)).unwrap() {
        read(&fs::read(seed.unwrap().path()).unwrap());
    }
}

/// What the steps of a plan do, by the names of actions in documents.
fn actions(plan: &Plan) -> BTreeSet<String> {
    let action = |step| serde_json::to_value(step).unwrap()["type"].clone();
    let steps = plan.steps.iter().map(|step| action(&step.action));
    steps
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

fn every_action() -> BTreeSet<String> {
    let schema = serde_json::to_value(plan_schema()).unwrap();
    let actions = schema["$defs"]["Action"]["oneOf"].as_array().unwrap();
    let name = |action: &Value| action["properties"]["type"]["const"].clone();
    let names = actions.iter().map(name);
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// Writes those of a row of plans that have an action which none before has, each by its name.
fn draw() {
    let mut runner = TestRunner::deterministic();
    let strategy = lab::cases::planned();
    let mut seen = BTreeSet::new();
    let directory = seeds("plan_document");
    fs::remove_dir_all(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    for _ in 0..DRAWN {
        let drawn = strategy.new_tree(&mut runner).unwrap().current();
        let actions = actions(&drawn.plan);
        if let Some(first) = actions.difference(&seen).next() {
            let json = serde_json::to_vec(&drawn.plan).unwrap();
            fs::write(directory.join(first), json).unwrap();
        }
        seen.extend(actions);
    }
}

#[test]
fn every_seed_is_read_and_every_action_is_in_one() {
    if std::env::var_os("UPDATE_SEEDS").is_some() {
        draw();
    }
    let mut seen = BTreeSet::new();
    each("plan_document", |json| {
        seen.extend(actions(&Plan::from_json(json).unwrap()))
    });
    assert_eq!(seen, every_action(), "run with UPDATE_SEEDS=1");
    each("facts_document", |json| {
        assert_eq!(Facts::unknown_fields(json).unwrap(), []);
        Facts::from_json(json).unwrap();
    });
    each("backup_document", |json| {
        Backup::from_json(json).unwrap();
    });
}
