use std::collections::BTreeSet;
use std::iter::Peekable;

use crate::backup::Backup;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::path::MemberPath;

/// How one member differs between two backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the second has it.
    Added(Entry),
    /// Only the first has it.
    Removed(Entry),
    /// Both have it, the first as the first entry says.
    Changed(Box<(Entry, Entry)>),
}

/// Tells how the members of `second` differ from those of `first`, or of them
/// those that are `within` or below it: section by section, in path order
/// within each. Where a frame lies is no difference, nor
/// the number of an owner who has a name.
///
/// The two indexes are read once, side by side, and nothing of them is kept; an
/// index is read again only if the two hold their sections in another order.
///
/// # Errors
/// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) from either index: what
/// was told by then may be wrong.
pub fn diff(
    first: &Backup,
    second: &Backup,
    within: Option<&MemberPath>,
    tell: &mut dyn FnMut(Difference),
) -> Result<()> {
    let mut left = Side::open(first, within)?;
    let mut right = Side::open(second, within)?;
    if let Some(path) = within {
        return merge(path.section(), &mut left, &mut right, tell);
    }
    let mut done = BTreeSet::new();
    while let Some(section) = left.section()? {
        if right.holds(&section) {
            // What only the second has comes where it has it.
            while let Some(other) = right.section()?.filter(|s| *s != section) {
                if left.holds(&other) || done.contains(&other) {
                    right.seek(&section)?;
                } else {
                    right.drain(&other, &mut |entry| tell(Difference::Added(entry)))?;
                    done.insert(other);
                }
            }
            if right.section()?.is_none() {
                right.seek(&section)?;
            }
            merge(&section, &mut left, &mut right, tell)?;
        } else {
            left.drain(&section, &mut |entry| tell(Difference::Removed(entry)))?;
        }
        done.insert(section);
    }
    while right.left_over(&done) {
        match right.section()? {
            Some(section) if done.contains(&section) => right.drain(&section, &mut |_| ())?,
            Some(section) => {
                right.drain(&section, &mut |entry| tell(Difference::Added(entry)))?;
                done.insert(section);
            }
            None => right.rewind()?,
        }
    }
    // To their ends, where each proves to be the sealed one.
    while let Some(section) = right.section()? {
        right.drain(&section, &mut |_| ())?;
    }
    Ok(())
}

/// Each side stands at the section, or has nothing of it.
fn merge(
    section: &[u8],
    left: &mut Side<'_>,
    right: &mut Side<'_>,
    tell: &mut dyn FnMut(Difference),
) -> Result<()> {
    let (mut one, mut other) = (left.next_of(section)?, right.next_of(section)?);
    loop {
        let order = match (&one, &other) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(one), Some(other)) => one.path.cmp(&other.path),
        };
        let was = order.is_le().then(|| one.take()).flatten();
        let is = order.is_ge().then(|| other.take()).flatten();
        if was.is_some() {
            one = left.next_of(section)?;
        }
        if is.is_some() {
            other = right.next_of(section)?;
        }
        match (was, is) {
            (Some(was), Some(is)) if !was.changes(&is).is_empty() => {
                tell(Difference::Changed(Box::new((was, is))));
            }
            (Some(was), None) => tell(Difference::Removed(was)),
            (None, Some(is)) => tell(Difference::Added(is)),
            _ => {}
        }
    }
}

/// One backup and where its reading stands.
struct Side<'b> {
    backup: &'b Backup,
    entries: Peekable<Index>,
    rewound: bool,
}

impl<'b> Side<'b> {
    fn open(backup: &'b Backup, within: Option<&MemberPath>) -> Result<Self> {
        let entries = match within {
            Some(path) => backup.entries_below(path)?,
            None => backup.index()?,
        };
        Ok(Self {
            backup,
            entries: entries.peekable(),
            rewound: false,
        })
    }

    /// The section of the next entry; `None` at the end.
    fn section(&mut self) -> Result<Option<Vec<u8>>> {
        match self.entries.next_if(Result::is_err) {
            Some(Err(e)) => Err(e),
            _ => Ok(match self.entries.peek() {
                Some(Ok(entry)) => Some(entry.path.section().to_vec()),
                _ => None,
            }),
        }
    }

    /// The next entry, if it is one of the section.
    fn next_of(&mut self, section: &[u8]) -> Result<Option<Entry>> {
        let fits = |entry: &Result<Entry>| match entry {
            Ok(entry) => entry.path.section() == section,
            Err(_) => true,
        };
        self.entries.next_if(fits).transpose()
    }

    fn drain(&mut self, section: &[u8], each: &mut dyn FnMut(Entry)) -> Result<()> {
        while let Some(entry) = self.next_of(section)? {
            each(entry);
        }
        Ok(())
    }

    fn holds(&self, section: &[u8]) -> bool {
        let name = std::str::from_utf8(section).unwrap_or_default();
        let sections = &self.backup.seal().sections;
        sections.get(name).is_some_and(|s| s.entries > 0)
    }

    /// Is there a section that the seal names and nobody has seen?
    fn left_over(&self, done: &BTreeSet<Vec<u8>>) -> bool {
        let sections = &self.backup.seal().sections;
        let unseen = |(name, s): (&String, &crate::Section)| {
            s.entries > 0 && !done.contains(name.as_bytes())
        };
        sections.iter().any(unseen)
    }

    /// Goes to a section that the seal names, from the beginning.
    fn seek(&mut self, section: &[u8]) -> Result<()> {
        self.rewound = false;
        self.rewind()?;
        while let Some(found) = self.section()? {
            if found == section {
                self.rewound = false;
                return Ok(());
            }
            self.drain(&found, &mut |_| ())?;
        }
        Err(self.lacks())
    }

    /// Once: what is not found then is not there.
    fn rewind(&mut self) -> Result<()> {
        if self.rewound {
            return Err(self.lacks());
        }
        self.entries = self.backup.index()?.peekable();
        self.rewound = true;
        Ok(())
    }

    fn lacks(&self) -> Error {
        let what = "its index lacks a section that its seal names";
        Error::damaged(self.backup.id().as_str(), what)
    }
}

impl Entry {
    /// In what another entry of the same path differs: `type`, `content`,
    /// `link`, `mode`, `owner`, `group`, `mtime`, `class`, `attributes`, in
    /// this order. If the type differs, the content and the link are not told.
    pub fn changes(&self, other: &Entry) -> Vec<&'static str> {
        let same_kind = self.kind == other.kind;
        let content =
            self.size == other.size && self.blake3 == other.blake3 && self.extents == other.extents;
        let link = self.link == other.link && self.target == other.target;
        // A name is what a restore goes by; a number stands in for none.
        let same = |one: &str, other: &str, numbers: bool| match (one, other) {
            ("", "") => numbers,
            (one, other) => one == other,
        };
        [
            ("type", same_kind),
            ("content", !same_kind || content),
            ("link", !same_kind || link),
            ("mode", self.mode == other.mode),
            (
                "owner",
                same(&self.user, &other.user, self.uid == other.uid),
            ),
            (
                "group",
                same(&self.group, &other.group, self.gid == other.gid),
            ),
            ("mtime", self.mtime == other.mtime),
            ("class", self.class == other.class),
            ("attributes", self.attributes == other.attributes),
        ]
        .into_iter()
        .filter_map(|(word, same)| (!same).then_some(word))
        .collect()
    }
}
