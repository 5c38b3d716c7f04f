//! Every requirement of LAVA's manual is met by something that is there; `docs/requirements.md` says
//! by what. `UPDATE_DOCS=1 cargo test` writes it anew.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use lava_restore_plan::facts::{Facts, Role};
use lava_restore_plan::requirement::{ELSEWHERE, Means, REQUIREMENTS};
use lava_restore_plan::{Backup, Code, Host, Intent, Options, Plan, Verdict, plan};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(file: &str) -> String {
    fs::read_to_string(repository().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn worker(name: &str) -> Host {
    let (mut backup, mut target) = (lab::backup(), lab::target());
    for facts in [&mut backup.facts, &mut target] {
        facts.role = Role::Worker;
        facts.hostname = Some(name.into());
        facts
            .packages
            .retain(|package| package.name != "lava-server");
        facts
            .units
            .as_mut()
            .unwrap()
            .retain(|unit| unit.name == "lava-worker.service");
        facts.lava = None;
    }
    backup.seal_digest = "3e".repeat(32);
    backup.database = None;
    lab::onto(&backup, &target)
}

/// Plans that have among them every step that there is, but for those of LAVA's early releases.
fn plans() -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut options = Options::default();
    (options.replace_data, options.next_job_id) = (true, Some(9000));
    let mut make = |change: fn(&mut Backup, &mut Facts), intent| {
        let (mut backup, mut target) = (lab::backup(), lab::target());
        change(&mut backup, &mut target);
        plans.push(plan(vec![lab::onto(&backup, &target)], intent, &options));
    };
    make(|_, _| {}, Intent::RestoreMaster);
    make(|_, _| {}, Intent::Drill);
    make(|_, _| {}, Intent::Grow);
    make(
        |backup, target| {
            backup.degraded.push("a file vanished".into());
            let server = "config/etc/postgresql/15/main/postgresql.conf";
            backup.paths.push(server.into());
            backup.facts.settings.log_backend = None;
            backup.facts.foreign_architectures = Some(vec!["armhf".into()]);
            target.foreign_architectures = Some(vec![]);
            target.database = backup.facts.database.clone();
        },
        Intent::RestoreMaster,
    );
    make(
        |_, target| {
            let django = target
                .packages
                .iter_mut()
                .find(|p| p.name == "python3-django")
                .unwrap();
            (django.version, django.hold) = ("3:3.2.19-1".parse().unwrap(), true);
        },
        Intent::RestoreMaster,
    );
    make(
        |backup, target| {
            let own = backup.facts.hostname.clone().unwrap();
            backup.database.as_mut().unwrap().workers = Some(vec![own]);
            target
                .packages
                .iter_mut()
                .for_each(|package| package.hold = true);
        },
        Intent::RestoreMaster,
    );
    let mut bare = worker("rack-a");
    bare.backup.paths.clear();
    plans.push(plan(vec![bare], Intent::RestoreWorker, &options));
    let mut master = lab::backup();
    master.database.as_mut().unwrap().workers = Some(vec!["rack-a".into()]);
    let hosts = vec![lab::onto(&master, &lab::target()), worker("rack-a")];
    plans.push(plan(hosts, Intent::RestoreLab, &options));
    for plan in &plans {
        assert!(plan.verdict < Verdict::Refuse, "{:#?}", plan.findings);
    }
    plans
}

/// Names of steps and gates, as in ids but without the host.
fn names() -> (BTreeSet<String>, BTreeSet<String>) {
    let plans = plans();
    let steps = || plans.iter().flat_map(|plan| &plan.steps);
    let name = |id: &str| id.split_once('.').unwrap().1.to_owned();
    let gates = steps().flat_map(|step| step.pre.iter().chain(&step.post));
    (
        steps().map(|step| name(&step.id)).collect(),
        gates.map(|gate| name(&gate.id)).collect(),
    )
}

#[test]
fn every_requirement_is_met_by_something_that_is_there() {
    let ids: Vec<&str> = REQUIREMENTS
        .iter()
        .map(|requirement| requirement.id)
        .collect();
    let numbered = |letter: char, last: u8| (1..=last).map(move |n| format!("{letter}{n}"));
    let wanted: Vec<String> = numbered('R', 131).chain(numbered('C', 12)).collect();
    assert_eq!(ids, wanted);
    let (steps, gates) = names();
    let commands = page("README.md");
    for requirement in REQUIREMENTS {
        let id = requirement.id;
        let met = requirement.rules().count() + requirement.means.len();
        assert!(met > 0, "{id} is met by nothing");
        for means in requirement.means {
            match *means {
                Means::Step(step) => assert!(steps.contains(step), "{id}: no step {step}"),
                Means::Gate(gate) => assert!(gates.contains(gate), "{id}: no gate {gate}"),
                Means::Command(command) => {
                    let there = commands.lines().any(|line| {
                        let (first, _) = line
                            .split_at_checked(line.rfind(" |").unwrap_or(0))
                            .unwrap();
                        first.starts_with("| `") && first.contains(&format!("`{command}`"))
                    });
                    assert!(there, "{id}: no command {command}");
                }
                Means::Document(section) => {
                    let (file, heading) = section.split_once('#').unwrap();
                    let heading = heading.trim_start();
                    let is = |line: &str| {
                        line.starts_with('#') && line.trim_start_matches('#').trim() == heading
                    };
                    assert!(page(file).lines().any(is), "{id}: no {heading:?} in {file}");
                }
            }
        }
    }
}

#[test]
fn every_ground_of_a_rule_is_a_requirement() {
    for code in Code::ALL {
        for required in code.requirements() {
            let there = REQUIREMENTS
                .iter()
                .any(|requirement| requirement.id == required);
            assert!(there, "{code} stands on {required}");
        }
        let (listed, _) = code.ground().split_once(';').unwrap_or((code.ground(), ""));
        let plain = listed.split(", ").all(|part| {
            let numbers = part.trim_matches(|c: char| "RC-".contains(c) || c.is_ascii_digit());
            numbers.is_empty() || part.starts_with("measured")
        });
        assert!(plain, "{code}: {listed}");
    }
}

/// A cell of a table.
fn cell(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().collect::<Vec<_>>().join(", ")
}

fn write_page() -> String {
    let mut text = String::from(
        "# What LAVA's manual asks, and what meets it\n\n\
         Made from `lava-restore-plan/src/requirement.rs` and `rule/code.rs` by a test; \
         `UPDATE_DOCS=1 cargo test\n-p lava-restore-plan` writes it anew. R1 to R131 are what the \
         manual asks for, in its order and our\nwords; C1 to C12 are where it contradicts itself or \
         the code. Steps are named without their host.\n\n\
         | | asks | rules | steps and gates | commands and pages |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for requirement in REQUIREMENTS {
        let rules = cell(requirement.rules().map(|code| format!("`{code}`")));
        let plans = cell(requirement.means.iter().filter_map(|means| match means {
            Means::Step(name) | Means::Gate(name) => Some(format!("`{name}`")),
            Means::Command(_) | Means::Document(_) => None,
        }));
        let others = cell(requirement.means.iter().filter_map(|means| match means {
            Means::Command(name) => Some(format!("`{name}`")),
            Means::Document(section) => {
                let (file, heading) = section.split_once('#').unwrap();
                let heading = heading.replace('`', "");
                let place = heading
                    .to_lowercase()
                    .replace(' ', "-")
                    .replace([',', '\''], "");
                Some(format!(
                    "[{heading}]({}#{place})",
                    file.trim_start_matches("docs/")
                ))
            }
            Means::Step(_) | Means::Gate(_) => None,
        }));
        let (id, says) = (requirement.id, requirement.says);
        writeln!(text, "| {id} | {says} | {rules} | {plans} | {others} |").unwrap();
    }
    text += "\n## Rules\n\nEach says what it found with the severity that it deserves: of `ok` and \
             `note` nothing is to be\ndone, `prepare` has steps of the plan that see to it, and with \
             `refuse` there is no plan. What\nis not known is never `ok`.\n\n\
             | code | says | can be | because | ground |\n| --- | --- | --- | --- | --- |\n";
    for code in Code::ALL {
        let severities = cell(
            code.severities()
                .iter()
                .map(|severity| severity.to_string()),
        );
        let (when, why, ground) = (code.when(), code.why(), code.ground());
        writeln!(
            text,
            "| `{code}` | {when} | {severities} | {why} | {ground} |"
        )
        .unwrap();
    }
    text += "\n## Asked elsewhere\n\n| what | where |\n| --- | --- |\n";
    for (what, place) in ELSEWHERE {
        writeln!(text, "| {what} | {place} |").unwrap();
    }
    text
}

#[test]
fn the_page_of_requirements_is_that_of_the_code() {
    let text = write_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(repository().join("docs/requirements.md"), &text).unwrap();
    }
    let there = page("docs/requirements.md");
    assert!(
        there == text,
        "run with UPDATE_DOCS=1 and look at the difference"
    );
}

#[test]
fn what_the_rules_ask_of_disorder_is_what_is_found() {
    // The planner takes no readers of packages along, so the words are held together here.
    let source = page("lava-backup-debian/src/finding.rs");
    let asked = [
        "base.mixed",
        "dpkg.interrupted",
        "source.alias",
        "lists.expired",
        "lists.none",
    ];
    for kind in asked
        .into_iter()
        .chain(["lists.missing", "source.unsigned", "source.trusted"])
    {
        assert!(source.contains(&format!("\"{kind}\"")), "{kind}");
    }
}
