//! What the packages of a Debian root are: versions in dpkg's order, suites, and with the feature
//! `readers` (on by default) everything dpkg and apt know of a live or offline root.
//!
//! Nothing of the root is ever run and no symbolic link leads out of it, so the same code reads
//! `/` and the mounted disk of a dead host.
//!
//! ```no_run
//! # #[cfg(feature = "readers")] {
//! use lava_backup_debian::{Root, base, read_status, shipped_migrations};
//!
//! let root = Root::open("/srv/old-master")?;
//! let packages = read_status(&root)?;
//! let lava = packages.iter().find(|p| p.name == "lava-server" && p.is_installed());
//! println!("{:?} on {:?}", lava.and_then(|p| p.version.as_ref()), base(&root)?.suite);
//! for migration in shipped_migrations(&root, &packages)?.iter() {
//!     println!("{} comes from {}", migration.migration, migration.package);
//! }
//! # }
//! # Ok::<(), lava_backup_debian::Error>(())
//! ```
//!
//! Versions need no root:
//!
//! ```
//! use lava_backup_debian::{LavaVersion, PackageVersion};
//!
//! let repository: PackageVersion = "2023.01+12+bookworm".parse()?;
//! let debian: PackageVersion = "2023.01-2".parse()?;
//! assert!(repository > debian, "dpkg sees two versions");
//! assert_eq!(LavaVersion::of(&repository)?, LavaVersion::of(&debian)?, "LAVA sees one");
//! # Ok::<(), lava_backup_debian::Error>(())
//! ```
//!
//! In the order a reader meets them:
//! - [`PackageVersion`], [`LavaVersion`] and [`Suite`]: the types a planner takes, with
//!   `default-features = false`;
//! - `Root`: a live `/` or an offline directory;
//! - `read_status` and `PackageState`: every package dpkg knows; `AutoInstalled`: what apt marked;
//! - `base`: which Debian this is, and how sure that is;
//! - `shipped_migrations` and `expand`: the Django migrations the installed code defines, against
//!   those a database has;
//! - `read_sources`: where apt takes packages from, without passwords;
//! - `state_bytes`: the package state as text, to compare before and after;
//! - `Deb`: one .deb, read without trust; `InstalledBuilds`: is it what is installed?
//! - `fetch`: the exact .debs of `critical` or all installed packages; `open_ends`: do they need
//!   others? `Repository` and `Reinstall`: what apt reinstalls them from, and how;
//! - [`Error`]: what went wrong, and where.

mod error;
mod suite;
mod version;

pub use error::{Error, ErrorKind, Result};
pub use suite::{Codename, Suite};
pub use version::{LavaVersion, PackageVersion};

#[cfg(feature = "readers")]
mod apt;
#[cfg(feature = "readers")]
mod base;
#[cfg(feature = "readers")]
mod closure;
#[cfg(feature = "readers")]
mod critical;
#[cfg(feature = "readers")]
mod deb;
#[cfg(feature = "readers")]
mod deb822;
#[cfg(feature = "readers")]
mod fetch;
#[cfg(feature = "readers")]
mod fingerprint;
#[cfg(feature = "readers")]
mod listed;
#[cfg(feature = "readers")]
mod marks;
#[cfg(feature = "readers")]
mod migrations;
#[cfg(feature = "readers")]
mod proof;
#[cfg(feature = "readers")]
mod reinstall;
#[cfg(feature = "readers")]
mod repository;
#[cfg(feature = "readers")]
mod root;
#[cfg(feature = "readers")]
mod sha256;
#[cfg(feature = "readers")]
mod squash;
#[cfg(feature = "readers")]
mod status;
#[cfg(feature = "readers")]
mod surroundings;

#[cfg(feature = "readers")]
pub use self::{
    apt::{SourceEntry, SourceType, SourceUri, read_sources},
    base::{Base, Confidence, Evidence, Signal, base},
    closure::open_ends,
    critical::critical,
    deb::Deb,
    deb822::{Comments, Field, Paragraph, Scanner},
    fetch::{
        DebOrigin, Fetch, Fetched, FetchedDeb, IndexWord, Lack, LackingDeb, architectures, fetch,
    },
    fingerprint::{state_bytes, state_listing},
    marks::{AutoInstalled, auto_installed},
    migrations::{Migration, Mismatch, Shipped, ShippedMigration, expand, shipped_migrations},
    proof::InstalledBuilds,
    reinstall::{ExactPackage, Reinstall, SetupFile},
    repository::{ORIGIN, Repository, sign},
    root::Root,
    sha256::Sha256,
    status::{Conffile, Flag, PackageState, Source, State, Want, native_architecture, read_status},
};

#[cfg(feature = "readers")]
#[doc(hidden)]
pub use self::{deb::fuzz_deb, listed::fuzz_index};
