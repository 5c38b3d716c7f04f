//! The generator of labs: LAVA masters and workers of any size, for
//! measurements and tests that real ones are too few or too small for.
//!
//! A [`Lab`] is plain data, and everything about it is a function of it: the
//! same seed gives the same bytes, modes and times on any machine. From it
//! [`master::write`] and [`worker::write`] lay out roots that look like a
//! Debian 12 host with LAVA 2023.01 to whoever reads files, and [`sql::write`]
//! the database that belongs to them.
//!
//! ```
//! use lava_backup_benches::{Lab, master, sql};
//!
//! let lab = Lab { jobs: 3, job_bytes: 10_000, packed: 0, ..Lab::default() };
//! let root = std::env::temp_dir().join(format!("lab-{}", std::process::id()));
//! master::write(&lab, &root)?;
//! for job in lab.all_jobs() {
//!     let log = root.join(master::JOB_OUTPUT).join(job.folder()).join("output.yaml");
//!     assert_eq!(log.exists(), job.id <= lab.jobs);
//! }
//! sql::write(&lab, &mut std::io::sink())?;
//! # std::fs::remove_dir_all(&root)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In reading order: [`Lab`], its [`Job`]s and their [`Case`]s, [`Log`] which
//! is the bulk of what is on disk, [`migrations`], and [`Dice`] and [`Moment`]
//! that stand in for chance and clock.

pub mod master;
pub mod migrations;
pub mod sql;
pub mod worker;

mod calendar;
mod dice;
mod error;
mod host;
mod job;
mod lab;
mod log;
mod packages;
mod small;
mod transcript;
mod tree;

pub use calendar::Moment;
pub use dice::Dice;
pub use error::{Error, ErrorKind};
pub use job::{Case, Job, SUITES, State};
pub use lab::{DEVICE_TYPES, Device, Lab, USERS, WORKERS};
pub use log::Log;
