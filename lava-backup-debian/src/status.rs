//! What dpkg knows of every package.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt,
    io::{BufRead, BufReader},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use serde::{Serialize, Serializer};

use crate::{
    Error, ErrorKind, PackageVersion, Result, Root,
    deb822::{Comments, Paragraph, Scanner},
};

/// One stanza of dpkg's status: a package that is installed, was, or is selected.
///
/// A stanza does not mean that the package is installed; [`is_installed`](Self::is_installed) does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PackageState {
    /// The package's name.
    pub name: String,
    /// Its architecture; empty when the stanza names none, as dpkg writes for what was never
    /// installed.
    pub architecture: String,
    /// Its version; always there when anything of the package is.
    pub version: Option<PackageVersion>,
    /// What is wanted of it.
    pub want: Want,
    /// Whether it must be installed again.
    pub flag: Flag,
    /// How far dpkg has come with it.
    pub state: State,
    /// The source package that it was built from.
    pub source: Source,
    /// Whether the system does not work without it.
    pub essential: bool,
    /// Its priority.
    pub priority: Option<String>,
    /// Its section of the archive.
    pub section: Option<String>,
    /// Whether several architectures of it can be installed, and how it serves others.
    pub multi_arch: Option<String>,
    /// `Depends`, as it is written.
    pub depends: Option<String>,
    /// `Pre-Depends`, as it is written.
    pub pre_depends: Option<String>,
    /// `Recommends`, as it is written.
    pub recommends: Option<String>,
    /// `Conflicts`, as it is written.
    pub conflicts: Option<String>,
    /// `Breaks`, as it is written.
    pub breaks: Option<String>,
    /// `Replaces`, as it is written.
    pub replaces: Option<String>,
    /// `Provides`, as it is written.
    pub provides: Option<String>,
    /// What it takes on disk in KiB, as its maker estimated.
    pub installed_size: Option<u64>,
    /// The version whose configuration is on disk, where dpkg notes it.
    pub config_version: Option<PackageVersion>,
    /// Its configuration files, in dpkg's order.
    pub conffiles: Vec<Conffile>,
}

/// The source package of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its name: the package's own, when the stanza names none.
    pub name: String,
    /// Its version: the package's own, when the stanza names none.
    pub version: Option<PackageVersion>,
}

/// One configuration file that dpkg watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conffile {
    /// Its absolute path; serialised with what is not UTF-8 replaced.
    #[serde(serialize_with = "lossily")]
    pub path: PathBuf,
    /// The MD5 of the file as the package ships it, in lower-case hexadecimal; `None` while dpkg
    /// has not installed it yet.
    pub md5: Option<String>,
    /// Whether the installed version ships it no more.
    pub obsolete: bool,
    /// Whether the installed version asks for its removal.
    pub remove_on_upgrade: bool,
}

pub(crate) fn lossily<S: Serializer>(
    path: &std::path::Path,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Declares an enum of the words of one column of `Status:`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The word that dpkg writes.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            fn of_word(word: &[u8]) -> Option<Self> {
                $(if word == $word.as_bytes() {
                    return Some(Self::$variant);
                })*
                None
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// What is wanted of a package.
    Want {
        /// Nothing was ever asked.
        Unknown = "unknown",
        /// It shall be installed.
        Install = "install",
        /// It shall stay as it is.
        Hold = "hold",
        /// It shall be removed, its configuration kept.
        Deinstall = "deinstall",
        /// It shall be removed with its configuration.
        Purge = "purge",
    }
}

words! {
    /// Whether a package must be installed again.
    Flag {
        /// It need not.
        Ok = "ok",
        /// It is broken, and can't even be removed before it is installed again.
        Reinstreq = "reinstreq",
    }
}

words! {
    /// How far dpkg has come with a package.
    State {
        /// Nothing of it is there.
        NotInstalled = "not-installed",
        /// It is removed; its configuration is there.
        ConfigFiles = "config-files",
        /// Its unpacking was interrupted.
        HalfInstalled = "half-installed",
        /// It is unpacked and not configured.
        Unpacked = "unpacked",
        /// Its configuration was interrupted or failed.
        HalfConfigured = "half-configured",
        /// It waits until others have processed its triggers.
        TriggersAwaited = "triggers-awaited",
        /// It has triggers to process.
        TriggersPending = "triggers-pending",
        /// It is installed.
        Installed = "installed",
    }
}

impl PackageState {
    /// Whether it is unpacked and configured. Triggers may still be due.
    pub fn is_installed(&self) -> bool {
        self.flag == Flag::Ok
            && matches!(
                self.state,
                State::Installed | State::TriggersAwaited | State::TriggersPending
            )
    }

    /// Whether dpkg has work left to do on it, or can't go on with it.
    pub fn is_unclean(&self) -> bool {
        self.flag == Flag::Reinstreq
            || !matches!(
                self.state,
                State::Installed | State::NotInstalled | State::ConfigFiles
            )
    }

    /// Whether an admin has it held at its version.
    pub fn is_held(&self) -> bool {
        self.want == Want::Hold
    }

    /// Whether several architectures of it can be installed at once.
    pub fn is_coinstallable(&self) -> bool {
        self.multi_arch.as_deref() == Some("same")
    }

    fn of_paragraph(paragraph: &Paragraph, place: &str) -> Result<Self> {
        let name = paragraph.text("Package").unwrap_or_default();
        let malformed = |why: String| {
            let what = format!("read {place}, line {}, package {name:.80?}", paragraph.line);
            Error::new(ErrorKind::Malformed, what, why)
        };
        let well_formed = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
        };
        if !well_formed(&name) {
            return Err(malformed(
                "the package has no name, or an ill-formed one".into(),
            ));
        }
        let architecture = paragraph.text("Architecture").unwrap_or_default();
        if !(architecture.is_empty() || well_formed(&architecture)) {
            return Err(malformed("its architecture is ill-formed".into()));
        }
        let status = paragraph.get("Status").unwrap_or_default();
        let words: Vec<&[u8]> = status
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .collect();
        let (want, flag, state) = match words[..] {
            [want, flag, state] => (
                Want::of_word(want),
                Flag::of_word(flag),
                State::of_word(state),
            ),
            _ => (None, None, None),
        };
        let (Some(want), Some(flag), Some(state)) = (want, flag, state) else {
            return Err(malformed("its Status is not three words of dpkg's".into()));
        };
        let version = |field: &str| match paragraph.text(field) {
            None => Ok(None),
            Some(text) => text
                .parse::<PackageVersion>()
                .map(Some)
                .map_err(|error| malformed(format!("could not {error}"))),
        };
        let own_version = version("Version")?;
        if own_version.is_none() && state != State::NotInstalled {
            return Err(malformed("it has no Version".into()));
        }
        let source = match paragraph.text("Source") {
            None => Source {
                name: name.clone(),
                version: own_version.clone(),
            },
            Some(text) => match text.split_once('(') {
                None => Source {
                    name: text,
                    version: own_version.clone(),
                },
                Some((source, rest)) => {
                    let version = rest
                        .strip_suffix(')')
                        .and_then(|version| version.trim().parse().ok())
                        .ok_or_else(|| malformed("its Source has an ill-formed version".into()))?;
                    Source {
                        name: source.trim().to_owned(),
                        version: Some(version),
                    }
                }
            },
        };
        let conffiles = paragraph
            .get("Conffiles")
            .unwrap_or_default()
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                conffile(line)
                    .ok_or_else(|| malformed("a line of its Conffiles is no path and MD5".into()))
            })
            .collect::<Result<Vec<Conffile>>>()?;
        Ok(Self {
            architecture,
            version: own_version,
            want,
            flag,
            state,
            source,
            essential: paragraph.get("Essential") == Some(b"yes"),
            priority: paragraph.text("Priority"),
            section: paragraph.text("Section"),
            multi_arch: paragraph.text("Multi-Arch"),
            depends: paragraph.text("Depends"),
            pre_depends: paragraph.text("Pre-Depends"),
            recommends: paragraph.text("Recommends"),
            conflicts: paragraph.text("Conflicts"),
            breaks: paragraph.text("Breaks"),
            replaces: paragraph.text("Replaces"),
            provides: paragraph.text("Provides"),
            installed_size: paragraph
                .text("Installed-Size")
                .and_then(|size| size.parse().ok()),
            config_version: version("Config-Version")?,
            conffiles,
            name,
        })
    }
}

/// Reads a line from its end, because a path may hold blanks.
fn conffile(line: &[u8]) -> Option<Conffile> {
    let (mut obsolete, mut remove_on_upgrade) = (false, false);
    let mut rest = line.trim_ascii();
    loop {
        let blank = rest.iter().rposition(|b| *b == b' ')?;
        let (path, word) = (rest[..blank].trim_ascii_end(), &rest[blank + 1..]);
        match word {
            b"obsolete" => obsolete = true,
            b"remove-on-upgrade" => remove_on_upgrade = true,
            _ => {
                let md5 = match word {
                    // dpkg's word for a file whose package is only unpacked.
                    b"newconffile" => None,
                    _ if word.len() == 32 && word.iter().all(u8::is_ascii_hexdigit) => {
                        Some(String::from_utf8_lossy(word).to_ascii_lowercase())
                    }
                    _ => return None,
                };
                return path.starts_with(b"/").then(|| Conffile {
                    path: PathBuf::from(OsStr::from_bytes(path)),
                    md5,
                    obsolete,
                    remove_on_upgrade,
                });
            }
        }
        rest = path;
    }
}

/// A host of 716 packages has 0.6 MB.
const MOST_STATUS: u64 = 128 << 20;
const JOURNAL: &str = "var/lib/dpkg/updates";

/// Reads the state of every package that dpkg has a stanza for, sorted by name and architecture,
/// with the journal of an interrupted or running dpkg merged as dpkg itself does.
///
/// # Errors
/// [`ErrorKind::Malformed`] for whatever dpkg would refuse, and for a version or a status that
/// dpkg would only warn about.
pub fn read_status(root: &Root) -> Result<Vec<PackageState>> {
    let mut packages = Packages::default();
    read_stanzas(root, "var/lib/dpkg/status", |package, place| {
        packages.add(package, place)
    })?;
    for name in journal(root)? {
        read_stanzas(root, &format!("{JOURNAL}/{name}"), |package, place| {
            packages.update(package, place)
        })?;
    }
    Ok(packages
        .0
        .into_values()
        .flat_map(BTreeMap::into_values)
        .collect())
}

fn read_stanzas(
    root: &Root,
    inside: &str,
    each: impl FnMut(PackageState, &str) -> Result<()>,
) -> Result<()> {
    match root.open_file(inside, MOST_STATUS)? {
        Some(file) => stanzas(BufReader::new(file), &root.describe(inside.as_ref()), each),
        None => Ok(()),
    }
}

fn stanzas(
    reader: impl BufRead,
    place: &str,
    mut each: impl FnMut(PackageState, &str) -> Result<()>,
) -> Result<()> {
    let mut scanner = Scanner::new(reader, place, Comments::Refused);
    while let Some(paragraph) = scanner.next_paragraph()? {
        each(PackageState::of_paragraph(&paragraph, place)?, place)?;
    }
    Ok(())
}

/// Every package by name, then by architecture.
#[derive(Default)]
struct Packages(BTreeMap<String, BTreeMap<String, PackageState>>);

impl Packages {
    fn add(&mut self, package: PackageState, place: &str) -> Result<()> {
        let instances = self.0.entry(package.name.clone()).or_default();
        let clashes = instances.values().any(|other| {
            other.architecture == package.architecture
                || (other.state != State::NotInstalled
                    && package.state != State::NotInstalled
                    && !(other.is_coinstallable() && package.is_coinstallable()))
        });
        if clashes {
            return Err(clash(&package, place));
        }
        instances.insert(package.architecture.clone(), package);
        Ok(())
    }

    /// As dpkg does with its journal: the one instance that is there gives way, unless both can be
    /// installed at once; where several are, there can be no other kind.
    fn update(&mut self, package: PackageState, place: &str) -> Result<()> {
        let instances = self.0.entry(package.name.clone()).or_default();
        let is_there = |other: &&PackageState| other.state != State::NotInstalled;
        let there: Vec<&PackageState> = instances.values().filter(is_there).collect();
        match there[..] {
            [one] if !(one.is_coinstallable() && package.is_coinstallable()) => {
                let architecture = one.architecture.clone();
                instances.remove(&architecture);
            }
            [_, _, ..] if !package.is_coinstallable() => return Err(clash(&package, place)),
            _ => {}
        }
        instances.insert(package.architecture.clone(), package);
        Ok(())
    }
}

fn clash(package: &PackageState, place: &str) -> Error {
    let what = format!("read {place}, package {:.80?}", package.name);
    let why = "it stands there more than once, and is not Multi-Arch: same";
    Error::new(ErrorKind::Malformed, what, why)
}

/// The entries of dpkg's journal, in their order: it was interrupted, or is running, when there is
/// one.
///
/// # Errors
/// [`ErrorKind::Io`] when the journal can't be read; [`ErrorKind::Malformed`] when its entries have
/// names of several lengths, of which dpkg makes no order.
pub fn journal(root: &Root) -> Result<Vec<String>> {
    // Only digits are entries; `tmp.i` is one that was not finished.
    let is_entry = |name: &String| name.bytes().all(|b| b.is_ascii_digit());
    let names = root.names(JOURNAL)?.into_iter();
    let entries: Vec<String> = names
        .filter_map(|name| name.into_string().ok())
        .filter(is_entry)
        .collect();
    if entries.windows(2).any(|two| two[0].len() != two[1].len()) {
        let what = format!("read {}", root.describe(JOURNAL.as_ref()));
        let why = "its entries have names of several lengths";
        return Err(Error::new(ErrorKind::Malformed, what, why));
    }
    Ok(entries)
}

#[cfg(test)]
pub(crate) mod tests;
