//! A master that is made up: it keeps in a file what the commands of a plan did to it, so that it
//! survives whoever runs them, and it answers gates as a real one would.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use lava_restore_plan::run::{Confirmed, Exited, Host, Person, Stream, Told};
use lava_restore_plan::{Plan, Step};
use serde::{Deserialize, Serialize};

/// What the master is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lab {
    pub running: BTreeSet<String>,
    pub masked: BTreeSet<String>,
    pub held: BTreeSet<String>,
    pub closed: bool,
    /// Apache lets in workers alone.
    pub guarded: bool,
    pub restored: bool,
    pub jobs_ended: bool,
    pub maintained: bool,
    pub queue_ended: bool,
    pub extracted: BTreeSet<String>,
    /// What must never be: LAVA ran while its database was loaded, or jobs could start.
    pub damage: Vec<String>,
}

/// It, and the gates of a plan whose answers do not change.
pub struct Master {
    dir: PathBuf,
    fixed: BTreeMap<Vec<String>, (u8, String)>,
    /// Called before and after each command's effect.
    pub moment: Box<dyn FnMut()>,
    /// Commands that do not work, and gates that do not hold: those with this word.
    pub broken: Option<String>,
    /// The gate with this word answers otherwise, so many times, with this status.
    pub otherwise: Option<(&'static str, u32, u8)>,
    /// What such an answer takes.
    pub slow: Duration,
    pub stop: Option<i32>,
}

const UNITS: [&str; 5] = [
    "apt-daily.timer",
    "lava-publisher.service",
    "lava-scheduler.service",
    "lava-server-gunicorn.service",
    "lava-worker.service",
];

impl Master {
    /// In this directory, as it was left there.
    pub fn new(dir: &Path, plan: &Plan) -> Self {
        fs::create_dir_all(dir).unwrap();
        let master = Self {
            dir: dir.to_owned(),
            fixed: plan
                .steps
                .iter()
                .flat_map(|step| step.pre.iter().chain(&step.post))
                .map(|gate| {
                    let text = gate.expect.stdout.clone().unwrap_or_default();
                    (gate.argv.clone(), (gate.expect.exit, text))
                })
                .collect(),
            moment: Box::new(|| {}),
            broken: None,
            otherwise: None,
            slow: Duration::ZERO,
            stop: None,
        };
        if !dir.join("lab").exists() {
            master.set(&Lab {
                running: UNITS.map(String::from).into(),
                ..Lab::default()
            });
        }
        master
    }

    pub fn lab(&self) -> Lab {
        serde_json::from_slice(&fs::read(self.dir.join("lab")).unwrap()).unwrap()
    }

    pub fn set(&self, lab: &Lab) {
        let text = serde_json::to_string_pretty(lab).unwrap();
        fs::write(self.dir.join("new"), text).unwrap();
        fs::rename(self.dir.join("new"), self.dir.join("lab")).unwrap();
    }

    fn act(&self, words: &[&str]) {
        let mut lab = self.lab();
        let names = |at: usize| words[at..].iter().map(|w| (*w).to_owned());
        match words {
            ["systemctl", "stop", ..] => names(2).for_each(|unit| {
                lab.running.remove(&unit);
            }),
            ["systemctl", "mask", ..] => lab.masked.extend(names(2)),
            ["systemctl", "unmask", ..] => names(2).for_each(|unit| {
                lab.masked.remove(&unit);
            }),
            ["systemctl", "start", unit] => {
                if lab.masked.contains(*unit) {
                    lab.damage.push(format!("{unit} is masked"));
                }
                if unit.starts_with("lava") && !(lab.restored && lab.jobs_ended && lab.maintained) {
                    lab.damage.push(format!("{unit} starts too early"));
                }
                lab.running.insert((*unit).to_owned());
            }
            ["systemctl", ..] => {}
            ["a2dissite", ..] => lab.closed = true,
            ["a2ensite", ..] => lab.closed = false,
            ["apt-mark", "hold", ..] => lab.held.extend(names(2)),
            ["apt-mark", "unhold", ..] => names(2).for_each(|name| {
                lab.held.remove(&name);
            }),
            ["lava-backup", "database", "restore", ..] => {
                if lab.running.iter().any(|unit| unit.starts_with("lava")) {
                    lab.damage
                        .push("the database was loaded under LAVA".to_owned());
                }
                if lab.jobs_ended {
                    lab.damage.push("the database was loaded again".to_owned());
                }
                lab.restored = true;
            }
            ["lava-backup", "extract", ..] => {
                let member = |w: &&&str| w.starts_with("config") || w.starts_with("data");
                lab.extracted
                    .extend(words.iter().filter(member).map(|w| (*w).to_owned()));
            }
            ["lava-server", "manage", "jobs", "fail", _] => lab.jobs_ended = true,
            ["lava-server", "manage", "maintenance"]
            | ["lava-server", "manage", "devices", "update", ..] => lab.maintained = true,
            ["a2enconf", ..] => lab.guarded = true,
            ["a2disconf", ..] => lab.guarded = false,
            ["runuser", ..] | ["journalctl", ..] | ["find", ..] | ["lava-backup", "admit", ..] => {}
            other => panic!("no such command: {other:?}"),
        }
        self.set(&lab);
    }

    /// How a gate's command ends, and what it prints.
    fn answer(&self, words: &[&str]) -> Option<(u8, String)> {
        let lab = self.lab();
        let yes = |is: bool| Some((if is { 0 } else { 3 }, String::new()));
        match words {
            ["systemctl", "is-active", "sysinit.target"] => Some((0, "active".to_owned())),
            ["systemctl", "is-active", units @ ..] => {
                let states = units.iter().map(|unit| match lab.running.contains(*unit) {
                    true => "active",
                    false => "inactive",
                });
                let states: Vec<&str> = states.collect();
                let code = if states.contains(&"active") { 0 } else { 3 };
                Some((code, states.join("\n")))
            }
            ["systemctl", "list-units", _, _, _, units @ ..] => {
                let running = units.iter().filter(|unit| lab.running.contains(**unit));
                Some((0, running.copied().collect::<Vec<_>>().join("\n")))
            }
            // The very rows of the backup: no more after the first of them was changed.
            ["lava-backup", "database", "compare", ..] => {
                yes(lab.restored && !lab.jobs_ended && !lab.maintained)
            }
            ["lava-backup", "admit", who, "--check"] => yes(match *who {
                "nobody" => lab.closed,
                "workers" => !lab.closed && lab.guarded,
                _ => !lab.closed && !lab.guarded,
            }),
            ["test", "-e", path] if path.contains("workers-only") => yes(lab.guarded),
            ["test", "!", "-e", path] if path.contains("workers-only") => yes(!lab.guarded),
            ["test", "!", "-e", ..] => yes(lab.closed),
            ["test", "-e", ..] => yes(!lab.closed),
            ["runuser", .., query] if query.starts_with("SELECT id") && lab.queue_ended => {
                Some((0, String::new()))
            }
            ["runuser", .., query] if query.contains("testjob") && query.contains("IN (1") => {
                let count = if lab.jobs_ended { "0" } else { "3" };
                Some((0, count.to_owned()))
            }
            ["runuser", .., query] if query.contains("health NOT IN") => {
                let count = if lab.maintained { "0" } else { "3" };
                Some((0, count.to_owned()))
            }
            _ => None,
        }
    }
}

impl Host for Master {
    fn run(&mut self, argv: &[String], tell: &mut dyn FnMut(Told<'_>)) -> io::Result<Exited> {
        if self.stop.is_some() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        if self
            .broken
            .as_ref()
            .is_some_and(|word| words.contains(&word.as_str()))
        {
            tell(Told::Printed(Stream::Err, b"password=hunter2 is wrong\n"));
            return Ok(Exited::Exit(1));
        }
        if let Some((word, times, code)) = &mut self.otherwise
            && *times > 0
            && words.iter().any(|w| w.contains(*word))
        {
            *times -= 1;
            thread::sleep(self.slow);
            tell(Told::Printed(Stream::Out, b"something else\n"));
            return Ok(Exited::Exit(*code));
        }
        let fixed = self.fixed.get(argv).cloned();
        if let Some((code, text)) = self.answer(&words).or(fixed) {
            tell(Told::Printed(Stream::Out, format!("{text}\n\n").as_bytes()));
            return Ok(Exited::Exit(code));
        }
        (self.moment)();
        self.act(&words);
        tell(Told::Printed(Stream::Out, b"done\n"));
        (self.moment)();
        Ok(Exited::Exit(0))
    }

    fn pause(&mut self, _: Duration) {}

    fn stop(&self) -> Option<i32> {
        self.stop
    }

    fn now(&self) -> String {
        "2026-11-26T04:00:00Z".to_owned()
    }
}

/// Somebody who agrees to everything, but for the steps named here.
pub struct Agreeing(pub Vec<String>);

impl Person for Agreeing {
    fn ask(&mut self, step: &Step, possible: &[String]) -> Option<Confirmed> {
        let answer = possible.first()?.clone();
        (!self.0.contains(&step.id)).then(|| Confirmed {
            answer,
            by: "anna".to_owned(),
        })
    }
}
