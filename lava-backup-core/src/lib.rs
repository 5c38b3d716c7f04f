//! The archive of lava-backup: backups that can be trusted, shared and read
//! without us.
//!
//! A backup is a tar stream cut into frames. Each frame is compressed alone
//! with zstd, named by the BLAKE3 of its bytes and stored once, however many
//! backups hold it; put one after another, the frames of a backup are a
//! `.tar.zst` that `zstd -dc | tar -x` restores. An index lists every file, and
//! a seal, written last, makes it a backup.
//!
//! The crate knows nothing of LAVA, Debian or PostgreSQL.
//!
//! ```
//! use lava_backup_core::{Class, Depth, Meta, SealInput, Store, Time, verify};
//!
//! # let dir = tempfile::tempdir()?;
//! let store = Store::init(&dir.path().join("store"))?;
//! let mut writer = store.create("20261122T120000Z-lab".parse()?)?;
//! let meta = Meta::private(Class::Plain, Time::default());
//! writer.add_file("config/etc/hello".parse()?, meta, b"hello")?;
//! let sealed = writer.seal(SealInput::default())?;
//!
//! let backup = store.backup(&sealed.seal.id)?;
//! assert!(verify(&backup, Depth::Full)?.damage.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In reading order: a [`Store`] gives a [`BackupWriter`], to which a
//! [`Capture`] adds trees and the caller adds files and streams;
//! [`Sealed`] is a [`Backup`] with a [`Seal`] and an [`Index`]
//! of [`Entry`]s; [`verify`], [`extract`] and [`Backup::read`] read it, and
//! [`Evidence`] keeps what a check has found.

mod ahead;
mod attributes;
mod backend;
mod backup;
mod capture;
mod civil;
pub mod compare;
mod content;
mod cut;
mod diff;
mod disk;
mod document;
mod entry;
mod error;
mod evidence;
mod extract;
mod frame;
mod glob;
mod index;
mod layout;
mod marks;
mod onefile;
mod order;
mod owner;
mod packed;
mod path;
mod piece;
mod pipeline;
mod previous;
mod prune;
mod readahead;
mod rebuild;
mod repair;
pub mod retention;
mod root;
mod scratch;
mod seal;
mod seen;
mod store;
mod tarstream;
mod verify;
mod walk;
mod writer;

pub use attributes::{Attributes, Bytes, Extent};
pub use backend::{Backend, Blob, Content, Found, Guard, Lock, Spool, Spooled};
pub use backup::Backup;
pub use capture::{Capture, Choice};
pub use diff::{Difference, diff};
pub use entry::{Class, Entry, Kind, LinkTarget, Time};
pub use error::{Error, ErrorKind, Result};
pub use evidence::{Evidence, EvidenceDraft};
pub use extract::{Change, Event, Extract, ExtractReport, extract};
pub use frame::{FrameName, MAX_FRAME, decode};
pub use glob::Glob;
pub use index::Index;
pub use onefile::{Imported, Received, export, import, verify_stream};
pub use owner::{OwnerId, Owners};
pub use path::MemberPath;
pub use prune::{Prune, PruneReport, prune};
pub use repair::{RepairReport, repair};
pub use root::Root;
pub use scratch::NewFile;
pub use seal::{Archive, BackupId, Outcome, Problem, Seal, Section};
pub use store::Store;
pub use verify::{Damage, Depth, Sample, Sampled, Share, VerifyReport, verify, verify_store};
pub use writer::{BackupWriter, Meta, SealInput, Sealed, StreamMember};
