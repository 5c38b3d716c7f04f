//! The archives that the sources name, and which of apt's files are theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{Archive, Content, List};
use crate::{
    Release, Result, Root, SourceEntry, SourceType,
    compression::{EXTENSIONS, UNREAD_EXTENSIONS},
    keyrings::Signers,
    release::ListDigest,
    signature::{self, Signature, Signed},
};

const LISTS: &str = "/var/lib/apt/lists";

/// An archive as the sources name it, in all entries that do.
struct Named {
    archive: Archive,
    signers: Signers,
    /// Components and architectures of its lists.
    wanted: BTreeSet<(String, String)>,
    /// Whether apt looks at the age of its release.
    has_age: bool,
    /// Whether one entry allows other keys than another, for which apt refuses all sources.
    is_contradicted: bool,
}

/// An archive with its lists that are not read yet.
pub(super) struct Located {
    pub(super) archive: Archive,
    /// What the release says of each list, in the order of the archive's lists.
    pub(super) digests: Vec<Option<ListDigest>>,
}

/// Finds the release and the lists of every archive that enabled sources name, by the names that
/// apt would give them: names of lists are never read backwards, for that has no one answer.
///
/// `now` is in seconds since 1970.
pub(super) fn locate(
    root: &Root,
    sources: &[SourceEntry],
    architectures: &[String],
    now: i64,
) -> Result<Vec<Located>> {
    let present: BTreeSet<String> = root
        .names(LISTS)?
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .collect();
    let mut by_base: BTreeMap<String, Named> = BTreeMap::new();
    for source in sources {
        if !source.enabled || !source.types.contains(&SourceType::Deb) {
            continue;
        }
        let architectures = architectures_of(source, architectures);
        let native = architectures.first().cloned().unwrap_or_default();
        for (uri, suite) in source
            .uris
            .iter()
            .flat_map(|uri| source.suites.iter().map(move |suite| (uri, suite)))
        {
            let suite = suite.replace("$(ARCH)", &native);
            let base = base_name(&uri.as_str().replace("$(ARCH)", &native), &suite);
            let named = by_base.entry(base).or_insert_with(|| Named {
                archive: Archive {
                    uri: uri.clone(),
                    suite: suite.clone(),
                    sources: Vec::new(),
                    release: None,
                    signature: Signature::Missing,
                    trusted: false,
                    expired: false,
                    lists: Vec::new(),
                    lacking: Vec::new(),
                },
                signers: Signers::default(),
                wanted: BTreeSet::new(),
                has_age: true,
                is_contradicted: false,
            });
            let signers = Signers::of(source);
            if named.signers.names_none() {
                named.signers = signers;
            } else {
                named.is_contradicted |= named.signers != signers;
            }
            named
                .archive
                .sources
                .push((source.file.clone(), source.line));
            named.archive.trusted |= says(source, "trusted", &YES);
            named.has_age &= !says(source, "check-valid-until", &NO);
            if suite.ends_with('/') {
                named.wanted.insert((String::new(), String::new()));
            }
            for component in &source.components {
                let architectures = architectures.iter().map(String::as_str).chain(["all"]);
                named
                    .wanted
                    .extend(architectures.map(|a| (component.clone(), a.to_owned())));
            }
        }
    }
    let mut located = Vec::new();
    for (base, named) in by_base {
        let mut archive = named.archive;
        read_release(root, &base, &present, &named.signers, &mut archive);
        if named.is_contradicted && archive.release.is_some() {
            archive.signature = Signature::Bad {
                why: "the sources that name it name different keys".to_owned(),
            };
        }
        archive.expired =
            named.has_age && archive.release.as_ref().is_some_and(|r| r.is_expired(now));
        let mut digests = Vec::new();
        let known = archive
            .release
            .as_mut()
            .map(|release| std::mem::take(&mut release.lists));
        for (component, architecture) in named.wanted {
            let path = match component.is_empty() {
                true => "Packages".to_owned(),
                false => format!("{component}/binary-{architecture}/Packages"),
            };
            let name = format!("{base}{}", encoded(&path));
            let extension = EXTENSIONS
                .iter()
                .chain(&UNREAD_EXTENSIONS)
                .find(|e| present.contains(&format!("{name}{e}")));
            let digest = known.as_ref().and_then(|known| known.get(&path).cloned());
            let Some(extension) = extension else {
                // apt fetches no empty list, and where others hold what is for all architectures,
                // none of those either.
                if digest.is_some_and(|digest| digest.size > 0) && architecture != "all" {
                    archive.lacking.push(path);
                }
                continue;
            };
            if let (Some(release), Some(digest)) = (&mut archive.release, &digest) {
                release.lists.insert(path, digest.clone());
            }
            digests.push(digest);
            archive.lists.push(List {
                file: Path::new(LISTS).join(format!("{name}{extension}")),
                component,
                architecture,
                content: Content::Unlisted,
            });
        }
        located.push(Located { archive, digests });
    }
    Ok(located)
}

const YES: [&str; 6] = ["yes", "true", "with", "on", "enable", "1"];
const NO: [&str; 6] = ["no", "false", "without", "off", "disable", "0"];

fn says(source: &SourceEntry, option: &str, words: &[&str]) -> bool {
    let value = source.options.get(option).and_then(|values| values.first());
    value.is_some_and(|value| words.contains(&value.to_ascii_lowercase().as_str()))
}

/// The architectures of the host that a source is for, its own settings regarded.
fn architectures_of(source: &SourceEntry, of_host: &[String]) -> Vec<String> {
    let option = |name: &str| source.options.get(name).cloned().unwrap_or_default();
    let mut architectures = match option("architectures") {
        none if none.is_empty() => of_host.to_vec(),
        some => some,
    };
    architectures.extend(option("architectures-add"));
    let removed = option("architectures-remove");
    architectures.retain(|architecture| !removed.contains(architecture));
    architectures
}

const MOST_RELEASE: u64 = 16 << 20;

fn read_release(
    root: &Root,
    base: &str,
    present: &BTreeSet<String>,
    signers: &Signers,
    archive: &mut Archive,
) {
    let at = |name: &str| Path::new(LISTS).join(format!("{base}{name}"));
    let has = |name: &str| present.contains(&format!("{base}{name}"));
    let (file, name) = match (has("InRelease"), has("Release")) {
        (true, _) => (at("InRelease"), "InRelease"),
        (false, true) => (at("Release"), "Release"),
        (false, false) => return,
    };
    let read = root.read(&file, MOST_RELEASE).and_then(|bytes| {
        let parse = |bytes: &Vec<u8>| Release::parse(bytes, &root.describe(&file));
        Ok((bytes.as_ref().map(parse).transpose()?, bytes))
    });
    let bytes = match read {
        Ok((release, bytes)) => {
            archive.release = release;
            bytes
        }
        Err(error) => {
            archive.signature = Signature::Bad {
                why: format!("could not {error}"),
            };
            return;
        }
    };
    let Some(bytes) = bytes else { return };
    let signature = at("Release.gpg");
    archive.signature = if name == "InRelease" {
        // apt takes an `InRelease` that has no signature for an archive without one.
        match bytes.starts_with(b"-----BEGIN PGP") {
            true => signature::check(root, &Signed::Clear(&file), signers),
            false => Signature::Missing,
        }
    } else if has("Release.gpg") {
        signature::check(root, &Signed::Detached(&file, &signature), signers)
    } else {
        Signature::Missing
    };
}

/// What the names of an archive's lists begin with.
fn base_name(uri: &str, suite: &str) -> String {
    let slash = if uri.ends_with('/') { "" } else { "/" };
    let uri = match suite {
        "/" => format!("{uri}{slash}"),
        path if path.ends_with('/') => format!("{uri}{slash}{path}"),
        suite => format!("{uri}{slash}dists/{suite}/"),
    };
    // apt leaves the scheme, a user and a password out of the name.
    let (_, rest) = uri.split_once(':').unwrap_or(("", &uri));
    let rest = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => rest.rfind('@').map_or(rest, |at| {
            let is_user = rest.find('/').is_none_or(|slash| at < slash);
            if is_user { &rest[at + 1..] } else { rest }
        }),
    };
    encoded(rest)
}

/// A path as a part of a file's name, as apt makes it.
fn encoded(path: &str) -> String {
    let mut name = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' => name.push('_'),
            0..=0x20 | 0x7f.. | b'%' => name.push_str(&format!("%{byte:02x}")),
            _ if b"\\|{}[]<>\"^~_=!@#$&*".contains(&byte) => {
                name.push_str(&format!("%{byte:02x}"));
            }
            _ => name.push(char::from(byte)),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_the_names_that_apt_gives_them() {
        for (uri, suite, name) in [
            (
                "http://deb.debian.org/debian",
                "bookworm",
                "deb.debian.org_debian_dists_bookworm_",
            ),
            (
                "http://…@a.example:80/d/",
                "buster/updates",
                "a.example:80_d_dists_buster_updates_",
            ),
            ("file:/srv/some_dir", "./", "_srv_some%5fdir_._"),
            ("file:///srv/x", "/", "_srv_x_"),
            ("https://a/~u/é", "x", "a_%7eu_%c3%a9_dists_x_"),
            ("copy:/srv/a@b", "x", "_srv_a%40b_dists_x_"),
        ] {
            assert_eq!(base_name(uri, suite), name);
        }
    }
}
