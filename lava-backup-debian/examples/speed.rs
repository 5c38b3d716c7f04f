//! The time that versions and captures take, for `benches/debian`.
//!
//!     speed versions FILE    FILE has a version a line
//!     speed capture ROOT     one capture of a root
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{
    error::Error,
    hint::black_box,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use lava_backup_debian::{HostState, PackageVersion, Root};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["versions", file] => versions(&std::fs::read_to_string(file)?),
        ["capture", root] => capture(root),
        _ => Err("usage: speed versions FILE | capture ROOT".into()),
    }
}

/// Compares every version with the one that a list has next to it, and with one far away. Of many
/// rounds the fastest counts: others wait for a processor that somebody else has.
fn versions(text: &str) -> Result<(), Box<dyn Error>> {
    let versions: Vec<PackageVersion> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let far = versions.len() / 2;
    let round = || {
        let start = Instant::now();
        for (at, version) in versions.iter().enumerate() {
            let (near, other) = ((at + 1) % versions.len(), (at + far) % versions.len());
            black_box(version.cmp(&versions[near]));
            black_box(version.cmp(&versions[other]));
        }
        start.elapsed()
    };
    let fastest = (0..50).map(|_| round()).min().unwrap_or_default();
    println!(
        "{:.1}",
        fastest.as_nanos() as f64 / (2 * versions.len()) as f64
    );
    Ok(())
}

fn capture(root: &str) -> Result<(), Box<dyn Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
    let state = HostState::capture(&Root::open(root)?, now)?;
    let known = state
        .origins
        .iter()
        .filter(|origin| !origin.origins.is_empty())
        .count();
    println!(
        "{} packages, {known} of them with an origin",
        state.packages.len()
    );
    Ok(())
}
