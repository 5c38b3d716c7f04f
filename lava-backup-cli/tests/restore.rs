//! `restore` as a user runs it: what it does, where it stops, what it refuses.
#![allow(clippy::unwrap_used)]

#[path = "common/bench.rs"]
mod bench;
mod common;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use bench::{Bench, PROGRAM, confirm, step};
use common::Ran;
use lava_backup_core::{EvidenceDraft, Store};
use serde_json::json;

#[test]
fn a_plan_is_run_to_its_end_and_its_journal_tells_of_it() {
    let bench = Bench::new();
    let plan = bench.steps(&["one", "two"]);
    let dry = bench.restore(&plan, &["--dry-run"]).ends(0);
    assert!(
        dry.out.contains("step     master.config.one"),
        "{}",
        dry.out
    );
    assert!(bench.ran().is_empty() && !bench.host.at("state").exists());

    let done = bench.restore(&plan, &["--json"]).ends(0);
    let document = done.json();
    assert_eq!(document["outcome"], "finished");
    assert_eq!(
        document["done"],
        json!(["master.config.one", "master.config.two"])
    );
    assert!(
        done.err.contains("step 1 of 2: master.config.one"),
        "{}",
        done.err
    );
    assert!(done.err.contains("then: master.config.two"), "{}", done.err);
    assert_eq!(
        bench.ran()[..4],
        ["begin one", "end one", "begin one?", "end one?"]
    );
    for word in [
        "\"begun\"",
        "\"gate-held\"",
        "\"step-done\"",
        "\"finished\"",
    ] {
        assert!(bench.journal().contains(word), "{word}");
    }
    bench
        .restore(&plan, &[])
        .says(3, &["there is a run", "2 of 2 steps", "--resume"]);
    let again = bench.restore(&plan, &["--resume"]).ends(0);
    assert!(again.out.contains("2 of 2 steps done"), "{}", again.out);
    assert_eq!(bench.ran().len(), 8);
}

/// A host may lose its power at any moment: no command begins before the disk has the journal.
#[test]
fn every_record_of_the_journal_is_on_the_disk_before_anything_follows() {
    let bench = Bench::new();
    let plan = bench.steps(&["one", "two"]);
    let trace = bench.host.at("trace");
    let restore = bench.command(&plan, &["--json"]);
    let ran: Ran = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=write,fsync,fdatasync,execve", "-o"])
        .arg(&trace)
        .arg(restore.get_program())
        .args(restore.get_args())
        .stdin(Stdio::null())
        .output()
        .unwrap()
        .into();
    ran.ends(0);
    let trace = fs::read_to_string(trace).unwrap();
    let (mut records, mut commands, mut waits) = (0, 0, false);
    for call in trace.lines() {
        let is_of_journal = call.contains("/journal>");
        if call.contains(" write(") && is_of_journal {
            assert!(
                !waits,
                "a record follows one that is not on the disk: {call}"
            );
            records += 1;
            waits = true;
        } else if call.contains("sync(") && is_of_journal {
            waits = false;
        } else if call.contains(" execve(") {
            assert!(
                !waits,
                "a command follows a record that is not on the disk: {call}"
            );
            commands += 1;
        }
    }
    assert_eq!(records, bench.journal().lines().count());
    assert!(commands > 4 && !waits, "{commands}\n{trace}");
}

/// The newest drill that ran a plan is what counts, and of its steps those that this plan has.
#[test]
fn how_long_it_will_be_is_known_from_a_drill() {
    let bench = Bench::new();
    let plan = bench.steps(&["one", "two", "three"]);
    let store = Store::open(&bench.host.at("store")).unwrap();
    let backup = store.backup(&store.find("latest").unwrap()).unwrap();
    let record = |day: &str, passed, took| {
        let mut draft = EvidenceDraft::new("drill", "boot", passed);
        draft.began = format!("2026-11-{day}T10:00:00Z");
        draft.findings = json!({ "step_milliseconds": took });
        backup.record(draft).unwrap();
    };
    let took = json!({"master.config.one": 41_000, "master.config.two": 99_000, "other.step": 1});
    record("21", true, took);
    record("20", true, json!({"master.config.one": 1}));
    record("22", false, json!({"master.config.one": 1}));
    record("23", true, json!({}));
    record("24", true, json!("no steps"));
    record("25", true, json!({"master.config.one": -1}));

    let done = bench.restore(&plan, &["--json"]).ends(0);
    let told: Vec<_> = done
        .err
        .lines()
        .filter(|line| line.contains("drill"))
        .collect();
    assert_eq!(
        told,
        [
            "  in a drill: 41.0 s, and 2 min 20 s from here to the end",
            "  in a drill: 1 min 39 s, and 1 min 39 s from here to the end",
        ]
    );
    let document = done.json();
    let took = document["step_milliseconds"].as_object().unwrap();
    let steps: Vec<_> = took.keys().collect();
    let mut expected = ["one", "three", "two"].map(|name| format!("master.config.{name}"));
    expected.sort();
    assert!(steps.into_iter().eq(&expected), "{took:?}");
    assert!(took.values().all(serde_json::Value::is_u64), "{took:?}");
}

#[test]
fn a_gate_that_does_not_hold_stops_it_and_says_what_to_do() {
    let bench = Bench::new();
    let plan = bench.steps(&["one", "two"]);
    bench.touch("open");
    let stopped = bench.restore(&plan, &[]).ends(7);
    for word in [
        "master.config.one:equal",
        "it must be equal",
        "exit 0",
        "exit 3",
        "--resume",
    ] {
        assert!(stopped.out.contains(word), "no {word}: {}", stopped.out);
    }
    fs::remove_file(bench.host.at("open")).unwrap();
    let rest = bench.restore(&plan, &["--resume", "--json"]).ends(0).json();
    assert_eq!(rest["done"].as_array().unwrap().len(), 2);
}

#[test]
fn a_command_that_fails_stops_it_and_what_it_said_is_kept() {
    let bench = Bench::new();
    let plan = bench.steps(&["one", "fails"]);
    let stopped = bench.restore(&plan, &["--json"]).ends(1);
    assert!(stopped.err.contains("| it is broken"), "{}", stopped.err);
    let stopped = stopped.json();
    assert_eq!(stopped["stopped"]["found"], "exit 4");
    assert_eq!(stopped["stopped"]["said"], json!(["it is broken"]));
    assert_eq!(stopped["left"], json!(["master.config.fails"]));
    let output = stopped["stopped"]["output"].as_str().unwrap();
    assert_eq!(fs::read_to_string(output).unwrap(), "it is broken\n");
    let again = bench.restore(&plan, &["--resume", "--quiet"]).ends(1);
    assert!(
        again.out.contains("said     it is broken\n"),
        "{}",
        again.out
    );
    bench.touch("go");
    bench.restore(&plan, &["--resume"]).ends(0);
    let ones = bench.ran().iter().filter(|w| *w == "begin one").count();
    assert_eq!(ones, 1, "what is done is not done again");
}

#[test]
fn no_secret_is_shown_or_kept_and_no_terminal_is_steered() {
    let bench = Bench::new();
    let plan = bench.steps(&["says"]);
    let done = bench.restore(&plan, &[]).ends(0);
    let mut all = done.out + &done.err;
    assert!(all.contains("SECRET_KEY: ***"), "{all}");
    let mut dirs = vec![bench.host.at("state")];
    while let Some(dir) = dirs.pop() {
        for found in fs::read_dir(dir).unwrap() {
            let path = found.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => all += &fs::read_to_string(path).unwrap(),
            }
        }
    }
    assert!(all.contains("postgres://u:***@h/x"), "{all}");
    assert!(!all.contains("hunter2") && !all.contains('\u{1b}'), "{all}");
}

#[test]
fn who_confirms_is_asked_on_the_terminal_or_named_in_a_file() {
    let bench = Bench::new();
    let plan = bench.write(&bench.plan(vec![bench.extract("one", "master"), confirm()]));
    let stopped = bench.restore(&plan, &["--json"]).ends(7).json();
    assert_eq!(stopped["outcome"], "unanswered");
    assert_eq!(stopped["stopped"]["answers"], json!(["master.verify.sure"]));

    let answers = bench.host.text("answers");
    fs::write(&answers, "master.verify.sure yes\n").unwrap();
    bench
        .restore(&plan, &["--resume", "--confirm", &answers])
        .says(2, &["line 1"]);

    let (state, lock) = (bench.host.text("state"), bench.host.text("run/lock"));
    let line = format!("exec {PROGRAM} restore {plan} --resume --state {state} --lock {lock}");
    let typed = |text: &str| -> i32 {
        let mut terminal = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut keys = terminal.stdin.take().unwrap();
        keys.write_all(text.as_bytes()).unwrap();
        let code = terminal.wait().unwrap().code().unwrap();
        drop(keys);
        code
    };
    assert_eq!(typed("yes\n\n"), 7);
    assert_eq!(typed("yes\nmaster.verify.sure\nanna\n"), 0);
    assert!(
        bench.journal().contains("\"by\":\"anna\""),
        "{}",
        bench.journal()
    );

    let bench = Bench::new();
    let plan = bench.write(&bench.plan(vec![bench.extract("one", "master"), confirm()]));
    let answers = bench.host.text("answers");
    fs::write(&answers, "# from the change request\nmaster.verify.sure\n").unwrap();
    let done = bench
        .restore(&plan, &["--confirm", &answers, "--json"])
        .ends(0)
        .json();
    assert!(bench.journal().contains(&format!("the file {answers}")));
    let evidence = done["evidence"].as_str().unwrap();
    assert!(fs::read_to_string(evidence).unwrap().contains(&bench.seal));
}

#[test]
fn a_plan_that_is_not_for_this_host_and_backup_is_out_of_date() {
    let bench = Bench::new();
    let honest = bench.plan(vec![bench.extract("one", "master")]);
    for (member, words) in [
        ("seal_digest", "the seal of the backup"),
        ("target_digest", "not any more what it was made for"),
    ] {
        let mut stale = honest.clone();
        stale["hosts"][0][member] = json!("0".repeat(64));
        let plan = bench.write(&stale);
        bench.restore(&plan, &[]).says(6, &[words, "anew"]);
        bench
            .restore(&plan, &["--dry-run"])
            .says(6, &[words, "anew"]);
        assert!(bench.ran().is_empty());
    }
    let mut stale = honest.clone();
    stale["hosts"][0]["target_digest"] = json!("0".repeat(64));
    stale["hosts"][0]["target_fields"] = json!({"hostname": "0".repeat(64)});
    let plan = bench.write(&stale);
    bench.restore(&plan, &[]).says(6, &["in its ", " hostname"]);
    let plan = bench.write(&honest);
    bench
        .restore(&plan, &["--resume"])
        .says(2, &["no run began"]);
    bench.touch("open");
    bench.restore(&plan, &[]).ends(7);
    let mut other = honest.clone();
    other["steps"][0]["title"] = json!("another");
    let plan = bench.write(&other);
    bench
        .restore(&plan, &["--resume"])
        .says(6, &["another plan", "--state"]);
}

#[test]
fn a_plan_that_refuses_or_was_changed_is_not_run() {
    let bench = Bench::new();
    let honest = bench.plan(vec![bench.extract("one", "master")]);
    let mut altered = honest.clone();
    altered["steps"][0]["argv"][0] = json!(["rm", "-rf", "/nowhere"]);
    let mut hostile = honest.clone();
    hostile["steps"][0]["post"][0]["argv"] = json!(["touch", "/nowhere"]);
    let mut refused = honest.clone();
    refused["verdict"] = json!("refuse");
    refused["steps"] = json!([]);
    let mut newer = honest;
    newer["schema"] = json!("lava-restore-plan/plan/9");
    for (plan, words) in [
        (altered, "not what its action does"),
        (hostile, "no plan may hold it"),
        (refused, "refuses"),
        (newer, "schema"),
    ] {
        let plan = bench.write(&plan);
        bench.restore(&plan, &[]).says(3, &[words]);
    }
    assert!(bench.ran().is_empty());
}

#[test]
fn a_worker_waits_for_the_evidence_of_its_master() {
    let bench = Bench::new();
    let checked = step("master.verify.checked", "verify");
    let mut awaits = step("worker.isolate.master", "isolate");
    awaits["host"] = json!("worker");
    awaits["needs"] = json!(["master.verify.checked"]);
    awaits["action"] =
        json!({"type": "await-host", "host": "master", "step": "master.verify.checked"});
    let master = bench.extract("one", "master");
    let worker = bench.extract("two", "worker");
    let plan = bench.write(&bench.plan(vec![master, checked, awaits, worker]));
    bench
        .restore(&plan, &[])
        .says(2, &["master, worker", "--host"]);
    let (there, lock) = (bench.host.text("there"), bench.host.text("run/lock2"));
    let on_worker = |more: &[&str]| -> Ran {
        let mut command = Command::new(PROGRAM);
        command.args([
            "restore", &plan, "--host", "worker", "--state", &there, "--lock", &lock,
        ]);
        command.args(more).output().unwrap().into()
    };
    let stopped = on_worker(&[]).ends(7);
    for word in [
        "master.verify.checked",
        "--evidence",
        "master-verified.json",
    ] {
        assert!(stopped.out.contains(word), "no {word}: {}", stopped.out);
    }
    assert!(bench.ran().is_empty());
    let done = bench.restore(&plan, &["--host", "master", "--json"]);
    let done = done.ends(0).json();
    let evidence = done["evidence"].as_str().unwrap();
    let text = fs::read_to_string(evidence).unwrap();
    let changed = bench.host.text("changed.json");
    let other = text.replace("master.config.one:equal", "master.config.one:equaL");
    fs::write(&changed, other).unwrap();
    on_worker(&["--resume", "--evidence", &changed]).says(3, &["digest"]);
    on_worker(&["--resume", "--evidence", evidence]).ends(0);
}
