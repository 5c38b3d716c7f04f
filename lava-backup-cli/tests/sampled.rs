//! Promise 4: a sampled check prints the probability that it would have seen
//! damage.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{Host, lava_backup};

#[test]
fn a_sample_is_recorded_with_its_seed_and_its_worth_and_draws_the_same_again() {
    let host = Host::new(150);
    let backup = host.create();
    let verify = |share: &str, more: &[&str]| {
        let mut all = vec![backup.as_str(), "--sample", share];
        all.extend(more);
        host.run("verify", &all)
    };
    let all = verify("100%", &["--json"]).ends(0).json();
    let of = all["backups"][0]["sampled"]["of"].as_u64().unwrap();
    assert!(of > 2, "{all:#}");
    assert_eq!(all["backups"][0]["sampled"]["frames"], of);

    let one = verify("1", &["--json"]).ends(0).json();
    assert_eq!(one["depth"], "sample");
    let sampled = &one["backups"][0]["sampled"];
    assert_eq!(sampled["frames"], 1);
    let chance = &sampled["chances"][0];
    assert_eq!(chance["damaged"], 1);
    let told = chance["per_million"].as_f64().unwrap();
    assert!((told - 1e6 / of as f64).abs() <= 1.0, "{told} of {of}");

    // The seed draws the same frame: the bytes read are the same.
    let seed = sampled["seed"].to_string();
    let again = verify("1", &["--json", "--seed", &seed]).ends(0).json();
    assert_eq!(again["backups"][0], one["backups"][0]);

    let said = verify("1", &[]).ends(0).out;
    assert!(
        said.contains(&format!("read 1 of {of} different frames")),
        "{said}"
    );
    assert!(
        said.contains("one damaged frame would have been seen with "),
        "{said}"
    );

    let dir = host.at("store/backups").join(&backup).join("evidence");
    let records: Vec<serde_json::Value> = fs::read_dir(dir)
        .unwrap()
        .map(|f| serde_json::from_slice(&fs::read(f.unwrap().path()).unwrap()).unwrap())
        .collect();
    let record = records
        .iter()
        .find(|r| r["findings"]["sampled"]["seed"] == sampled["seed"])
        .unwrap();
    assert_eq!(record["depth"], "sample");
    assert_eq!(record["findings"]["sampled"]["of"], of);
    let shown = host.run("show", &[]).ends(0).out;
    assert!(shown.contains("verify    passed (sample)"), "{shown}");
}

#[test]
fn a_sample_of_everything_names_damage_and_one_of_less_may_not_see_it() {
    let host = Host::new(150);
    let backup = host.create();
    let list = fs::read_to_string(host.at("store/backups").join(&backup).join("frames")).unwrap();
    let frame = host.at("store/frames").join(list.lines().next().unwrap());
    let mut bad = fs::read(&frame).unwrap();
    let at = bad.len() / 2;
    bad[at] ^= 4;
    fs::write(&frame, bad).unwrap();
    let found = host.run("verify", &["--sample", "100%"]).ends(5);
    assert!(found.out.contains("lost: "), "{}", found.out);
    assert!(!found.out.contains("would have been seen"), "{}", found.out);
    // Which frame a seed draws depends on names that depend on the time, so as
    // many are tried as it takes.
    let mut codes = BTreeSet::new();
    for seed in 0..2000 {
        let seed = seed.to_string();
        codes.insert(host.run("verify", &["--sample", "1", "--seed", &seed]).code);
        if codes.len() > 1 {
            break;
        }
    }
    assert_eq!(codes, BTreeSet::from([0, 5]));
}

#[test]
fn shares_that_are_none_are_refused() {
    let usage = |arguments: &[&str]| {
        let mut all = vec!["verify", "--store", "/nonexistent"];
        all.extend(arguments);
        lava_backup(&all).ends(2);
    };
    usage(&["--sample", "0"]);
    usage(&["--sample", "200%"]);
    usage(&["--sample", "10%", "--quick"]);
    usage(&["--seed", "1"]);
}
