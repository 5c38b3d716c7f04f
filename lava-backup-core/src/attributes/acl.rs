//! Access control lists: as the kernel keeps them, and as star writes them.

use std::fmt;

use crate::owner::{OwnerId, Owners};

/// A POSIX access control list, in the order in which the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acl(Vec<AclEntry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct AclEntry {
    tag: Tag,
    /// Read 4, write 2, execute 1.
    permissions: u8,
    /// Whom it is for, where the tag does not say.
    who: Option<Who>,
}

/// The kernel's numbers, which are also its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    UserObj = 0x01,
    User = 0x02,
    GroupObj = 0x04,
    Group = 0x08,
    Mask = 0x10,
    Other = 0x20,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Who {
    /// Empty if the number has none.
    name: String,
    id: u32,
}

/// A named owner of an entry that is unknown here, and whom the entry is for
/// instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownOwner {
    /// `user` or `group`.
    pub(crate) what: &'static str,
    /// The name in the backup.
    pub(crate) name: String,
    /// The number in the backup.
    pub(crate) recorded: u32,
    /// What is used.
    pub(crate) used: OwnerId,
}

const VERSION: [u8; 4] = 2u32.to_le_bytes();
/// Of an entry that is for nobody by name.
const NO_ID: u32 = u32::MAX;
/// Bytes of an entry in the kernel's form: tag, permissions, number.
const ENTRY: usize = 8;
/// What fits into an attribute of the kernel.
const MAX_ENTRIES: usize = (super::MAX_VALUE - VERSION.len()) / ENTRY;

impl Tag {
    const ALL: [Self; 6] = [
        Self::UserObj,
        Self::User,
        Self::GroupObj,
        Self::Group,
        Self::Mask,
        Self::Other,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::UserObj | Self::User => "user",
            Self::GroupObj | Self::Group => "group",
            Self::Mask => "mask",
            Self::Other => "other",
        }
    }

    fn is_named(self) -> bool {
        matches!(self, Self::User | Self::Group)
    }
}

impl Acl {
    /// Takes the kernel's form, and names from `owners`; `None` if it is no
    /// list that the kernel would take.
    pub(super) fn from_kernel(bytes: &[u8], owners: &Owners) -> Option<Self> {
        let entries = bytes.strip_prefix(&VERSION)?.chunks(ENTRY);
        let entry = |bytes: &[u8]| {
            let (number, rest) = bytes.split_first_chunk::<2>()?;
            let (permissions, id) = rest.split_first_chunk::<2>()?;
            let number = u16::from_le_bytes(*number);
            let id = u32::from_le_bytes(id.try_into().ok()?);
            let tag = Tag::ALL.into_iter().find(|t| *t as u16 == number)?;
            let who = tag.is_named().then(|| {
                let name = match tag {
                    Tag::User => owners.user(id),
                    _ => owners.group(id),
                };
                let name = if is_plain(name) { name } else { "" };
                Who {
                    name: name.to_owned(),
                    id,
                }
            });
            Some(AclEntry {
                tag,
                permissions: u8::try_from(u16::from_le_bytes(*permissions)).ok()?,
                who,
            })
        };
        let acl = Self(entries.map(entry).collect::<Option<_>>()?);
        acl.is_valid().then_some(acl)
    }

    /// Takes the text; `None` if it is none that we write.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let acl = Self(
            text.split(',')
                .map(AclEntry::parse)
                .collect::<Option<_>>()?,
        );
        (acl.is_valid() && acl.to_string() == text).then_some(acl)
    }

    /// Does it say more than permission bits can?
    pub(crate) fn is_extended(&self) -> bool {
        self.0.len() > 3
    }

    /// The kernel's form, for the owners here; those that are unknown go to
    /// `unknown`.
    pub(super) fn to_kernel(&self, owners: &Owners, unknown: &mut Vec<UnknownOwner>) -> Vec<u8> {
        let mut bytes = VERSION.to_vec();
        for entry in &self.0 {
            let id = match &entry.who {
                None => NO_ID,
                Some(who) => {
                    let used = match entry.tag {
                        Tag::User => owners.uid(&who.name, who.id),
                        _ => owners.gid(&who.name, who.id),
                    };
                    if !used.known {
                        unknown.push(UnknownOwner {
                            what: entry.tag.word(),
                            name: who.name.clone(),
                            recorded: who.id,
                            used,
                        });
                    }
                    used.id
                }
            };
            bytes.extend_from_slice(&(entry.tag as u16).to_le_bytes());
            bytes.extend_from_slice(&u16::from(entry.permissions).to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes
    }

    /// What the kernel asks of a list: each of the three bases once, a mask at
    /// most once and wherever somebody is named, all in the order of their tags.
    fn is_valid(&self) -> bool {
        let count = |tag| self.0.iter().filter(|e| e.tag == tag).count();
        let bases = [Tag::UserObj, Tag::GroupObj, Tag::Other];
        let named = self.0.iter().any(|e| e.tag.is_named());
        self.0.len() <= MAX_ENTRIES
            && self.0.is_sorted_by_key(|e| e.tag)
            && bases.into_iter().all(|tag| count(tag) == 1)
            && (usize::from(named)..=1).contains(&count(Tag::Mask))
            && self.0.iter().all(|e| {
                let id = e.who.as_ref().map(|w| w.id);
                e.permissions <= 7 && id != Some(NO_ID)
            })
    }
}

impl AclEntry {
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.splitn(5, ':').collect();
        let (word, name, letters, id) = match fields[..] {
            [word, "", letters] => (word, "", letters, None),
            [word, name, letters, id] => (word, name, letters, Some(id)),
            _ => return None,
        };
        let named = id.is_some();
        let mut tags = Tag::ALL.into_iter();
        let tag = tags.find(|t| t.word() == word && t.is_named() == named)?;
        let who = match id {
            None => None,
            Some(id) if name != id && !is_plain(name) => return None,
            Some(id) => Some(Who {
                name: if name == id { "" } else { name }.to_owned(),
                id: id.parse().ok()?,
            }),
        };
        Some(Self {
            tag,
            permissions: (0..8).find(|p| rwx(*p) == letters)?,
            who,
        })
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, entry) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let word = entry.tag.word();
            let rwx = rwx(entry.permissions);
            match &entry.who {
                None => write!(f, "{comma}{word}::{rwx}")?,
                Some(Who { name, id }) if name.is_empty() => {
                    write!(f, "{comma}{word}:{id}:{rwx}:{id}")?;
                }
                Some(Who { name, id }) => write!(f, "{comma}{word}:{name}:{rwx}:{id}")?,
            }
        }
        Ok(())
    }
}

fn rwx(permissions: u8) -> &'static str {
    ["---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx"]
        .get(usize::from(permissions))
        .copied()
        .unwrap_or_default()
}

/// Can the name stand in a list? Readers of other tars split at colons, commas
/// and white space, take digits for a number and `#` for a comment, and unescape.
fn is_plain(name: &str) -> bool {
    let special = |c: char| c.is_whitespace() || c.is_control() || ":,#\\".contains(c);
    !name.is_empty() && !name.contains(special) && !name.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "user::rwx,user:lavaserver:r-x:996,user:1234:---:1234,\
                        group::r-x,group:adm:-w-:4,mask::rwx,other::---";

    #[test]
    fn a_list_has_one_text() {
        assert_eq!(Acl::parse(TEXT).unwrap().to_string(), TEXT);
        let minimal = Acl::parse("user::rwx,group::r-x,other::---").unwrap();
        assert!(!minimal.is_extended());
        for bad in [
            "",
            "user::rwx",
            "user::rwx,group::r-x,other::---,",
            "user::rwx,group::r-x,other::---\n",
            "group::r-x,user::rwx,other::---",
            "user::rwx,user::rwx,group::r-x,other::---",
            "user::rwX,group::r-x,other::---",
            "user::7,group::r-x,other::---",
            "u::rwx,group::r-x,other::---",
            "user::rwx:0,group::r-x,other::---",
            "user::rwx,group::r-x,mask::rwx,mask::rwx,other::---",
            // Somebody named, and no mask.
            "user::rwx,user:a:r-x:1,group::r-x,other::---",
            "user::rwx,user:a:r-x:01,group::r-x,mask::rwx,other::---",
            "user::rwx,user:a:r-x:+1,group::r-x,mask::rwx,other::---",
            "user::rwx,user:a:r-x:4294967295,group::r-x,mask::rwx,other::---",
            "user::rwx,user:a:r-x:4294967296,group::r-x,mask::rwx,other::---",
            "user::rwx,user:a:r-x,group::r-x,mask::rwx,other::---",
            "user::rwx,user:2:r-x:1,group::r-x,mask::rwx,other::---",
            "user::rwx,user::r-x:1,group::r-x,mask::rwx,other::---",
            "user::rwx,user:a b:r-x:1,group::r-x,mask::rwx,other::---",
            "user::rwx,mask:a:r-x:1,group::r-x,mask::rwx,other::---",
        ] {
            assert_eq!(Acl::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_list_goes_to_the_kernel_by_name_and_says_who_is_unknown() {
        let here = Owners::for_tests("root:x:0:\nlavaserver:x:103:\n", "adm:x:7:\n");
        let mut unknown = Vec::new();
        let bytes = Acl::parse(TEXT).unwrap().to_kernel(&here, &mut unknown);
        let back = Acl::from_kernel(&bytes, &here).unwrap().to_string();
        let moved = TEXT
            .replace(":996", ":103")
            .replace("adm:-w-:4", "adm:-w-:7");
        assert_eq!(back, moved);
        assert_eq!(unknown, []);

        // The number is somebody else's here: root has it.
        let other = Owners::for_tests("ntp:x:996:\n", "");
        let bytes = Acl::parse(TEXT).unwrap().to_kernel(&other, &mut unknown);
        let back = Acl::from_kernel(&bytes, &other).unwrap().to_string();
        assert!(back.contains("user:0:r-x:0"), "{back}");
        let notes: Vec<_> = unknown
            .iter()
            .map(|u| (u.what, u.name.as_str(), u.recorded, u.used.id))
            .collect();
        assert_eq!(
            notes,
            [("user", "lavaserver", 996, 0), ("group", "adm", 4, 4)]
        );
    }

    #[test]
    fn a_name_that_would_be_misread_is_left_out() {
        let here = Owners::for_tests("12:x:996:\na,b:x:1234:\n", "a#b:x:4:\n");
        let acl = Acl::parse(TEXT).unwrap();
        let bytes = acl.to_kernel(&Owners::default(), &mut Vec::new());
        let text = Acl::from_kernel(&bytes, &here).unwrap().to_string();
        assert!(
            text.contains("user:996:r-x:996,user:1234:---:1234,"),
            "{text}"
        );
        assert!(text.contains("group:4:-w-:4"), "{text}");
    }

    #[test]
    fn what_the_kernel_would_not_take_is_no_list() {
        let owners = Owners::default();
        let good = Acl::parse(TEXT)
            .unwrap()
            .to_kernel(&owners, &mut Vec::new());
        assert!(Acl::from_kernel(&good, &owners).is_some());
        for cut in 0..good.len() {
            assert!(Acl::from_kernel(&good[..cut], &owners).is_none(), "{cut}");
        }
        for (at, value) in [(0, 1), (4, 3), (6, 8), (7, 1), (12, 0x20)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Acl::from_kernel(&bad, &owners).is_none(), "byte {at}");
        }
    }
}
