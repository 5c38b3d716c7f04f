use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use crate::attributes::{Attributes, Extent, MAX_EXTENTS};
use crate::owner::MAX_NAME;
use crate::path::MemberPath;
use crate::tarstream::BLOCK;

/// One file of a backup, as the index lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path: section first.
    pub path: MemberPath,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Bytes of content, holes counted; 0 for all but regular files.
    pub size: u64,
    /// Permission bits, with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u32,
    /// The owner's name; empty if the number had none.
    pub user: String,
    /// The group's name; empty if the number had none.
    pub group: String,
    /// The owner's number where the backup was made.
    pub uid: u32,
    /// The group's number where the backup was made.
    pub gid: u32,
    /// When its content last changed.
    pub mtime: Time,
    /// Who may see it, and whether it stood still.
    pub class: Class,
    /// BLAKE3 of the content, its holes left out; regular files only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// Where a symbolic link points, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkTarget>,
    /// The file that a hard link is one more name of: an earlier member of the
    /// same section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<MemberPath>,
    /// Of a sparse file, where its content lies: the rest is holes. Empty for
    /// a file without holes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extents: Vec<Extent>,
    /// Access control lists and extended attributes, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Box<Attributes>>,
    /// Number of the frame, from 0, in which the content begins.
    pub frame: u64,
    /// Uncompressed bytes of that frame before the content.
    pub offset: u64,
}

impl Entry {
    /// The number of the frame in which its tar header begins: the header of a
    /// stream has a frame of its own before the content.
    pub(crate) fn first_frame(&self) -> u64 {
        self.frame.saturating_sub(u64::from(self.offset == 0))
    }

    /// Is it a regular file, all of whose bytes are stored?
    pub(crate) fn is_whole_file(&self) -> bool {
        self.kind == Kind::File && self.extents.is_empty()
    }

    /// What can't be true of any entry that was written, if anything is.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let is_file = self.kind == Kind::File;
        let digest = self.blake3.as_deref();
        let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if self.mode > 0o7777 {
            Some("has a mode that is none")
        } else if self.uid == u32::MAX || self.gid == u32::MAX {
            // To the kernel it means: leave the owner as it is.
            Some("has an owner that nobody can be")
        } else if [&self.user, &self.group]
            .iter()
            .any(|n| n.len() > MAX_NAME || n.contains('\0'))
        {
            Some("has an owner whose name can be none")
        } else if is_file != digest.is_some() || digest.is_some_and(|d| d.len() != 64 || !hex(d)) {
            Some("has a digest where there is none, or none where there is one")
        } else if (self.kind == Kind::Symlink) != self.link.is_some() {
            Some("is a link without a target, or the reverse")
        } else if !is_file && self.size != 0 {
            Some("has content and is no file")
        } else if self.path.in_section().is_none() || !self.path.has_plain_section() {
            Some("names a section and no member of it, or a section that can be none")
        } else if (self.kind == Kind::Hardlink) != self.target.is_some() {
            Some("is one more name of no file, or the reverse")
        } else if self.target.as_ref().is_some_and(|t| !self.may_be(t)) {
            Some("is one more name of what is no earlier member of its section")
        } else if !self.extents.is_empty() && !self.has_holes() {
            Some("has extents that are none of a file with holes")
        } else {
            self.attributes_contradict()
        }
    }

    /// Can it be one more name of that member?
    fn may_be(&self, target: &MemberPath) -> bool {
        target.section() == self.path.section()
            && target.in_section().is_some()
            && *target < self.path
    }

    /// Are its extents in order, within it, and with holes between them?
    fn has_holes(&self) -> bool {
        if self.kind != Kind::File || self.size == 0 || i64::try_from(self.size).is_err() {
            return false;
        }
        let nothing = Extent {
            offset: self.size,
            length: 0,
        };
        if self.extents == [nothing] {
            return true;
        }
        let mut before: Option<Extent> = None;
        for extent in &self.extents {
            // Two that touch would be one. GNU tar begins each with a block.
            let follows = before.is_none_or(|before| {
                before.offset + before.length < extent.offset && before.length % BLOCK == 0
            });
            let end = extent.offset.checked_add(extent.length);
            let within = end.is_some_and(|end| end <= self.size);
            if !follows || !within || extent.length == 0 {
                return false;
            }
            before = Some(*extent);
        }
        // One that shrank while it was read may have no hole left.
        self.extents.len() <= MAX_EXTENTS
    }

    fn attributes_contradict(&self) -> Option<&'static str> {
        let attributes = self.attributes.as_ref()?;
        if self.kind == Kind::Hardlink {
            // They are the file's.
            Some("is one more name of a file and has attributes")
        } else if attributes.is_empty() {
            Some("has attributes that are none")
        } else {
            attributes.contradiction(self.kind)
        }
    }
}

/// The types of file that a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// One more name of a regular file, which is `target`.
    Hardlink,
}

/// The class of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Class {
    /// Nothing special.
    Plain,
    /// Holds a password, key or token.
    Secret,
    /// Changed while it was read, or was being packed: stored as it was read.
    InFlight,
}

/// Seconds since 1970 and nanoseconds, as file systems keep them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(i64, u32)", into = "(i64, u32)")]
pub struct Time {
    /// Whole seconds since the epoch; negative before it.
    pub seconds: i64,
    /// Nanoseconds after them: 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl Time {
    /// When the content of a file last changed.
    pub(crate) fn modified(stat: &Stat) -> Self {
        #[allow(
            clippy::unnecessary_cast,
            reason = "the types differ between architectures"
        )]
        Self {
            seconds: stat.st_mtime as i64,
            nanoseconds: stat.st_mtime_nsec as u32,
        }
    }

    /// When anything of a file last changed: its content, mode, owner, names.
    pub(crate) fn changed(stat: &Stat) -> Self {
        #[allow(
            clippy::unnecessary_cast,
            reason = "the types differ between architectures"
        )]
        Self {
            seconds: stat.st_ctime as i64,
            nanoseconds: stat.st_ctime_nsec as u32,
        }
    }
}

impl TryFrom<(i64, u32)> for Time {
    type Error = &'static str;

    fn try_from((seconds, nanoseconds): (i64, u32)) -> Result<Self, Self::Error> {
        if nanoseconds > 999_999_999 {
            return Err("a second has no more than 999,999,999 nanoseconds");
        }
        Ok(Self {
            seconds,
            nanoseconds,
        })
    }
}

impl From<Time> for (i64, u32) {
    fn from(time: Time) -> Self {
        (time.seconds, time.nanoseconds)
    }
}

/// What a symbolic link says: any bytes but NUL, kept and never followed.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkTarget(Vec<u8>);

impl LinkTarget {
    /// Takes the bytes of a link; `None` if it is empty, holds a NUL or is
    /// longer than any link can be.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        let fine = !bytes.is_empty() && bytes.len() < 4096 && !bytes.contains(&0);
        fine.then_some(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for LinkTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::path::escape(&self.0))
    }
}

impl std::fmt::Debug for LinkTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", crate::path::escape(&self.0))
    }
}

impl Serialize for LinkTarget {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::path::escape(&self.0))
    }
}

impl<'de> Deserialize<'de> for LinkTarget {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = crate::path::unescape(&text).map_err(serde::de::Error::custom)?;
        Self::new(bytes).ok_or_else(|| serde::de::Error::custom("no target of a link"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::attributes::Bytes;

    fn base() -> Entry {
        let text = r#"{"path":"data/b/c","type":"file","size":4096,"mode":420,
            "user":"root","group":"root","uid":0,"gid":0,"mtime":[0,0],"class":"plain",
            "frame":0,"offset":1024}"#;
        let mut entry: Entry = serde_json::from_str(text).unwrap();
        entry.blake3 = Some("0".repeat(64));
        entry
    }

    fn hard(target: &str) -> Entry {
        Entry {
            kind: Kind::Hardlink,
            size: 0,
            blake3: None,
            target: Some(target.parse().unwrap()),
            ..base()
        }
    }

    fn sparse(extents: &[(u64, u64)]) -> Entry {
        Entry {
            extents: extents.iter().map(|e| Extent::from(*e)).collect(),
            ..base()
        }
    }

    fn with(acl: Option<&str>, default_acl: Option<&str>, xattrs: &[(&str, usize)]) -> Entry {
        let pair = |(name, length): &(&str, usize)| {
            (Bytes(name.as_bytes().to_vec()), Bytes(vec![0; *length]))
        };
        Entry {
            attributes: Some(Box::new(Attributes {
                acl: acl.map(Into::into),
                default_acl: default_acl.map(Into::into),
                xattrs: xattrs.iter().map(pair).collect(),
            })),
            ..base()
        }
    }

    const LIST: &str = "user::rwx,group::r-x,mask::r-x,other::---";
    const MINIMAL: &str = "user::rwx,group::r-x,other::---";

    #[test]
    fn what_may_be_in_an_index_is_not_refused() {
        let mut dir = with(Some(LIST), Some(MINIMAL), &[("trusted.x", 1)]);
        (dir.kind, dir.size, dir.blake3) = (Kind::Dir, 0, None);
        for good in [
            base(),
            hard("data/b/a"),
            hard("data/a"),
            sparse(&[(4096, 0)]),
            sparse(&[(0, 512), (1024, 512), (4095, 1)]),
            sparse(&[(1, 4095)]),
            sparse(&[(0, 4096)]),
            with(
                Some(LIST),
                None,
                &[("user.x", 0), ("security.capability", 20)],
            ),
            with(None, None, &[("user.x", 64 << 10)]),
            dir,
        ] {
            assert_eq!(good.contradiction(), None, "{good:?}");
        }
    }

    #[test]
    fn what_no_writer_could_mean_is_refused() {
        let change = |entry: &Entry, change: &dyn Fn(&mut Entry)| {
            let mut entry = entry.clone();
            change(&mut entry);
            entry
        };
        let many: Vec<_> = (0..4097).map(|at| (1024 * at + 1, 512)).collect();
        let names: Vec<_> = (0..300).map(|at| format!("user.{at:0>245}")).collect();
        let names: Vec<_> = names.iter().map(|name| (name.as_str(), 0)).collect();
        let long = format!("user.{}", "x".repeat(251));
        let attributes = with(Some(LIST), None, &[]).attributes;
        let huge = |entry: &mut Entry| entry.size = u64::MAX >> 1;
        for (at, bad) in [
            // Another section, itself, later, a section, above all of them.
            hard("logs/a"),
            hard("data/b/c"),
            hard("data/b/c/d"),
            hard("data/b/d"),
            hard("data"),
            change(&hard("data/a"), &|e| e.size = 1),
            change(&hard("data/a"), &|e| e.blake3 = base().blake3),
            change(&hard("data/a"), &|e| e.target = None),
            change(&hard("data/a"), &|e| e.attributes = attributes.clone()),
            change(&base(), &|e| e.target = Some("data/a".parse().unwrap())),
            // None empty, in order, apart, within, of whole blocks, with a hole.
            sparse(&[(0, 0)]),
            sparse(&[(0, 512), (4096, 0)]),
            sparse(&[(1024, 512), (0, 512)]),
            sparse(&[(0, 512), (512, 512)]),
            sparse(&[(0, 1024), (512, 512)]),
            sparse(&[(0, 4097)]),
            sparse(&[(4096, 1)]),
            sparse(&[(u64::MAX, 1)]),
            sparse(&[(1, u64::MAX)]),
            sparse(&[(0, 10), (1024, 512)]),
            sparse(&[(4095, 0)]),
            change(&sparse(&many), &huge),
            change(&sparse(&[(0, 0)]), &|e| e.size = 0),
            change(&sparse(&[(0, 512)]), &|e| e.size = 1 << 63),
            change(&sparse(&[(0, 512)]), &|e| {
                (e.kind, e.blake3) = (Kind::Dir, None)
            }),
            with(None, None, &[]),
            with(Some(MINIMAL), None, &[]),
            with(Some("user::rwx"), None, &[]),
            with(None, Some(MINIMAL), &[]),
            with(None, None, &[("security.selinux", 1)]),
            with(None, None, &[("security.capability.x", 1)]),
            with(None, None, &[("system.posix_acl_access", 1)]),
            with(None, None, &[("user.", 1)]),
            with(None, None, &[("user", 1)]),
            with(None, None, &[("user.x\0y", 1)]),
            with(None, None, &[(&long, 1)]),
            with(None, None, &[("user.x", (64 << 10) + 1)]),
            with(
                None,
                None,
                &["user.a", "user.b", "user.c", "user.d"].map(|name| (name, 64 << 10)),
            ),
            with(None, None, &names),
            change(&base(), &|e| {
                e.path = "lava-backup/a".parse().unwrap();
            }),
            change(&base(), &|e| e.user = "a\0b".into()),
            change(&base(), &|e| e.group = "g".repeat(257)),
        ]
        .into_iter()
        .enumerate()
        {
            assert!(
                bad.contradiction().is_some(),
                "number {at}: {:?}",
                bad.extents
            );
        }
    }
}
