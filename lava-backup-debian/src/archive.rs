//! The archives that the sources name, and what apt's lists hold of them.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::Serialize;

use crate::{
    PackageState, Release, Result, Root, SourceEntry, SourceUri, compression,
    list::{self, Scanned, Wanted},
    signature::Signature,
};

mod locate;

use locate::Located;

/// One archive: a URI and a suite that enabled sources name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Archive {
    /// Where it is, without a password.
    pub uri: SourceUri,
    /// The suite as the sources write it, or a path that ends in a slash.
    pub suite: String,
    /// The files and lines that name it.
    pub sources: Vec<(PathBuf, u64)>,
    /// What its `Release` file says; `None` when apt has none.
    pub release: Option<Release>,
    /// Who signed that.
    pub signature: Signature,
    /// Whether a source says that no signature is needed.
    pub trusted: bool,
    /// Whether apt would refuse its `Release` for its age.
    pub expired: bool,
    /// The lists that apt has of it, in the order of their files.
    pub lists: Vec<List>,
    /// The lists that its release names, the sources ask for, and apt does not have, by their
    /// paths in the archive.
    pub lacking: Vec<String>,
}

/// One `Packages` list that apt has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct List {
    /// The file, absolute in the root.
    pub file: PathBuf,
    /// The component; empty in an archive without them.
    pub component: String,
    /// The architecture that it is for; empty in an archive without them.
    pub architecture: String,
    /// Whether it is the list that the release names.
    pub content: Content,
}

/// How a list stands to the release beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// It has the size and digest that the release names.
    Listed,
    /// It has others.
    Altered,
    /// The release does not name it, or there is none.
    Unlisted,
    /// It could not be read, and nothing of it is used.
    Unreadable(String),
}

/// How far what a list says can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// A key that the source may use signed a release that names this very list.
    Signed,
    /// Nobody could check the signature; apt did before it stored the list.
    Unchecked,
    /// The source says that no signature is needed.
    ByOption,
    /// It is not signed, or not what was signed.
    None,
}

impl Trust {
    /// The word for it, as in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Unchecked => "unchecked",
            Self::ByOption => "by-option",
            Self::None => "none",
        }
    }
}

impl Archive {
    /// Whether all that it offers was read.
    pub(crate) fn is_whole(&self) -> bool {
        let unreadable = |list: &List| matches!(list.content, Content::Unreadable(_));
        (self.release.is_some() || !self.lists.is_empty())
            && self.lacking.is_empty()
            && !self.lists.iter().any(unreadable)
    }

    /// How far a list of it can be relied on.
    pub fn trust(&self, list: &List) -> Trust {
        match (&self.signature, &list.content) {
            (Signature::Good { .. }, Content::Listed) => Trust::Signed,
            _ if self.trusted => Trust::ByOption,
            (Signature::Unchecked { .. }, Content::Listed) => Trust::Unchecked,
            _ => Trust::None,
        }
    }

    /// Where it is, for a person: URI and suite.
    pub fn describe(&self) -> String {
        format!("{} {}", self.uri, self.suite)
    }
}

/// What one list of an archive holds of the packages that were looked for.
pub(crate) struct ReadList {
    /// The archive, by its index.
    pub(crate) archive: usize,
    /// The list, by its index in the archive.
    pub(crate) list: usize,
    pub(crate) scanned: Scanned,
}

/// Finds the archives that enabled sources name, in the order of the names of their lists, and
/// looks through these for some packages. What can't be read is [`Content::Unreadable`].
///
/// `architectures` are those of dpkg, the native one first; `now` is in seconds since 1970.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) when the directory of lists can't be read.
pub(crate) fn read<'p>(
    root: &Root,
    sources: &[SourceEntry],
    packages: impl IntoIterator<Item = &'p PackageState>,
    architectures: &[String],
    now: i64,
) -> Result<(Vec<Archive>, Vec<ReadList>)> {
    let mut located = locate::locate(root, sources, architectures, now)?;
    let mut read = Vec::new();
    for ((archive, list), result) in scan_all(root, &located, &Wanted::of(packages)) {
        let Located {
            archive: of,
            digests,
        } = &mut located[archive];
        of.lists[list].content = match (&result, &digests[list]) {
            (Err(error), _) => Content::Unreadable(format!("could not {error}")),
            (Ok(_), None) => Content::Unlisted,
            (Ok(s), Some(d)) if s.size == d.size && s.sha256 == d.sha256 => Content::Listed,
            (Ok(_), Some(_)) => Content::Altered,
        };
        if let Ok(scanned) = result {
            read.push(ReadList {
                archive,
                list,
                scanned,
            });
        }
    }
    let archives = located.into_iter().map(|located| located.archive);
    Ok((archives.collect(), read))
}

type Place = (usize, usize);

/// Looks through all lists, on as many threads as there are processors but no more than four: each
/// may hold a compressor's window.
fn scan_all(
    root: &Root,
    located: &[Located],
    wanted: &Wanted<'_>,
) -> Vec<(Place, Result<Scanned>)> {
    let places: Vec<Place> = located
        .iter()
        .enumerate()
        .flat_map(|(archive, l)| (0..l.archive.lists.len()).map(move |list| (archive, list)))
        .collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || {
        while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let file = &located[place.0].archive.lists[place.1].file;
            let scanned = scan_file(root, file, wanted);
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((*place, scanned));
        }
    };
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4)
        .min(places.len());
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done
}

/// The largest file of a list, compressed or not. All of sid has 60 MB.
const MOST_LIST: u64 = 1 << 30;

fn scan_file(root: &Root, file: &Path, wanted: &Wanted<'_>) -> Result<Scanned> {
    let place = root.describe(file);
    match compression::open(root, file, MOST_LIST)? {
        Some(reader) => list::scan(reader, wanted, &place),
        // Gone since the directory was read: as if it were empty, which no release names.
        None => list::scan(io::empty(), wanted, &place),
    }
}

#[cfg(test)]
mod tests;
