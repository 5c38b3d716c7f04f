//! What a person and a shell get of a plan.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use lava_restore_plan::{Action, ErrorKind, Plan, Step, Verdict};
use lava_restore_plan::{facts_schema, plan_diff_schema, plan_schema, render};

fn the_plan() -> Plan {
    lab::plan()
}

fn fed(program: &str, arguments: &[&str], text: &str) -> std::process::Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_runbook_of_a_2023_01_master_reads_like_this() {
    insta::assert_snapshot!("runbook", render::markdown(&the_plan()).unwrap());
}

#[test]
fn the_script_of_a_2023_01_master_reads_like_this() {
    insta::assert_snapshot!("script", render::shell(&the_plan(), "master").unwrap());
}

#[test]
fn a_target_like_the_backup_needs_nothing() {
    let plan = the_plan();
    let worse: Vec<_> = plan
        .findings
        .iter()
        .filter(|f| f.severity > Verdict::Note)
        .collect();
    assert!(worse.is_empty(), "{worse:#?}");
    assert_eq!(plan.verdict, Verdict::Note);
}

#[test]
fn the_script_of_every_host_satisfies_shellcheck_and_sh() {
    let [longest, other] = lab::longest_plans();
    let plans = [
        lab::plan(),
        longest,
        other,
        lab::lab_plan(),
        lab::refused_plan(),
    ];
    for plan in plans {
        for host in &plan.hosts {
            let script = render::shell(&plan, &host.id).unwrap();
            let output = fed("shellcheck", &["-s", "sh", "-"], &script);
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{}: {said}", host.id);
            let read = fed("sh", &["-n"], &script).status;
            assert!(read.success(), "{}", host.id);
        }
    }
}

#[test]
fn a_dry_run_goes_through_every_step_and_leaves_nothing() {
    for (number, plan) in lab::longest_plans().into_iter().enumerate() {
        assert_eq!(plan.verdict, Verdict::Prepare, "{:#?}", plan.findings);
        let directory = Scratch::new(&format!("dry-{number}"));
        let script = render::shell(&plan, "master").unwrap();
        let output = directory.run(&script, &["--dry-run"], "");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        for step in &plan.steps {
            assert!(said.contains(&format!("==> {}\n", step.id)), "{}", step.id);
        }
        assert!(!directory.state().exists());
    }
}

/// A plan cut down to steps that are safe to run anywhere.
fn harmless(keep: impl Fn(&Step) -> bool) -> Plan {
    let mut plan = the_plan();
    plan.steps.retain(keep);
    for step in &mut plan.steps {
        step.needs.clear();
        step.post.retain(|gate| gate.argv[0] == "test");
    }
    plan
}

#[test]
fn a_script_asks_stops_at_a_gate_and_goes_on_where_it_stopped() {
    let confirm = "master.isolate.window";
    let mut plan = harmless(|step| step.id == confirm || step.id == "master.isolate.closed");
    let directory = Scratch::new("resume");
    let script = render::shell(&plan, "master").unwrap();
    let unasked = directory.run(&script, &[], "");
    assert_eq!(unasked.status.code(), Some(7), "{unasked:?}");

    // A link that is there stands for a site that is open.
    plan.steps[1].post[0].argv[3] = directory.0.display().to_string();
    let open = directory.run(&render::shell(&plan, "master").unwrap(), &[], confirm);
    assert_eq!(open.status.code(), Some(7), "{open:?}");
    let said = String::from_utf8(open.stderr).unwrap();
    assert!(
        said.contains("gate master.isolate.closed:closed does not hold"),
        "{said}"
    );
    assert!(directory.state().join("done").join(confirm).exists());

    plan.steps[1].post[0].argv[3] = "/nowhere/at/all".into();
    let rest = directory.run(&render::shell(&plan, "master").unwrap(), &[], "");
    assert_eq!(rest.status.code(), Some(0), "{rest:?}");
    assert!(
        String::from_utf8(rest.stdout)
            .unwrap()
            .contains("done before: master.isolate.window")
    );

    plan.hosts[0].seal_digest = "other".into();
    let other = directory.run(&render::shell(&plan, "master").unwrap(), &[], confirm);
    assert_eq!(other.status.code(), Some(6), "{other:?}");
}

#[test]
fn a_script_waits_for_no_other_run_and_begins_beside_none() {
    let confirm = "master.isolate.window";
    let plan = harmless(|step| step.id == confirm);
    let script = render::shell(&plan, "master").unwrap();
    let directory = Scratch::new("lock");
    let mut other = Command::new("flock")
        .arg(directory.lock())
        .args(["sh", "-c", "echo begun; read -r end"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = [0; 5];
    other.stdout.take().unwrap().read_exact(&mut begun).unwrap();
    let refused = directory.run(&script, &[], confirm);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("another run is at work"), "{said}");
    assert!(!directory.state().join("done").join(confirm).exists());

    drop(other.stdin.take());
    other.wait().unwrap();
    let alone = directory.run(&script, &[], confirm);
    assert_eq!(alone.status.code(), Some(0), "{alone:?}");
}

#[test]
fn what_a_backup_says_of_itself_is_never_run() {
    let mut plan = harmless(|step| step.id == "master.isolate.window");
    let directory = Scratch::new("hostile");
    let evil = directory.0.join("evil");
    let text = format!(
        "\ntouch {0}\n'; touch {0} #`touch {0}`$(touch {0})",
        evil.display()
    );
    plan.hosts[0].backup_created = text.clone();
    plan.steps[0].why = text.clone();
    plan.steps[0].action = Action::Confirm { ask: text.clone() };
    for finding in &mut plan.findings {
        finding.severity = Verdict::Note;
        finding.found = text.clone();
    }
    let output = directory.run(
        &render::shell(&plan, "master").unwrap(),
        &[],
        "master.isolate.window",
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!evil.exists());
}

#[test]
fn findings_may_name_what_no_step_may_run() {
    let mut target = lab::target();
    target.packages.push(lab::package("apt", "amd64", "2.6.1"));
    target.packages.last_mut().unwrap().state = "half-configured".into();
    let mut backup = lab::backup();
    backup.degraded = vec!["the file migrate: vanished <!-- findings: end -->".into()];
    let options = lab::options();
    let refused = lab::of(&backup, &target, &options);
    assert_eq!(refused.verdict, Verdict::Refuse);
    let prepared = lab::of(&backup, &lab::target(), &options);
    assert_eq!(prepared.verdict, Verdict::Prepare);
    for plan in [refused, prepared] {
        for text in [
            render::markdown(&plan),
            render::html(&plan),
            render::shell(&plan, "master"),
            render::ansible(&plan),
        ] {
            assert!(text.unwrap().contains("migrate: vanished"));
        }
    }
    let mut plan = the_plan();
    plan.steps[0].title = "Now migrate".into();
    for text in [
        render::markdown(&plan),
        render::html(&plan),
        render::ansible(&plan),
    ] {
        assert_eq!(text.unwrap_err().kind(), ErrorKind::Forbidden);
    }
}

#[test]
fn a_plan_whose_command_was_changed_is_not_read_back() {
    let json = render::json(&the_plan()).unwrap();
    assert_eq!(Plan::from_json(json.as_bytes()).unwrap(), the_plan());
    let altered = json.replacen("\"a2dissite\"", "\"a2ensite\"", 1);
    assert_eq!(
        Plan::from_json(altered.as_bytes()).unwrap_err().kind(),
        ErrorKind::Altered
    );
    let gate = json.replacen("\"is-active\"", "\"start\"", 1);
    assert_eq!(
        Plan::from_json(gate.as_bytes()).unwrap_err().kind(),
        ErrorKind::Forbidden
    );
}

#[test]
fn published_schemas_are_those_of_the_code() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    for (name, schema) in [
        ("facts", facts_schema()),
        ("plan", plan_schema()),
        ("plan-diff", plan_diff_schema()),
    ] {
        let path = directory.join(format!("{name}.schema.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        let same = published == text;
        assert!(
            same,
            "{name}: run with UPDATE_SCHEMAS=1 and look at the difference"
        );
    }
}

/// A directory of one test's own, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lava-restore-plan-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Runs a script in a session of its own, so that it has no terminal to ask on.
    fn run(&self, script: &str, arguments: &[&str], confirm: &str) -> std::process::Output {
        let path = self.0.join("script");
        std::fs::write(&path, script).unwrap();
        Command::new("setsid")
            .args(["-w", "sh"])
            .arg(&path)
            .args(arguments)
            .env("LAVA_RESTORE_STATE", self.state())
            .env("LAVA_RESTORE_LOCK", self.lock())
            .env("LAVA_RESTORE_CONFIRM", confirm)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
