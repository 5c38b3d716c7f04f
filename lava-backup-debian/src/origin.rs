//! Where every installed package came from.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Class, PackageState, PackageVersion, Release, Result, Root, SourceEntry, SourceUri, Suite,
    archive::{self, Archive, ReadList, Trust},
    list::{self, ListedDeb, Scanned},
};

/// One place that has the very version of a package that is installed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Origin {
    /// What kind of archive it is.
    pub class: Class,
    /// The Debian release that the archive is for, where its codename says one.
    pub base: Option<Suite>,
    /// `Origin` of its release; empty when it says none.
    pub origin: String,
    /// `Label` of its release; empty when it says none.
    pub label: String,
    /// `Codename` of its release; empty when it says none.
    pub codename: String,
    /// The component; empty in an archive without them.
    pub component: String,
    /// Where the archive is, without a password.
    pub uri: SourceUri,
    /// The suite as the sources write it.
    pub suite: String,
    /// The architecture of the list that has it.
    pub architecture: String,
    /// How far that list can be relied on.
    pub trust: Trust,
    /// The .deb, as the list describes it.
    pub deb: Option<ListedDeb>,
}

impl Class {
    /// The class of an archive, and the Debian release that it is for.
    pub fn of_archive(release: &Release, uri: &SourceUri) -> (Self, Option<Suite>) {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (origin, label, codename) = (
            text(&release.origin),
            text(&release.label),
            text(&release.codename),
        );
        // Security of buster and before it has the plain codename, or one with a slash.
        let name = codename.split('/').next().unwrap_or_default();
        let of = |suffix: &str| name.strip_suffix(suffix).and_then(|name| name.parse().ok());
        let base: Option<Suite> = name.parse().ok();
        if is_lava(uri) {
            let base = name.strip_suffix("-backports").unwrap_or(name);
            return (Self::Lava, base.parse().ok());
        }
        let debian = match (origin.as_str(), label.as_str()) {
            ("apt.postgresql.org", _) => return (Self::Pgdg, of("-pgdg").or(base)),
            ("Debian", "Debian-Security") => {
                return (Self::Security, of("-security").or(base));
            }
            ("Debian" | "Debian Backports", "Debian" | "Debian Backports") => true,
            _ => false,
        };
        if !debian {
            return (Self::Other, base);
        }
        for (suffix, class) in [
            ("-backports-sloppy", Self::BackportsSloppy),
            ("-backports", Self::Backports),
            ("-proposed-updates", Self::ProposedUpdates),
            ("-updates", Self::Updates),
        ] {
            if name.ends_with(suffix) {
                return (class, of(suffix));
            }
        }
        // jessie's backports have the origin alone to tell them from jessie.
        match origin.as_str() {
            "Debian Backports" => (Self::Backports, base),
            _ => (Self::Base, base),
        }
    }
}

/// LAVA's repository had a suite `stretch-backports`, so the place tells it, not a name.
fn is_lava(uri: &SourceUri) -> bool {
    let (_, rest) = uri.as_str().split_once("://").unwrap_or_default();
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.split(':').next().unwrap_or_default();
    let old = ["production-repo", "staging-repo"];
    host.eq_ignore_ascii_case("apt.lavasoftware.org")
        || (host.eq_ignore_ascii_case("images.validation.linaro.org")
            && old.contains(&path.split('/').next().unwrap_or_default()))
}

/// Where one package came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PackageOrigin {
    /// The package's name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// Its version.
    pub version: PackageVersion,
    /// What kind of place it came from: of several archives that have it, the first in the order
    /// of [`Class`].
    pub class: Class,
    /// Every archive that has this version in this build, sorted. A security update is soon in the
    /// release too, so there can be several.
    pub origins: Vec<Origin>,
    /// The archives that have another build of this version, sorted.
    pub other_builds: Vec<Origin>,
    /// The highest version that any archive has, when that is higher.
    pub newer: Option<PackageVersion>,
}

/// What apt's lists say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origins {
    /// Every archive that an enabled source names, in the order of the names of their lists.
    pub archives: Vec<Archive>,
    /// Every package of which something is there, in the order of the packages given.
    pub packages: Vec<PackageOrigin>,
}

/// Tells where packages came from, from the lists that apt has, their signatures checked by the
/// `gpgv` or `sqv` of the machine we run on with the keys of the root.
///
/// `architectures` are those of dpkg, the native one first; `now` is in seconds since 1970. A list
/// that can't be read is [`Content::Unreadable`](crate::Content::Unreadable), and no error.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) when the directory of lists can't be read.
pub fn read_origins(
    root: &Root,
    sources: &[SourceEntry],
    packages: &[PackageState],
    architectures: &[String],
    now: i64,
) -> Result<Origins> {
    let (archives, lists) = archive::read(root, sources, packages, architectures, now)?;
    // An archive without its lists might have any version.
    let complete = !archives.is_empty() && archives.iter().all(Archive::is_whole);
    let mut origins: BTreeMap<usize, [Vec<Origin>; 2]> = BTreeMap::new();
    let mut newest: BTreeMap<usize, PackageVersion> = BTreeMap::new();
    for ReadList {
        archive,
        list,
        scanned: Scanned { seen, .. },
    } in lists
    {
        let archive = &archives[archive];
        let list = &archive.lists[list];
        for (package, version) in seen.newest {
            list::raise(&mut newest, package, version);
        }
        let unknown = Release::default();
        let release = archive.release.as_ref().unwrap_or(&unknown);
        let (class, base) = Class::of_archive(release, &archive.uri);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        for found in seen.found {
            let origin = Origin {
                class,
                base: base.clone(),
                origin: text(&release.origin),
                label: text(&release.label),
                codename: text(&release.codename),
                component: list.component.clone(),
                uri: archive.uri.clone(),
                suite: archive.suite.clone(),
                architecture: list.architecture.clone(),
                trust: archive.trust(list),
                deb: found.deb,
            };
            let both = origins.entry(found.package).or_default();
            both[usize::from(!found.same_build)].push(origin);
        }
    }
    let package = |(index, package): (usize, &PackageState)| {
        let version = package.version.clone()?;
        let [mut same, mut other] = origins.remove(&index).unwrap_or_default();
        for origins in [&mut same, &mut other] {
            origins.sort();
            origins.dedup();
        }
        let newer = newest.remove(&index).filter(|newest| *newest > version);
        let class = match (same.first(), other.is_empty(), &newer) {
            (Some(origin), ..) => origin.class,
            (None, false, _) => Class::Rebuilt,
            (None, true, Some(_)) => Class::Superseded,
            (None, true, None) if complete => Class::Local,
            (None, true, None) => Class::Unknown,
        };
        Some(PackageOrigin {
            name: package.name.clone(),
            architecture: package.architecture.clone(),
            version,
            class,
            origins: same,
            other_builds: other,
            newer,
        })
    };
    Ok(Origins {
        packages: packages.iter().enumerate().filter_map(package).collect(),
        archives,
    })
}

#[cfg(test)]
mod tests;
