use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Result;
use crate::root::Root;

/// The users and groups of a root, from its own `/etc/passwd` and `/etc/group`,
/// read as data.
///
/// Numbers differ between hosts (the same package's user was 103 on one release
/// and 996 on another), so ownership is kept and restored by name.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    users: Names,
    groups: Names,
}

#[derive(Clone, Debug, Default)]
struct Names {
    by_id: BTreeMap<u32, String>,
    by_name: BTreeMap<String, u32>,
}

/// A number for an owner, and whether its name is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerId {
    /// The number to use.
    pub id: u32,
    /// `false` if the name is unknown here and the number is a fallback.
    pub known: bool,
}

/// Longer files are read no further; a lab has some dozens of users.
const LIMIT: u64 = 16 << 20;
/// Linux has names of 32 bytes; directories of users elsewhere, longer ones.
pub(crate) const MAX_NAME: usize = 256;

impl Owners {
    /// Reads the names of a root; one without the files, or with files that
    /// can't be read, has no names.
    pub fn of(root: &Root) -> Self {
        Self::read(root).unwrap_or_default()
    }

    /// Reads the names of a root; one without the files has no names.
    ///
    /// # Errors
    /// From files that are there and can't be read: without their names every
    /// owner would be a number, and the number somebody else's.
    pub(crate) fn read(root: &Root) -> Result<Self> {
        let read = |path: &str| {
            let bytes = match root.read(Path::new(path), LIMIT) {
                Err(e) if e.is_absent() => Vec::new(),
                other => other?,
            };
            Ok(Names::parse(&String::from_utf8_lossy(&bytes)))
        };
        Ok(Self {
            users: read("/etc/passwd")?,
            groups: read("/etc/group")?,
        })
    }

    /// The name of a user; empty if the number has none.
    pub fn user(&self, uid: u32) -> &str {
        self.users.by_id.get(&uid).map_or("", |n| n)
    }

    /// Of these texts of `/etc/passwd` and `/etc/group`.
    #[cfg(test)]
    pub(crate) fn for_tests(users: &str, groups: &str) -> Self {
        Self {
            users: Names::parse(users),
            groups: Names::parse(groups),
        }
    }

    /// The name of a group; empty if the number has none.
    pub fn group(&self, gid: u32) -> &str {
        self.groups.by_id.get(&gid).map_or("", |n| n)
    }

    /// The number of a user here, by name.
    ///
    /// For a name that is unknown here the recorded number serves, unless it is
    /// somebody else's: then the file is root's, and nobody gains by it.
    pub fn uid(&self, name: &str, recorded: u32) -> OwnerId {
        self.users.id(name, recorded)
    }

    /// The number of a group here, by name, as [`uid`](Self::uid).
    pub fn gid(&self, name: &str, recorded: u32) -> OwnerId {
        self.groups.id(name, recorded)
    }
}

impl Names {
    fn parse(text: &str) -> Self {
        let mut names = Self::default();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(name), _, Some(id)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let Ok(id) = id.parse() else { continue };
            // Nobody's number: to the kernel it means no change.
            if id == u32::MAX {
                continue;
            }
            // No user is called so; a header could not hold it.
            if name.len() > MAX_NAME || name.contains('\0') {
                continue;
            }
            // The first line of a number or a name is the one that counts.
            names.by_id.entry(id).or_insert_with(|| name.to_owned());
            names.by_name.entry(name.to_owned()).or_insert(id);
        }
        names
    }

    fn id(&self, name: &str, recorded: u32) -> OwnerId {
        if let Some(id) = self.by_name.get(name) {
            return OwnerId {
                id: *id,
                known: true,
            };
        }
        // The kernel's own, on every host, whoever lists it.
        if name == "root" && recorded == 0 {
            return OwnerId { id: 0, known: true };
        }
        let taken = self.by_id.contains_key(&recorded);
        OwnerId {
            id: if taken { 0 } else { recorded },
            known: name.is_empty() && !taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_never_goes_to_whoever_has_the_number_now() {
        let here = Names::parse("root:x:0:0\nlavaserver:x:996:996\nntp:x:103:110\n");
        let id = |name, recorded| here.id(name, recorded);
        let owner = |id, known| OwnerId { id, known };
        assert_eq!(id("lavaserver", 103), owner(996, true));
        assert_eq!(id("tftp", 103), owner(0, false));
        assert_eq!(id("tftp", 500), owner(500, false));
        assert_eq!(id("", 500), owner(500, true));
    }
}
