//! What one host is: the document [`Facts`] and its parts.

mod database;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::release::DeviceHealth;
use crate::schema::{self, UnknownField};
use crate::{Class, Error, LavaVersion, PackageVersion, Suite};

pub use database::{
    ActiveJob, Cluster, Database, DatabaseState, Migration, PostgresqlFacts, ShippedMigration,
    Table,
};

/// What upgrades packages and then ends, as its timer has it.
pub(crate) const UPGRADE: &str = "apt-daily-upgrade.service";

/// What changes packages by itself: the units that [`Facts::timers`] tells of.
pub const UNATTENDED: [&str; 4] = [
    "apt-daily.timer",
    // What the timer started goes on when the timer is stopped.
    UPGRADE,
    "apt-daily-upgrade.timer",
    "unattended-upgrades.service",
];

/// What one host is, the same document whether it was read from a running host, from an offline
/// root or out of a backup.
///
/// `None` and `unknown` mean that nobody could tell; they never mean "no". No field holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Facts {
    /// The version of this document.
    pub schema: FactsSchema,
    /// When the facts were gathered, in the words of whoever gathered them.
    pub captured_at: Option<String>,
    /// What the host does in its lab.
    pub role: Role,
    /// The host's name.
    pub hostname: Option<String>,
    /// The Debian release under everything else.
    pub suite: SuiteFacts,
    /// dpkg's native architecture.
    pub architecture: Option<String>,
    /// What dpkg knows; empty means unknown, for no Debian is without packages.
    pub packages: Vec<Package>,
    /// LAVA's own version; `None` when there is none or it could not be read.
    pub lava: Option<LavaFacts>,
    /// The PostgreSQL server; `None` when there is none or it could not be asked.
    pub postgresql: Option<PostgresqlFacts>,
    /// LAVA's database.
    pub database: DatabaseState,
    /// The migrations that the installed packages' files define.
    pub migrations_shipped: Option<Vec<ShippedMigration>>,
    /// systemd units of LAVA and of what it stands on.
    pub units: Option<Vec<Unit>>,
    /// Timers and services that change packages by themselves (`apt-daily.timer` …).
    pub timers: Option<Vec<Unit>>,
    /// Settings that move data or change what a backup holds.
    pub settings: Settings,
    /// The web server.
    pub apache: Apache,
    /// How its worker reaches a master; `None` when there is no worker or nobody could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerFacts>,
    /// The architectures that dpkg installs beside its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_architectures: Option<Vec<String>>,
    /// The kinds of archives that apt takes packages from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub sources: Option<Vec<Class>>,
    /// What is not in order with its packages and their sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disorder: Option<Vec<Disorder>>,
    /// The packages that LAVA's own depend on directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Vec<String>>,
    /// How many of its packages an archive has a newer version of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<u64>,
    /// The locales that it has, as `locale -a` writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locales: Option<Vec<String>>,
    /// How much room there is where a restore writes most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Vec<Room>>,
}

impl Facts {
    /// Facts of which nothing is known yet, for a collector to fill in.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            schema: FactsSchema::V1,
            captured_at: None,
            role: Role::Unknown,
            hostname: None,
            suite: SuiteFacts::default(),
            architecture: None,
            packages: Vec::new(),
            lava: None,
            postgresql: None,
            database: DatabaseState::Unknown,
            migrations_shipped: None,
            units: None,
            timers: None,
            settings: Settings::default(),
            apache: Apache::default(),
            worker: None,
            foreign_architectures: None,
            sources: None,
            disorder: None,
            dependencies: None,
            updates: None,
            locales: None,
            room: None,
        }
    }

    /// The same without what changes from day to day by itself and binds no plan: when it was
    /// gathered, how much room there is, what archives offer and how old their lists are, the
    /// database's size, which grows while nobody does anything (measured: workers ping, vacuum works),
    /// and whether the daily upgrade is at work this minute: its timer starts it at a random time.
    #[must_use]
    pub fn lasting(&self) -> Self {
        let mut lasting = self.clone();
        (lasting.captured_at, lasting.room, lasting.updates) = (None, None, None);
        if let Some(disorder) = &mut lasting.disorder {
            // A package is superseded as soon as its archive has a newer one.
            let theirs = |found: &Disorder| {
                found.kind.starts_with("lists.") || found.kind == "package.superseded"
            };
            disorder.retain(|found| !theirs(found));
        }
        for package in &mut lasting.packages {
            package.origin = None;
        }
        if let DatabaseState::Present(database) = &mut lasting.database {
            database.size_bytes = None;
        }
        let timers = lasting.timers.iter_mut().flatten();
        for unit in timers.filter(|unit| unit.name == UPGRADE) {
            unit.active = None;
        }
        lasting.normalise();
        lasting
    }

    /// Reads a document. Fields that it should not have are passed over, for a later version may
    /// have written it; [`unknown_fields`](Self::unknown_fields) names them.
    ///
    /// # Errors
    /// `TooLarge`, `UnknownSchema` when the document names another schema, `Malformed` when it is not
    /// of its own or has a key twice.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        schema::read(json, schema::FACTS)
    }

    /// The fields of a document that facts do not have, and what may be meant: a slip in facts that
    /// are written by hand leaves what they say unknown.
    ///
    /// # Errors
    /// `TooLarge` and `Malformed`, as for [`from_json`](Self::from_json).
    pub fn unknown_fields(json: &[u8]) -> Result<Vec<UnknownField>, Error> {
        let document = schema::value(json, schema::FACTS)?;
        Ok(schema::unknown_fields(&document, &schema::facts_schema()))
    }

    /// The package of this name, of any state.
    #[must_use]
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// The installed package of this name, of facts whose lists are in their one order.
    pub(crate) fn installed(&self, name: &str) -> Option<&Package> {
        let first = self
            .packages
            .partition_point(|known| known.name.as_str() < name);
        let same = self.packages[first..]
            .iter()
            .take_while(|known| known.name == name);
        same.into_iter().find(|package| package.is_installed())
    }

    /// Whether something of this kind is known not to be in order.
    pub(crate) fn has_disorder(&self, kind: &str) -> bool {
        self.disorder
            .iter()
            .flatten()
            .any(|found| found.kind == kind)
    }

    /// LAVA's release, from the installed package or, failing that, from LAVA's own version file.
    #[must_use]
    pub fn lava_version(&self) -> Option<LavaVersion> {
        let installed = self
            .package("lava-server")
            .filter(|package| package.is_installed())
            .map(|package| &package.version);
        let lava = self.lava.as_ref();
        installed
            .or_else(|| lava?.package_version.as_ref())
            .and_then(|version| LavaVersion::of(version).ok())
            .or_else(|| self.dispatcher_version())
            .or_else(|| lava?.version.parse().ok())
    }

    /// LAVA's release on a worker, from its package or from LAVA's own version file.
    fn dispatcher_version(&self) -> Option<LavaVersion> {
        let installed = self.package("lava-dispatcher");
        let installed = installed.filter(|package| package.is_installed());
        LavaVersion::of(&installed?.version).ok()
    }

    /// Whether the packages are known and the one that makes a host of this role is not among the
    /// installed ones.
    #[must_use]
    pub fn lacks(&self, role: Role) -> bool {
        !self.packages.is_empty()
            && !self
                .package(role.package())
                .is_some_and(Package::is_installed)
    }

    /// Brings every list into its one order, so that equal facts are equal documents.
    pub fn normalise(&mut self) {
        self.packages.sort();
        self.packages.dedup();
        for units in [&mut self.units, &mut self.timers].into_iter().flatten() {
            for unit in units.iter_mut().filter(|unit| !unit.name.contains('.')) {
                unit.name.push_str(".service");
            }
            units.sort();
            units.dedup();
        }
        if let Some(shipped) = &mut self.migrations_shipped {
            for migration in shipped.iter_mut() {
                migration.replaces.sort();
            }
            shipped.sort();
            shipped.dedup();
        }
        for names in [
            &mut self.foreign_architectures,
            &mut self.dependencies,
            &mut self.locales,
        ] {
            sorted(names);
        }
        sorted(&mut self.sources);
        sorted(&mut self.disorder);
        sorted(&mut self.room);
        sorted(&mut self.apache.sites);
        if let Some(postgresql) = &mut self.postgresql {
            postgresql.clusters.sort();
            sorted(&mut postgresql.roles);
            sorted(&mut postgresql.extensions);
        }
        if let DatabaseState::Present(database) = &mut self.database {
            database.tables.sort();
            sorted(&mut database.worker_names);
            sorted(&mut database.extensions);
            normalise_content(
                &mut database.migrations,
                &mut database.devices_by_health,
                &mut database.active_jobs,
            );
        }
    }
}

pub(crate) fn sorted<T: Ord>(list: &mut Option<Vec<T>>) {
    if let Some(list) = list {
        list.sort();
        list.dedup();
    }
}

pub(crate) fn normalise_content(
    migrations: &mut Option<Vec<Migration>>,
    devices: &mut Option<BTreeMap<DeviceHealth, Vec<String>>>,
    jobs: &mut Option<Vec<ActiveJob>>,
) {
    sorted(migrations);
    for names in devices.iter_mut().flat_map(BTreeMap::values_mut) {
        names.sort();
    }
    sorted(jobs);
}

/// The versions of [`Facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FactsSchema {
    /// The first.
    #[serde(rename = "lava-backup/facts/1")]
    V1,
}

/// What a host does in its lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It runs lava-server, whether or not it also runs a worker.
    Master,
    /// It runs lava-dispatcher alone.
    Worker,
    /// Neither is installed, or nobody could tell.
    Unknown,
}

impl Role {
    /// The package that makes a host of this role.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Self::Master => "lava-server",
            Self::Worker | Self::Unknown => "lava-dispatcher",
        }
    }
}

/// The Debian release under everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SuiteFacts {
    /// Its codename.
    #[schemars(with = "Option<String>")]
    pub base: Option<Suite>,
    /// How far the signals agree.
    pub confidence: Confidence,
    /// `ID` of its os-release, `debian` for Debian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// Its point release, as `/etc/debian_version` has it (`12.14`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
}

/// How sure a collector is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Every signal says the same.
    Certain,
    /// One signal is missing, none disagrees.
    Likely,
    /// Signals disagree.
    Ambiguous,
    /// There was no signal.
    #[default]
    Unknown,
}

/// One package as dpkg knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its architecture, `all` included.
    pub architecture: String,
    /// Its version.
    #[schemars(with = "String")]
    pub version: PackageVersion,
    /// dpkg's third status word: `installed`, `config-files`, `half-configured` …; `reinst-required`
    /// when dpkg's error flag is set.
    pub state: String,
    /// Whether it is on hold.
    pub hold: bool,
    /// Whether apt installed it for another package.
    pub auto: bool,
    /// What kind of archive it came from (`base`, `security`, `backports`, `lava`, `local` …), by
    /// the lists that apt had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub origin: Option<Class>,
}

impl Package {
    /// Whether it is installed, configured and sound.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.state == "installed"
    }

    /// Whether dpkg left off in the middle of it.
    #[must_use]
    pub fn is_unclean(&self) -> bool {
        !matches!(
            self.state.as_str(),
            "installed" | "config-files" | "not-installed"
        )
    }
}

/// LAVA's own version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LavaFacts {
    /// What LAVA says of itself, such as `2023.01`.
    pub version: String,
    /// The version of the package lava-server.
    #[schemars(with = "Option<String>")]
    pub package_version: Option<PackageVersion>,
}

/// A systemd unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Unit {
    /// Its name, with its suffix (`lava-worker.service`).
    pub name: String,
    /// Whether it runs now; `None` in an offline root.
    pub active: Option<bool>,
    /// Whether it starts at boot.
    pub enabled: Option<bool>,
}

/// LAVA's settings that a plan depends on; never one that is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// `MEDIA_ROOT`.
    pub media_root: Option<String>,
    /// `LAVA_LOG_BACKEND`; LAVA's default written out where the settings do not name one.
    pub log_backend: Option<String>,
    /// `INSTANCE_NAME`.
    pub instance_name: Option<String>,
    /// `ALLOW_VERSION_MISMATCH`; `false` is LAVA's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_version_mismatch: Option<bool>,
}

/// Something about a host's packages that is not in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Disorder {
    /// What kind of thing: `dpkg.interrupted`, `base.mixed`, `lists.expired` and others that
    /// `lava-backup-debian` finds.
    pub kind: String,
    /// What it is about: a package, an archive, a file.
    pub subject: String,
}

/// How much room there is at a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Room {
    /// A directory that a restore writes to, whether or not it is there yet.
    pub path: String,
    /// Where its file system is mounted; two places of one file system share their room.
    pub mount: String,
    /// How many bytes are free.
    pub free_bytes: u64,
}

/// How a worker reaches its master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerFacts {
    /// The name that its master knows it by.
    pub name: Option<String>,
    /// Whether that is configured, and not the full name of its host.
    #[serde(default)]
    pub configured: bool,
    /// Where it is configured to look for its master, without a password.
    pub server: Option<String>,
}

/// The web server in front of LAVA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Apache {
    /// Whether `sites-enabled/lava-server.conf` is there.
    pub lava_site_enabled: Option<bool>,
    /// The names of all enabled sites, without `.conf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ErrorKind;
    use crate::release::JobState;

    #[test]
    fn facts_survive_json() {
        let mut facts = Facts::unknown();
        facts.database = DatabaseState::Present(Box::new(Database {
            name: "lavaserver".into(),
            devices_by_health: Some(BTreeMap::from([(DeviceHealth::Good, vec!["a".into()])])),
            jobs_by_state: Some(BTreeMap::from([(JobState::Finished, 3)])),
            ..Database::default()
        }));
        let json = serde_json::to_vec(&facts).unwrap();
        assert_eq!(Facts::from_json(&json).unwrap(), facts);
    }

    #[test]
    fn what_changes_by_itself_binds_no_plan() {
        let mut facts = Facts::unknown();
        facts.disorder = Some(vec![]);
        let unit = |name: &str, active| Unit {
            name: name.into(),
            active: Some(active),
            enabled: Some(true),
        };
        facts.timers = Some(vec![
            unit(UPGRADE, false),
            unit("apt-daily-upgrade.timer", true),
        ]);
        let before = facts.lasting();
        let expired = Disorder {
            kind: "lists.expired".into(),
            subject: "bookworm".into(),
        };
        let superseded = Disorder {
            kind: "package.superseded".into(),
            subject: "bash:amd64".into(),
        };
        facts.disorder = Some(vec![expired, superseded]);
        facts.captured_at = Some("later".into());
        facts.updates = Some(7);
        facts.room = Some(vec![]);
        facts.timers.as_mut().unwrap()[0].active = Some(true);
        assert_eq!(facts.lasting(), before);
        facts.timers.as_mut().unwrap()[1].active = Some(false);
        assert_ne!(facts.lasting(), before);
        facts.timers.as_mut().unwrap()[1].active = Some(true);
        facts.hostname = Some("other".into());
        assert_ne!(facts.lasting(), before);
    }

    #[test]
    fn a_newer_schema_is_told_from_damage() {
        let newer = br#"{"schema": "lava-backup/facts/2", "shape": "another"}"#;
        let kind = Facts::from_json(newer).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::UnknownSchema);
        let cut = br#"{"schema": "lava-backup/facts/1", "role": "mas"#;
        let kind = Facts::from_json(cut).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Malformed);
    }
}
