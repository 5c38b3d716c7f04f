//! One `Packages` list of an archive, looked through for the packages of a host.

use std::{collections::BTreeMap, io::Read};

use serde::Serialize;
use sha2::Digest;

use crate::{
    Error, ErrorKind, PackageState, PackageVersion, Result, Sha256,
    build_mark::BuildMark,
    compression,
    deb822::{Comments, Paragraph, Scanner},
};

/// The packages to look for, by name.
pub(crate) struct Wanted<'a> {
    packages: Vec<&'a PackageState>,
    by_name: BTreeMap<&'a [u8], Vec<usize>>,
}

/// A list that was looked through.
pub(crate) struct Scanned {
    /// Its size in bytes, not compressed.
    pub(crate) size: u64,
    /// Of its bytes, not compressed.
    pub(crate) sha256: Sha256,
    /// What it has of the wanted packages.
    pub(crate) seen: Seen,
}

/// What stanzas say of the wanted packages.
#[derive(Default)]
pub(crate) struct Seen {
    /// Every stanza that has the name, architecture and version of a wanted package.
    pub(crate) found: Vec<Found>,
    /// The highest version of every package that is there at all, by its index.
    pub(crate) newest: BTreeMap<usize, PackageVersion>,
}

/// A stanza of the version that a host has.
pub(crate) struct Found {
    /// The package, by its index.
    pub(crate) package: usize,
    /// Whether it is the same build, as far as its stanza tells.
    pub(crate) same_build: bool,
    /// The file that the stanza describes.
    pub(crate) deb: Option<ListedDeb>,
}

/// The .deb of a version, as an archive's list describes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ListedDeb {
    /// Its path in the archive, which never leaves it.
    pub filename: String,
    /// Its size in bytes.
    pub size: u64,
    /// Of its bytes.
    pub sha256: Sha256,
}

impl<'a> Wanted<'a> {
    /// All packages of which a version is there; their indices are those in the order given.
    pub(crate) fn of(packages: impl IntoIterator<Item = &'a PackageState>) -> Self {
        let packages: Vec<&PackageState> = packages.into_iter().collect();
        let mut by_name: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (index, package) in packages.iter().enumerate() {
            if package.version.is_some() {
                by_name
                    .entry(package.name.as_bytes())
                    .or_default()
                    .push(index);
            }
        }
        Self { packages, by_name }
    }
}

/// How much is read at once.
const STEP: usize = 256 << 10;
/// The largest stanza seen in Debian's lists has 30 kB.
const MOST_STANZA: usize = 4 << 20;

/// Looks through a list to its end, of which it holds one stanza at a time; `place` names it in
/// errors.
///
/// # Errors
/// [`ErrorKind::Malformed`] for a stanza of a wanted package that two readers could take
/// differently, or whose file would lie outside the archive; [`ErrorKind::TooLarge`] for a stanza
/// of more than 4 MiB; [`ErrorKind::Io`], also for what can't be decompressed.
pub(crate) fn scan(mut reader: impl Read, wanted: &Wanted<'_>, place: &str) -> Result<Scanned> {
    let mut size = 0;
    let mut seen = Seen::default();
    let mut digest = sha2::Sha256::new();
    let mut buffer = vec![0; STEP];
    // What of the buffer is read and belongs to no whole stanza yet.
    let mut held = 0;
    // Up to where the held bytes hold no end of a stanza.
    let mut searched = 0;
    loop {
        buffer.resize(buffer.len().max(held + STEP), 0);
        let read = compression::fill(&mut reader, &mut buffer[held..held + STEP])
            .map_err(|e| Error::io(format!("read {place}"), e))?;
        digest.update(&buffer[held..held + read]);
        size += read as u64;
        held += read;
        let mut start = 0;
        while let Some(end) = stanza_end(&buffer[..held], searched) {
            look_at(&buffer[start..end], wanted, place, &mut seen)?;
            (start, searched) = (end, end);
        }
        if read < STEP {
            look_at(&buffer[start..held], wanted, place, &mut seen)?;
            break;
        }
        buffer.copy_within(start..held, 0);
        held -= start;
        // The last bytes may be the beginning of an end.
        searched = held.saturating_sub(2);
        if held > MOST_STANZA {
            let why = "it has a stanza of more than 4 MiB";
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("read {place}"),
                why,
            ));
        }
    }
    Ok(Scanned {
        size,
        sha256: Sha256::of_hasher(digest),
        seen,
    })
}

/// Where the first empty line at or after `from` ends. The line end before it may be of a line
/// that is empty itself, which does no harm.
fn stanza_end(text: &[u8], from: usize) -> Option<usize> {
    for newline in memchr::memchr_iter(b'\n', &text[from..]) {
        let next = from + newline + 1;
        match text.get(next..) {
            Some([b'\n', ..]) => return Some(next + 1),
            Some([b'\r', b'\n', ..]) => return Some(next + 2),
            _ => {}
        }
    }
    None
}

fn look_at(stanza: &[u8], wanted: &Wanted<'_>, place: &str, seen: &mut Seen) -> Result<()> {
    const FIRST: &[u8] = b"Package: ";
    // Nearly every stanza begins with its name, and nearly none is of this host.
    if let Some(rest) = stanza.strip_prefix(FIRST) {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        if !wanted.by_name.contains_key(rest[..end].trim_ascii()) {
            return Ok(());
        }
    }
    let mut scanner = Scanner::new(stanza, place, Comments::Refused);
    while let Some(paragraph) = scanner.next_paragraph()? {
        let Some(name) = paragraph.get("Package") else {
            continue;
        };
        let Some(indices) = wanted.by_name.get(name) else {
            continue;
        };
        let version = paragraph.text("Version").unwrap_or_default();
        let Ok(version) = version.parse::<PackageVersion>() else {
            continue;
        };
        for index in indices {
            let package = wanted.packages[*index];
            if paragraph.get("Architecture") != Some(package.architecture.as_bytes()) {
                continue;
            }
            // apt finds `package=version` by the text.
            if package
                .version
                .as_ref()
                .is_some_and(|v| v.as_str() == version.as_str())
            {
                seen.found.push(Found {
                    package: *index,
                    same_build: BuildMark::of_package(package)
                        == BuildMark::of_paragraph(&paragraph),
                    deb: listed_deb(&paragraph, place)?,
                });
            }
            raise(&mut seen.newest, *index, version.clone());
        }
    }
    Ok(())
}

/// Keeps the higher of two versions of a package.
pub(crate) fn raise(
    newest: &mut BTreeMap<usize, PackageVersion>,
    package: usize,
    version: PackageVersion,
) {
    let highest = newest.remove(&package).into_iter().chain([version]).max();
    newest.extend(highest.map(|highest| (package, highest)));
}

fn listed_deb(paragraph: &Paragraph, place: &str) -> Result<Option<ListedDeb>> {
    let (Some(filename), Some(size), Some(sha256)) = (
        paragraph.text("Filename"),
        paragraph.text("Size"),
        paragraph.text("SHA256"),
    ) else {
        return Ok(None);
    };
    let malformed = |why: &str| {
        let package = paragraph.text("Package").unwrap_or_default();
        let what = format!("read {place}, package {package:.80?}");
        Error::new(ErrorKind::Malformed, what, why)
    };
    // It becomes a part of a URI, and for `file:` of a path.
    let leaves = filename.starts_with('/')
        || filename.split('/').any(|part| part == "..")
        || filename.is_empty()
        || filename.contains(|c: char| c.is_control() || c == ' ');
    if leaves {
        return Err(malformed("its Filename is no path inside the archive"));
    }
    let size = size
        .parse()
        .map_err(|_| malformed("its Size is no number"))?;
    let sha256 = sha256
        .parse()
        .map_err(|_| malformed("its SHA256 is no digest"))?;
    Ok(Some(ListedDeb {
        filename,
        size,
        sha256,
    }))
}

#[cfg(test)]
mod tests;
