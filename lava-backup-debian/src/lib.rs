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
//! What two hosts have otherwise, and what is not in order with one:
//!
//! ```no_run
//! # #[cfg(feature = "readers")] {
//! use lava_backup_debian::{HostState, Root};
//!
//! let now = 1_795_000_000; // in seconds since 1970: lists have an age
//! let master = HostState::capture(&Root::open("/srv/old-master")?, now)?;
//! let target = HostState::capture(&Root::open("/")?, now)?;
//! for difference in master.differences(&target) {
//!     println!("{}: {:?} {:?}", difference.subject, difference.here, difference.there);
//! }
//! for finding in &target.findings {
//!     println!("{} {}: {}", finding.kind.code(), finding.subject, finding.found);
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
//!   `default-features = false`; [`expand`]: migrations that a database has had against those that
//!   code ships;
//! - `Root`: a live `/` or an offline directory;
//! - `read_status` and `PackageState`: every package dpkg knows; `AutoInstalled`: what apt marked;
//! - `base`: which Debian this is, and how sure that is;
//! - `shipped_migrations`: the Django migrations that the installed code defines;
//! - `read_sources`: where apt takes packages from, without passwords;
//! - `read_origins` and [`Class`]: the archives that each package came from, as apt's signed lists
//!   tell;
//! - `HostState`: all of this at once with configuration files, diversions, alternatives, debconf's
//!   answers, preferences, keys, settings and timers; its `Finding`s, and its `Difference`s from
//!   another host;
//! - `Fingerprint`: one digest over all of it, to compare before and after; `state_bytes`: the
//!   states of packages as text;
//! - `Deb`: one .deb, read without trust; `InstalledBuilds`: is it what is installed?
//! - `fetch`: the exact .debs of `critical` or all installed packages; `open_ends`: do they need
//!   others? `Repository` and `Reinstall`: what apt reinstalls them from, and how;
//! - [`Error`]: what went wrong, and where.

mod class;
mod error;
mod migrations;
mod suite;
mod version;

pub use class::Class;
pub use error::{Error, ErrorKind, Result};
pub use migrations::{Migration, Mismatch, Shipped, ShippedMigration, expand};
pub use suite::{Codename, Suite};
pub use version::{LavaVersion, PackageVersion};

#[cfg(feature = "readers")]
mod alternatives;
#[cfg(feature = "readers")]
mod apt;
#[cfg(feature = "readers")]
mod apt_conf;
#[cfg(feature = "readers")]
mod architecture;
#[cfg(feature = "readers")]
mod archive;
#[cfg(feature = "readers")]
mod base;
#[cfg(feature = "readers")]
mod build_mark;
#[cfg(feature = "readers")]
mod closure;
#[cfg(feature = "readers")]
mod compression;
#[cfg(feature = "readers")]
mod conffiles;
#[cfg(feature = "readers")]
mod critical;
#[cfg(feature = "readers")]
mod deb;
#[cfg(feature = "readers")]
mod deb822;
#[cfg(feature = "readers")]
mod debconf;
#[cfg(feature = "readers")]
mod difference;
#[cfg(feature = "readers")]
mod diversions;
#[cfg(feature = "readers")]
mod fetch;
#[cfg(feature = "readers")]
mod finding;
#[cfg(feature = "readers")]
mod fingerprint;
#[cfg(feature = "readers")]
mod hex;
#[cfg(feature = "readers")]
mod host_state;
#[cfg(feature = "readers")]
mod info;
#[cfg(feature = "readers")]
mod keyrings;
#[cfg(all(test, feature = "readers"))]
mod lab;
#[cfg(feature = "readers")]
mod list;
#[cfg(feature = "readers")]
mod listed;
#[cfg(feature = "readers")]
mod marks;
#[cfg(feature = "readers")]
mod migration_files;
#[cfg(feature = "readers")]
mod origin;
#[cfg(feature = "readers")]
mod parts;
#[cfg(feature = "readers")]
mod preferences;
#[cfg(feature = "readers")]
mod proof;
#[cfg(feature = "readers")]
mod reinstall;
#[cfg(feature = "readers")]
mod release;
#[cfg(feature = "readers")]
mod repository;
#[cfg(feature = "readers")]
mod root;
#[cfg(feature = "readers")]
mod secrets;
#[cfg(feature = "readers")]
mod sha256;
#[cfg(feature = "readers")]
mod signature;
#[cfg(feature = "readers")]
mod squash;
#[cfg(feature = "readers")]
mod status;
#[cfg(feature = "readers")]
mod surroundings;
#[cfg(feature = "readers")]
mod timers;

#[cfg(feature = "readers")]
pub use self::{
    alternatives::{Alternative, Choice, read_alternatives},
    apt::{SourceEntry, SourceType, SourceUri, read_sources},
    apt_conf::{AptSetting, read_apt_settings},
    architecture::{architectures, native_architecture},
    archive::{Archive, Content, List, Trust},
    base::{Base, Confidence, Evidence, Share, Signal, base, base_with},
    closure::open_ends,
    conffiles::{ChangedConffile, ConffileContent, changed_conffiles},
    critical::critical,
    deb::Deb,
    deb822::{Comments, Field, Paragraph, Scanner},
    debconf::{Selection, read_selections},
    difference::Difference,
    diversions::{Diversion, StatOverride, read_diversions, read_stat_overrides},
    fetch::{DebOrigin, Fetch, Fetched, FetchedDeb, IndexWord, Lack, LackingDeb, fetch},
    finding::{Finding, FindingKind},
    fingerprint::{Fingerprint, state_bytes, state_listing},
    host_state::HostState,
    keyrings::{Keyring, read_keyrings},
    list::ListedDeb,
    marks::{AutoInstalled, auto_installed},
    migration_files::shipped_migrations,
    origin::{Origin, Origins, PackageOrigin, read_origins},
    preferences::{Preference, read_preferences},
    proof::InstalledBuilds,
    reinstall::{ExactPackage, Reinstall, SetupFile},
    release::{ListDigest, Release},
    repository::{ORIGIN, Repository, sign},
    root::Root,
    sha256::Sha256,
    signature::Signature,
    status::{Conffile, Flag, PackageState, Source, State, Want, journal, read_status},
    timers::{PackageTimer, read_timers, upgrades_unattended},
};

#[cfg(feature = "readers")]
#[doc(hidden)]
pub use self::deb::fuzz_deb;
