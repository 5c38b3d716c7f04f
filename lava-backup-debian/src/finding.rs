//! What is not in order with a host's packages, each kind with its own code.

use serde::Serialize;

/// One thing that a person, or a plan, must know of a host's packages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// What it is about: a package as `name:architecture`, an archive, a file.
    pub subject: String,
    /// What was found there.
    pub found: String,
}

/// Declares the kinds with their codes.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal,)*) => {
        /// The kind of a [`Finding`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[$doc])* #[serde(rename = $code)] $kind,)*
        }

        impl FindingKind {
            /// Its code, which never changes.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$kind => $code,)*
                }
            }
        }
    };
}

kinds! {
    /// dpkg's journal is not empty: it was interrupted, or is running.
    Interrupted = "dpkg.interrupted",
    /// The configuration of a package was interrupted or failed.
    HalfConfigured = "package.half-configured",
    /// dpkg has other work left to do on a package, or can't go on with it.
    Unclean = "package.unclean",
    /// An admin has a package held at its version.
    Held = "package.held",
    /// No archive has the version of an installed package.
    Local = "package.local",
    /// An archive has the version of an installed package, in another build.
    Rebuilt = "package.rebuilt",
    /// An archive has a newer version only, so the version at hand can't be fetched any more.
    Superseded = "package.superseded",
    /// Signals of the base suite contradict each other, or say nothing.
    BaseAmbiguous = "base.ambiguous",
    /// Packages without which no system works are from several releases.
    BaseMixed = "base.mixed",
    /// apt has no lists of any archive.
    NoLists = "lists.none",
    /// apt has no lists of an archive that a source names.
    ListsMissing = "lists.missing",
    /// apt would refuse the lists of an archive for their age.
    ListsExpired = "lists.expired",
    /// A list is not the one that its release names.
    ListsAltered = "lists.altered",
    /// A list can't be read.
    ListsUnreadable = "lists.unreadable",
    /// An archive is not signed.
    Unsigned = "source.unsigned",
    /// No key that a source may use signed its archive.
    BadSignature = "source.bad-signature",
    /// The signature of an archive could not be checked.
    Unchecked = "source.unchecked",
    /// A source says that no signature is needed.
    Trusted = "source.trusted",
    /// A source names a suite by an alias that moves from release to release.
    Alias = "source.alias",
    /// A password stands in a source or a setting, where every user can read it.
    Secret = "apt.secret",
    /// apt's settings move its files away from where they are read here.
    Moved = "apt.moved",
    /// A keyring that a source names is not there.
    KeyringMissing = "keyring.missing",
    /// A file about packages could not be read; what it says is missing here.
    Unreadable = "state.unreadable",
}
