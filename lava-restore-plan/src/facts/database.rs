//! The server of PostgreSQL, and LAVA's database in it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::release::{DeviceHealth, JobState};

/// The PostgreSQL server that holds LAVA's database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PostgresqlFacts {
    /// Its major version, such as 15.
    pub major: u32,
    /// What the server says of itself, such as `15.20`.
    pub server_version: Option<String>,
    /// Every cluster of the host.
    pub clusters: Vec<Cluster>,
    /// Its roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// The extensions that a database of it could have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Vec<String>>,
}

/// One PostgreSQL cluster as Debian knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Cluster {
    /// Its major version.
    pub major: u32,
    /// Its name, usually `main`.
    pub name: String,
    /// Its TCP port.
    pub port: Option<u16>,
}

/// Whether LAVA's database is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum DatabaseState {
    /// Nobody could ask.
    Unknown,
    /// There is none.
    Absent,
    /// There is one.
    Present(Box<Database>),
}

/// LAVA's database, as read in one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: Option<String>,
    /// Where LAVA's settings look for the server; `None` is the local socket.
    pub host: Option<String>,
    /// The server's port.
    pub port: Option<u16>,
    /// Its encoding.
    pub encoding: Option<String>,
    /// `LC_COLLATE`.
    pub collate: Option<String>,
    /// `LC_CTYPE`.
    pub ctype: Option<String>,
    /// The locale provider.
    pub provider: Option<String>,
    /// Its extensions, but for `plpgsql`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Vec<String>>,
    /// Its size on disk in bytes.
    pub size_bytes: Option<u64>,
    /// Its tables.
    pub tables: Vec<Table>,
    /// The rows of `django_migrations`.
    pub migrations: Option<Vec<Migration>>,
    /// The names of the devices of each health; a health without devices may be left out.
    pub devices_by_health: Option<BTreeMap<DeviceHealth, Vec<String>>>,
    /// How many jobs there are of each state; a state without jobs may be left out.
    pub jobs_by_state: Option<BTreeMap<JobState, u64>>,
    /// The jobs that are between the queue and their end.
    pub active_jobs: Option<Vec<ActiveJob>>,
    /// How many workers there are.
    pub workers: Option<u64>,
    /// The names of those that are not retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_names: Option<Vec<String>>,
    /// The highest job id.
    pub max_job_id: Option<u64>,
    /// How many saved queries (each a materialised view) there are.
    pub queries: Option<u64>,
}

/// One table and how many rows it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

/// A row of `django_migrations`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Migration {
    /// Django's label of the application.
    pub app: String,
    /// The migration's name.
    pub name: String,
}

/// A migration that an installed package's file defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ShippedMigration {
    /// Django's label of the application.
    pub app: String,
    /// The migration's name.
    pub name: String,
    /// What it stands for, when it is squashed.
    #[serde(default)]
    pub replaces: Vec<Migration>,
}

/// A job that is neither queued nor finished.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct ActiveJob {
    /// Its id.
    pub id: u64,
    /// Its state.
    pub state: JobState,
}
