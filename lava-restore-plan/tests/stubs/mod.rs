//! Programs that stand in for those of a plan: each says what the plan expects of it, as long as
//! it is called with exactly the arguments that come next, and writes down what else came.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lava_restore_plan::{Plan, Step};

const STUB: &str = r#"#!/usr/bin/python3
import json, os, sys
here = os.path.dirname(os.path.abspath(__file__))
at = lambda name: os.path.join(here, "..", name)
call = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
with open(at("expected")) as f: expected = json.load(f)
if not expected or expected[0][0] != call:
    with open(at("wrong"), "a") as f: f.write(json.dumps([call, expected[:1]]) + "\n")
    sys.exit(97)
with open(at("expected"), "w") as f: json.dump(expected[1:], f)
print(expected[0][2])
sys.exit(expected[0][1])
"#;

/// A command, its exit status and what it prints.
pub type Call = (Vec<String>, u8, String);

/// A directory with stand-ins, the state of a restore, and what is expected to be called.
pub struct Stubs(PathBuf);

impl Stubs {
    pub fn new(name: &str, plan: &Plan) -> Self {
        let name = format!("lava-restore-plan-{}-{name}", std::process::id());
        let stubs = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(stubs.at("bin")).unwrap();
        let programs: BTreeSet<String> = everything(plan)
            .into_iter()
            .map(|(argv, ..)| argv[0].clone())
            .collect();
        for program in programs {
            let path = stubs.at("bin").join(program);
            fs::write(&path, STUB).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        stubs.expect(&[]);
        stubs
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The steps that are remembered as done, and what a person answered.
    pub fn done(&self) -> Vec<(String, String)> {
        let Ok(files) = fs::read_dir(self.at("state/done")) else {
            return Vec::new();
        };
        let read = |file: fs::DirEntry| {
            let text = fs::read_to_string(file.path()).unwrap();
            (file.file_name().into_string().unwrap(), text)
        };
        let mut done: Vec<_> = files.map(|file| read(file.unwrap())).collect();
        done.sort();
        done
    }

    pub fn expect(&self, calls: &[Call]) {
        fs::write(self.at("expected"), serde_json::to_string(calls).unwrap()).unwrap();
    }

    /// All that was expected was called, and nothing else.
    #[track_caller]
    pub fn all_were_called(&self) {
        let wrong = fs::read_to_string(self.at("wrong")).unwrap_or_default();
        assert_eq!(wrong, "", "called, and expected at that time");
        let rest = fs::read_to_string(self.at("expected")).unwrap();
        assert_eq!(rest, "[]", "expected, and not called");
    }

    /// Runs a program without a terminal, with the stand-ins before everything else.
    pub fn run(&self, program: &str, arguments: &[&str], answers: &str) -> Output {
        let path = std::env::var("PATH").unwrap();
        Command::new("setsid")
            .args(["-w", program])
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.at("bin").display()))
            .env("LAVA_RESTORE_STATE", self.at("state"))
            .env("LAVA_RESTORE_LOCK", self.at("lock/restore.lock"))
            .env("LAVA_RESTORE_CONFIRM", answers)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", &self.0)
            .env("ANSIBLE_HOME", self.at("ansible"))
            .env("ANSIBLE_CONFIG", self.write("ansible.cfg", ""))
            .env("ANSIBLE_PIPELINING", "1")
            .current_dir(&self.0)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path: &Path = &self.at(name);
        fs::write(path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Stubs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a step calls: its gates and its commands, in order.
pub fn calls(step: &Step) -> Vec<Call> {
    let command = |argv: &Vec<String>| (argv.clone(), 0, "done".to_owned());
    let mut calls = gates(step, true);
    calls.extend(step.argv.iter().map(command));
    calls.extend(gates(step, false));
    calls
}

/// What the gates of a step before its commands, or after them, call.
pub fn gates(step: &Step, before: bool) -> Vec<Call> {
    let gates = if before { &step.pre } else { &step.post };
    let call = |gate: &lava_restore_plan::Gate| {
        let said = gate.expect.stdout.clone().unwrap_or("anything".to_owned());
        (gate.argv.clone(), gate.expect.exit, said)
    };
    gates.iter().map(call).collect()
}

/// What a whole plan calls.
pub fn everything(plan: &Plan) -> Vec<Call> {
    plan.steps.iter().flat_map(calls).collect()
}

/// The words that answer every question of a plan.
pub fn answers(plan: &Plan) -> String {
    let answer = |step: &Step| match step.action.choices()? {
        [] => Some(step.id.clone()),
        [first, ..] => Some(format!("{}={first}", step.id)),
    };
    let answers: Vec<String> = plan.steps.iter().filter_map(answer).collect();
    answers.join(" ")
}
