//! What kind of archive a package came from.

use serde::{Deserialize, Serialize};

/// What kind of place a package came from, by Origin, Label and Codename of the archive: a suite
/// by its alias moves, and versions with `~bpo` are in other archives too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Class {
    /// A release of Debian.
    Base,
    /// Updates of it between two point releases.
    Updates,
    /// Updates of it for security.
    Security,
    /// What the next point release shall have.
    ProposedUpdates,
    /// Packages of the next release, built for this one.
    Backports,
    /// Packages of the release after the next one.
    BackportsSloppy,
    /// LAVA's own repository.
    Lava,
    /// The repository of PostgreSQL's makers.
    Pgdg,
    /// Any other archive.
    Other,
    /// No archive that apt knows has its version, nor a newer one: it was built at home, or its
    /// archive is no longer named.
    Local,
    /// An archive has its version, but another build: it was built again at home.
    Rebuilt,
    /// An archive has a newer version: it came from there, or was built at home before.
    Superseded,
    /// There are no lists to tell it from, or not all that there should be.
    Unknown,
}

impl Class {
    /// The word for it, as in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Updates => "updates",
            Self::Security => "security",
            Self::ProposedUpdates => "proposed-updates",
            Self::Backports => "backports",
            Self::BackportsSloppy => "backports-sloppy",
            Self::Lava => "lava",
            Self::Pgdg => "pgdg",
            Self::Other => "other",
            Self::Local => "local",
            Self::Rebuilt => "rebuilt",
            Self::Superseded => "superseded",
            Self::Unknown => "unknown",
        }
    }
}
