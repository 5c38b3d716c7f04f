//! The database side of lava-backup: a PostgreSQL database dumped in one
//! snapshot, read as it passes, restored beside the old one, and proved.
//!
//! `pg_dump` and `pg_restore` of the server's own major do the dumping and the
//! restoring. The crate's work is around them: one exported snapshot for the
//! dump and for every fact about the database, a reader that counts and digests
//! every table of the dump as it streams by, a restore that compares every
//! table before the old database is touched, and clusters to try it in. It
//! knows nothing of archives, Debian's packages or LAVA.
//!
//! ```no_run
//! use lava_backup_pg::{Address, Pace, Snapshot, archive::TableInfo, dump};
//!
//! struct Count(u64);
//! impl lava_backup_pg::DumpSink for Count {
//!     fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
//!         self.0 += bytes.len() as u64;
//!         Ok(())
//!     }
//!     fn table_begins(&mut self, _: &TableInfo) -> std::io::Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! let address = Address {
//!     host: "localhost".into(),
//!     port: 5432,
//!     database: "lavaserver".into(),
//!     user: "lavaserver".into(),
//!     password: Some(lava_backup_pg::Password::new("…")),
//!     os_user: None,
//! };
//! let mut snapshot = Snapshot::take(&address)?;
//! let rows = snapshot.query("SELECT count(*) FROM public.django_migrations")?;
//! let contents = dump(&mut snapshot, Pace::Yielding, &mut Count(0))?.contents;
//! assert_eq!(contents.table("public", "django_migrations").map(|t| t.rows.to_string()),
//!            rows[0][0]);
//! # Ok::<(), lava_backup_pg::Error>(())
//! ```
//!
//! In reading order: an [`Address`] gives a [`Snapshot`], which [`dump`] reads
//! into [`DumpContents`](archive::DumpContents) through the
//! [`DumpReader`](archive::DumpReader); a [`Superuser`] can [`restore`] it, and
//! [`compare`] reads every table back; a [`Scratch`] cluster is a place to try.

pub mod archive;
pub mod digest;
mod dump;
mod error;
mod fixes;
mod large_objects;
mod pace;
mod readback;
mod restore;
mod rowsum;
mod scratch;
mod server;
mod snapshot;
mod superuser;

pub use dump::{DumpSink, Dumped, dump};
pub use error::{Error, ErrorKind, Result};
pub use pace::{Pace, WorkOfOthers};
pub use readback::{Comparison, TableDifference, compare};
pub use restore::{Restore, Restored, Stage, mark, restore};
pub use scratch::Scratch;
pub use server::{Address, OsUser, Password, Programs};
pub use snapshot::{DatabaseGrant, RoleAttributes, Row, ServerFacts, Snapshot, TableSize};
pub use superuser::{DEBIAN_SOCKETS, Superuser};
