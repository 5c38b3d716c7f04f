//! The steps that bring a master back.

use crate::backup::Dump;
use crate::draft::{Draft, active, gate, is_at_or_below, names, one_line};
use crate::facts::{Database, DatabaseState, Facts};
use crate::release::{Command, Encoding, JobState};
use crate::rule::{self, Case};
use crate::sql::{Query, Statement};
use crate::step::{Action, Connection, Danger, Gate, Phase, Touch, words};
use crate::{Backup, Intent};

mod after;
mod before;
mod check;
mod load;

use check::{admitted, check_deploy, closed};

const SITE: &str = "lava-server";
const SITES: &str = "/etc/apache2/sites-enabled/";
const SITE_LINK: &str = "/etc/apache2/sites-enabled/lava-server.conf";
const GUARD_LINK: &str = "/etc/apache2/conf-enabled/lava-backup-workers-only.conf";
/// What apache serves where nobody has told it anything; it is in front of LAVA until it is gone.
const DEFAULT_SITE: &str = "000-default";
/// The database that lava-server makes when it is installed.
const INSTALLED: &str = "lavaserver";
const GUNICORN: &str = "lava-server-gunicorn.service";

/// A worker asks for work every 20 seconds, and the first time when it has started.
const PING: u16 = 60;

const SETTINGS: [&str; 5] = [
    "config/etc/lava-server/settings.d",
    "config/etc/lava-server/instance.conf",
    "config/etc/lava-server/secret_key.conf",
    "config/etc/lava-server/settings.conf",
    "config/etc/lava-server/settings.yaml",
];

/// The settings that belong to one database and its users' sessions.
const OWN_SETTINGS: [&str; 4] = [
    "config/etc/lava-server/settings.d/00-database.yaml",
    "config/etc/lava-server/settings.d/00-secret-key.yaml",
    "config/etc/lava-server/instance.conf",
    "config/etc/lava-server/secret_key.conf",
];

/// The configuration of PostgreSQL's clusters.
pub(crate) const SERVER_FILES: &str = "config/etc/postgresql";

/// Whether a member of a backup is one of LAVA's settings files.
pub(crate) fn is_setting(member: &str) -> bool {
    SETTINGS.iter().any(|path| is_at_or_below(member, path))
}

/// Whether a member of a backup is one of the settings that stay with their database.
pub(crate) fn is_own_setting(member: &str) -> bool {
    OWN_SETTINGS.contains(&member)
}

/// The settings files that a backup holds, of those with the database's password and the secret key.
pub(crate) fn settings_held(backup: &Backup) -> Vec<String> {
    held(backup, &SETTINGS)
}

fn held(backup: &Backup, paths: &[&str]) -> Vec<String> {
    let held = |path: &&&str| backup.holds(path) || backup.holds(&format!("{path}/"));
    let paths = paths.iter().filter(held);
    paths.map(|path| (*path).to_owned()).collect()
}

/// The database's name on the target. A new lab's is the one that its own settings name.
pub(crate) fn database_name(case: &Case<'_>) -> Option<String> {
    if !case.restores_data() {
        let own = database(case.target()).map(|database| database.name.clone());
        let named = case.options.database.clone();
        return named.or(own).or(Some(INSTALLED.to_owned()));
    }
    let dumped = case.backup().database.as_ref();
    let of_facts = database(&case.backup().facts).map(|database| database.name.clone());
    let named = case.options.database.clone();
    named.or(dumped.map(|dump| dump.name.clone())).or(of_facts)
}

/// The port in the settings that the target will have, when it is not the usual one.
pub(crate) fn port(case: &Case<'_>) -> Option<u16> {
    let facts = match case.restores_data() {
        true => &case.backup().facts,
        false => case.target(),
    };
    database(facts)?.port.filter(|port| *port != 5432)
}

fn database(facts: &Facts) -> Option<&Database> {
    match &facts.database {
        DatabaseState::Present(database) => Some(database),
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

/// A master's steps in the making.
pub(crate) struct Master<'a> {
    pub(crate) draft: Draft<'a>,
    /// What comes into the database; nothing when a new lab begins.
    dump: Option<&'a Dump>,
    on: Connection,
}

impl<'a> Master<'a> {
    pub(crate) fn of(draft: Draft<'a>) -> Option<Self> {
        let case = draft.case;
        let dump = case.backup().database.as_ref();
        let grows = case.intent == Intent::Grow;
        if dump.is_none() && !grows {
            return None; // a rule refused
        }
        Some(Self {
            on: Connection {
                database: database_name(case).unwrap_or_default(),
                port: port(case),
                encoding: draft.release.encoding,
            },
            dump: dump.filter(|_| !grows),
            draft,
        })
    }

    /// Whether the restored database has a worker of this host's name, which it takes.
    fn knows_itself(&self) -> bool {
        if self.draft.is_alone() && !rule::holds_secret(self.draft.case) {
            return false; // and nobody is there to give it a secret
        }
        let workers = self.dump.and_then(|dump| dump.workers.as_ref());
        let own = self.draft.case.settled_worker_name();
        workers.is_some_and(|workers| workers.iter().any(|name| Some(name.as_str()) == own))
    }

    /// All but the way back in.
    pub(crate) fn up_to_verify(&mut self) {
        self.isolate();
        self.base();
        self.install();
        self.smoke();
        self.quiesce();
        if self.dump.is_some() {
            self.database();
            self.maintenance();
        }
        self.config();
        self.start();
        self.verify();
    }
}
