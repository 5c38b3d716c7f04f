//! Real LAVA masters: copy-on-write clones of pristine ones.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::common::Ran;

/// A clone of the pristine master, running; gone when dropped.
pub struct Master {
    pub dir: PathBuf,
}

impl Master {
    /// With our program in it.
    pub fn clone_of(pristine: &Path, dir: PathBuf, program: &Path) -> Self {
        let master = Self { dir };
        tool(&["clone", text(pristine), text(&master.dir)]);
        tool(&["start", text(&master.dir)]);
        let binary = master.dir.join("usr/local/bin/lava-backup");
        fs::copy(program, binary).unwrap();
        master
    }

    /// Gives it an address, 10.77.0.N, in a network with another that is 10.77.0.1 there.
    pub fn join(&self, master: &Self, number: u8) {
        tool(&[
            "join",
            text(&self.dir),
            text(&master.dir),
            &number.to_string(),
        ]);
    }

    pub fn populate(&self, jobs: u32) {
        tool(&["populate", text(&self.dir), &jobs.to_string()]);
    }

    pub fn run(&self, command: &[&str]) -> Ran {
        let mut all = vec!["run", text(&self.dir)];
        all.extend(command);
        lava_master(&all).into()
    }

    pub fn sql(&self, sql: &str) -> String {
        let psql = [
            "runuser",
            "-u",
            "postgres",
            "--",
            "psql",
            "-XAtq",
            "-d",
            "lavaserver",
            "-c",
        ];
        let psql = ["env", "-C", "/"].iter().chain(&psql).copied().chain([sql]);
        let ran = self.run(&psql.collect::<Vec<_>>()).ends(0);
        ran.out.trim().to_owned()
    }

    /// Runs our program inside and reads its document.
    pub fn lava_backup(&self, arguments: &[&str], code: i32) -> Value {
        let mut all = vec!["lava-backup", "--json"];
        all.extend(arguments);
        self.run(&all).ends(code).json()
    }

    /// A page through apache, as a user would see it: its status and text.
    pub fn page(&self, path: &str) -> (u16, String) {
        let script = "import sys, urllib.request, urllib.error\n\
            try: r = urllib.request.urlopen('http://localhost' + sys.argv[1], timeout=60)\n\
            except urllib.error.HTTPError as e: r = e\n\
            print(r.status); sys.stdout.flush(); sys.stdout.buffer.write(r.read())";
        let ran = self.run(&["python3", "-c", script, path]).ends(0);
        let (status, body) = ran.out.split_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
}

/// What a person is asked for by a plan on one of its hosts, with an answer to each.
pub fn answers(plan: &Value, host: &str) -> Vec<String> {
    let steps = plan["steps"].as_array().unwrap().iter();
    let asked = steps
        .filter(|step| step["host"] == host)
        .filter_map(|step| {
            let id = step["id"].as_str().unwrap();
            match step["action"]["type"].as_str().unwrap() {
                "confirm" | "review-logs" | "await-host" => Some(id.to_owned()),
                "decide-queue" => Some(format!("{id}=keep")),
                _ => None,
            }
        });
    asked.collect()
}

impl Drop for Master {
    fn drop(&mut self) {
        lava_master(&["delete", text(&self.dir)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn lava_master(arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/real-lava/lava-master");
    Command::new(script)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn tool(arguments: &[&str]) {
    Ran::from(lava_master(arguments)).ends(0);
}
