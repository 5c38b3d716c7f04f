//! Real LAVA masters and workers, backed up and brought back.
//!
//! `scripts/test` makes pristine ones, names their directory in `LAVA_BACKUP_CACHE`, and builds by
//! `scripts/build-portable`, for our program has to run in all of them. Each test works on
//! copy-on-write clones of its own. What is done on each release is done on that of Debian 12
//! every day, and on the others where `LAVA_BACKUP_ALL_RELEASES` is set.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[macro_use]
mod release;

mod dangers;
mod from_nothing;
mod guard;
mod interrupted;
mod lab;
mod live_lab;
mod main_job;
mod master;
mod playbook;
mod releases;
mod renderings;
mod restarted;
mod targets;

/// The program that is tested.
const PROGRAM: &str = env!("CARGO_BIN_EXE_lava-backup");
