//! Hard links, and the files that they are further names of.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rustix::fs::{FileType, Stat};

use super::compare::{Compared, Comparer, Decision};
use crate::entry::{Entry, Kind};
use crate::error::{Error, Result};
use crate::path::MemberPath;

/// What tells one file from all others while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl From<&Stat> for FileId {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types differ between architectures"
    )]
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        }
    }
}

/// The files that hard links lead to, by their members' paths.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<MemberPath, Origin>);

/// A file that hard links lead to.
#[derive(Debug, Default)]
pub(super) struct Origin {
    entry: Option<Entry>,
    /// The first of its names that is brought back.
    base: Option<MemberPath>,
    /// The file of that name, once it was compared and is the same, or made.
    /// Nothing else is ever linked to.
    pub(super) file: OnceLock<FileId>,
}

impl Links {
    pub(super) fn expect(&mut self, target: MemberPath) {
        self.0.entry(target).or_default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is it a file that a link leads to?
    pub(super) fn leads_to(&self, entry: &Entry) -> bool {
        entry.kind == Kind::File && self.0.contains_key(&entry.path)
    }

    /// The file at this member's path, if a link leads to it.
    pub(super) fn at(&self, member: &MemberPath) -> Option<&Origin> {
        self.0.get(member)
    }

    /// `path`: where it is brought back; `compared`: if it seemed the same.
    pub(super) fn found(
        &mut self,
        entry: Entry,
        path: Option<MemberPath>,
        compared: Option<Compared>,
    ) {
        if let Some(origin) = self.0.get_mut(&entry.path) {
            origin.entry = Some(entry);
            origin.base = path;
            origin.note(compared.as_ref());
        }
    }

    /// How a link differs from the backup's. The first of a file that is not
    /// brought back itself is a file of its own.
    pub(super) fn compare(
        &mut self,
        comparer: &mut Comparer<'_>,
        path: &MemberPath,
        link: &Entry,
    ) -> Result<Compared> {
        let no_file = || {
            Error::damaged(
                link.path.to_string(),
                "is a hard link to what is no file before it in its section",
            )
        };
        let target = link.target.as_ref().ok_or_else(no_file)?;
        let origin = self.0.get_mut(target).ok_or_else(no_file)?;
        let alone = origin.alone(link).ok_or_else(no_file)?;
        if origin.base.is_none() {
            origin.base = Some(path.clone());
            let compared = comparer.compare(path, &alone)?;
            origin.note(Some(&compared));
            return Ok(compared);
        }
        let file = origin.file.get();
        let (mut compared, found) = comparer.kind(path, &alone)?;
        if compared.decision == Decision::Same && found != file.copied() {
            // One on another file system can't be a link, and need not be.
            let apart = |of: &FileId| found.is_some_and(|f| f.device != of.device);
            match file.is_some_and(apart) {
                true => compared = comparer.compare(path, &alone)?,
                false => compared.decision = Decision::Content,
            }
        }
        Ok(compared)
    }
}

impl Origin {
    /// The entry of a link as that of a file of its own.
    pub(super) fn alone(&self, link: &Entry) -> Option<Entry> {
        let file = self.entry.as_ref()?;
        (file.path.section() == link.path.section()).then(|| {
            let mut alone = file.clone();
            alone.path = link.path.clone();
            alone
        })
    }

    /// The path below the root of the first name that is brought back.
    pub(super) fn base(&self) -> Option<&MemberPath> {
        self.base.as_ref()
    }

    /// Takes what was made or found the same for what may be linked to.
    pub(super) fn is(&self, stat: &Stat) {
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            let _ = self.file.set(stat.into());
        }
    }

    fn note(&self, compared: Option<&Compared>) {
        let same = compared.filter(|c| c.decision == Decision::Same);
        if let Some(stat) = same.and_then(|c| c.stat.as_ref()) {
            self.is(stat);
        }
    }
}
