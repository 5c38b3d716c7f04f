//! `restore` as a user runs it: a plan of harmless steps, whose program is a script.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Host, Ran, skip};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lava-backup");

/// What the plans of these tests call `lava-backup`: what it does is in the member's name.
const SCRIPT: &str = r#"#!/bin/sh
cd "${0%/*}" || exit 9
echo "begin $*" >>ran
trap 'echo "told $*" >>ran; exit 143' TERM INT
case $* in
*--check*) [ ! -e open ] || exit 3 ;;
*config/slow*) touch slow; while [ ! -e go ]; do sleep 0.02; done ;;
*config/fails*) [ -e go ] || { echo 'it is broken' >&2; exit 4; } ;;
*config/says*)
    echo "SECRET_KEY: 'hunter2'"
    printf 'postgres://u:hunter2@h/x \033[2J\n' >&2 ;;
esac
echo "end $*" >>ran
"#;

/// A host with a store, one backup, and the script.
struct Bench {
    host: Host,
    backup: String,
    seal: String,
}

impl Bench {
    fn new() -> Self {
        let host = Host::new(1);
        let backup = host.create();
        let shown = host.run("show", &["--json"]).ends(0).json();
        let seal = shown["digest"].as_str().unwrap().to_owned();
        fs::write(host.at("lava-backup"), SCRIPT).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(host.at("lava-backup"), mode).unwrap();
        Self { host, backup, seal }
    }

    fn from(&self) -> Value {
        json!({"program": self.host.text("lava-backup"), "store": self.host.store(), "backup": self.backup})
    }

    fn argv(&self, member: &str, end: &str) -> Value {
        let program = self.host.text("lava-backup");
        json!([
            program,
            "extract",
            "--store",
            self.host.store(),
            self.backup,
            member,
            "--root",
            "/",
            end
        ])
    }

    /// A step of one command, with a gate after it.
    fn extract(&self, name: &str, host: &str) -> Value {
        let member = format!("config/{name}");
        let mut step = step(&format!("{host}.config.{name}"), "config");
        step["host"] = json!(host);
        step["action"] =
            json!({"type": "extract", "from": self.from(), "paths": [member], "exclude": []});
        step["argv"] = json!([self.argv(&member, "--replace")]);
        step["post"] = json!([{"id": format!("{host}.config.{name}:equal"),
            "argv": self.argv(&member, "--check"),
            "expect": {"exit": 0, "stdout": null}, "why": "it must be equal"}]);
        step
    }

    fn plan(&self, steps: Vec<Value>) -> Value {
        let mut hosts: Vec<Value> = Vec::new();
        for step in &steps {
            let id = &step["host"];
            if hosts.iter().all(|host| host["id"] != *id) {
                hosts.push(json!({"id": id, "role": "master", "name": null,
                    "backup": self.backup, "seal_digest": self.seal, "backup_created": "then",
                    "target_digest": null}));
            }
        }
        json!({"schema": "lava-restore-plan/plan/1", "hosts": hosts,
            "intent": "restore-master", "verdict": "note", "findings": [], "steps": steps})
    }

    fn write(&self, plan: &Value) -> String {
        fs::write(self.host.at("plan.json"), plan.to_string()).unwrap();
        self.host.text("plan.json")
    }

    /// A plan of these steps, in a file.
    fn steps(&self, names: &[&str]) -> String {
        let steps = names.iter().map(|name| self.extract(name, "master"));
        self.write(&self.plan(steps.collect()))
    }

    /// In a session of its own, so that it has no terminal to ask on; the process is the program.
    fn command(&self, plan: &str, more: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command
            .args([PROGRAM, "restore", plan])
            .args(["--state", &self.host.text("state")])
            .args(["--lock", &self.host.text("run/lock")])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn restore(&self, plan: &str, more: &[&str]) -> Ran {
        self.command(plan, more).output().unwrap().into()
    }

    /// A run that is at its slow step.
    fn at_slow(&self, plan: &str, more: &[&str]) -> Child {
        let child = self.command(plan, more).spawn().unwrap();
        self.wait_for("slow");
        fs::remove_file(self.host.at("slow")).unwrap();
        child
    }

    fn wait_for(&self, file: &str) {
        wait(|| self.host.at(file).exists());
    }

    fn touch(&self, file: &str) {
        fs::write(self.host.at(file), "").unwrap();
    }

    fn ran(&self) -> Vec<String> {
        let ran = fs::read_to_string(self.host.at("ran")).unwrap_or_default();
        let word = |line: &str| {
            let verb = line.split(' ').next().unwrap();
            let check = if line.ends_with("--check") { "?" } else { "" };
            let name = line.split("config/").nth(1)?.split(' ').next()?;
            Some(format!("{verb} {name}{check}"))
        };
        ran.lines().filter_map(word).collect()
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.host.at("state/journal")).unwrap()
    }
}

fn step(id: &str, phase: &str) -> Value {
    json!({"id": id, "phase": phase, "host": "master", "title": "a title", "why": "a reason",
        "danger": "none", "action": {"type": "check"}, "argv": [], "needs": [], "pre": [], "post": [],
        "resume": "again", "touches": [], "secrets": [], "manual_step": 1})
}

fn confirm() -> Value {
    let mut step = step("master.verify.sure", "verify");
    step["action"] = json!({"type": "confirm", "ask": "Is all well?"});
    step["resume"] = json!("ask");
    step
}

fn wait(until: impl Fn() -> bool) {
    let began = Instant::now();
    while !until() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &pid]).status();
    assert!(sent.unwrap().success());
}

/// A run that does not end is a failure, and must not outlive it.
fn ended(mut child: Child) -> Ran {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap().into()
}

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
    assert_eq!(stopped["left"], json!(["master.config.fails"]));
    let output = stopped["stopped"]["output"].as_str().unwrap();
    assert_eq!(fs::read_to_string(output).unwrap(), "it is broken\n");
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
fn two_at_once_are_refused_and_it_is_said_who_is_at_work() {
    let bench = Bench::new();
    let plan = bench.steps(&["slow"]);
    let first = bench.at_slow(&plan, &[]);
    let other = bench.host.text("other");
    for more in [vec![], vec!["--resume"], vec!["--state", &other]] {
        let more: Vec<&str> = more;
        let mut command = Command::new(PROGRAM);
        command.args(["restore", &plan, "--lock", &bench.host.text("run/lock")]);
        if !more.contains(&"--state") {
            command.args(["--state", &bench.host.text("state")]);
        }
        let second: Ran = command.args(&more).output().unwrap().into();
        second.says(
            1,
            &["another run is at work", &first.id().to_string(), "restore"],
        );
    }
    bench.touch("go");
    ended(first).ends(0);
}

#[test]
fn a_command_that_a_killed_run_left_at_work_is_waited_for() {
    let bench = Bench::new();
    let plan = bench.steps(&["one", "slow", "two"]);
    let mut first = bench.at_slow(&plan, &[]);
    first.kill().unwrap();
    first.wait().unwrap();
    let refused = bench.restore(&plan, &[]);
    refused.says(
        1,
        &[
            "a command of a run that was killed is still at work",
            "config/slow",
            "--resume",
        ],
    );
    let mut second = bench.command(&plan, &["--resume"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(second.try_wait().unwrap().is_none(), "it does not wait");
    assert_eq!(bench.ran().last().unwrap(), "begin slow");
    bench.touch("go");
    let second = ended(second).ends(0);
    assert!(
        second
            .err
            .contains("waiting for what a run that was killed left"),
        "{}",
        second.err
    );
    let ran = bench.ran();
    let slow: Vec<&String> = ran.iter().filter(|w| w.ends_with("slow")).collect();
    assert_eq!(slow, ["begin slow", "end slow", "begin slow", "end slow"]);
    assert_eq!(ran.iter().filter(|w| *w == "begin one").count(), 1);
}

#[test]
fn a_signal_reaches_the_command_and_the_run_ends_when_it_has() {
    for name in ["TERM", "INT"] {
        let bench = Bench::new();
        let plan = bench.steps(&["slow", "two"]);
        let run = bench.at_slow(&plan, &["--json"]);
        signal(&run, name);
        let stopped = ended(run).ends(1).json();
        assert_eq!(stopped["outcome"], "told");
        assert!(
            bench.ran().contains(&"told slow".to_owned()),
            "{:?}",
            bench.ran()
        );
        assert!(
            bench.journal().contains("command-ended"),
            "{}",
            bench.journal()
        );
        bench.touch("go");
        bench.restore(&plan, &["--resume"]).ends(0);
    }
}

#[test]
fn a_terminal_that_is_closed_stops_nothing() {
    let bench = Bench::new();
    let plan = bench.steps(&["slow", "two"]);
    let run = bench.at_slow(&plan, &[]);
    signal(&run, "HUP");
    std::thread::sleep(Duration::from_millis(200));
    bench.touch("go");
    ended(run).ends(0);

    // And one that is really gone.
    let bench = Bench::new();
    let plan = bench.steps(&["slow", "two"]);
    let (state, lock) = (bench.host.text("state"), bench.host.text("run/lock"));
    let line = format!("exec {PROGRAM} restore {plan} --state {state} --lock {lock}");
    let mut terminal = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    bench.wait_for("slow");
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    bench.touch("go");
    wait(|| bench.journal().contains("\"finished\""));
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
    assert_eq!(typed("yes\n"), 7);
    assert_eq!(typed("master.verify.sure\nanna\n"), 0);
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

/// Only here is the disk to be seen: it goes with the shell that mounts it.
const FULL: &str = r#"
mount -t tmpfs -o size=64k,mode=700 none "$1" || exit 77
run() {
    name=$1
    shift
    "$program" restore "$plan" --state "$dir/state" --lock "$dir/../run/lock" "$@" >"$out/$name.out" 2>"$out/$name.err"
    echo $? >"$out/$name.code"
}
dir=$1
# Less and less room, so that it ends at other places.
room=0
resume=
while [ $room -lt 16 ]; do
    head -c $((room * 4096)) /dev/zero >"$dir/room"
    cat /dev/zero >"$dir/other" 2>/dev/null
    rm "$dir/room"
    run "full$room" $resume
    rm "$dir/other"
    [ ! -s "$dir/state/journal" ] || resume=--resume
    room=$((room + 1))
done
run again --resume
cp "$dir/state/journal" "$out/journal"
"#;

#[test]
fn a_full_disk_stops_it_and_it_goes_on_when_there_is_room() {
    let bench = Bench::new();
    let names = [
        "one", "two", "says", "four", "five", "six", "seven", "eight",
    ];
    let plan = bench.steps(&names);
    let (disk, out) = (bench.host.at("disk"), bench.host.at("out"));
    fs::create_dir(&disk).unwrap();
    fs::create_dir(&out).unwrap();
    let shell = Command::new("unshare")
        .args(["--mount", "setsid", "-w", "sh", "-uc", FULL, "sh"])
        .arg(&disk)
        .env("program", PROGRAM)
        .env("plan", &plan)
        .env("out", &out)
        .stdin(Stdio::null())
        .status();
    if !shell.is_ok_and(|s| s.success()) {
        assert!(!out.join("full0.code").exists());
        return skip("a full disk below a run", "can't mount a small disk here");
    }
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let mut stopped = 0;
    for room in 0..16 {
        let code = read(&format!("full{room}.code"));
        let err = read(&format!("full{room}.err"));
        if code.trim() != "0" {
            assert_eq!(code.trim(), "1", "{room}: {err}");
            assert!(
                err.contains("No space left") && err.contains("disk/state"),
                "{room}: {err}"
            );
            stopped += 1;
        }
    }
    assert!(stopped > 3, "it was full only {stopped} times");
    assert_eq!(read("again.code").trim(), "0", "{}", read("again.err"));
    let journal = read("journal");
    // What is recorded done is done once.
    for name in names {
        let done = format!("\"what\":\"step-done\",\"step\":\"master.config.{name}\"");
        assert_eq!(journal.matches(&done).count(), 1, "{name}");
    }
}

#[test]
fn a_torn_record_is_cut_off_with_a_word_and_a_changed_one_is_refused() {
    let bench = Bench::new();
    let plan = bench.steps(&["one", "fails"]);
    bench.restore(&plan, &[]).ends(1);
    let journal = bench.host.at("state/journal");
    let whole = bench.journal();
    fs::write(&journal, &whole[..whole.len() - 40]).unwrap();
    bench.touch("go");
    let rest = bench.restore(&plan, &["--resume"]).ends(0);
    assert!(rest.err.contains("cut off in the middle"), "{}", rest.err);

    fs::write(&journal, whole.replacen("step-done", "step-begins", 1)).unwrap();
    bench
        .restore(&plan, &["--resume"])
        .says(3, &["line ", "not as it was written"]);
    assert!(Path::new(&journal).exists());
}
