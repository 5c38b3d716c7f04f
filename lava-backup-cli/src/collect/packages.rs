//! What dpkg and apt know of a host, as facts.

use std::collections::BTreeSet;

use lava_backup_debian as debian;
use lava_restore_plan::Facts;
use lava_restore_plan::facts::{Confidence, Disorder, Package, SuiteFacts};

use crate::clock;
use crate::exit::{CouldNot, Failure};
use crate::host::Host;

/// What dpkg and apt know of a host.
pub(super) fn state(host: &Host) -> Result<debian::HostState, Failure> {
    let now = clock::now().for_files().seconds;
    debian::HostState::capture(&host.debian, now).could_not("read what dpkg and apt know")
}

pub(super) fn add(facts: &mut Facts, state: &debian::HostState) {
    let said = |signal| {
        state
            .base
            .evidence
            .iter()
            .find(|said| said.signal == signal)
    };
    let number = |said: &debian::Evidence| {
        let starts = said.text.starts_with(|c: char| c.is_ascii_digit());
        starts.then(|| said.text.clone())
    };
    facts.suite = SuiteFacts {
        base: state.base.suite.clone(),
        confidence: match state.base.confidence {
            debian::Confidence::Certain => Confidence::Certain,
            debian::Confidence::Likely => Confidence::Likely,
            debian::Confidence::Ambiguous => Confidence::Ambiguous,
        },
        // Any other would have been an error.
        distribution: Some("debian".to_owned()),
        point: said(debian::Signal::DebianVersion).and_then(number),
    };
    facts.packages = packages(state);
    let mut architectures = state.architectures.iter().cloned();
    facts.architecture = architectures.next();
    facts.foreign_architectures = Some(architectures.collect());
    let told = !state
        .findings
        .iter()
        .any(|f| f.kind == debian::FindingKind::NoLists);
    let of = |archive: &debian::Archive| {
        let release = archive.release.as_ref()?;
        Some(debian::Class::of_archive(release, &archive.uri).0)
    };
    facts.sources = told.then(|| state.archives.iter().filter_map(of).collect());
    facts.updates = told.then(|| {
        let newer = state
            .origins
            .iter()
            .filter(|package| package.newer.is_some());
        newer.count() as u64
    });
    let disorder = state.findings.iter().map(|finding| Disorder {
        kind: finding.kind.code().to_owned(),
        subject: finding.subject.clone(),
    });
    facts.disorder = Some(disorder.collect());
    facts.dependencies = Some(dependencies(&state.packages));
}

fn packages(state: &debian::HostState) -> Vec<Package> {
    let class = |package: &debian::PackageState| {
        let origin = state.origin(package)?;
        (origin.class != debian::Class::Unknown).then_some(origin.class)
    };
    let of = |p: &debian::PackageState| {
        let word = match p.flag {
            debian::Flag::Reinstreq => "reinst-required",
            _ => p.state.as_str(),
        };
        Some(Package {
            name: p.name.clone(),
            architecture: p.architecture.clone(),
            version: p.version.clone()?,
            state: word.to_owned(),
            hold: p.is_held(),
            auto: state.auto.contains(p),
            origin: class(p),
        })
    };
    state.packages.iter().filter_map(of).collect()
}

/// The installed packages that LAVA's own name among their dependencies, alternatives included.
fn dependencies(packages: &[debian::PackageState]) -> Vec<String> {
    let installed = packages.iter().filter(|package| package.is_installed());
    let names: BTreeSet<&str> = installed
        .clone()
        .map(|package| package.name.as_str())
        .collect();
    let lavas = installed.filter(|package| {
        ["lava-server", "lava-dispatcher", "lava-common"].contains(&package.name.as_str())
    });
    let relations = lavas.flat_map(|package| [&package.depends, &package.pre_depends]);
    let named = relations
        .flatten()
        .flat_map(|relation| relation.split([',', '|']));
    // `python3-django (>= 3:2.2)`, `python3:any`.
    let name = |entry: &str| {
        let name = entry
            .trim()
            .split([' ', '(', ':', '[', '<'])
            .next()
            .unwrap_or_default();
        name.to_owned()
    };
    let found: BTreeSet<String> = named.map(name).collect();
    found
        .into_iter()
        .filter(|name| names.contains(name.as_str()))
        .collect()
}
