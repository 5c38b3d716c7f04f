//! The .debs of a backup: what the seal says of them.

use lava_backup_core::{Backup, MemberPath};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

/// Where they are in a backup. What is there is a repository for apt as it stands.
pub(crate) const DEBS: &str = "packages/debs";
/// The same document as in the seal, for those who have only the archive.
pub(crate) const MANIFEST: &str = "packages/debs.json";
/// Its name in the seal.
pub(crate) const DOCUMENT: &str = "debs";

/// The .debs of a backup, and those that it lacks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DebsDocument {
    /// What was asked for: `critical` or `closure`.
    pub(crate) scope: String,
    /// The architectures of the host's dpkg, the native one first.
    pub(crate) architectures: Vec<String>,
    /// Those that it holds, in the order of their files.
    pub(crate) debs: Vec<ArchivedDeb>,
    /// Those that were asked for and not to be had.
    pub(crate) lacking: Vec<LackingDeb>,
    /// Whether apt installs all of them from nothing else, by its own simulation;
    /// `null` where that was not asked.
    pub(crate) closed: Option<bool>,
    /// What stands against it, in apt's words.
    pub(crate) open_ends: Vec<String>,
}

/// One .deb of a backup.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ArchivedDeb {
    /// The package.
    pub(crate) package: String,
    /// Its version, as apt takes it.
    pub(crate) version: String,
    /// Its architecture, `all` included.
    pub(crate) architecture: String,
    /// The name of its file.
    pub(crate) file: String,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Their SHA-256.
    #[schemars(with = "String")]
    pub(crate) sha256: lava_backup_debian::Sha256,
    /// Where they came from: `cache`, `download`, `stanza` or `repacked`.
    #[schemars(with = "String")]
    pub(crate) origin: lava_backup_debian::DebOrigin,
    /// Is it the build that was installed, by all that dpkg keeps of that?
    pub(crate) installed_build: bool,
    /// What apt's indexes said of its SHA-256, when it was fetched or since:
    /// `same`, `other` for another build of this version, or `nothing`.
    pub(crate) index: String,
    /// Where the index that has it says that it is, without a password.
    pub(crate) uri: Option<String>,
    /// How far that index could be relied on: `signed` by a key that its source allows,
    /// `unchecked` here but by apt when it came, trusted `by-option` of the source, or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trust: Option<String>,
}

/// One .deb that is not there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LackingDeb {
    /// The package.
    pub(crate) package: String,
    /// Its version.
    pub(crate) version: String,
    /// Its architecture.
    pub(crate) architecture: String,
    /// A stable code for why.
    pub(crate) code: String,
    /// Why, for people.
    pub(crate) why: String,
}

impl ArchivedDeb {
    /// The member that holds it.
    pub(crate) fn member(&self) -> Result<MemberPath, lava_backup_core::Error> {
        member(&self.file)
    }
}

/// Of a file among the .debs.
pub(crate) fn member(file: &str) -> Result<MemberPath, lava_backup_core::Error> {
    DEBS.parse::<MemberPath>()?.join(file.as_bytes())
}

impl DebsDocument {
    /// Bytes of all of them.
    pub(crate) fn bytes(&self) -> u64 {
        self.debs.iter().map(|deb| deb.bytes).sum()
    }

    /// The first word that is not what it should be.
    fn ill_formed(&self) -> Option<&str> {
        let debs = self.debs.iter();
        let debs = debs.flat_map(|d| [&d.package, &d.architecture, &d.file]);
        let lacking = self.lacking.iter();
        let lacking = lacking.flat_map(|l| [&l.package, &l.architecture, &l.code]);
        let words = debs
            .chain(lacking)
            .chain(&self.architectures)
            .chain([&self.scope]);
        let versions = self.debs.iter().map(|d| &d.version);
        let versions = versions.chain(self.lacking.iter().map(|l| &l.version));
        let is_version = |v: &&String| v.parse::<lava_backup_debian::PackageVersion>().is_ok();
        let word = words.into_iter().find(|word| !is_plain(word));
        let version = versions.into_iter().find(|v| !is_version(v));
        word.or(version).map(String::as_str)
    }

    /// Is all there that was asked for, and does it need nothing else?
    pub(crate) fn is_complete(&self) -> bool {
        self.lacking.is_empty() && self.closed != Some(false)
    }
}

/// What a backup says of its .debs; `None` if none were asked for.
///
/// Its names become words of commands and names of files, so they are checked.
pub(crate) fn of(backup: &Backup) -> Result<Option<DebsDocument>, Failure> {
    let Some(value) = backup.seal().documents.get(DOCUMENT) else {
        return Ok(None);
    };
    let damaged = |why: String| {
        let id = backup.id();
        let what = format!("could not read what the seal of {id} says of its .debs: {why}");
        Failure::new(Exit::Damaged, what)
    };
    let document: DebsDocument =
        serde_json::from_value(value.clone()).map_err(|e| damaged(e.to_string()))?;
    match document.ill_formed() {
        Some(word) => Err(damaged(format!("{word:?} can't stand where it does"))),
        None => Ok(Some(document)),
    }
}

/// As Debian's packages, architectures and files are named; no option of a command.
fn is_plain(word: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-._~".contains(&b);
    word.starts_with(|c: char| c.is_ascii_alphanumeric()) && word.bytes().all(plain)
}
