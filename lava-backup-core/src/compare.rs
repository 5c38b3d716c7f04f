//! Is a backup equivalent to one that a drill has proved?
//!
//! Two backups of one host never hold the same files: jobs come and go, logs
//! are rotated, a day begins. What they must have in common is *kinds* of
//! files. A path is reduced to its kind (`data/job-output/N/N/N/N/output.yaml`),
//! and of each kind entries and bytes are counted; what the caller names is
//! looked at file by file; and the caller adds inventories of what it knows to
//! be inside, such as the tables of a database.
//!
//! ```no_run
//! # use lava_backup_core::compare::{Rules, Survey, compare};
//! # fn of(reference: &lava_backup_core::Backup, backup: &lava_backup_core::Backup)
//! # -> lava_backup_core::Result<()> {
//! let rules = Rules::default();
//! let reference = Survey::of(reference, &rules)?;
//! let findings = compare(&reference, &Survey::of(backup, &rules)?, &rules.tolerance);
//! let equivalent = findings.iter().all(|finding| !finding.fails);
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;

use crate::backup::Backup;
use crate::entry::{Class, Entry, Kind};
use crate::error::{Error, ErrorKind, Result};
use crate::glob::Glob;
use crate::path::MemberPath;

mod judge;
mod kind;
#[cfg(test)]
mod tests;

pub use judge::compare;

/// A backup with more kinds of files than this is not compared: its names
/// follow no pattern that we see, and memory is bounded.
pub const MAX_KINDS: usize = 100_000;

/// How the files of a backup are to be looked at.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Each file that is one of these or below it counts by its own name.
    pub named: Vec<MemberPath>,
    /// Directories in which names say nothing: what stands right in one of
    /// them is of one kind, but for the extensions of files.
    pub collections: Vec<MemberPath>,
    /// Trees in which files come and go.
    pub living: Vec<MemberPath>,
    /// Members that do not count.
    pub ignored: Vec<Glob>,
    /// How much less is still the same.
    pub tolerance: Tolerance,
}

/// How much less is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Of a hundred entries, bytes or counted items, how many may be gone.
    pub percent: u8,
    /// In collections, living trees and inventories so many may be gone
    /// whatever part of the whole that is, unless nothing is left of a
    /// collection or of what an inventory counts.
    pub entries: u64,
    /// So many bytes may be gone whatever part of the whole that is.
    pub bytes: u64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            percent: 20,
            entries: 3,
            bytes: 1 << 20,
        }
    }
}

/// Things of one sort that the caller knows to be in a backup, by name, with
/// a count where there is one: tables and their rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// What one of the things is: `table`.
    pub name: String,
    /// The things.
    pub items: BTreeMap<String, Option<u64>>,
}

/// What a backup holds, by kind.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    groups: BTreeMap<String, Group>,
    inventories: BTreeMap<String, BTreeMap<String, Option<u64>>>,
}

/// The entries of one kind, by type.
#[derive(Clone, Debug)]
struct Group {
    sort: Sort,
    types: BTreeMap<&'static str, Amount>,
}

/// How entries of a kind are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// One member, by its name.
    Named,
    /// Files that stay.
    Plain,
    Collection,
    Living,
    /// All files of a living tree.
    Whole,
}

/// How much there is of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// What it is: `file`, `dir`, `symlink` or `fifo`; `item` of an inventory.
    pub what: &'static str,
    /// Entries; of an item, its count, or 1 if it has none.
    pub entries: u64,
    /// Files among them that hold nothing.
    pub empty: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Is one of them secret?
    pub secret: bool,
}

/// One difference between a backup and its reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `file` for one that is looked at by name, `kind`, `tree`, or the name of
    /// an inventory.
    pub of: String,
    /// Which one.
    pub name: String,
    /// How it differs.
    pub change: Change,
    /// What the reference has.
    pub reference: Option<Amount>,
    /// What the backup has.
    pub found: Option<Amount>,
    /// Is the backup not equivalent because of it?
    pub fails: bool,
}

/// How something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Change {
    /// Only the reference has it.
    Missing,
    /// There is less of it than the tolerance lets go.
    Shrunk,
    /// It is of another type, or no longer secret.
    ChangedKind,
    /// Only the backup has it.
    New,
}

impl Survey {
    /// Reads the index of a backup.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] from the index, [`ErrorKind::Refused`] if there
    /// are more than [`MAX_KINDS`].
    pub fn of(backup: &Backup, rules: &Rules) -> Result<Self> {
        let mut survey = Self::default();
        for entry in backup.index()? {
            survey.add(&entry?, rules)?;
        }
        Ok(survey)
    }

    /// Adds what the caller knows of the backup.
    pub fn take_stock(&mut self, inventory: Inventory) {
        self.inventories.insert(inventory.name, inventory.items);
    }

    /// Counts one entry.
    fn add(&mut self, entry: &Entry, rules: &Rules) -> Result<()> {
        let path = &entry.path;
        if rules.ignored.iter().any(|glob| glob.matches(path)) {
            return Ok(());
        }
        let is_dir = entry.kind == Kind::Dir;
        let above = |dir: &&MemberPath| path.is_within(dir) && path != *dir;
        let living = rules.living.iter().find(|tree| path.is_within(tree));
        let (sort, name) = if !is_dir && rules.named.iter().any(|named| path.is_within(named)) {
            (Sort::Named, path.to_string())
        } else if let Some(collection) = rules.collections.iter().find(above) {
            let depth = collection.components().count();
            let kind = kind::kind_in_collection(path, depth, is_dir);
            (Sort::Collection, kind)
        } else if living.is_some() {
            (Sort::Living, kind::kind(path))
        } else {
            (Sort::Plain, kind::kind(path))
        };
        if let (Some(tree), false) = (living, is_dir) {
            self.count(format!("{tree}/**"), Sort::Whole, entry)?;
        }
        self.count(name, sort, entry)
    }

    fn count(&mut self, name: String, sort: Sort, entry: &Entry) -> Result<()> {
        if self.groups.len() >= MAX_KINDS && !self.groups.contains_key(&name) {
            return Err(Error::new(
                ErrorKind::Refused,
                entry.path.to_string(),
                format!("is of one more kind than the {MAX_KINDS} that are compared"),
            ));
        }
        let what = match entry.kind {
            // What it is one more name of is a file.
            Kind::File | Kind::Hardlink => "file",
            Kind::Dir => "dir",
            Kind::Symlink => "symlink",
            Kind::Fifo => "fifo",
        };
        let group = self.groups.entry(name).or_insert_with(|| Group {
            sort,
            types: BTreeMap::new(),
        });
        let amount = group.types.entry(what).or_insert(Amount {
            what,
            ..Amount::default()
        });
        amount.entries += 1;
        amount.empty += u64::from(entry.kind == Kind::File && entry.size == 0);
        amount.bytes = amount.bytes.saturating_add(entry.size);
        amount.secret |= entry.class == Class::Secret;
        Ok(())
    }
}
