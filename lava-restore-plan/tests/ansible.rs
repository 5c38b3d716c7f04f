//! What Ansible makes of a plan: the commands of the plan, byte for byte and in its order.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;
#[allow(unreachable_pub)]
mod stubs;

use std::fs;
use std::process::Output;

use lava_restore_plan::{ErrorKind, Host, Intent, Options, Plan, Step, plan, render};
use stubs::{Call, Stubs, answers, calls, everything, gates};

const ONE_HOST: &str = "[lava_master]
here ansible_connection=local ansible_become=false ansible_python_interpreter=/usr/bin/python3
";

/// Runs the playbook of a plan on this machine, with stand-ins for its programs.
fn play(stubs: &Stubs, plan: &Plan, arguments: &[&str], answers: &str) -> Output {
    let inventory = stubs.write("inventory", ONE_HOST);
    play_on(stubs, &inventory, plan, arguments, answers)
}

fn play_on(
    stubs: &Stubs,
    inventory: &str,
    plan: &Plan,
    arguments: &[&str],
    answers: &str,
) -> Output {
    let playbook = stubs.write("playbook.yml", &render::ansible(plan).unwrap());
    let state = format!("lava_restore_state={}", stubs.at("state").display());
    let all = ["-i", inventory, &playbook, "-e", &state];
    stubs.run("ansible-playbook", &[&all[..], arguments].concat(), answers)
}

#[track_caller]
fn ends(output: Output, well: bool) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), well, "{said}\n{complained}");
    said + &complained
}

/// A plan of these steps alone.
fn only(ids: &[&str]) -> Plan {
    let mut plan = lab::plan();
    plan.steps.retain(|step| ids.contains(&step.id.as_str()));
    for at in 0..plan.steps.len() {
        let before = at.checked_sub(1).map(|at| plan.steps[at].id.clone());
        plan.steps[at].needs = before.into_iter().collect();
    }
    assert_eq!(plan.steps.len(), ids.len());
    plan
}

const SHORT: [&str; 4] = [
    "master.isolate.window",
    "master.quiesce.stop",
    "master.maintenance.queue",
    "master.config.files",
];

#[test]
fn a_playbook_calls_what_the_plan_says_byte_for_byte_and_in_its_order() {
    let odd = "/srv/it's {{ 7 * 7 }} $HOME ${PATH} $$ {% raw %}{# \\ \" é % ~ 'x";
    let mut host = Host::new(lab::backup(), odd, lab::target());
    host.target_digest = Some("{{ lookup('pipe', 'false') }}".into());
    let mut plan = plan(vec![host], Intent::RestoreMaster, &Options::default());
    // What is only shown is no template and no second line either.
    for step in &mut plan.steps {
        step.title += " {{ undefined }} {% endraw %}\n- hosts: all";
        step.why += "\n- hosts: {{ all }}\u{2028}x: y\u{fffe}";
    }
    let stubs = Stubs::new("whole", &plan);
    stubs.expect(&everything(&plan));
    let said = ends(play(&stubs, &plan, &[], &answers(&plan)), true);
    stubs.all_were_called();
    let mut ids: Vec<String> = plan.steps.iter().map(|step| step.id.clone()).collect();
    for id in &ids {
        assert!(said.contains(&format!("[{id}] ")), "{id}");
    }
    for gate in plan
        .steps
        .iter()
        .flat_map(|step| step.pre.iter().chain(&step.post))
    {
        assert!(said.contains(&format!("[{}] ", gate.id)), "{}", gate.id);
    }
    ids.sort();
    let done = stubs.done();
    assert_eq!(
        done.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(),
        ids
    );
    let queue = done
        .iter()
        .find(|(id, _)| id == "master.maintenance.queue")
        .unwrap();
    assert_eq!(queue.1, "master.maintenance.queue=keep\n");
    assert!(!stubs.at("state/running").exists());
}

#[test]
fn a_check_asks_every_gate_runs_no_command_and_leaves_nothing() {
    let plan = only(&[
        SHORT[0],
        SHORT[1],
        SHORT[2],
        "master.database.settings",
        "master.start.safe",
    ]);
    let mut plan = plan;
    plan.steps.sort_by_key(|step| step.phase);
    plan.steps.iter_mut().for_each(|step| step.needs.clear());
    let stubs = Stubs::new("check", &plan);
    let mut asked: Vec<_> = plan
        .steps
        .iter()
        .flat_map(|step| [gates(step, true), gates(step, false)].concat())
        .collect();
    // LAVA is not stopped yet.
    asked[1].2 = RUNS.into();
    stubs.expect(&asked);
    let said = ends(play(&stubs, &plan, &["--check"], ""), true);
    stubs.all_were_called();
    assert!(said.contains("ignored=1 "), "{said}");
    assert!(
        said.contains("To be answered with master.isolate.window"),
        "{said}"
    );
    assert!(!stubs.at("state").exists());
}

/// What systemd says of a unit that is not down.
const RUNS: &str = "lava-worker.service loaded active running LAVA worker";

/// What is called of the step that stops units, up to the gate that asks whether they are still.
fn up_to_still(step: &Step) -> Vec<Call> {
    let mut calls = calls(step);
    let still = calls.iter().position(|call| call.0[1] == "list-units");
    calls.truncate(still.unwrap() + 1);
    calls
}

#[test]
fn a_gate_that_does_not_hold_ends_it_and_the_next_run_goes_on_there() {
    let plan = only(&SHORT);
    let stubs = Stubs::new("gate", &plan);
    let mut stop = up_to_still(&plan.steps[1]);
    stop.last_mut().unwrap().2 = RUNS.into();
    stubs.expect(&stop);
    let said = ends(play(&stubs, &plan, &[], &answers(&plan)), false);
    stubs.all_were_called();
    assert!(
        said.contains("gate master.quiesce.stop:still does not hold"),
        "{said}"
    );
    assert_eq!(stubs.done().len(), 1);
    assert!(
        !stubs.at("state/running").exists(),
        "the next run must not be kept out"
    );

    // The other way that a gate is not as expected.
    let mut stop = up_to_still(&plan.steps[1]);
    stop.last_mut().unwrap().1 = 1;
    stubs.expect(&stop);
    ends(play(&stubs, &plan, &[], &answers(&plan)), false);
    stubs.all_were_called();

    // A command that fails.
    let mut stop = calls(&plan.steps[1])[..1].to_vec();
    stop[0].1 = 5;
    stubs.expect(&stop);
    ends(play(&stubs, &plan, &[], &answers(&plan)), false);
    stubs.all_were_called();

    stubs.expect(&plan.steps[1..].iter().flat_map(calls).collect::<Vec<_>>());
    ends(play(&stubs, &plan, &[], &answers(&plan)), true);
    stubs.all_were_called();
    stubs.expect(&[]);
    ends(play(&stubs, &plan, &[], ""), true);
    stubs.all_were_called();
}

#[test]
fn who_says_that_the_queue_is_cancelled_is_not_believed() {
    let plan = only(&["master.maintenance.queue"]);
    let stubs = Stubs::new("cancelled", &plan);
    let script = stubs.write("script", &render::shell(&plan, "master").unwrap());
    let answer = "master.maintenance.queue=cancel";
    let ask = |says: &str| -> Call { (plan.steps[0].argv[0].clone(), 0, says.into()) };
    let run = |is_script: bool| match is_script {
        true => stubs.run("sh", &[&script], answer),
        false => play(&stubs, &plan, &[], answer),
    };
    for is_script in [true, false] {
        stubs.expect(&[ask("205"), ask("205")]);
        let output = run(is_script);
        assert!(!output.status.success(), "{output:?}");
        stubs.all_were_called();
        assert!(stubs.done().is_empty());
        stubs.expect(&[ask("205"), ask("")]);
        let output = run(is_script);
        assert!(output.status.success(), "{output:?}");
        stubs.all_were_called();
        assert_eq!(stubs.done()[0].1, format!("{answer}\n"));
        fs::remove_dir_all(stubs.at("state")).unwrap();
    }
}

#[test]
fn script_and_playbook_go_on_where_the_other_stopped() {
    // `test` is a part of the shell, so no stand-in is called for it there.
    let mut plan = only(&SHORT);
    let no_test = |step: &mut Step| step.post.retain(|gate| gate.argv[0] != "test");
    plan.steps.iter_mut().for_each(no_test);
    let stubs = Stubs::new("both", &plan);
    let script = stubs.write("script", &render::shell(&plan, "master").unwrap());
    let unanswered = SHORT[0];
    let to_queue: Vec<_> = plan.steps[..3].iter().flat_map(calls).collect();
    let from_queue: Vec<_> = plan.steps[2..].iter().flat_map(calls).collect();

    stubs.expect(&to_queue);
    let output = stubs.run("sh", &[&script], unanswered);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    stubs.all_were_called();
    stubs.expect(&from_queue);
    ends(play(&stubs, &plan, &[], &answers(&plan)), true);
    stubs.all_were_called();
    let begun_by_script = stubs.done();

    fs::remove_dir_all(stubs.at("state")).unwrap();
    stubs.expect(&to_queue);
    let said = ends(play(&stubs, &plan, &[], unanswered), false);
    assert!(
        said.contains("step master.maintenance.queue is not confirmed"),
        "{said}"
    );
    stubs.all_were_called();
    stubs.expect(&from_queue);
    let output = stubs.run("sh", &[&script], &answers(&plan));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    stubs.all_were_called();
    let steps =
        |done: &[(String, String)]| done.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    assert_eq!(steps(&stubs.done()), steps(&begun_by_script));

    // Neither touches what belongs to another plan.
    plan.hosts[0].seal_digest = "another".into();
    let said = ends(play(&stubs, &plan, &[], &answers(&plan)), false);
    assert!(said.contains("belongs to another plan"), "{said}");
    stubs.all_were_called();
}

#[test]
fn nothing_is_run_on_no_host_on_two_hosts_beside_another_run_or_before_its_turn() {
    let plan = only(&SHORT);
    let stubs = Stubs::new("refuses", &plan);
    let no_host = stubs.write("no_host", "[other]\nhere ansible_connection=local\n");
    let said = ends(
        play_on(&stubs, &no_host, &plan, &[], &answers(&plan)),
        false,
    );
    assert!(
        said.contains("must have one host in the group lava_master"),
        "{said}"
    );
    let two = stubs.write("two_hosts", &ONE_HOST.replace("here", "here[1:2]"));
    for limit in [&[][..], &["--limit", "lava_master"]] {
        let said = ends(play_on(&stubs, &two, &plan, limit, &answers(&plan)), false);
        assert!(
            said.contains("must have one host in the group lava_master"),
            "{said}"
        );
    }
    for early in ["master.config.files", "config", "master.quiesce.stop"] {
        let said = ends(
            play(&stubs, &plan, &["--tags", early], &answers(&plan)),
            false,
        );
        assert!(said.contains("is absent, cannot continue"), "{said}");
    }
    fs::create_dir_all(stubs.at("state/running")).unwrap();
    let said = ends(play(&stubs, &plan, &[], &answers(&plan)), false);
    assert!(
        said.contains("No other run is at it") && said.contains("state/running"),
        "{said}"
    );
    assert!(stubs.at("state/running").exists(), "the other run's");
    stubs.all_were_called();
    assert_eq!(stubs.done(), []);
}

#[test]
fn what_fails_before_there_is_a_directory_of_steps_is_said_alone() {
    let plan = only(&SHORT);
    let stubs = Stubs::new("file", &plan);
    stubs.write("state", "a file, where the directory would be");
    let said = ends(play(&stubs, &plan, &[], &answers(&plan)), false);
    assert!(said.contains("state/done"), "{said}");
    assert_eq!(said.matches("FAILED!").count(), 1, "{said}");
    stubs.all_were_called();
}

#[test]
fn each_host_has_a_play_of_its_own_and_waits_for_the_steps_of_the_others() {
    // Of a lab, the steps that hosts wait for and those that wait.
    let mut plan = lab::lab_plan();
    let all = plan.steps.clone();
    let elsewhere = |step: &Step, id: &String| !id.starts_with(&format!("{}.", step.host));
    plan.steps.retain(|step| {
        let waits = step.needs.iter().any(|id| elsewhere(step, id));
        waits
            || all
                .iter()
                .any(|s| elsewhere(s, &step.id) && s.needs.contains(&step.id))
    });
    let ids: Vec<String> = plan.steps.iter().map(|step| step.id.clone()).collect();
    for step in &mut plan.steps {
        step.needs.retain(|id| ids.contains(id));
    }
    let playbook = render::ansible(&plan).unwrap();
    let hosts: Vec<&str> = playbook
        .lines()
        .filter_map(|line| line.strip_prefix("  hosts: "))
        .collect();
    assert_eq!(
        hosts,
        [
            "localhost",
            "lava_master",
            "lava_worker_rack_a",
            "lava_master",
            "lava_worker_rack_b",
            "lava_master"
        ]
    );

    let stubs = Stubs::new("lab", &plan);
    let said = ends(play(&stubs, &plan, &[], &answers(&plan)), false);
    assert!(
        said.contains("must have one host in the group lava_worker_rack_a"),
        "{said}"
    );
    let mut lab = ONE_HOST.to_owned();
    for worker in ["rack_a", "rack_b"] {
        lab += &ONE_HOST
            .replace("master", &format!("worker_{worker}"))
            .replace("here", worker);
    }
    let lab = stubs.write("lab", &lab);
    let waits = plan
        .steps
        .iter()
        .find(|step| step.host == "worker_rack_a")
        .unwrap();
    // Each of them has a directory of its own, as it has on a machine of its own.
    let playbook = render::ansible(&plan).unwrap();
    let run = |place: &str, arguments: &[&str]| {
        let here = format!("{}/", stubs.at(place).display());
        let playbook = playbook.replace("/var/lib/lava-backup/restore/", &here);
        let playbook = stubs.write(&format!("{place}.yml"), &playbook);
        let all = [&["-i", &lab, &playbook], arguments].concat();
        stubs.run("ansible-playbook", &all, &answers(&plan))
    };
    let early = run("early", &["--tags", waits.id.as_str()]);
    let said = ends(early, false);
    assert!(said.contains("is absent, cannot continue"), "{said}");
    stubs.all_were_called();

    stubs.expect(&everything(&plan));
    ends(run("hosts", &[]), true);
    stubs.all_were_called();
    for host in &plan.hosts {
        let done = fs::read_dir(stubs.at("hosts").join(&host.backup).join("done")).unwrap();
        let own = plan
            .steps
            .iter()
            .filter(|step| step.host == host.id)
            .count();
        assert_eq!(done.count(), own, "{}", host.id);
    }
}

#[test]
fn a_gate_with_patience_is_asked_again_until_it_holds_or_its_time_is_over() {
    let mut plan = only(&[SHORT[0], SHORT[1]]);
    let post = &mut plan.steps[1].post;
    post.retain(|gate| gate.id.ends_with(":still"));
    post[0].patience = 2;
    let stubs = Stubs::new("patience", &plan);
    let all = everything(&plan);
    let mut late = all.clone();
    let mut early = late.last().unwrap().clone();
    early.2 = RUNS.into();
    late.insert(all.len() - 1, early.clone());
    let never = [
        &all[..all.len() - 1],
        &[early.clone(), early.clone(), early],
    ]
    .concat();
    stubs.expect(&never);
    let said = ends(play(&stubs, &plan, &[], &answers(&plan)), false);
    stubs.all_were_called();
    assert!(
        said.contains("gate master.quiesce.stop:still does not hold"),
        "{said}"
    );
    stubs.expect(&late);
    ends(play(&stubs, &plan, &[], &answers(&plan)), true);
    stubs.all_were_called();
    assert_eq!(stubs.done().len(), 2);
}

#[test]
fn a_refused_plan_ends_with_its_findings_at_its_head() {
    let plan = lab::refused_plan();
    let stubs = Stubs::new("refused", &lab::plan());
    let inventory = stubs.write("inventory", "");
    let said = ends(play_on(&stubs, &inventory, &plan, &[], ""), false);
    assert!(
        said.contains("Refused; the findings are at the head"),
        "{said}"
    );
    let playbook = render::ansible(&plan).unwrap();
    assert!(
        playbook.contains("\n# refuse target.migrations_unknown")
            || playbook.contains("\n# refuse "),
        "{playbook}"
    );
}

#[test]
fn the_longest_plan_is_good_yaml_too_and_steps_with_secrets_hide_what_they_print() {
    let plan = lab::longest_plan();
    let stubs = Stubs::new("longest", &plan);
    ends(play(&stubs, &plan, &["--syntax-check"], ""), true);

    let plan = only(&["master.database.settings"]);
    stubs.expect(&calls(&plan.steps[0]));
    let said = ends(play(&stubs, &plan, &["-vv"], ""), true);
    stubs.all_were_called();
    assert!(said.contains("no_log"), "{said}");
    assert!(
        !said.contains("\"stdout\": \"done\"") && !said.contains("anything"),
        "{said}"
    );
}

#[test]
fn an_argument_that_ansible_would_change_is_refused() {
    let host = Host::new(lab::backup(), "~root/store", lab::target());
    let plan = plan(vec![host], Intent::RestoreMaster, &Options::default());
    assert_eq!(
        render::ansible(&plan).unwrap_err().kind(),
        ErrorKind::Unwritable
    );
    assert!(render::shell(&plan, "master").is_ok());
}
