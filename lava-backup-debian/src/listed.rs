//! What apt's lists say of exact packages: where they are, and their digests.

use std::collections::BTreeMap;

use crate::{
    Content, ErrorKind, ListedDeb, PackageState, Result, Root, Sha256, Trust, archive,
    compression::EXTENSIONS,
    read_sources,
    surroundings::{Surroundings, complaints},
};

/// One stanza of a list that has a package in its exact version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The .deb, if the stanza says where it is and gives its digest.
    pub(crate) deb: Option<ListedDeb>,
    /// How far the list can be relied on.
    pub(crate) trust: Trust,
    /// The name of the list, without the end of its compression.
    list: String,
    /// Where the archive is, without a password.
    archive: String,
}

impl Listing {
    /// The digest that it gives.
    pub(crate) fn sha256(&self) -> Option<Sha256> {
        self.deb.as_ref().map(|deb| deb.sha256)
    }

    /// Where the .deb is, without a password.
    pub(crate) fn shown(&self) -> String {
        let file = self.deb.as_ref().map_or("", |deb| &deb.filename);
        place(&self.archive, file)
    }
}

/// The file of an archive that its list names.
fn place(archive: &str, file: &str) -> String {
    let file = file.strip_prefix("./").unwrap_or(file);
    format!("{}/{file}", archive.trim_end_matches('/'))
}

/// The stanzas of all lists for some packages, by name and architecture.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    found: BTreeMap<(String, String), Vec<Listing>>,
    /// What could not be read, and why.
    pub(crate) unreadable: Vec<String>,
}

impl Listed {
    /// Looks these packages up in the lists that apt has of a root, the signatures of which are
    /// checked; their age is not looked at, as apt itself does not when it downloads. What can't be
    /// read is no error.
    pub(crate) fn find(root: &Root, wanted: &[&PackageState], architectures: &[String]) -> Self {
        let mut listed = Self::default();
        let packages = wanted.iter().copied();
        let read = read_sources(root)
            .and_then(|sources| archive::read(root, &sources, packages, architectures, 0));
        let (archives, lists) = match read {
            Ok(read) => read,
            Err(error) => {
                listed.unreadable.push(format!("could not {error}"));
                return listed;
            }
        };
        for list in archives.iter().flat_map(|archive| &archive.lists) {
            if let Content::Unreadable(why) = &list.content {
                listed.unreadable.push(why.clone());
            }
        }
        for read in lists {
            let archive = &archives[read.archive];
            let list = &archive.lists[read.list];
            for found in read.scanned.seen.found {
                let package = wanted[found.package];
                let key = (package.name.clone(), package.architecture.clone());
                listed.found.entry(key).or_default().push(Listing {
                    deb: found.deb,
                    trust: archive.trust(list),
                    list: stem(&list.file.to_string_lossy()),
                    archive: archive.uri.to_string(),
                });
            }
        }
        for listings in listed.found.values_mut() {
            // What nobody vouches for says nothing where somebody vouches for another.
            if listings.iter().any(|l| l.trust != Trust::None) {
                listings.retain(|l| l.trust != Trust::None);
            }
            listings.sort_by_key(|l| l.trust);
        }
        listed
    }

    /// All that the lists say of one of these packages, what can be relied on most first.
    pub(crate) fn of(&self, package: &PackageState) -> &[Listing] {
        let key = (package.name.clone(), package.architecture.clone());
        self.found.get(&key).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The name of a list, without its directory and the end of its compression.
fn stem(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    let end = EXTENSIONS
        .iter()
        .find_map(|end| name.strip_suffix(end).filter(|_| !end.is_empty()));
    end.unwrap_or(name).to_owned()
}

/// Where the archives are, by the names of their lists, as only apt may be told it: with
/// passwords.
pub(crate) struct Archives(BTreeMap<String, String>);

impl Archives {
    /// Asks apt, which alone reads passwords out of sources.
    ///
    /// # Errors
    /// [`ErrorKind::Tool`] without an apt, or when it does not say.
    pub(crate) fn ask(apt: &Surroundings) -> Result<Self> {
        let format = "--format=$(FILENAME)\t$(REPO_URI)";
        let out = apt.run("apt-get", ["indextargets", format, "Created-By: Packages"])?;
        if !out.status.success() {
            let why = complaints(&out.stderr).join("; ");
            let what = "ask apt where its archives are";
            return Err(crate::Error::new(ErrorKind::Tool, what, why));
        }
        let said = String::from_utf8_lossy(&out.stdout);
        let lines = said.lines().filter_map(|line| line.split_once('\t'));
        Ok(Self(
            lines
                .map(|(file, uri)| (stem(file), uri.to_owned()))
                .collect(),
        ))
    }

    /// Where the .deb of a listing is; may hold a password.
    pub(crate) fn uri(&self, listing: &Listing) -> Option<String> {
        let deb = listing.deb.as_ref()?;
        Some(place(self.0.get(&listing.list)?, &deb.filename))
    }
}
