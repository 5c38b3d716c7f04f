//! Do these .debs need no other?

use std::{collections::BTreeSet, path::Path};

use crate::{
    Deb, Error, ErrorKind, Result,
    surroundings::{Surroundings, complaints},
};

/// Asks apt whether a system can be made of a directory of .debs and nothing else: it simulates
/// their installation, all of them in their exact versions, where nothing is installed yet. Gives
/// what stands against it; nothing if the closure is closed.
///
/// `repository` holds the .debs with their `Packages`; apt writes into `scratch` alone, which must
/// not be there yet. `architectures` has the native one first. Needs no root.
///
/// # Errors
/// [`ErrorKind::Tool`] when apt can't be run or can't read the repository.
pub fn open_ends(
    repository: &Path,
    scratch: &Path,
    debs: &[&Deb],
    architectures: &[String],
) -> Result<Vec<String>> {
    let mut apt = Surroundings::of_repository(repository, scratch.to_owned(), architectures)?;
    // Nothing comes over a network, and the directory is closed to apt's own user.
    apt.option("APT::Sandbox::User=".into());
    let what = || format!("ask apt about the packages in {}", repository.display());
    let out = apt.run("apt-get", ["update"])?;
    if !out.status.success() {
        let why = complaints(&out.stderr).join("; ");
        return Err(Error::new(ErrorKind::Tool, what(), why));
    }
    let native = architectures
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    let exact = debs.iter().map(|deb| exact(deb, native));
    let arguments = [
        "--simulate",
        "--no-install-recommends",
        "-o",
        "quiet=0",
        "install",
    ];
    let arguments = arguments.map(str::to_owned).into_iter().chain(exact);
    let out = apt.run("apt-get", arguments)?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        let mut ends: Vec<String> = unmet(&said);
        ends.extend(complaints(&out.stderr));
        if ends.is_empty() {
            ends.push("apt does not say why".into());
        }
        return Ok(ends);
    }
    let planned = planned(&said);
    let asked: BTreeSet<(&str, &str)> = debs
        .iter()
        .map(|deb| (deb.name(), deb.version().as_str()))
        .collect();
    let planned: BTreeSet<(&str, &str)> = planned
        .iter()
        .map(|(name, version)| (name.as_str(), version.as_str()))
        .collect();
    let mut ends = Vec::new();
    for (name, version) in asked.difference(&planned) {
        ends.push(format!("apt would not install {name} {version}"));
    }
    for (name, version) in planned.difference(&asked) {
        ends.push(format!("apt would install {name} {version} too"));
    }
    Ok(ends)
}

/// As apt is told of exactly this package.
pub(crate) fn exact(deb: &Deb, native: &str) -> String {
    crate::reinstall::exact(deb.name(), deb.version(), deb.architecture(), native)
}

/// The lines `Inst name[:arch] [old] (version origin [arch])`.
fn planned(said: &str) -> Vec<(String, String)> {
    let lines = said.lines().filter_map(|line| {
        let rest = line.strip_prefix("Inst ")?;
        let (name, rest) = rest.split_once(' ')?;
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        let (_, version) = rest.split_once('(')?;
        let version = version.split(' ').next()?;
        Some((name.to_owned(), version.to_owned()))
    });
    lines.collect()
}

/// What apt says of relations that nothing meets.
fn unmet(said: &str) -> Vec<String> {
    let after = said
        .lines()
        .skip_while(|line| !line.contains("unmet dependencies"));
    let lines = after.skip(1).take_while(|line| line.starts_with(' '));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .take(50)
        .collect()
}
