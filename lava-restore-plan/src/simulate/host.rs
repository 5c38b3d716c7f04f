use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::HarmKind;
use super::database::Content;
use crate::command::Admitted;
use crate::facts::{Database, DatabaseState, Facts, LavaFacts, Package, Role, Unit};
use crate::host::PlannedHost;
use crate::release::{DeviceHealth, Encoding, RELEASES, Release};
use crate::step::SYSINIT;
use crate::{Backup, Intent, LavaVersion};

/// A host of a simulated lab.
#[derive(Clone, Debug)]
pub struct Host {
    pub(super) planned: PlannedHost,
    wanted: Arc<crate::Host>,
    pub(super) intent: Intent,
    /// What facts can say of it, but for its databases.
    pub(super) facts: Facts,
    pub(super) masked: BTreeSet<String>,
    /// Whether `systemctl` reaches systemd.
    pub(super) asks_systemd: bool,
    /// Units that fall whenever they are started.
    pub(super) broken: BTreeSet<String>,
    pub(super) databases: BTreeMap<String, Content>,
    pub(super) settings: Settings,
    /// Whose password the database's role has; `None` while there is no role.
    pub(super) role: Option<Whose>,
    /// The members of the backup that are in place.
    pub(super) files: BTreeSet<String>,
    pub(super) apache: Apache,
    pub(super) server: Server,
    pub(super) worker: Worker,
    /// The name that it will have when it is booted.
    pub(super) next_name: Option<String>,
    pub(super) has_network: bool,
    pub(super) has_mirror: bool,
    /// The steps in which people took a decision.
    pub(super) decided: BTreeSet<String>,
    /// What may not happen and did, in the command that is run.
    pub(super) noted: Vec<(HarmKind, String)>,
}

/// Where something comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Target,
    Backup,
}

/// LAVA's settings, as far as they lead to its database.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) whose: Whose,
    pub(super) database: String,
}

#[derive(Clone, Debug)]
pub(super) struct Apache {
    pub(super) is_running: bool,
    /// By what it read when it was started or reloaded.
    pub(super) serves: Admitted,
    /// The file that closes it to all but workers is there.
    pub(super) has_guard: bool,
    /// It will be read.
    pub(super) is_guarded: bool,
}

/// PostgreSQL's.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) is_running: bool,
    /// The configuration in the backup suits this host.
    pub(super) suits: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) remembers_jobs: bool,
    /// The worker whose secret is on the host; `None` for one that no master knows.
    pub(super) secret_of: Option<String>,
}

pub(super) const GUNICORN: &str = "lava-server-gunicorn.service";
pub(super) const APACHE: &str = "apache2.service";
/// Where apache's sites are enabled.
pub(super) const SITES: &str = "/etc/apache2/sites-enabled/";
const DATABASE: &str = "lavaserver";
const SITE: &str = "lava-server";

impl Host {
    pub(super) fn new(wanted: crate::Host, planned: PlannedHost, intent: Intent) -> Self {
        let mut facts = wanted.target.clone();
        let found = std::mem::replace(&mut facts.database, DatabaseState::Absent);
        for unit in [&mut facts.units, &mut facts.timers]
            .into_iter()
            .flatten()
            .flatten()
        {
            // Of an offline root only what it will do at boot is known.
            let enabled = unit.enabled.unwrap_or(true);
            unit.active.get_or_insert(enabled);
        }
        let has = |name: &str| facts.package(name).is_some_and(Package::is_installed);
        let (has_server, has_worker) = (has("lava-server"), has("lava-dispatcher"));
        let site = facts.apache.lava_site_enabled;
        if let Some(sites) = &mut facts.apache.sites {
            sites.retain(|name| name != SITE);
        }
        let is_drill = intent == Intent::Drill;
        let name = match &found {
            DatabaseState::Present(database) => database.name.clone(),
            _ => DATABASE.to_owned(),
        };
        let mut host = Self {
            planned,
            intent,
            masked: BTreeSet::new(),
            asks_systemd: true,
            broken: BTreeSet::new(),
            databases: BTreeMap::new(),
            settings: Settings {
                whose: Whose::Target,
                database: name.clone(),
            },
            role: has_server.then_some(Whose::Target),
            files: BTreeSet::new(),
            apache: Apache {
                is_running: site.is_some(),
                serves: Admitted::Nobody,
                has_guard: false,
                is_guarded: false,
            },
            server: Server {
                is_running: true,
                suits: true,
            },
            worker: Worker {
                remembers_jobs: has_worker,
                secret_of: None,
            },
            next_name: facts.hostname.clone(),
            has_network: !is_drill,
            has_mirror: !is_drill,
            decided: BTreeSet::new(),
            noted: Vec::new(),
            facts,
            wanted: Arc::new(wanted),
        };
        host.reload_apache();
        let encoding = host.encoding();
        let rows = match found {
            DatabaseState::Present(database) => Some(*database),
            DatabaseState::Unknown if has_server => Some(some_lab(&name)),
            _ => None,
        };
        if let Some(rows) = rows {
            host.databases.insert(name, Content::found(rows, encoding));
        }
        host
    }

    /// Its id in plans.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.planned.id
    }

    /// What a collector would find on it now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let mut facts = self.facts.clone();
        for unit in [&mut facts.units, &mut facts.timers]
            .into_iter()
            .flatten()
            .flatten()
        {
            if self.masked.contains(&unit.name) {
                unit.enabled = Some(false);
            }
        }
        facts.role = match () {
            () if !facts.lacks(Role::Master) => Role::Master,
            () if !facts.lacks(Role::Worker) => Role::Worker,
            () => Role::Unknown,
        };
        if let (Some(true), Some(sites)) = (facts.apache.lava_site_enabled, &mut facts.apache.sites)
        {
            sites.push(SITE.to_owned());
        }
        facts.lava = facts.lava_version().map(|version| LavaFacts {
            version: version.to_string(),
            package_version: facts.package("lava-server").map(|p| p.version.clone()),
        });
        facts.database = match self.database() {
            Some(_) if !self.can_log_in() => DatabaseState::Unknown,
            Some(content) => DatabaseState::Present(Box::new(content.rows.clone())),
            None => DatabaseState::Absent,
        };
        facts.normalise();
        facts
    }

    pub(super) fn found(&self) -> crate::Host {
        crate::Host {
            target: self.facts(),
            ..crate::Host::clone(&self.wanted)
        }
    }

    /// Whether a person took the decision that a step asks for.
    #[must_use]
    pub fn has_decided(&self, step: &str) -> bool {
        self.decided.contains(step)
    }

    /// Its worker has the secret that its master knows, as on a host that was not lost.
    pub fn keep_worker_secret(&mut self) {
        self.worker.secret_of = self.worker_name().map(str::to_owned);
    }

    /// A drill's host is connected after all.
    pub fn connect(&mut self) {
        self.has_network = true;
    }

    /// No mirror has the versions that the backup's host had.
    pub fn lose_mirror(&mut self) {
        self.has_mirror = false;
    }

    pub(super) fn backup(&self) -> &Backup {
        &self.wanted.backup
    }

    /// What it was when its facts were gathered.
    pub(super) fn was(&self) -> &Facts {
        &self.wanted.target
    }

    pub(super) fn is_master(&self) -> bool {
        self.planned.role == Role::Master
    }

    /// The row of what is installed, or will be.
    pub(super) fn release(&self) -> &'static Release {
        let of = |version: Option<LavaVersion>| version.and_then(|version| Release::of(&version));
        let installed = of(self.facts.lava_version());
        let wanted = || of(self.backup().facts.lava_version());
        let last = &RELEASES[RELEASES.len() - 1];
        installed.or_else(wanted).unwrap_or(last)
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.release().encoding
    }

    /// The name that its worker gives itself.
    pub(super) fn worker_name(&self) -> Option<&str> {
        let worker = self.facts.worker.as_ref();
        let name = worker.and_then(|worker| worker.name.as_deref());
        name.or(self.facts.hostname.as_deref())
    }

    /// The name that its worker has by itself, with nothing configured.
    fn own_worker_name(&self) -> Option<&str> {
        let worker = self
            .was()
            .worker
            .as_ref()
            .filter(|worker| !worker.configured);
        let name = worker.and_then(|worker| worker.name.as_deref());
        name.or(self.was().hostname.as_deref())
    }

    /// The configuration of the backup's worker takes effect.
    pub(super) fn take_worker_config(&mut self) {
        let mut worker = self.backup().facts.worker.clone().unwrap_or_default();
        if !worker.configured {
            worker.name = self.own_worker_name().map(str::to_owned);
        }
        self.facts.worker = Some(worker);
    }

    /// The name that its master knows its worker by; a new worker's is its own.
    pub(super) fn wanted_worker_name(&self) -> Option<&str> {
        if self.intent == Intent::Grow {
            return self.own_worker_name();
        }
        let facts = &self.backup().facts;
        let worker = facts.worker.as_ref();
        let name = worker.and_then(|worker| worker.name.as_deref());
        name.or(facts.hostname.as_deref())
    }

    pub(super) fn is_installed(&self, package: &str) -> bool {
        self.facts
            .package(package)
            .is_some_and(Package::is_installed)
    }

    pub(super) fn units(&self) -> impl Iterator<Item = &Unit> {
        self.facts.units.iter().chain(&self.facts.timers).flatten()
    }

    pub(super) fn unit_mut(&mut self, name: &str) -> Option<&mut Unit> {
        let facts = &mut self.facts;
        let units = [&mut facts.units, &mut facts.timers]
            .into_iter()
            .flatten()
            .flatten();
        units.into_iter().find(|unit| unit.name == name)
    }

    pub(super) fn is_active(&self, name: &str) -> bool {
        match name {
            SYSINIT => return true,
            APACHE => return self.apache.is_running,
            _ => {}
        }
        self.units()
            .any(|unit| unit.name == name && unit.active == Some(true))
    }

    pub(super) fn runs_worker(&self) -> bool {
        let mut active = self.units().filter(|unit| unit.active == Some(true));
        active.any(|unit| self.release().is_worker(&unit.name))
    }

    /// The database that LAVA's settings name.
    pub(super) fn database(&self) -> Option<&Content> {
        self.databases.get(&self.settings.database)
    }

    pub(super) fn database_mut(&mut self) -> Option<&mut Content> {
        self.databases.get_mut(&self.settings.database)
    }

    /// Whether LAVA's settings have the password of its database's role.
    pub(super) fn can_log_in(&self) -> bool {
        self.server.is_running
            && self.database().is_some()
            && self.role == Some(self.settings.whose)
    }

    pub(super) fn note(&mut self, kind: HarmKind, what: impl Into<String>) {
        self.noted.push((kind, what.into()));
    }
}

/// The least that makes a database one that nobody may lose.
fn some_lab(name: &str) -> Database {
    Database {
        name: name.to_owned(),
        devices_by_health: Some(BTreeMap::from([(
            DeviceHealth::Good,
            vec!["unknown".to_owned()],
        )])),
        jobs_by_state: Some(BTreeMap::new()),
        active_jobs: Some(vec![]),
        ..Database::default()
    }
}
