//! The steps of one host in the making, and those that masters and workers share.

use std::collections::BTreeMap;

use crate::Intent;
use crate::facts::{Facts, Package, Role, Unit};
use crate::finding::Finding;
use crate::master::Master;
use crate::name;
use crate::release::Release;
use crate::rule::{self, Case};
use crate::step::{
    Action, Danger, Expect, Gate, Phase, REMEMBERED_JOBS, RUNNING, Reference, Resume, SYSINIT,
    Step, Touch, with, words,
};
use crate::worker::Worker;

mod identity;
mod packages;

pub(crate) use identity::{is_at_or_below, is_identity};

/// What findings count on, by what follows the host in a step's id.
pub(crate) mod names {
    pub(crate) const ACCEPT: &str = "isolate.accept";
    pub(crate) const REPLACE: &str = "isolate.replace";
    pub(crate) const SITE: &str = "isolate.site";
    pub(crate) const BY_HAND: &str = "base.by_hand";
    pub(crate) const TIMERS: &str = "base.timers";
    pub(crate) const LET_GO: &str = "install.let_go";
    pub(crate) const PACKAGES: &str = "install.packages";
    pub(crate) const LOAD: &str = "database.load";
    pub(crate) const JOBS: &str = "maintenance.jobs";
    pub(crate) const DEVICES: &str = "maintenance.devices";
    pub(crate) const QUEUE: &str = "maintenance.queue";
    pub(crate) const LOGS_ELSEWHERE: &str = "config.logs_elsewhere";
    pub(crate) const WORKER_IDENTITY: &str = "config.identity";
    pub(crate) const SERVICES: &str = "smoke.services";
    pub(crate) const UNTRIED: &str = "smoke.untried";
    pub(crate) const OPEN: &str = "reopen.confirm";

    /// Whether the step of this id is one in which a person decides.
    pub(crate) fn is_decision(step: &str) -> bool {
        let names = [
            ACCEPT,
            BY_HAND,
            LOGS_ELSEWHERE,
            REPLACE,
            UNTRIED,
            WORKER_IDENTITY,
        ];
        names.iter().any(|name| step.ends_with(&format!(".{name}")))
    }
}

/// The steps of all hosts, for cases that no rule refused: the master's, then each worker's and the
/// master's look at it, then the master's last.
pub(crate) fn steps(cases: &[Case<'_>], findings: &[Finding]) -> Vec<Step> {
    let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for finding in findings {
        let steps = finding.steps.iter().map(String::as_str);
        named.entry(&finding.host).or_default().extend(steps);
    }
    let mut done = Vec::new();
    let mut last_of_master: Option<String> = None;
    let mut open: Option<Master<'_>> = None;
    for case in cases {
        let Some(draft) = Draft::of(case, &named) else {
            return vec![]; // a rule refused
        };
        match case.planned.role {
            Role::Master => {
                let Some(mut master) = Master::of(draft) else {
                    return vec![];
                };
                master.up_to_verify();
                master.admit_workers();
                done.append(&mut master.draft.steps);
                last_of_master = done.last().map(|step: &Step| step.id.clone());
                open = Some(master);
            }
            Role::Worker | Role::Unknown => {
                let mut worker = Worker::of(draft, last_of_master.clone());
                worker.all();
                let name = worker.name();
                let last = worker.draft.steps.last().map(|step| step.id.clone());
                done.append(&mut worker.draft.steps);
                if let (Some(master), Some(last)) = (&mut open, last) {
                    master.sees(&case.planned.id, &name, Some(last));
                    done.append(&mut master.draft.steps);
                    last_of_master = done.last().map(|step| step.id.clone());
                }
            }
        }
    }
    if let Some(mut master) = open {
        master.draft.needs = last_of_master;
        master.reopen();
        done.append(&mut master.draft.steps);
    }
    done
}

/// The steps of one host, as far as they are.
pub(crate) struct Draft<'a> {
    pub(crate) case: &'a Case<'a>,
    pub(crate) release: &'a Release,
    /// The steps that findings count on.
    named: Vec<&'a str>,
    pub(crate) from: Reference,
    /// The units that are stopped, in the order in which they start again.
    pub(crate) stopped: Vec<String>,
    /// What the next step waits for, when it is not the one before it.
    pub(crate) needs: Option<String>,
    pub(crate) steps: Vec<Step>,
}

impl<'a> Draft<'a> {
    fn of(case: &'a Case<'a>, named: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Self> {
        let version = case.backup().facts.lava_version()?;
        let release = Release::of(&version)?;
        Some(Self {
            case,
            release,
            named: named
                .get(case.planned.id.as_str())
                .cloned()
                .unwrap_or_default(),
            from: Reference {
                program: case.options.program.clone(),
                store: case.host.store.clone(),
                backup: case.backup().id.clone(),
            },
            stopped: stopped_units(case, release),
            needs: None,
            steps: Vec::new(),
        })
    }

    /// Whether a finding counts on this step.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let id = self.id(name);
        self.named.contains(&id.as_str())
    }

    /// Whether there is nobody to ask.
    pub(crate) fn is_alone(&self) -> bool {
        self.case.intent == Intent::Drill
    }

    fn id(&self, name: &str) -> String {
        format!("{}.{name}", self.case.planned.id)
    }

    /// Adds a step after all others; LAVA's manual wants its steps strictly in order (R72).
    pub(crate) fn push(
        &mut self,
        phase: Phase,
        name: &str,
        manual_step: u8,
        title: &str,
        why: &str,
        action: Action,
    ) -> &mut Step {
        let resume = if action.choices().is_some() {
            Resume::Ask
        } else {
            Resume::Again
        };
        let before = self.steps.last().map(|step| step.id.clone());
        let needs = self.needs.take().or(before).into_iter().collect();
        self.steps.push(Step {
            id: format!("{}.{}.{name}", self.case.planned.id, phase.name()),
            phase,
            host: self.case.planned.id.clone(),
            title: title.to_owned(),
            why: why.to_owned(),
            danger: Danger::None,
            argv: action.argv(),
            action,
            needs,
            pre: Vec::new(),
            post: Vec::new(),
            resume,
            touches: Vec::new(),
            secrets: Vec::new(),
            manual_step,
        });
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }

    /// Adds a step that a person must confirm, unless there is nobody.
    pub(crate) fn confirm(
        &mut self,
        phase: Phase,
        name: &str,
        manual_step: u8,
        title: &str,
        why: &str,
        ask: &str,
    ) {
        if !self.is_alone() {
            let ask = ask.to_owned();
            let action = Action::Confirm { ask };
            self.push(phase, name, manual_step, title, why, action);
        }
    }

    /// In a drill nothing may reach anybody: no mail, no callback, no board.
    pub(crate) fn no_way_out(&mut self, manual_step: u8) {
        if !self.is_alone() {
            return;
        }
        let step = self.push(
            Phase::Isolate,
            "network",
            manual_step,
            "There is no network",
            "Ended jobs send mail and call back, and LAVA drives boards over the network: a drill \
             may do neither (R76, R119).",
            Action::Check,
        );
        step.post(gate(
            "loopback",
            words(&["ls", "/sys/class/net"]),
            0,
            Some("lo".to_owned()),
            "With another interface it could reach the lab that it is a copy of.",
        ));
    }

    pub(crate) fn accept_what_is_lacking(&mut self, manual_step: u8) {
        if self.is_named(names::ACCEPT) {
            self.confirm(
                Phase::Isolate,
                "accept",
                manual_step,
                "Accept what the backup lacks",
                "What a backup lacks can't be taken from another one (R16, R17).",
                "This backup lacks something, as the findings say, and that is accepted.",
            );
        }
    }

    pub(crate) fn suite(&mut self, manual_step: u8) {
        let suite = self.case.backup().facts.suite.base.as_ref();
        let line = format!(
            "VERSION_CODENAME={}",
            suite.map_or("", |suite| suite.as_str())
        );
        let step = self.push(
            Phase::Base,
            "suite",
            manual_step,
            "The base system is the backup's",
            "The backup's packages belong to its suite (R44, R86).",
            Action::Check,
        );
        step.post(gate(
            "suite",
            words(&["grep", "-qx", &line, "/etc/os-release"]),
            0,
            None,
            "Another suite has another Django and another PostgreSQL.",
        ));
        if self.is_named(names::BY_HAND) {
            self.confirm(
                Phase::Base,
                "by_hand",
                manual_step,
                "Prepare the base system by hand",
                "What packages and database stand on must be there before they are (R49, R50, \
                 R87).",
                "What the findings that name this step ask for is done on this host.",
            );
        }
    }

    pub(crate) fn stop(&mut self, manual_step: u8, title: &str, why: &str) {
        let units = self.stopped.clone();
        let (still, masked) = (self.still(), masked(&units));
        let step = self.push(
            Phase::Quiesce,
            "stop",
            manual_step,
            title,
            why,
            Action::StopUnits { units },
        );
        step.touch(Danger::Interrupts, &[Touch::Services]);
        still.into_iter().for_each(|gate| step.post(gate));
        step.post(masked);
    }

    pub(crate) fn still(&self) -> [Gate; 2] {
        still(
            &self.stopped,
            "A service that runs now sees a database in the making.",
        )
    }

    /// Writes sections of the backup to the target, and compares them.
    pub(crate) fn files(
        &mut self,
        (sections, exclude): (&[&str], Vec<String>),
        manual_step: u8,
        title: &str,
        why: &str,
    ) -> Option<&mut Step> {
        let held = |name: &&&str| {
            self.case
                .backup()
                .sections
                .iter()
                .any(|held| held == **name)
        };
        let paths = sections.iter().filter(held);
        let paths: Vec<String> = paths.map(|name| (*name).to_owned()).collect();
        if paths.is_empty() {
            return None;
        }
        let argv = self.from.extract(&paths, &exclude, true);
        let still = self.still();
        let action = Action::Extract {
            from: self.from.clone(),
            paths,
            exclude,
        };
        let step = self.push(Phase::Config, "files", manual_step, title, why, action);
        step.touch(Danger::Replaces, &[Touch::Config, Touch::Data]);
        step.secrets = words(&["every secret in the backup's configuration"]);
        still.into_iter().for_each(|gate| step.pre(gate));
        step.post(gate(
            "equal",
            argv,
            0,
            None,
            "LAVA reports no error for a log that is not there.",
        ));
        Some(step)
    }

    /// A worker's list of jobs is of another time than the master's database.
    pub(crate) fn forget_jobs(&mut self, manual_step: u8) {
        let step = self.push(
            Phase::Config,
            "forget_jobs",
            manual_step,
            "Let workers forget which jobs they ran",
            "The restored master gives ids again that a worker may still remember, and a worker \
             never runs a job whose id it knows. The list is put aside beside its place (R119, \
             R127).",
            Action::ForgetJobs,
        );
        step.touch(Danger::Replaces, &[Touch::Data]);
        // `find` exits 0 whatever becomes of the commands that it runs.
        step.post(gate(
            "forgotten",
            words(&REMEMBERED_JOBS),
            0,
            Some(String::new()),
            "With such a list a worker takes new jobs for old ones.",
        ));
    }

    pub(crate) fn give_identity(&mut self, manual_step: u8) {
        if self.is_named(names::WORKER_IDENTITY) {
            self.confirm(
                Phase::Config,
                "identity",
                manual_step,
                "Give the worker its identity",
                "A master takes no worker whose name or secret it does not know (R127; measured: \
                 error 404 or 400).",
                "The worker's name and token (before 2020.09: its certificates) on this host are \
                 those that its master knows, as the findings say.",
            );
        }
    }

    /// Whether a unit was masked on the backup's host: the link that does it is back with the
    /// configuration.
    fn was_masked(&self, unit: &str) -> bool {
        let backup = self.case.backup();
        let mut known = backup
            .facts
            .units
            .iter()
            .chain(&backup.facts.timers)
            .flatten();
        let is_off = |known: &Unit| known.active != Some(true) && known.enabled != Some(true);
        known.any(|known| known.name == unit && is_off(known))
            && backup.holds(&format!("config/etc/systemd/system/{unit}"))
    }

    pub(crate) fn release_units(&mut self, manual_step: u8) {
        let started = self.started();
        let mut units = self.stopped.clone();
        units.retain(|unit| started.contains(unit) || !self.was_masked(unit));
        let step = self.push(
            Phase::Start,
            "release",
            manual_step,
            "Allow LAVA's services to start",
            "The restored configuration may hold changed units, so systemd reads them again \
             (R114).",
            Action::ReleaseUnits { units },
        );
        step.touch(Danger::None, &[Touch::Services]);
    }

    /// The master's units that are down on the target.
    pub(crate) fn stopped_already(&self) -> Vec<String> {
        let is_down = |unit: &&String| {
            let mut units = self.case.target().units.iter().flatten();
            self.release.master_units.contains(&unit.as_str())
                && units.any(|known| known.name == **unit && known.active == Some(false))
        };
        self.stopped.iter().filter(is_down).cloned().collect()
    }

    /// Of the units that were stopped, those that ran on the backup's host, and all of the master's
    /// own: `check --deploy` calls it an error when one of these is down.
    pub(crate) fn started(&self) -> Vec<String> {
        let release = self.release;
        // In their one order, by name.
        let ran = |unit: &str| match &self.case.backup().facts.units {
            Some(units) => {
                let first = units.partition_point(|known| known.name.as_str() < unit);
                let mut same = units[first..].iter().take_while(|known| known.name == unit);
                same.any(|known| known.enabled == Some(true) || known.active == Some(true))
            }
            None => !release.optional_units.contains(&unit),
        };
        let is_master = self.case.planned.role == Role::Master;
        let ran_any = self.stopped.iter().any(|unit| ran(unit));
        let wanted = |unit: &&String| match is_master {
            true => release.master_units.contains(&unit.as_str()) || ran(unit),
            // A worker that was off when it was backed up is to work all the same.
            false => ran(unit) || !ran_any && *unit == release.worker_unit,
        };
        self.stopped.iter().filter(wanted).cloned().collect()
    }

    pub(crate) fn review_logs(&mut self, manual_step: u8, why: &str) {
        let units = self.started();
        if units.is_empty() || self.is_alone() {
            return;
        }
        self.push(
            Phase::Verify,
            "logs",
            manual_step,
            "Read what the services logged",
            why,
            Action::ReviewLogs { units },
        );
    }
}

/// LAVA's units that the target has, or will have once the backup's packages are installed.
fn stopped_units(case: &Case<'_>, release: &Release) -> Vec<String> {
    let of = |facts: &Facts| -> Vec<String> {
        let units = facts.units.iter().flatten();
        let ours = |unit: &&Unit| release.stops(&unit.name) && !unit.name.ends_with("@.service");
        units.filter(ours).map(|unit| unit.name.clone()).collect()
    };
    let mut units = of(case.target());
    // A package that comes brings its units along, and starts them.
    let comes = |package: Role| {
        let package = package.package();
        case.target().installed(package).is_none()
            && case.backup().facts.installed(package).is_some()
    };
    let brought = |unit: &String| match release.is_worker(unit) {
        true => comes(Role::Worker),
        false => comes(Role::Master),
    };
    let usual = release.master_units.iter().chain([&release.worker_unit]);
    let theirs = of(&case.backup().facts).into_iter();
    let theirs = theirs.chain(usual.map(|unit| (*unit).to_owned()));
    units.extend(theirs.filter(brought));
    units.sort_by_key(|unit| (release.start_rank(unit), unit.clone()));
    units.dedup();
    units
}

impl Step {
    pub(crate) fn touch(&mut self, danger: Danger, touches: &[Touch]) {
        self.danger = danger;
        self.touches = touches.to_vec();
    }

    pub(crate) fn pre(&mut self, gate: Gate) {
        self.pre.push(gate.named(&self.id));
    }

    pub(crate) fn post(&mut self, gate: Gate) {
        self.post.push(gate.named(&self.id));
    }
}

impl Gate {
    /// Gives it its whole id.
    pub(crate) fn named(self, step: &str) -> Self {
        Self {
            id: format!("{step}:{}", self.id),
            ..self
        }
    }
}

pub(crate) fn gate(
    name: &str,
    argv: Vec<String>,
    exit: u8,
    stdout: Option<String>,
    why: &str,
) -> Gate {
    Gate {
        id: name.to_owned(),
        argv,
        expect: Expect { exit, stdout },
        patience: 0,
        why: why.to_owned(),
    }
}

/// Measured: `is-active` is no such gate. A unit that something ended as it stopped it, or that had
/// failed before, is `failed` to it and not `inactive`, and the exit code of both is that of a unit
/// that comes up.
///
/// In a chroot `systemctl` stops nothing, prints nothing and exits 0, so it has to say something
/// first.
pub(crate) fn still(units: &[String], why: &str) -> [Gate; 2] {
    [
        gate(
            "systemd",
            words(&["systemctl", "is-active", SYSINIT]),
            0,
            Some("active".to_owned()),
            "Where systemd is not asked, as in a chroot, nothing is stopped and all looks still.",
        ),
        gate("still", with(&RUNNING, units), 0, Some(String::new()), why),
    ]
}

/// systemd exits 1 when it may start none of them.
pub(crate) fn masked(units: &[String]) -> Gate {
    const WHY: &str = "Whatever is not masked starts when the machine is booted.";
    all("masked", "is-enabled", units, "masked", 1, WHY)
}

pub(crate) fn active(units: &[String]) -> Gate {
    const WHY: &str = "A service that does not stay up is the first thing to look at.";
    all("active", "is-active", units, "active", 0, WHY)
}

/// What systemd answers when all units are in one state.
fn all(name: &str, verb: &str, units: &[String], state: &str, exit: u8, why: &str) -> Gate {
    let states = vec![state; units.len()].join("\n");
    let argv = with(&["systemctl", verb], units);
    gate(name, argv, exit, Some(states), why)
}

/// Text of a backup on one line of a plan.
pub(crate) fn one_line(text: &str) -> String {
    name::shown(text, 200)
}
