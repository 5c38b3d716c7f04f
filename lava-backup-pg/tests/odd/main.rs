//! Databases that are not as a manual's: each comes back as it was, which the
//! servers say and not we, or is refused with a reason.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod failures;
mod full_disk;
mod majors;
mod objects;
mod owner;
mod spoilt;
mod surroundings;
mod trip;
mod values;
