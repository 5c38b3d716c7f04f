//! Facts and plans from anywhere.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use lava_restore_plan::facts::{Facts, Role};
use lava_restore_plan::{
    Action, Backup, ErrorKind, Host, Intent, MOST_BYTES, MOST_HOSTS, Options, Plan, Step, Verdict,
    plan, render,
};

fn facts() -> serde_json::Value {
    serde_json::to_value(lab::target()).unwrap()
}

fn read(document: &str) -> (ErrorKind, String) {
    let error = Facts::from_json(document.as_bytes()).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn what_is_wrong_with_a_document_is_named_with_its_place() {
    let mut version = facts();
    version["packages"][3]["version"] = "a b".into();
    let (kind, text) = read(&version.to_string());
    assert_eq!(kind, ErrorKind::Malformed);
    assert!(
        text.contains("packages[3].version") && text.contains("line 1"),
        "{text}"
    );
    let mut lacks = facts();
    lacks["suite"].as_object_mut().unwrap().remove("confidence");
    let (kind, text) = read(&lacks.to_string());
    assert_eq!(kind, ErrorKind::Malformed);
    assert!(
        text.contains("suite") && text.contains("confidence"),
        "{text}"
    );
    let mut other = facts();
    other["schema"] = "lava-backup/facts/7".into();
    let (kind, text) = read(&other.to_string());
    assert_eq!(kind, ErrorKind::UnknownSchema);
    assert!(
        text.contains("facts/7") && text.contains("facts/1"),
        "{text}"
    );
    let mut hostile = facts();
    hostile["role"] = "mas\u{1b}[2Jter\u{202e}".into();
    let (_, text) = read(&hostile.to_string());
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\n']), "{text:?}");
}

#[test]
fn a_key_that_stands_twice_is_refused_at_any_depth() {
    for (from, to) in [
        ("\"role\":", "\"role\":\"worker\",\"role\":"),
        ("\"log_backend\":", "\"log_backend\":null,\"log_backend\":"),
        (
            "\"jobs_by_state\":{",
            "\"jobs_by_state\":{\"RUNNING\":1,\"RUNNING\":0",
        ),
        ("\"schema\":", "\"unknown\":{\"a\":1,\"a\":2},\"schema\":"),
    ] {
        let text = facts().to_string();
        assert!(text.contains(from), "{from}");
        let (kind, said) = read(&text.replacen(from, to, 1));
        assert_eq!(kind, ErrorKind::Malformed, "{to}");
        assert!(said.contains("twice"), "{said}");
    }
}

#[test]
fn a_document_that_is_too_deep_or_too_long_is_refused() {
    let deep = format!(
        "{{\"schema\":{}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let (kind, text) = read(&deep);
    assert_eq!(kind, ErrorKind::Malformed);
    assert!(text.contains("recursion limit"), "{text}");
    let long = " ".repeat(MOST_BYTES + 1);
    assert_eq!(read(&long).0, ErrorKind::TooLarge);
    assert_eq!(
        Plan::from_json(long.as_bytes()).unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    assert_eq!(
        Backup::from_json(long.as_bytes()).unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    assert_eq!(
        Facts::unknown_fields(long.as_bytes()).unwrap_err().kind(),
        ErrorKind::TooLarge
    );
}

#[test]
fn a_slip_of_the_pen_is_named_with_what_may_be_meant() {
    let unknown = |document: &serde_json::Value| {
        let fields = Facts::unknown_fields(document.to_string().as_bytes()).unwrap();
        let shown = fields.into_iter().map(|field| (field.path, field.nearest));
        shown.collect::<Vec<_>>()
    };
    let full = serde_json::to_value(&lab::backup().facts).unwrap();
    assert_eq!(unknown(&full), []);
    assert_eq!(unknown(&facts()), []);
    let mut slips = full;
    slips["hostnam"] = "x".into();
    slips["packages"][3]["versoin"] = "1".into();
    slips["database"]["devices_by_healt"] = 1.into();
    slips["apache"]["lava_site"] = true.into();
    slips["settings"]["quite_another_thing"] = serde_json::json!({"below": 1});
    let owned = |path: &str, meant: Option<&str>| (path.to_owned(), meant.map(str::to_owned));
    assert_eq!(
        unknown(&slips),
        [
            owned("apache.lava_site", None),
            owned("database.devices_by_healt", Some("devices_by_health")),
            owned("hostnam", Some("hostname")),
            owned("packages[3].versoin", Some("version")),
            owned("settings.quite_another_thing", None),
        ]
    );
    assert!(
        Facts::from_json(slips.to_string().as_bytes()).is_ok(),
        "a seal may be of later facts"
    );
}

fn made() -> serde_json::Value {
    let hosts = vec![lab::onto(&lab::backup(), &lab::target())];
    let plan = plan(hosts, Intent::RestoreMaster, &Options::default());
    serde_json::from_str(&render::json(&plan).unwrap()).unwrap()
}

/// A change to a plan, by hand.
type Edit = fn(&mut serde_json::Value);

#[test]
fn a_plan_that_was_edited_into_disorder_is_not_read() {
    let edits: &[(&str, Edit)] = &[
        ("a step that needs itself", |plan| {
            plan["steps"][3]["needs"][0] = plan["steps"][3]["id"].clone();
        }),
        ("two steps that need each other", |plan| {
            plan["steps"][3]["needs"][0] = plan["steps"][4]["id"].clone();
        }),
        ("a step that needs none that there is", |plan| {
            plan["steps"][3]["needs"][0] = "master.isolate.nothing".into();
        }),
        ("a step twice", |plan| {
            plan["steps"][4] = plan["steps"][3].clone()
        }),
        ("a step of another host", |plan| {
            plan["steps"][3]["host"] = "worker_a".into()
        }),
        ("an id that is not of its host", |plan| {
            plan["steps"][3]["id"] = "worker_a.isolate.site".into();
        }),
        ("an id that is no name", |plan| {
            plan["steps"][0]["id"] = "master.isolate.$(x)".into();
        }),
        ("a host that is no name", |plan| {
            let mut host = plan["hosts"][0].clone();
            host["id"] = "../x\n".into();
            plan["hosts"].as_array_mut().unwrap().push(host);
        }),
        ("a host twice", |plan| {
            let host = plan["hosts"][0].clone();
            plan["hosts"].as_array_mut().unwrap().push(host);
        }),
        ("a gate of another step", |plan| {
            let steps = plan["steps"].as_array_mut().unwrap();
            let step = steps
                .iter_mut()
                .find(|step| !step["post"].as_array().unwrap().is_empty());
            step.unwrap()["post"][0]["id"] = "master.isolate.window:x\n".into();
        }),
        ("phases out of order", |plan| {
            let steps = plan["steps"].as_array_mut().unwrap();
            steps.reverse();
            steps
                .iter_mut()
                .for_each(|step| step["needs"] = serde_json::json!([]));
        }),
    ];
    assert!(Plan::from_json(made().to_string().as_bytes()).is_ok());
    for (what, edit) in edits {
        let mut plan = made();
        edit(&mut plan);
        let error = Plan::from_json(plan.to_string().as_bytes()).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Disordered, "{what}: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let mut refused = made();
    refused["verdict"] = "refuse".into();
    let error = Plan::from_json(refused.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[test]
fn an_action_that_makes_a_command_of_an_unsafe_name_is_refused() {
    let mut plan = lab::plan();
    let mut steps = plan.steps.iter_mut();
    let is_site = |step: &&mut Step| matches!(step.action, Action::DisableSite { .. });
    let step = steps.find(is_site).unwrap();
    let site = "--purge".to_owned();
    step.action = Action::DisableSite { site };
    step.argv = step.action.argv();
    assert_eq!(plan.check().unwrap_err().kind(), ErrorKind::Forbidden);
}

/// Names another backup wherever this one is named.
fn of_another_date(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) if text == "20261122T040000Z-lava" => {
            *text = "20251122T040000Z-lava".to_owned();
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(of_another_date),
        serde_json::Value::Object(members) => members.values_mut().for_each(of_another_date),
        _ => {}
    }
}

#[test]
fn a_plan_that_reads_another_backup_than_it_is_bound_to_is_not_read() {
    fn load(plan: &mut serde_json::Value) -> &mut serde_json::Value {
        let steps = plan["steps"].as_array_mut().unwrap().iter_mut();
        let mut steps = steps.filter(|step| step["id"] == "master.database.load");
        steps.next().unwrap()
    }
    let edits: &[(&str, Edit)] = &[
        ("the database of another date", |plan| {
            let step = load(plan);
            for part in ["action", "argv", "post"] {
                of_another_date(&mut step[part]);
            }
        }),
        ("a gate that compares with another", |plan| {
            of_another_date(&mut load(plan)["post"]);
        }),
        ("another seal's backup", |plan| {
            of_another_date(&mut plan["hosts"]);
        }),
    ];
    for (what, edit) in edits {
        let mut plan = made();
        edit(&mut plan);
        let read = Plan::from_json(plan.to_string().as_bytes());
        let kind = read.as_ref().err().map(lava_restore_plan::Error::kind);
        assert_eq!(kind, Some(ErrorKind::Mixed), "{what}");
    }
}

#[test]
fn no_name_from_outside_hides_in_a_plan() {
    for hostile in [
        "a;b",
        "a b",
        "a\nb",
        "-rf",
        "\u{1b}[2J",
        "a\u{202e}b",
        "\u{200b}",
        "$(x)",
    ] {
        let (mut backup, mut target) = (lab::backup(), lab::target());
        for facts in [&mut backup.facts, &mut target] {
            facts.hostname = Some(hostile.into());
            facts.settings.media_root = Some(hostile.into());
        }
        backup.created = hostile.into();
        let host = lab::onto(&backup, &target);
        let master = plan(vec![host], Intent::RestoreMaster, &Options::default());
        let hidden = |text: &str| text.contains(['\u{1b}', '\u{202e}', '\u{200b}']);
        let json = render::json(&master).unwrap();
        assert!(!hidden(&json) && !json.contains("\\u001b"), "{hostile:?}");
        for facts in [&mut backup.facts, &mut target] {
            facts.role = Role::Worker;
        }
        let host = Host::new(backup, "/srv/store", target);
        let worker = plan(vec![host], Intent::RestoreWorker, &Options::default());
        assert_eq!(worker.verdict, Verdict::Refuse, "{hostile:?}");
        let unsafe_name = worker
            .findings
            .iter()
            .any(|finding| finding.code == "name.unsafe");
        assert!(unsafe_name, "{hostile:?}");
    }
}

#[test]
fn a_lab_of_hundreds_of_workers_has_a_plan() {
    // Whether it takes time and room in proportion is for benches/plan to say.
    let (mut backup, target) = (lab::backup(), lab::target());
    let names: Vec<String> = (0..500).map(|n| format!("rack-{n}")).collect();
    backup.database.as_mut().unwrap().workers = Some(names.clone());
    let mut hosts = vec![lab::onto(&backup, &target)];
    hosts.extend(names.iter().map(|name| {
        let (mut backup, mut target) = (lab::backup(), lab::target());
        for facts in [&mut backup.facts, &mut target] {
            facts.role = Role::Worker;
            facts.hostname = Some(name.clone());
        }
        backup.database = None;
        lab::onto(&backup, &target)
    }));
    let plan = plan(hosts, Intent::RestoreLab, &Options::default());
    assert!(plan.verdict < Verdict::Refuse && plan.hosts.len() == 501);
    let json = render::json(&plan).unwrap();
    assert_eq!(Plan::from_json(json.as_bytes()).unwrap(), plan);
}

/// As in facts that were tampered with, or made by a loop that has no end.
#[test]
fn a_lab_of_a_hundred_thousand_workers_is_refused_with_what_to_do() {
    let backup = lab::backup();
    let mut like = backup.clone();
    like.database = None;
    like.facts.role = Role::Worker;
    like.facts.packages.clear();
    like.facts.units = None;
    let worker = |number: usize| {
        let mut backup = like.clone();
        backup.facts.hostname = Some(format!("rack-{number}"));
        lab::onto(&backup, &backup.facts)
    };
    let mut hosts = vec![lab::onto(&backup, &lab::target())];
    hosts.extend((0..100_000).map(worker));
    let more = hosts[..=MOST_HOSTS].to_vec();
    let more = plan(more, Intent::RestoreLab, &Options::default());
    assert_eq!(more.findings[0].code, "plan.hosts");
    let many = plan(hosts.clone(), Intent::RestoreLab, &Options::default());
    let [finding] = &many.findings[..] else {
        panic!("{:?}", many.findings)
    };
    assert_eq!((&*finding.code, &*finding.found), ("plan.hosts", "100001"));
    assert!(finding.remedy.contains("master alone"));
    assert!(many.steps.is_empty());
    let json = render::json(&many).unwrap();
    assert_eq!(Plan::from_json(json.as_bytes()).unwrap(), many);
    // One host fewer than is too many is judged by what it is.
    hosts.truncate(MOST_HOSTS);
    let most = plan(hosts, Intent::RestoreLab, &Options::default());
    assert!(most.findings.iter().all(|f| f.code != "plan.hosts"));

    // Or only its master knows of them.
    let mut backup = backup;
    let names = (0..100_000).map(|number| format!("rack-{number}"));
    backup.database.as_mut().unwrap().workers = Some(names.collect());
    let host = lab::onto(&backup, &lab::target());
    let alone = plan(vec![host], Intent::RestoreMaster, &Options::default());
    assert!(alone.verdict < Verdict::Refuse);
}

#[test]
fn a_plan_that_could_not_be_read_again_is_not_written() {
    let mut master = plan(
        vec![lab::onto(&lab::backup(), &lab::target())],
        Intent::RestoreMaster,
        &Options::default(),
    );
    let another = |number: usize| {
        let mut host = master.hosts[0].clone();
        host.id = format!("worker_{number}");
        host
    };
    let others: Vec<_> = (0..MOST_BYTES / 300).map(another).collect();
    master.hosts.extend(others);
    let error = render::json(&master).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains(" hosts"), "{error}");
}
