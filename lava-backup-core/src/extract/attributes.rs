//! Access control lists and extended attributes of what is brought back.

use std::io;
use std::os::fd::AsFd;

use super::target::Target;
use crate::attributes::{self, Attributes};
use crate::entry::Entry;
use crate::owner::{OwnerId, Owners};

/// What a user may give his own files.
const OF_USERS: &[u8] = b"user.";

impl Target<'_> {
    /// Gives an open file an entry's attributes and no other. Was there an
    /// access control list to give?
    pub(super) fn give_attributes(&self, fd: impl AsFd, entry: &Entry) -> io::Result<bool> {
        let wanted = self.wanted(entry);
        let capabilities = self.has_capabilities(entry);
        let wanted = wanted.as_ref();
        attributes::apply(fd, entry.kind, wanted, &self.owners, capabilities)?;
        Ok(wanted.is_some_and(|w| w.acl.is_some()))
    }

    /// Which of an open file's attributes are not those that the entry has here.
    pub(super) fn attributes_differ(
        &self,
        fd: impl AsFd,
        entry: &Entry,
    ) -> io::Result<Vec<&'static str>> {
        let wanted = self.wanted(entry);
        let capabilities = self.has_capabilities(entry);
        let same = attributes::has(&fd, entry.kind, wanted.as_ref(), &self.owners, capabilities)?;
        if same {
            return Ok(Vec::new());
        }
        // What no backup can hold differs, whatever it is.
        let Ok(found) = attributes::read(fd, entry.kind, &self.owners) else {
            return Ok(vec!["acl", "xattr"]);
        };
        let found = found.map(|found| *found).unwrap_or_default();
        let wanted = wanted.unwrap_or_default();
        let placed = |list: &Option<String>| list.as_ref().map(|l| placed(l, &self.owners));
        let lists = placed(&found.acl) == placed(&wanted.acl)
            && placed(&found.default_acl) == placed(&wanted.default_acl);
        Ok(match (lists, found.xattrs == wanted.xattrs) {
            (true, _) => vec!["xattr"],
            (false, true) => vec!["acl"],
            (false, false) => vec!["acl", "xattr"],
        })
    }

    /// As with setuid: nothing gets power that comes to another owner.
    fn has_capabilities(&self, entry: &Entry) -> bool {
        self.owners_known(entry) == (true, true)
    }

    /// The attributes that an entry gets here.
    fn wanted(&self, entry: &Entry) -> Option<Attributes> {
        let mut wanted = entry.attributes.as_deref()?.clone();
        if !self.options.own {
            wanted.acl = None;
            wanted.default_acl = None;
            wanted.xattrs.retain(|name, _| name.0.starts_with(OF_USERS));
        }
        Some(wanted)
    }

    /// Notes the owners of an entry's lists.
    pub(super) fn note_listed(
        &self,
        entry: &Entry,
        note: &mut dyn FnMut(&str, &str, u32, OwnerId),
    ) {
        let Some(attributes) = &entry.attributes else {
            return;
        };
        for list in [&attributes.acl, &attributes.default_acl] {
            for (what, name, _, recorded) in list.iter().flat_map(|l| named(l)) {
                let used = match what {
                    "user" => self.owners.uid(name, recorded),
                    _ => self.owners.gid(name, recorded),
                };
                note(what, name, recorded, used);
            }
        }
    }
}

/// The entries of a list that name somebody: what, name, permissions, number.
fn named(list: &str) -> impl Iterator<Item = (&str, &str, &str, u32)> {
    list.split(',').filter_map(|entry| {
        let mut fields = entry.split(':');
        let (what, name, allowed) = (fields.next()?, fields.next()?, fields.next()?);
        let recorded = fields.next()?.parse().ok()?;
        // A nameless number stands for its name too.
        let nameless = name.parse() == Ok(recorded);
        Some((what, if nameless { "" } else { name }, allowed, recorded))
    })
}

/// A list with the numbers that its names have here, in one order.
fn placed(list: &str, owners: &Owners) -> Vec<String> {
    let unnamed = list.split(',').filter(|e| e.split(':').count() < 4);
    let named = named(list).map(|(what, name, allowed, recorded)| {
        let owner = match what {
            "user" => owners.uid(name, recorded),
            _ => owners.gid(name, recorded),
        };
        format!("{what}:{}:{allowed}", owner.id)
    });
    let mut placed: Vec<String> = named.chain(unnamed.map(str::to_owned)).collect();
    placed.sort();
    placed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::entry::{Class, Kind, Time};
    use crate::extract::Extract;
    use crate::root::Root;
    use crate::writer::{Meta, new_entry};

    #[test]
    fn lists_are_compared_by_who_is_meant_here() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(
            dir.path().join("etc/passwd"),
            "lava:x:1996:1\nntp:x:103:1\n",
        )
        .unwrap();
        let owners = Owners::of(&Root::open(dir.path()).unwrap());
        let there = "user::rwx,user:lava:r-x:996,group::r-x,mask::rwx,other::---";
        let here = "user::rwx,user:lava:r-x:1996,group::r-x,mask::rwx,other::---";
        assert_eq!(placed(there, &owners), placed(here, &owners));
        let other = "user::rwx,user:ntp:r-x:1996,group::r-x,mask::rwx,other::---";
        assert_ne!(placed(there, &owners), placed(other, &owners));
        let unnamed = there.replace("mask::rwx", "mask::r-x");
        assert_ne!(placed(there, &owners), placed(&unnamed, &owners));
        let nameless = "user:500:r--:500";
        assert_eq!(placed(nameless, &owners), ["user:500:r--"]);
    }

    #[test]
    fn who_is_named_in_a_list_and_unknown_here_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        // The number of one list is taken here by a user, of the other by a group.
        std::fs::write(dir.path().join("etc/passwd"), "ntp:x:103:1\n").unwrap();
        std::fs::write(dir.path().join("etc/group"), "ssl-cert:x:110:\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let options = Extract {
            select: Vec::new(),
            exclude: Vec::new(),
            complete: Vec::new(),
            dry_run: false,
            replace: false,
            keep_in: "kept".parse().unwrap(),
            own: true,
            sync: false,
        };
        let target = Target::new(&root, &options).unwrap();
        let meta = Meta::private(Class::Plain, Time::default());
        let mut entry = new_entry("config/dir".parse().unwrap(), Kind::Dir, meta);
        let named = |user: &str| format!("user::rwx,user:{user}:r-x:103,group::r-x");
        entry.attributes = Some(Box::new(Attributes {
            acl: Some(named("tftp") + ",group:tftp:r-x:103,group:ssl-cert:r-x:999"),
            default_acl: Some(named("lava")),
            ..Attributes::default()
        }));
        let mut notes = BTreeSet::new();
        target.note_owners(&entry, &mut notes);
        let unknown = |who: &str, used: u32| {
            format!("the {who} (103 in the backup) is unknown here; {used} is used")
        };
        let expected = [
            unknown("user \"tftp\"", 0),
            unknown("group \"tftp\"", 103),
            unknown("user \"lava\"", 0),
        ];
        assert_eq!(notes, BTreeSet::from(expected));
    }
}
