//! What a file has beside mode and owner: access control lists, capabilities
//! and other extended attributes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entry::Kind;
use crate::path::{escape, unescape};

mod acl;
mod disk;
#[cfg(test)]
pub(crate) mod tests;

use acl::Acl;
pub(crate) use disk::{apply, has, read};

/// The names and values of one file are no longer together, its lists counted:
/// a line of the index must hold all of them.
pub(crate) const MAX_ATTRIBUTES: usize = 256 << 10;
/// The kernel gives no longer list of names, each with a NUL.
const MAX_LIST: usize = 64 << 10;
/// The kernel has no longer name.
const MAX_NAME: usize = 255;
/// The kernel has no longer value.
const MAX_VALUE: usize = 64 << 10;
/// A sparse file has no more extents: a line of the index must hold them.
pub(crate) const MAX_EXTENTS: usize = 4096;

/// Access control lists and extended attributes of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attributes {
    /// Who may access it, beyond the permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<String>,
    /// Of a directory: what is made in it gets this list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_acl: Option<String>,
    /// Extended attributes by name, `security.capability` among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<Bytes, Bytes>,
}

impl Attributes {
    /// Is there nothing?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What can't be true of the attributes of any file of that kind, if
    /// anything is.
    pub(crate) fn contradiction(&self, kind: Kind) -> Option<&'static str> {
        let text = |list: &Option<String>| list.as_ref().map_or(0, String::len);
        let xattrs = self.xattrs.iter().map(|(n, v)| n.0.len() + v.0.len());
        if text(&self.acl) + text(&self.default_acl) + xattrs.sum::<usize>() > MAX_ATTRIBUTES {
            return Some("has attributes of more than 256 KiB");
        }
        let parsed = |list: &Option<String>| list.as_ref().map(|text| Acl::parse(text));
        match parsed(&self.acl) {
            Some(_) if kind == Kind::Symlink => return Some("is a link with an access list"),
            Some(None) => return Some("has an access list that is none"),
            Some(Some(acl)) if !acl.is_extended() => {
                return Some("has an access list that says no more than a mode");
            }
            _ => {}
        }
        match parsed(&self.default_acl) {
            Some(_) if kind != Kind::Dir => {
                return Some("is no directory and has a list for what is made in it");
            }
            Some(None) => return Some("has a default access list that is none"),
            _ => {}
        }
        check_xattrs(&self.xattrs).err()
    }
}

fn check_xattrs(xattrs: &BTreeMap<Bytes, Bytes>) -> Result<(), &'static str> {
    let names = || xattrs.keys().map(|name| name.0.as_slice());
    if names().any(|name| !is_captured(name)) {
        Err("has an attribute that no backup holds")
    } else if names().map(|name| name.len() + 1).sum::<usize>() > MAX_LIST {
        Err("has more attributes than any file can have")
    } else if xattrs.values().any(|value| value.0.len() > MAX_VALUE) {
        Err("has an attribute of more than 64 KiB")
    } else {
        Ok(())
    }
}

/// Does a backup hold the extended attribute of that name? Lists are held as
/// text; other attributes of `system` and `security` are the host's own policy.
fn is_captured(name: &[u8]) -> bool {
    let in_space = |space: &[u8]| name.strip_prefix(space).is_some_and(|n| !n.is_empty());
    let ours = name == b"security.capability" || in_space(b"user.") || in_space(b"trusted.");
    ours && name.len() <= MAX_NAME && !name.contains(&0)
}

/// Any bytes; as text, escaped as paths are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", escape(&self.0))
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        unescape(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A run of a sparse file that is no hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Extent {
    /// Bytes of the file before it.
    pub offset: u64,
    /// Bytes in it.
    pub length: u64,
}

impl From<(u64, u64)> for Extent {
    fn from((offset, length): (u64, u64)) -> Self {
        Self { offset, length }
    }
}

impl From<Extent> for (u64, u64) {
    fn from(extent: Extent) -> Self {
        (extent.offset, extent.length)
    }
}
