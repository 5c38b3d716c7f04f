//! `docs/ci.md`: its facts make a plan, and the commands of its pipelines do what it says of them.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{Host, Ran, cluster, database, lava_backup, url};
use serde_json::json;
use serde_norway::Value;

/// The blocks of the page that begin with a fence of this kind.
fn blocks(kind: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci.md");
    let page = fs::read_to_string(page).unwrap();
    let fence = format!("```{kind}\n");
    let parts = page.split(&fence).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap().to_owned())
        .collect()
}

/// The commands of a GitHub workflow, each of them one shell's, and of a GitLab job, all of them.
fn pipelines() -> (Vec<String>, Vec<String>) {
    let documents: Vec<Value> = blocks("yaml")
        .iter()
        .map(|text| serde_norway::from_str(text).unwrap())
        .collect();
    let [github, gitlab] = documents.as_slice() else {
        panic!("{documents:?}")
    };
    let steps = github["jobs"]["plan"]["steps"]
        .as_sequence()
        .unwrap()
        .iter();
    let runs = steps
        .filter_map(|step| step.get("run")?.as_str())
        .map(str::to_owned);
    let script = gitlab["plan"]["script"].as_sequence().unwrap().iter();
    (
        runs.collect(),
        script
            .map(|line| line.as_str().unwrap().to_owned())
            .collect(),
    )
}

struct Pipeline {
    host: Host,
    at: String,
}

impl Pipeline {
    fn sh(&self, script: &str) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_lava-backup"))
            .parent()
            .unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.host.at(&self.at))
            .env("PATH", path)
            .env("LAVA_BACKUP_STORE", self.host.store())
            .output()
            .unwrap()
    }

    fn ends(&self, script: &str, code: i32) {
        let out = self.sh(script);
        assert_eq!(out.status.code(), Some(code), "{script}\n{out:?}");
    }

    /// The directory that a checkout makes, with these facts in it.
    fn checkout(&mut self, at: &str, facts: &str) {
        self.at = at.to_owned();
        fs::create_dir(self.host.at(at)).unwrap();
        fs::write(self.host.at(at).join("target.jsonc"), facts).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.host.at(&self.at).join(name)).unwrap()
    }
}

#[test]
fn the_pipelines_of_the_page_plan_a_restore_to_the_host_that_it_describes() {
    let host = Host::new(12);
    let from = cluster();
    database(&from, Some(&host.lab));
    let (root, address) = (host.text("root"), url(&from, "lavaserver"));
    host.run("create", &["--root", &root, "--database", &address])
        .ends(0);
    let [facts] = blocks("jsonc").try_into().unwrap();
    let (github, gitlab) = pipelines();
    assert_eq!(github.len(), 3);
    let mut pipeline = Pipeline {
        host,
        at: String::new(),
    };

    pipeline.checkout("github", &facts);
    github.iter().for_each(|run| pipeline.ends(run, 0));
    let plan = pipeline.read("plan.json");
    let document: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(document["verdict"], "prepare");
    assert!(!document["steps"].as_array().unwrap().is_empty());
    assert!(
        pipeline
            .read("runbook.md")
            .contains("Install the backup's packages")
    );
    blocks("sh")
        .iter()
        .for_each(|block| pipeline.ends(block, 0));

    pipeline.checkout("gitlab", &facts);
    pipeline.ends(&gitlab.join("\n"), 4);
    assert_eq!(
        pipeline.read("plan.json"),
        plan,
        "the same input, the same bytes"
    );

    // Another suite is refused, and both pipelines stop.
    let other = facts.replace("bookworm", "trixie");
    pipeline.checkout("other", &other);
    pipeline.ends(&github[0], 0);
    pipeline.ends(&github[1], 1);
    pipeline.ends(&github[2], 0);
    assert!(pipeline.read("runbook.md").contains("`suite.other`"));
    pipeline.ends(&gitlab.join("\n"), 3);

    // A slip is named, and leaves unknown what it said.
    let slip = facts
        .replace("\"timers\"", "\"timer\"")
        .replace("\"hostname\"", "\"hostnam\"");
    pipeline.checkout("slip", &slip);
    pipeline.ends(&github[0], 0);
    let ran = Ran::from(pipeline.sh("lava-backup plan latest --target facts.json --json"));
    let ran = ran.ends(3);
    for meant in ["`timer`", "`timers`", "`hostnam`", "`hostname`"] {
        assert!(ran.err.contains(meant), "{}", ran.err);
    }
    assert!(ran.out.contains("pkg.unattended_unknown"));

    // What is no document says so, with its place and what to do.
    for (facts, words) in [
        (facts.replace("facts/1", "facts/9"), ["facts/9", "facts/1"]),
        (
            facts.replace("12.4+deb12u14", "a b"),
            ["packages[0].version", "docs/ci.md"],
        ),
        (
            facts.replace("\"role\"", "\"role\": \"master\", \"role\""),
            ["twice", "docs/ci.md"],
        ),
    ] {
        let lines: Vec<&str> = facts
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        fs::write(pipeline.host.at("slip/facts.json"), lines.join("\n")).unwrap();
        let ran = pipeline.sh("lava-backup plan latest --target facts.json --json");
        Ran::from(ran).says(1, &words);
    }
}

#[test]
fn a_target_that_is_ready_ends_a_plan_with_0_and_a_damaged_backup_with_5() {
    let host = Host::new(2);
    let from = cluster();
    database(&from, Some(&host.lab));
    let (root, address) = (host.text("root"), url(&from, "lavaserver"));
    let on_host = ["--root", &root, "--database", &address];
    let made = host.run("create", &[&on_host[..], &["--json"]].concat());
    let backup = made.ends(0).json()["backup"].as_str().unwrap().to_owned();

    // The backup's own host, at work and without its lab.
    let facts = lava_backup(&[&["facts"], &on_host[..]].concat());
    let mut facts = facts.ends(0).json();
    facts["database"] = json!({"state": "absent"});
    facts["timers"] = json!([]);
    for unit in facts["units"].as_array_mut().unwrap() {
        unit["active"] = json!(true);
    }
    fs::write(host.at("facts.json"), facts.to_string()).unwrap();
    let target = host.text("facts.json");
    let plan = || host.run("plan", &[&backup, "--target", &target, "--format", "json"]);
    assert_eq!(plan().ends(0).json()["verdict"], "note");

    let seal = host.at("store/backups").join(&backup).join("backup.json");
    let mut damaged = fs::read(&seal).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(seal, damaged).unwrap();
    plan().says(5, &[&backup]);
}
