//! Which Debian a root is, and how sure that is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    Class, Error, ErrorKind, Origin, Origins, PackageOrigin, PackageState, PackageVersion, Result,
    Root, SourceEntry, Suite, read_status,
};

/// The base suite of a root, with what it was told from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Base {
    /// The suite; `None` when the signals contradict each other or say nothing.
    pub suite: Option<Suite>,
    /// How sure it is.
    pub confidence: Confidence,
    /// Every signal that was there, in the order of [`Signal`].
    pub evidence: Vec<Evidence>,
    /// What of the installed packages came from which release of Debian; nothing when that was not
    /// looked at. A package that several releases have in one version counts for the base, if that
    /// is one of them.
    pub releases: BTreeMap<Suite, Share>,
}

/// How much of a system is from one release of Debian, backports of it not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// How many packages.
    pub packages: usize,
    /// Those without which no system works, by name.
    pub essential: Vec<String>,
}

impl Base {
    /// Whether packages without which no system works are from several releases: an upgrade that
    /// stopped half-way.
    pub fn is_mixed(&self) -> bool {
        self.releases
            .values()
            .filter(|share| !share.essential.is_empty())
            .count()
            > 1
    }
}

/// How sure a base suite is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Signals contradict each other, or none says anything: ask.
    Ambiguous,
    /// Only one of `os-release` and base-files says it, or `debian_version`, which an admin may
    /// edit, says another; or it may as well be sid, which calls itself what it will become.
    Likely,
    /// `os-release` and the version of base-files say the same, and nothing speaks against it.
    Certain,
}

/// What says which Debian a root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// `VERSION_CODENAME`, or the codename in `VERSION`, or the number in `VERSION_ID`, of
    /// `/etc/os-release`.
    OsRelease,
    /// The version of the installed package base-files, whose first number is the release.
    BaseFiles,
    /// `/etc/debian_version`.
    DebianVersion,
    /// Where most of base-files, libc6, dpkg and apt came from.
    Origins,
    /// The suites that the enabled sources name.
    Sources,
}

/// One signal: what it holds, and the suite that it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Which signal.
    pub signal: Signal,
    /// What it holds.
    pub text: String,
    /// The suite it means, where it means one.
    pub suite: Option<Suite>,
}

/// Tells the base suite of a root.
///
/// # Errors
/// [`ErrorKind::NotDebian`] when `os-release` names another distribution: Raspbian has Debian's
/// codenames and other packages. Else as [`read_status`].
pub fn base(root: &Root) -> Result<Base> {
    base_of(root, &read_status(root)?, None)
}

/// As [`base`], from the sources and from where packages came from too.
///
/// # Errors
/// As [`base`].
pub fn base_with(
    root: &Root,
    packages: &[PackageState],
    sources: &[SourceEntry],
    origins: &Origins,
) -> Result<Base> {
    base_of(root, packages, Some((sources, origins)))
}

fn base_of(
    root: &Root,
    packages: &[PackageState],
    apt: Option<(&[SourceEntry], &Origins)>,
) -> Result<Base> {
    let mut evidence = vec![os_release(root)?];
    if let Some(version) = packages
        .iter()
        .find(|package| package.name == "base-files" && package.is_installed())
        .and_then(|package| package.version.as_ref())
    {
        evidence.push(Evidence {
            signal: Signal::BaseFiles,
            text: version.to_string(),
            suite: of_release_number(version.upstream()),
        });
    }
    let mut may_be_sid = false;
    if let Some(bytes) = root.read("etc/debian_version", MOST_TEXT)? {
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        let suite = match text.strip_suffix("/sid") {
            Some(codename) => {
                may_be_sid = true;
                codename.parse().ok()
            }
            None => of_release_number(&text),
        };
        evidence.push(Evidence {
            signal: Signal::DebianVersion,
            text,
            suite,
        });
    }
    if let Some((sources, origins)) = apt {
        evidence.extend(of_origins(origins));
        evidence.extend(of_sources(sources));
    }
    let says = |signal| {
        evidence
            .iter()
            .find(|e| e.signal == signal)
            .and_then(|e| e.suite.clone())
    };
    let doubted = |suite: &Suite| says(Signal::DebianVersion).is_some_and(|other| other != *suite);
    let (suite, confidence) = match (says(Signal::OsRelease), says(Signal::BaseFiles)) {
        (Some(a), Some(b)) if a == b && !may_be_sid && !doubted(&a) => {
            (Some(a), Confidence::Certain)
        }
        (Some(a), Some(b)) if a == b => (Some(a), Confidence::Likely),
        (Some(_), Some(_)) => (None, Confidence::Ambiguous),
        (Some(only), None) | (None, Some(only)) if !doubted(&only) => {
            (Some(only), Confidence::Likely)
        }
        _ => (None, Confidence::Ambiguous),
    };
    let (suite, confidence) = match (suite, says(Signal::Origins), says(Signal::Sources)) {
        // Packages came from elsewhere than the files say.
        (Some(suite), Some(origins), _) if origins != suite => (None, Confidence::Ambiguous),
        // Sources of another release: somebody is about to upgrade.
        (Some(suite), _, Some(sources)) if sources != suite => (Some(suite), Confidence::Likely),
        (suite, ..) => (suite, confidence),
    };
    let releases = match (apt, &suite) {
        (Some((_, origins)), base) => releases(packages, origins, base.as_ref()),
        (None, _) => BTreeMap::new(),
    };
    let mut base = Base {
        suite,
        confidence,
        evidence,
        releases,
    };
    if base.is_mixed() {
        base.confidence = base.confidence.min(Confidence::Likely);
    }
    Ok(base)
}

/// The releases of Debian that have a package, backports of them not counted.
fn releases_of(origin: &PackageOrigin) -> BTreeSet<Suite> {
    let of_release = |origin: &&Origin| {
        matches!(
            origin.class,
            Class::Base | Class::Updates | Class::Security | Class::ProposedUpdates
        )
    };
    let found: BTreeSet<Suite> = origin
        .origins
        .iter()
        .filter(of_release)
        .filter_map(|o| o.base.clone())
        .collect();
    if !found.is_empty() {
        return found;
    }
    match origin.class {
        // A version that no list has may say itself for which release it was made.
        Class::Superseded | Class::Unknown | Class::Local | Class::Rebuilt => {
            of_version(&origin.version).into_iter().collect()
        }
        _ => found,
    }
}

/// The release that an update of a stable release names at its end, as in `1.0-1+deb12u3`.
fn of_version(version: &PackageVersion) -> Option<Suite> {
    let (_, rest) = version
        .revision()
        .unwrap_or(version.upstream())
        .rsplit_once("deb")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[end..]
        .starts_with('u')
        .then(|| rest[..end].parse().ok().and_then(Suite::of_release))?
}

fn of_origins(origins: &Origins) -> Option<Evidence> {
    let mut votes: BTreeMap<Suite, Vec<&str>> = BTreeMap::new();
    for name in ["base-files", "libc6", "dpkg", "apt"] {
        let Some(package) = origins.packages.iter().find(|package| package.name == name) else {
            continue;
        };
        let mut releases = releases_of(package).into_iter();
        // One that several releases have says nothing.
        if let (Some(suite), None) = (releases.next(), releases.next()) {
            votes.entry(suite).or_default().push(name);
        }
    }
    let all: usize = votes.values().map(Vec::len).sum();
    let words: Vec<String> = votes
        .iter()
        .map(|(suite, names)| format!("{suite}: {}", names.join(" ")))
        .collect();
    let most = votes.into_iter().find(|(_, names)| 2 * names.len() > all);
    (all > 0).then(|| Evidence {
        signal: Signal::Origins,
        text: words.join(", "),
        suite: most.map(|(suite, _)| suite),
    })
}

fn of_sources(sources: &[SourceEntry]) -> Option<Evidence> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut suites = BTreeSet::new();
    for name in sources
        .iter()
        .filter(|source| source.enabled)
        .flat_map(|source| &source.suites)
    {
        let plain = name.split(['/', '-']).next().unwrap_or_default();
        // Archives of others have suites of any name.
        let suite = plain
            .parse::<Suite>()
            .ok()
            .filter(|suite| suite.release().is_some());
        if let Some(suite) = suite {
            names.insert(name);
            suites.insert(suite);
        }
    }
    let first = suites.pop_first();
    (!names.is_empty()).then(|| Evidence {
        signal: Signal::Sources,
        text: names.into_iter().collect::<Vec<_>>().join(" "),
        suite: first.filter(|_| suites.is_empty()),
    })
}

fn releases(
    packages: &[PackageState],
    origins: &Origins,
    base: Option<&Suite>,
) -> BTreeMap<Suite, Share> {
    let essential: BTreeSet<(&str, &str)> = packages
        .iter()
        .filter(|package| package.essential && package.is_installed())
        .map(|package| (package.name.as_str(), package.architecture.as_str()))
        .collect();
    let installed: BTreeSet<(&str, &str)> = packages
        .iter()
        .filter(|package| package.is_installed())
        .map(|package| (package.name.as_str(), package.architecture.as_str()))
        .collect();
    let mut shares: BTreeMap<Suite, Share> = BTreeMap::new();
    for package in &origins.packages {
        let key = (package.name.as_str(), package.architecture.as_str());
        let releases = releases_of(package);
        let of_base = base.filter(|base| releases.contains(base)).cloned();
        let Some(release) = of_base.or_else(|| releases.first().cloned()) else {
            continue;
        };
        if !installed.contains(&key) {
            continue;
        }
        let share = shares.entry(release).or_default();
        share.packages += 1;
        if essential.contains(&key) {
            share.essential.push(package.name.clone());
        }
    }
    shares
}

const MOST_TEXT: u64 = 1 << 16;

fn os_release(root: &Root) -> Result<Evidence> {
    let mut bytes = root.read("etc/os-release", MOST_TEXT)?;
    if bytes.is_none() {
        bytes = root.read("usr/lib/os-release", MOST_TEXT)?;
    }
    let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    let value = |key: &str| {
        // Where a key stands twice, the shell that this file is made for takes the last.
        text.lines()
            .rev()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim().trim_matches(['"', '\'']))
            .filter(|value| !value.is_empty())
    };
    let id = value("ID").unwrap_or_default();
    if id != "debian" {
        let what = format!("tell the base suite of {}", root.path().display());
        let why = format!("its os-release has ID {id:.40?}, not \"debian\"");
        return Err(Error::new(ErrorKind::NotDebian, what, why));
    }
    let evidence = |text: &str, suite| Evidence {
        signal: Signal::OsRelease,
        text: text.to_owned(),
        suite,
    };
    if let Some(codename) = value("VERSION_CODENAME") {
        return Ok(evidence(codename, codename.parse().ok()));
    }
    // Jessie and the first stretch say VERSION="8 (jessie)" alone.
    if let Some(version) = value("VERSION") {
        let codename = version
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'));
        if let Some(suite) = codename.and_then(|(codename, _)| codename.parse().ok()) {
            return Ok(evidence(version, Some(suite)));
        }
    }
    let number = value("VERSION_ID").unwrap_or_default();
    Ok(evidence(number, of_release_number(number)))
}

fn of_release_number(text: &str) -> Option<Suite> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Suite::of_release(text[..end].parse().ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    fn told(os_release: &str, base_files: &str, debian_version: &str) -> Result<Base> {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let stanza = format!(
            "Package: base-files\nStatus: install ok installed\nArchitecture: amd64\nVersion: {base_files}\n"
        );
        write(
            "var/lib/dpkg/status",
            if base_files.is_empty() { "" } else { &stanza },
        );
        write("etc/os-release", os_release);
        if !debian_version.is_empty() {
            write("etc/debian_version", debian_version);
        }
        base(&Root::open(dir.path())?)
    }

    const BOOKWORM: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n";

    fn verdict(
        os_release: &str,
        base_files: &str,
        debian_version: &str,
    ) -> (Option<String>, Confidence) {
        let base = told(os_release, base_files, debian_version).unwrap();
        (base.suite.map(|suite| suite.to_string()), base.confidence)
    }

    #[test]
    fn os_release_and_base_files_that_agree_are_certain() {
        let certain = |name: &str| (Some(name.to_owned()), Confidence::Certain);
        assert_eq!(
            verdict(BOOKWORM, "12.4+deb12u15", "12.11\n"),
            certain("bookworm")
        );
        let jessie =
            "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"8\"\nVERSION=\"8 (jessie)\"\nID=debian\n";
        assert_eq!(verdict(jessie, "8+deb8u11", "8.11\n"), certain("jessie"));
        assert_eq!(
            verdict("ID='debian'\nVERSION_ID='9'\n", "9.9+deb9u13", ""),
            certain("stretch")
        );
    }

    #[test]
    fn one_signal_alone_or_an_edited_debian_version_is_likely() {
        let likely = |name: &str| (Some(name.to_owned()), Confidence::Likely);
        assert_eq!(verdict(BOOKWORM, "", "12.11"), likely("bookworm"));
        assert_eq!(verdict("ID=debian\n", "12.4", ""), likely("bookworm"));
        assert_eq!(verdict(BOOKWORM, "12.4", "11.3"), likely("bookworm"));
    }

    #[test]
    fn testing_can_not_be_told_from_sid() {
        let forky = "ID=debian\nVERSION_CODENAME=forky\n";
        assert_eq!(
            verdict(forky, "14", "forky/sid\n"),
            (Some("forky".into()), Confidence::Likely)
        );
    }

    #[test]
    fn a_half_upgraded_system_is_ambiguous_and_says_why() {
        let base = told(BOOKWORM, "13.8+deb13u1", "13.1").unwrap();
        assert_eq!((base.suite, base.confidence), (None, Confidence::Ambiguous));
        let said: Vec<_> = base
            .evidence
            .iter()
            .map(|e| (e.signal, e.suite.clone()))
            .collect();
        assert_eq!(
            said,
            [
                (Signal::OsRelease, Some(Suite::Bookworm)),
                (Signal::BaseFiles, Some(Suite::Trixie)),
                (Signal::DebianVersion, Some(Suite::Trixie)),
            ]
        );
        assert_eq!(verdict(BOOKWORM, "", "11.3"), (None, Confidence::Ambiguous));
        assert_eq!(
            verdict("ID=debian\n", "", ""),
            (None, Confidence::Ambiguous)
        );
    }

    #[test]
    fn a_derivative_with_debians_codename_is_refused() {
        let raspbian = BOOKWORM.replace("ID=debian", "ID=raspbian\nID_LIKE=debian");
        let error = told(&raspbian, "12.4", "12.11").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotDebian);
        assert!(error.to_string().contains("raspbian"), "{error}");
    }
}
