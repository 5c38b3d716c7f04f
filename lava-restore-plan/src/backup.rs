use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::{ActiveJob, Facts, Migration, normalise_content, sorted};
use crate::release::{DeviceHealth, JobState};
use crate::{Error, schema};

/// A sealed backup as far as a plan has to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// The version of this document.
    pub schema: BackupSchema,
    /// Its id in its store, as written on command lines.
    pub id: String,
    /// The digest of its seal: a plan holds for this seal alone.
    pub seal_digest: String,
    /// When it was made, in its seal's words.
    pub created: String,
    /// The names of the sections it holds.
    pub sections: Vec<String>,
    /// The paths in its section `config`, and of the files by which a worker is known where they
    /// lie elsewhere; each begins with its section.
    pub paths: Vec<String>,
    /// The .debs that it holds; `None` when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debs: Option<Debs>,
    /// What its host was.
    pub facts: Facts,
    /// What its dump holds, read from the dump's own bytes.
    pub database: Option<Dump>,
    /// What could not be read when it was made; empty for a whole backup.
    pub degraded: Vec<String>,
    /// How much each section holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizes: Option<BTreeMap<String, Size>>,
    /// Whether the last drill of it passed; `None` when none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_passed: Option<bool>,
}

/// How much a section holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Size {
    /// Files, directories and all else.
    pub entries: u64,
    /// Bytes in files.
    pub bytes: u64,
}

/// The versions of [`Backup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackupSchema {
    /// The first.
    #[serde(rename = "lava-restore-plan/backup/1")]
    V1,
}

/// The .debs that a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Debs {
    /// Which were asked for: `critical` or `closure`.
    pub scope: String,
    /// The packages that were asked for and not to be had.
    pub lacking: Vec<String>,
    /// Whether apt installs all of them from nothing else; `None` where that was not asked.
    pub closed: Option<bool>,
    /// The packages whose .debs it holds; `None` when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Vec<String>>,
    /// Those of them that were packed anew from what was installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repacked: Vec<String>,
}

/// What a dump holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dump {
    /// The database's name.
    pub name: String,
    /// The role that owned it.
    pub owner: Option<String>,
    /// Its encoding.
    pub encoding: Option<String>,
    /// Its tables with their rows' digests.
    pub tables: Vec<DumpTable>,
    /// The rows of `django_migrations`.
    pub migrations: Option<Vec<Migration>>,
    /// The names of the devices of each health; a health without devices may be left out.
    pub devices_by_health: Option<BTreeMap<DeviceHealth, Vec<String>>>,
    /// How many jobs there are of each state; a state without jobs may be left out.
    pub jobs_by_state: Option<BTreeMap<JobState, u64>>,
    /// The jobs that are between the queue and their end.
    pub active_jobs: Option<Vec<ActiveJob>>,
    /// The names of the workers that are not retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Vec<String>>,
}

/// A table in a dump.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct DumpTable {
    /// Its schema, usually `public`.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// The digest of its rows, whatever their order.
    pub digest: String,
}

impl Backup {
    /// Reads a document.
    ///
    /// # Errors
    /// `UnknownSchema` when the document names another schema, `Malformed` when it is not of its own.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        schema::read(json, schema::BACKUP)
    }

    /// Brings every list into its one order.
    pub fn normalise(&mut self) {
        self.sections.sort();
        self.paths.sort();
        if let Some(debs) = &mut self.debs {
            debs.lacking.sort();
            debs.repacked.sort();
            sorted(&mut debs.held);
        }
        self.degraded.sort();
        self.facts.normalise();
        if let Some(dump) = &mut self.database {
            dump.tables.sort();
            sorted(&mut dump.workers);
            normalise_content(
                &mut dump.migrations,
                &mut dump.devices_by_health,
                &mut dump.active_jobs,
            );
        }
    }

    /// Whether it is known to hold this path, or one below it when it ends in `/`.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        self.paths
            .iter()
            .any(|held| held == path || (path.ends_with('/') && held.starts_with(path)))
    }
}

impl Dump {
    /// How many devices the dump holds, if that is known.
    #[must_use]
    pub fn devices(&self) -> Option<usize> {
        let devices = self.devices_by_health.as_ref()?;
        Some(devices.values().map(Vec::len).sum())
    }

    /// How many jobs wait in the queue, if that is known.
    #[must_use]
    pub fn queued(&self) -> Option<u64> {
        let jobs = self.jobs_by_state.as_ref()?;
        Some(jobs.get(&JobState::Submitted).copied().unwrap_or(0))
    }
}
