//! A plan of harmless steps, whose program is a script, and `restore` on it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Host, Ran};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_lava-backup");

/// What the plans of these tests call `lava-backup`: what it does is in the member's name.
pub const SCRIPT: &str = r#"#!/bin/sh
cd "${0%/*}" || exit 9
echo "begin $*" >>ran
trap 'echo "told $*" >>ran; exit 143' TERM INT
case $* in
*--check*) [ ! -e open ] || exit 3 ;;
*config/slow*) touch slow; tries=0; while [ ! -e go ] && [ $((tries += 1)) -lt 3000 ]; do sleep 0.02; done ;;
*config/fails*) [ -e go ] || { echo 'it is broken' >&2; exit 4; } ;;
*config/says*)
    echo "SECRET_KEY: 'hunter2'"
    printf 'postgres://u:hunter2@h/x \033[2J\n' >&2 ;;
esac
echo "end $*" >>ran
"#;

/// A host with a store, one backup, and the script.
pub struct Bench {
    pub host: Host,
    pub backup: String,
    pub seal: String,
}

impl Bench {
    pub fn new() -> Self {
        let host = Host::new(1);
        let backup = host.create();
        let shown = host.run("show", &["--json"]).ends(0).json();
        let seal = shown["digest"].as_str().unwrap().to_owned();
        fs::write(host.at("lava-backup"), SCRIPT).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(host.at("lava-backup"), mode).unwrap();
        Self { host, backup, seal }
    }

    pub fn from(&self) -> Value {
        json!({"program": self.host.text("lava-backup"), "store": self.host.store(), "backup": self.backup})
    }

    pub fn argv(&self, member: &str, end: &str) -> Value {
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
    pub fn extract(&self, name: &str, host: &str) -> Value {
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

    pub fn plan(&self, steps: Vec<Value>) -> Value {
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

    pub fn write(&self, plan: &Value) -> String {
        fs::write(self.host.at("plan.json"), plan.to_string()).unwrap();
        self.host.text("plan.json")
    }

    /// A plan of these steps, in a file.
    pub fn steps(&self, names: &[&str]) -> String {
        let steps = names.iter().map(|name| self.extract(name, "master"));
        self.write(&self.plan(steps.collect()))
    }

    /// In a session of its own, so that it has no terminal to ask on; the process is the program.
    pub fn command(&self, plan: &str, more: &[&str]) -> Command {
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

    pub fn restore(&self, plan: &str, more: &[&str]) -> Ran {
        self.command(plan, more).output().unwrap().into()
    }

    /// A run that is at its slow step.
    pub fn at_slow(&self, plan: &str, more: &[&str]) -> Child {
        let child = self.command(plan, more).spawn().unwrap();
        self.wait_for("slow");
        fs::remove_file(self.host.at("slow")).unwrap();
        child
    }

    pub fn wait_for(&self, file: &str) {
        wait(|| self.host.at(file).exists());
    }

    pub fn touch(&self, file: &str) {
        fs::write(self.host.at(file), "").unwrap();
    }

    pub fn ran(&self) -> Vec<String> {
        let ran = fs::read_to_string(self.host.at("ran")).unwrap_or_default();
        let word = |line: &str| {
            let verb = line.split(' ').next().unwrap();
            let check = if line.ends_with("--check") { "?" } else { "" };
            let name = line.split("config/").nth(1)?.split(' ').next()?;
            Some(format!("{verb} {name}{check}"))
        };
        ran.lines().filter_map(word).collect()
    }

    pub fn journal(&self) -> String {
        fs::read_to_string(self.host.at("state/journal")).unwrap()
    }
}

pub fn step(id: &str, phase: &str) -> Value {
    json!({"id": id, "phase": phase, "host": "master", "title": "a title", "why": "a reason",
        "danger": "none", "action": {"type": "check"}, "argv": [], "needs": [], "pre": [], "post": [],
        "resume": "again", "touches": [], "secrets": [], "manual_step": 1})
}

pub fn confirm() -> Value {
    let mut step = step("master.verify.sure", "verify");
    step["action"] = json!({"type": "confirm", "ask": "Is all well?"});
    step["resume"] = json!("ask");
    step
}

pub fn wait(mut until: impl FnMut() -> bool) {
    let began = Instant::now();
    while !until() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &pid]).status();
    assert!(sent.unwrap().success());
}

/// A run that does not end is a failure, and must not outlive it.
pub fn ended(mut child: Child) -> Ran {
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
