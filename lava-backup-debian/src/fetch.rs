//! Getting the exact .debs of installed packages.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    Deb, Error, ErrorKind, InstalledBuilds, PackageState, PackageVersion, Result, Root, Sha256,
    Trust, architectures,
    deb::file_name,
    listed::Listed,
    proof::{another, reason},
    surroundings::{Surroundings, make},
};

mod download;

/// How the .debs of installed packages are to be had.
///
/// In this order: from the cache of apt's, from an earlier backup, by `apt-get download` of the
/// exact version, and by what a list says of it alone (its place and its digest). Whatever comes
/// is taken only if it is [the installed build](InstalledBuilds), wherever it came from, and what
/// comes from an archive only if it has the digest that the archive's list gives.
pub struct Fetch<'f> {
    /// Whose packages they are.
    pub root: &'f Root,
    /// An empty directory that nobody else can list. All that is written goes below it; it can be
    /// removed when the .debs were used. As root, others should be able to pass through it: then
    /// apt downloads as its own user.
    pub dir: &'f Path,
    /// Bytes a second that a download may take; `None` for no limit.
    pub rate: Option<u64>,
    /// Whether `dpkg-repack` may make one anew of installed files, where there is no other way.
    /// It packs configuration as it was changed here, which may hold secrets.
    pub repack: bool,
    /// Writes what an earlier backup has for a package, and tells where that came from.
    pub earlier: &'f mut dyn FnMut(&PackageState, &mut File) -> io::Result<Option<DebOrigin>>,
    /// Is told of each package before it is looked for.
    pub observe: &'f mut dyn FnMut(&PackageState),
}

/// Where the bytes of a .deb came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DebOrigin {
    /// From apt's cache on the host.
    Cache,
    /// By `apt-get download`.
    Download,
    /// From the place that a list names, with the digest that it gives.
    Stanza,
    /// Made anew of installed files by `dpkg-repack`.
    Repacked,
}

impl DebOrigin {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Download => "download",
            Self::Stanza => "stanza",
            Self::Repacked => "repacked",
        }
    }
}

impl fmt::Display for DebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One .deb that was had.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchedDeb {
    /// The .deb, in the private directory.
    pub deb: Deb,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Where they came from.
    pub origin: DebOrigin,
    /// Whether an earlier backup had them.
    pub earlier: bool,
    /// What apt's lists say of it.
    pub index: IndexWord,
    /// What tells it from the installed build; nothing unless it was repacked.
    pub differences: Vec<String>,
}

/// What apt's lists say of a .deb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexWord {
    /// One gives this very digest.
    Same {
        /// Where it says that the .deb is, without a password.
        place: String,
        /// How far it can be relied on. A list that can be relied on no further than
        /// [`Trust::None`] says nothing where another has the package.
        trust: Trust,
    },
    /// They have this version, and give another digest: this is another build of it.
    Other,
    /// None has this version, or none gives its digest.
    Nothing,
}

/// A .deb that was not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LackingDeb {
    /// The package.
    pub name: String,
    /// Its installed version.
    pub version: PackageVersion,
    /// Its architecture.
    pub architecture: String,
    /// What kind of reason it is.
    pub lack: Lack,
    /// The reason, a sentence without its full stop.
    pub why: String,
}

/// Why a .deb was not to be had. Where several ways failed, the last of these that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lack {
    /// It is in no cache, and no index names its version: the archive has gone on, or it never
    /// came from one.
    Unlisted,
    /// An index names it, and it could not be fetched.
    Unfetched,
    /// An index names it, and its archive has it no more.
    Gone,
    /// What came is no .deb, or not the bytes that the index names.
    Damaged,
    /// What came has the same name and version, and is not what is installed.
    OtherBuild,
}

impl Lack {
    /// A stable code for it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unlisted => "deb.unlisted",
            Self::Unfetched => "deb.unfetched",
            Self::Gone => "deb.gone",
            Self::Damaged => "deb.damaged",
            Self::OtherBuild => "deb.other-build",
        }
    }
}

/// What was had, and what was not: each package that was asked for is in one of the two.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Fetched {
    /// What was had, in the order of file names.
    pub debs: Vec<FetchedDeb>,
    /// What was not, in the order asked for.
    pub lacking: Vec<LackingDeb>,
    /// Lists of apt's that could not be read, and why.
    pub unreadable: Vec<String>,
}

/// Below the private directory.
const DEBS: &str = "debs";
/// More than any .deb of Debian by far.
const MOST_DEB: u64 = 8 << 30;

/// Gets the .debs of these packages, which must be installed.
///
/// # Errors
/// What concerns all of them: dpkg's status, the private directory, no apt on this machine. One
/// that is not to be had is no error.
pub fn fetch(how: Fetch<'_>, wanted: &[&PackageState]) -> Result<Fetched> {
    let debs = how.dir.join(DEBS);
    make(&debs, 0o700)?;
    let architectures = architectures(how.root, &crate::read_status(how.root)?)?;
    let mut apt = Surroundings::of_root(how.root, how.dir.join("apt"), &architectures)?;
    if let Some(rate) = how.rate {
        // In kilobytes, and for both kinds of servers.
        for scheme in ["http", "https"] {
            let limit = (rate / 1024).max(1);
            apt.option(format!("Acquire::{scheme}::Dl-Limit={limit}"));
        }
    }
    let mut gathering = Gathering {
        builds: InstalledBuilds::read(how.root)?,
        listed: Listed::find(how.root, wanted, &architectures),
        debs,
        found: BTreeMap::new(),
        failed: BTreeMap::new(),
    };
    for package in wanted {
        (how.observe)(package);
        if gathering.cached(how.root, package)? {
            continue;
        }
        gathering.earlier(package, how.earlier)?;
    }
    download::by_apt(&mut gathering, &apt, wanted)?;
    download::by_stanza(&mut gathering, &apt, wanted)?;
    for package in wanted {
        if how.repack && !gathering.has(package) {
            (how.observe)(package);
            download::repack(&mut gathering, how.root, &apt, package)?;
        }
    }
    Ok(gathering.end(wanted))
}

type Key = (String, String);

fn key(package: &PackageState) -> Key {
    (package.name.clone(), package.architecture.clone())
}

/// What was found by now, and what went wrong.
struct Gathering {
    builds: InstalledBuilds,
    listed: Listed,
    /// Where .debs are put.
    debs: PathBuf,
    found: BTreeMap<Key, FetchedDeb>,
    failed: BTreeMap<Key, Vec<(Lack, String)>>,
}

impl Gathering {
    fn has(&self, package: &PackageState) -> bool {
        self.found.contains_key(&key(package))
    }

    fn fail(&mut self, package: &PackageState, lack: Lack, why: String) {
        let failed = self.failed.entry(key(package)).or_default();
        // Two ways to the same archive fail for the same reason.
        if !matches!(failed.last(), Some((last, _)) if *last == lack) {
            failed.push((lack, why));
        }
    }

    /// Where the .deb of a package goes.
    fn place(&self, package: &PackageState, version: &PackageVersion) -> PathBuf {
        self.debs
            .join(file_name(&package.name, version, &package.architecture))
    }

    fn cached(&mut self, root: &Root, package: &PackageState) -> Result<bool> {
        let Some(version) = &package.version else {
            return Ok(false);
        };
        // As apt spells it there.
        let version = version.as_str().replace(':', "%3a");
        let name = format!("{}_{version}_{}.deb", package.name, package.architecture);
        let inside = format!("var/cache/apt/archives/{name}");
        match root.open_file(&inside, MOST_DEB) {
            Ok(Some(mut file)) => self.put(package, DebOrigin::Cache, false, |to| {
                io::copy(&mut file, to).map(Some)
            }),
            Ok(None) => Ok(false),
            Err(error) => {
                self.fail(package, Lack::Damaged, reason(&error));
                Ok(false)
            }
        }
    }

    fn earlier(
        &mut self,
        package: &PackageState,
        earlier: &mut dyn FnMut(&PackageState, &mut File) -> io::Result<Option<DebOrigin>>,
    ) -> Result<bool> {
        let mut origin = None;
        let put = self.put(package, DebOrigin::Cache, true, |to| {
            origin = earlier(package, to)?;
            Ok(origin.map(|_| 0))
        })?;
        if let (Some(found), Some(origin)) = (self.found.get_mut(&key(package)), origin) {
            found.origin = origin;
        }
        Ok(put)
    }

    /// Takes what `write` writes, if it is the package's.
    fn put(
        &mut self,
        package: &PackageState,
        origin: DebOrigin,
        earlier: bool,
        write: impl FnOnce(&mut File) -> io::Result<Option<u64>>,
    ) -> Result<bool> {
        let Some(version) = &package.version else {
            return Ok(false);
        };
        let path = self.place(package, version);
        let failed = |e| Error::io(format!("write {}", path.display()), e);
        // Whoever writes it may want to read it again.
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        let mut file = options.open(&path).map_err(failed)?;
        let written = write(&mut file);
        drop(file);
        let taken = match written {
            Ok(Some(_)) => self.judge(package, &path, origin, earlier)?,
            Ok(None) => false,
            Err(error) => {
                let why = format!("could not read it: {error}");
                self.fail(package, Lack::Damaged, why);
                false
            }
        };
        if !taken {
            fs::remove_file(&path).map_err(failed)?;
        }
        Ok(taken)
    }

    /// Takes a file in the place of the package's .deb, if it is that.
    fn judge(
        &mut self,
        package: &PackageState,
        path: &Path,
        origin: DebOrigin,
        earlier: bool,
    ) -> Result<bool> {
        let read = Deb::open(path).and_then(|deb| {
            let differences = self.builds.differences(package, &deb)?;
            let digest = deb.sha256()?;
            Ok((deb, differences, digest))
        });
        let (deb, differences, sha256) = match read {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Io => return Err(error),
            Err(error) => {
                self.fail(
                    package,
                    Lack::Damaged,
                    from(origin, earlier, &reason(&error)),
                );
                return Ok(false);
            }
        };
        let is_another = match origin {
            DebOrigin::Repacked => !is_of(&deb, package),
            _ => !differences.is_empty(),
        };
        if is_another {
            let why = another(package, &differences);
            self.fail(package, Lack::OtherBuild, from(origin, earlier, &why));
            return Ok(false);
        }
        let listings = self.listed.of(package);
        let same = listings
            .iter()
            .find(|listing| listing.sha256() == Some(sha256));
        let index = match same {
            Some(listing) => IndexWord::Same {
                place: listing.shown(),
                trust: listing.trust,
            },
            None if listings.iter().any(|listing| listing.deb.is_some()) => IndexWord::Other,
            None => IndexWord::Nothing,
        };
        // apt 2.6 does not look at digests where the archive is a directory of this machine.
        if index == IndexWord::Other && matches!(origin, DebOrigin::Download | DebOrigin::Stanza) {
            let why = format!("its SHA-256 {sha256} is not the one that its list gives");
            self.fail(package, Lack::Damaged, from(origin, earlier, &why));
            return Ok(false);
        }
        let found = FetchedDeb {
            deb,
            sha256,
            origin,
            earlier,
            index,
            differences,
        };
        self.found.insert(key(package), found);
        Ok(true)
    }

    fn end(mut self, wanted: &[&PackageState]) -> Fetched {
        let mut fetched = Fetched {
            unreadable: self.listed.unreadable,
            ..Fetched::default()
        };
        for package in wanted {
            let failed = self.failed.remove(&key(package)).unwrap_or_default();
            if let Some(found) = self.found.remove(&key(package)) {
                fetched.debs.push(found);
                continue;
            }
            let Some(version) = package.version.clone() else {
                continue;
            };
            let lack = failed.iter().map(|(lack, _)| *lack).max();
            let mut why: Vec<String> = failed.into_iter().map(|(_, why)| why).collect();
            why.dedup();
            if why.is_empty() {
                why.push(
                    "it is not in apt's cache, and no index of apt's names this version".into(),
                );
            }
            fetched.lacking.push(LackingDeb {
                name: package.name.clone(),
                version,
                architecture: package.architecture.clone(),
                lack: lack.unwrap_or(Lack::Unlisted),
                why: why.join("; "),
            });
        }
        fetched.debs.sort_by_key(|found| found.deb.file_name());
        fetched
    }
}

fn is_of(deb: &Deb, package: &PackageState) -> bool {
    deb.name() == package.name
        && deb.architecture() == package.architecture
        && package.version.as_ref().map(PackageVersion::as_str) == Some(deb.version().as_str())
}

fn from(origin: DebOrigin, earlier: bool, why: &str) -> String {
    let source = match origin {
        _ if earlier => "in an earlier backup",
        DebOrigin::Cache => "in apt's cache",
        DebOrigin::Download | DebOrigin::Stanza => "from the archive",
        DebOrigin::Repacked => "repacked",
    };
    format!("{source}, {why}")
}
