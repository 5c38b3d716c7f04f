//! From facts to ordered, gated restore steps for a LAVA lab.
//!
//! [`plan`] takes what a backup holds and what a target host is, says whether the one can be
//! restored to the other, and if so with which commands, in which order, and what must be seen to
//! hold between them. It is a pure function over plain data: no host, no clock, no environment.
//! It never plans an operation that migrates a database.
//!
//! ```
//! use lava_restore_plan::{Backup, Facts, Host, Intent, Options, Verdict, plan, render};
//!
//! let backup = r#"{"schema": "lava-restore-plan/backup/1", "id": "b1", "seal_digest": "6f",
//!     "created": "2026-11-22T04:00:00Z", "sections": [], "paths": [], "degraded": [],
//!     "database": null, "facts": FACTS}"#;
//! let facts = serde_json::to_string(&Facts::unknown())?;
//! let backup = Backup::from_json(backup.replace("FACTS", &facts).as_bytes())?;
//! let host = Host::new(backup, "/srv/store", Facts::unknown());
//! let plan = plan(vec![host], Intent::RestoreMaster, &Options::default());
//! assert_eq!(plan.verdict, Verdict::Refuse, "what is unknown is never well");
//! assert!(plan.steps.is_empty());
//! println!("{}", render::markdown(&plan)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In the order a reader meets them:
//! - [`Facts`]: what one host is; [`Backup`]: what a sealed backup holds; [`Host`]: which backup is
//!   to become which host;
//! - [`Intent`] and [`Options`]: what is wanted;
//! - [`plan`] and the [`Plan`] it makes: a [`Verdict`], each [`Finding`] behind it, each [`Step`]
//!   with its [`Action`] and [`Gate`]s;
//! - [`render`]: a plan as JSON, as a runbook in Markdown or HTML, as a POSIX shell script, as an
//!   Ansible playbook; [`diff`]: what differs between two plans;
//! - [`Code`]: what a finding can be; [`requirement`]: what LAVA's manual asks, and what meets it;
//! - [`simulate`]: a lab in memory, to try a plan on;
//! - [`release`]: what is known of LAVA's releases, which collectors read too;
//! - [`migration`]: a database's migrations against those that code ships;
//! - `run`, with the feature `runner`: a plan is run on its host, and goes on where it stopped.

mod backup;
mod command;
mod diff;
mod draft;
mod error;
pub mod facts;
mod finding;
mod forbid;
mod host;
mod master;
pub mod migration;
mod name;
mod plan;
pub mod release;
pub mod render;
pub mod requirement;
mod rule;
#[cfg(feature = "runner")]
pub mod run;
mod schema;
pub mod simulate;
mod sql;
pub mod step;
mod worker;

pub use backup::{Backup, BackupSchema, Debs, Dump, DumpTable, Size};
pub use diff::{Difference, FieldChange, PlanDiff, PlanDiffSchema, Side, diff};
pub use error::{Error, ErrorKind};
pub use facts::Facts;
pub use finding::{Finding, Verdict};
pub use host::{Host, MOST_HOSTS, PlannedHost};
pub use lava_backup_debian::{Class, LavaVersion, PackageVersion, Suite};
pub use plan::{Intent, Options, Plan, PlanSchema, plan};
pub use rule::Code;
pub use schema::{MOST_BYTES, UnknownField, facts_schema, plan_diff_schema, plan_schema};
pub use sql::Statement;
pub use step::{Action, Gate, Phase, Step};
