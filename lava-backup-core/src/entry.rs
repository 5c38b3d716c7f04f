use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use crate::attributes::{Attributes, Extent};
use crate::path::MemberPath;

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
        } else if is_file != digest.is_some() || digest.is_some_and(|d| d.len() != 64 || !hex(d)) {
            Some("has a digest where there is none, or none where there is one")
        } else if (self.kind == Kind::Symlink) != self.link.is_some() {
            Some("is a link without a target, or the reverse")
        } else if !is_file && self.size != 0 {
            Some("has content and is no file")
        } else if self.path.in_section().is_none() || !self.path.has_plain_section() {
            Some("names a section and no member of it, or a section that can be none")
        } else {
            None
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
    /// Changed while it was read: stored as it was read.
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
