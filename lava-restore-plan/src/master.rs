//! The steps that bring a master back, LAVA 2020.09 and later.

use crate::Backup;
use crate::backup::Dump;
use crate::facts::{DatabaseState, Facts, Package, Unit};
use crate::finding::Finding;
use crate::release::{Command, JobState, Release};
use crate::rule::{self, Case};
use crate::step::{
    Action, Connection, Danger, Expect, Gate, Phase, Reference, Resume, Step, Touch, with, words,
};

mod after;
mod before;
mod check;
mod load;
mod packages;

use check::{active, check_deploy, closed, gate, inactive};

/// Ids of steps that findings name.
pub(crate) mod ids {
    pub(crate) const ACCEPT: &str = "master.isolate.accept";
    pub(crate) const REPLACE: &str = "master.isolate.replace";
    pub(crate) const PACKAGES: &str = "master.install.packages";
    pub(crate) const LOGS_ELSEWHERE: &str = "master.config.logs_elsewhere";
}

const SITE: &str = "lava-server";
const SITE_LINK: &str = "/etc/apache2/sites-enabled/lava-server.conf";
const GUNICORN: &str = "lava-server-gunicorn.service";

/// What changes packages by itself.
pub(crate) const UNATTENDED: [&str; 3] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "unattended-upgrades.service",
];

const SETTINGS: [&str; 5] = [
    "config/etc/lava-server/settings.d",
    "config/etc/lava-server/instance.conf",
    "config/etc/lava-server/secret_key.conf",
    "config/etc/lava-server/settings.conf",
    "config/etc/lava-server/settings.yaml",
];

/// What makes a host that host; another host keeps its own.
const IDENTITY: [&str; 7] = [
    "config/etc/fstab",
    "config/etc/hostname",
    "config/etc/hosts",
    "config/etc/machine-id",
    "config/etc/network",
    "config/etc/resolv.conf",
    "config/etc/systemd/network",
];

const ACTIVE_JOBS: &str = "SELECT count(*) FROM lava_scheduler_app_testjob WHERE state IN (1, \
     2, 3, 4)";
const DEVICES_THAT_TAKE_JOBS: &str = "SELECT count(*) FROM lava_scheduler_app_device WHERE health NOT IN \
     (4, 5)";
const DEVICES: &str = "SELECT count(*) FROM lava_scheduler_app_device";
const MIGRATIONS: &str = "SELECT count(*) FROM django_migrations";

/// The settings files that a backup holds, of those with the database's password and the secret key.
pub(crate) fn settings_held(backup: &Backup) -> Vec<String> {
    let held = |path: &&&str| backup.holds_config(path) || backup.holds_config(&format!("{path}/"));
    SETTINGS
        .iter()
        .filter(held)
        .map(|path| (*path).to_owned())
        .collect()
}

/// The database's name on the target.
pub(crate) fn database_name(case: &Case<'_>) -> Option<String> {
    let dumped = case.backup.database.as_ref().map(|dump| dump.name.clone());
    case.options.database.clone().or(dumped)
}

/// The port in the settings that are restored, when it is not the usual one.
pub(crate) fn port(case: &Case<'_>) -> Option<u16> {
    match &case.backup.facts.database {
        DatabaseState::Present(database) => database.port.filter(|port| *port != 5432),
        _ => None,
    }
}

/// Whether the jobs that a dump lists are as many as it counts.
pub(crate) fn active_jobs_agree(dump: &Dump) -> bool {
    let counted = dump
        .jobs_by_state
        .iter()
        .flatten()
        .filter(|(state, _)| is_active(**state));
    let listed = dump
        .active_jobs
        .iter()
        .flatten()
        .filter(|job| is_active(job.state));
    counted
        .map(|(_, count)| *count)
        .fold(0, u64::saturating_add)
        == listed.count() as u64
}

fn is_active(state: JobState) -> bool {
    !matches!(state, JobState::Submitted | JobState::Finished)
}

/// The steps, for a case that no rule refused.
pub(crate) fn steps(case: &Case<'_>, findings: &[Finding]) -> Vec<Step> {
    let release = case
        .backup
        .facts
        .lava_version()
        .and_then(|version| Release::of(&version));
    let (Some(release), Some(dump)) = (release, &case.backup.database) else {
        return vec![];
    };
    let mut master = Master {
        case,
        release,
        dump,
        named: findings
            .iter()
            .flat_map(|finding| finding.steps.iter().map(String::as_str))
            .collect(),
        from: Reference {
            program: case.options.program.clone(),
            store: case.options.store.clone(),
            backup: case.backup.id.clone(),
        },
        on: Connection {
            database: database_name(case).unwrap_or_default(),
            port: port(case),
        },
        stopped: stopped_units(case, release),
        steps: Vec::new(),
    };
    master.isolate();
    master.base();
    master.install();
    master.smoke_and_quiesce();
    master.database();
    master.maintenance();
    master.config();
    master.start();
    master.verify();
    master.reopen();
    master.steps
}

/// LAVA's units that the target has, or will have once the backup's packages are installed.
fn stopped_units(case: &Case<'_>, release: &Release) -> Vec<String> {
    let of = |facts: &Facts| -> Vec<String> {
        let units = facts.units.iter().flatten();
        let ours = |unit: &&Unit| release.stops(&unit.name) && !unit.name.ends_with("@.service");
        units.filter(ours).map(|unit| unit.name.clone()).collect()
    };
    let mut units = of(case.target);
    if case.target.lava_is_absent() {
        units.extend(of(&case.backup.facts));
        units.extend(release.master_units.iter().map(|unit| (*unit).to_owned()));
    }
    units.sort_by_key(|unit| (release.start_rank(unit), unit.clone()));
    units.dedup();
    units
}

/// Of the units that were stopped, those that ran on the backup's host.
fn started_units(case: &Case<'_>, release: &Release, stopped: &[String]) -> Vec<String> {
    let wanted = |unit: &&String| match &case.backup.facts.units {
        Some(units) => units.iter().any(|known| {
            known.name == **unit && (known.enabled == Some(true) || known.active == Some(true))
        }),
        None => !release.optional_units.contains(&unit.as_str()),
    };
    stopped.iter().filter(wanted).cloned().collect()
}

struct Master<'a> {
    case: &'a Case<'a>,
    release: &'a Release,
    dump: &'a Dump,
    /// The steps that findings count on.
    named: Vec<&'a str>,
    from: Reference,
    on: Connection,
    stopped: Vec<String>,
    steps: Vec<Step>,
}

impl Master<'_> {
    /// Adds a step after all others; LAVA's manual wants its steps strictly in order (R72).
    fn push(
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
        let needs = self
            .steps
            .last()
            .map(|step| step.id.clone())
            .into_iter()
            .collect();
        self.steps.push(Step {
            id: format!("master.{}.{name}", phase.name()),
            phase,
            host: "master".to_owned(),
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
}
