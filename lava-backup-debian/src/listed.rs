//! What apt's indexes say of exact packages: where they are, and their digests.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use crate::{
    Error, ErrorKind, PackageVersion, Result, Sha256,
    apt::SourceUri,
    deb::Identity,
    deb822::{Comments, Scanner},
    surroundings::{Surroundings, complaints},
};

/// One stanza of an index that names a .deb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The digest that the index gives, if it gives one.
    pub(crate) sha256: Option<Sha256>,
    /// Where the .deb is; may hold a password.
    pub(crate) uri: String,
}

impl Listing {
    /// Where the .deb is, without a password.
    pub(crate) fn shown(&self) -> String {
        SourceUri::of_text(&self.uri).to_string()
    }
}

/// The stanzas of all indexes for some packages, by name, version and architecture.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    found: BTreeMap<Identity, Vec<Listing>>,
    /// Indexes that could not be read, and why.
    pub(crate) unreadable: Vec<String>,
}

/// The longest line of Debian's indexes has 15 kB.
const MOST_LINE: u64 = 1 << 20;
const MOST_STANZA: usize = 8 << 20;
/// 60,000 packages of main are 50 MB.
const MOST_INDEX: u64 = 4 << 30;

impl Listed {
    /// Looks these packages up.
    ///
    /// # Errors
    /// [`ErrorKind::Tool`] without an apt; an index that can't be read is none.
    pub(crate) fn find(apt: &Surroundings, wanted: &BTreeSet<&str>) -> Result<Self> {
        let mut listed = Self::default();
        let format = "--format=$(FILENAME)\t$(REPO_URI)";
        let out = apt.run("apt-get", ["indextargets", format, "Created-By: Packages"])?;
        if !out.status.success() {
            let why = complaints(&out.stderr).join("; ");
            listed
                .unreadable
                .push(format!("could not list apt's indexes: {why}"));
        }
        for line in String::from_utf8_lossy(&out.stdout).lines() {
            let Some((file, uri)) = line.split_once('\t') else {
                continue;
            };
            if let Err(error) = listed.read_index(apt, file, uri, wanted) {
                listed.unreadable.push(format!("could not {error}"));
            }
        }
        Ok(listed)
    }

    /// All that the indexes say of one package.
    pub(crate) fn of(&self, name: &str, version: &PackageVersion, arch: &str) -> &[Listing] {
        let key = Identity {
            name: name.to_owned(),
            version: version.clone(),
            architecture: arch.to_owned(),
        };
        self.found.get(&key).map(Vec::as_slice).unwrap_or_default()
    }

    fn read_index(
        &mut self,
        apt: &Surroundings,
        file: &str,
        uri: &str,
        wanted: &BTreeSet<&str>,
    ) -> Result<()> {
        // An index that was never fetched is no error.
        if !std::path::Path::new(file).exists() {
            return Ok(());
        }
        // apt keeps indexes in whatever compression it likes, and knows them all.
        let mut child = apt
            .command("/usr/lib/apt/apt-helper")
            .args(["cat-file", file])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| Error::new(ErrorKind::Tool, "run apt-helper", e.to_string()))?;
        let read = match child.stdout.take() {
            Some(out) => self.read(BufReader::new(out.take(MOST_INDEX)), file, uri, wanted),
            None => Ok(()),
        };
        if read.is_err() {
            let _ = child.kill();
        }
        let status = child
            .wait()
            .map_err(|e| Error::io(format!("read {file}"), e))?;
        match status.success() || read.is_err() {
            true => read,
            false => Err(Error::new(
                ErrorKind::Malformed,
                format!("read {file}"),
                "apt-helper can't",
            )),
        }
    }

    /// Reads an index; of packages that are not wanted, no more than their names.
    pub(crate) fn read(
        &mut self,
        mut index: impl BufRead,
        place: &str,
        uri: &str,
        wanted: &BTreeSet<&str>,
    ) -> Result<()> {
        let mut stanza = Vec::new();
        let mut line = Vec::new();
        let mut skipping = false;
        let too_large = |why| Error::new(ErrorKind::TooLarge, format!("read {place}"), why);
        loop {
            line.clear();
            let read = index
                .by_ref()
                .take(MOST_LINE + 1)
                .read_until(b'\n', &mut line);
            let read = read.map_err(|e| Error::io(format!("read {place}"), e))?;
            if read as u64 > MOST_LINE {
                return Err(too_large("a line is too long"));
            }
            let ends = matches!(line.as_slice(), b"" | b"\n" | b"\r\n");
            if ends {
                self.take(&stanza, place, uri)?;
                stanza.clear();
                skipping = false;
                if read == 0 {
                    return Ok(());
                }
                continue;
            }
            if stanza.is_empty() && !skipping {
                let name = line.strip_prefix(b"Package:").map(<[u8]>::trim_ascii);
                let name = name.map(std::str::from_utf8);
                skipping = matches!(name, Some(Ok(name)) if !wanted.contains(name));
            }
            if !skipping {
                if stanza.len() + line.len() > MOST_STANZA {
                    return Err(too_large("a stanza is too large"));
                }
                stanza.extend_from_slice(&line);
            }
        }
    }

    fn take(&mut self, stanza: &[u8], place: &str, uri: &str) -> Result<()> {
        let mut scanner = Scanner::new(stanza, place, Comments::Refused);
        let Some(stanza) = scanner.next_paragraph()? else {
            return Ok(());
        };
        let identity = Identity::of(&stanza, place)?;
        let malformed = |why: &str| {
            let what = format!("read {place}, package {}", identity.name);
            Err(Error::new(ErrorKind::Malformed, what, why))
        };
        let file = stanza.text("Filename").unwrap_or_default();
        // It becomes a part of a URI, and for `file:` of a path.
        let upwards = file.split('/').any(|part| part == "..");
        if upwards || file.is_empty() || file.contains(|c: char| c.is_control() || c == ' ') {
            return malformed("its Filename is no name of a file");
        }
        let sha256 = match stanza.text("SHA256") {
            None => None,
            Some(text) => Some(text.parse()?),
        };
        let file = file.strip_prefix("./").unwrap_or(&file);
        let listing = Listing {
            sha256,
            uri: format!("{}/{file}", uri.trim_end_matches('/')),
        };
        let listings = self.found.entry(identity).or_default();
        if !listings.contains(&listing) {
            listings.push(listing);
        }
        Ok(())
    }
}

/// Reads an index of any bytes, for fuzzing.
#[doc(hidden)]
pub fn fuzz_index(bytes: &[u8]) {
    let mut listed = Listed::default();
    let wanted = BTreeSet::from(["lava-server", "a"]);
    let _ = listed.read(bytes, "fuzz", "http://mirror/debian", &wanted);
    for (identity, listings) in &listed.found {
        for listing in listings {
            assert!(listing.uri.starts_with("http://mirror/debian/"));
            assert!(!listing.uri.contains("/../") && !listing.uri.contains('\x1b'));
        }
        let name = crate::deb::file_name(&identity.name, &identity.version, &identity.architecture);
        assert!(!name.contains('/'));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> Result<Listed> {
        let mut listed = Listed::default();
        let wanted = BTreeSet::from(["one", "two"]);
        listed.read(
            text.as_bytes(),
            "index",
            "http://u:p@mirror/debian/",
            &wanted,
        )?;
        Ok(listed)
    }

    fn stanza(name: &str, more: &str) -> String {
        format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nFilename: pool/{name}.deb\n{more}\n"
        )
    }

    #[test]
    fn of_an_index_only_what_is_wanted_is_read() {
        let sum = format!("SHA256: {}\n", "a".repeat(64));
        let broken = "Package: three\nno colon\n\n";
        let text = stanza("one", &sum) + broken + &stanza("two", "");
        let listed = read(&text).unwrap();
        let version = "1".parse().unwrap();
        let one = listed.of("one", &version, "all");
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].uri, "http://u:p@mirror/debian/pool/one.deb");
        assert_eq!(one[0].shown(), "http://…@mirror/debian/pool/one.deb");
        assert_eq!(one[0].sha256.unwrap().to_string(), "a".repeat(64));
        assert_eq!(listed.of("two", &version, "all")[0].sha256, None);
        assert!(listed.of("two", &version, "amd64").is_empty());
        assert_eq!(listed.found.len(), 2);
    }

    #[test]
    fn an_index_that_lies_is_refused() {
        for (from, to, why) in [
            ("pool/one.deb", "../../../etc/shadow", "Filename"),
            ("pool/one.deb", "a/../../b", "Filename"),
            ("pool/one.deb", "a\x1b[2Jb", "Filename"),
            ("Filename: pool/one.deb\n", "", "Filename"),
            ("Version: 1", "Version: 1 2", "version"),
            ("Version: 1", "Version: 1\nVersion: 2", "twice"),
            ("Architecture: all", "Architecture: ../x", "Architecture"),
        ] {
            let error = read(&stanza("one", "").replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert!(!error.to_string().contains('\x1b'), "{error}");
        }
        let long = stanza("one", &format!("X: {}\n", "x".repeat(10 << 20)));
        assert_eq!(read(&long).unwrap_err().kind(), ErrorKind::TooLarge);
        let long = format!("Package: three\nX: {}\n", "x".repeat(10 << 20));
        assert_eq!(read(&long).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
