use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// A name longer than this is no path of any Linux file system we read.
const MAX_PATH: usize = 64 * 1024;
/// The directory of the seal and the lists in an exported file; no section.
pub(crate) const OWN: &[u8] = b"lava-backup";

/// The path of a member: relative, made of plain components, of any bytes.
///
/// No component is empty, `.` or `..`, and none holds a NUL, so joining one to
/// a directory can't name anything outside it but through a symbolic link, and
/// those [`Root`](crate::Root) never follows. The first component is the
/// member's section.
///
/// As text, bytes that are no printable UTF-8, and the percent sign, are
/// written `%XX`: every path has one text and every text one path.
///
/// Paths are ordered component by component, which is the order of a tree walk:
/// `a`, `a/b`, `a-b`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MemberPath(Vec<u8>);

impl MemberPath {
    /// Takes the bytes of a path.
    ///
    /// # Errors
    /// [`ErrorKind::BadName`] if it is absolute, empty, too long, or has a
    /// component that is empty, `.`, `..` or holds a NUL.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.into();
        let bad = |why: &str| {
            Err(Error::new(
                ErrorKind::BadName,
                escape(&bytes[..bytes.len().min(200)]),
                why,
            ))
        };
        if bytes.len() > MAX_PATH {
            return bad("the path is too long");
        }
        if bytes.contains(&0) {
            return bad("the path holds a NUL byte");
        }
        for part in bytes.split(|b| *b == b'/') {
            match part {
                b"" => return bad("the path is absolute or has an empty component"),
                b"." | b".." => return bad("the path has a component . or .."),
                _ => {}
            }
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as the standard library knows it.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The first component: the section that the member belongs to.
    pub fn section(&self) -> &[u8] {
        self.components().next().unwrap_or_default()
    }

    /// Is the name of its section one that a section may have: of `a`-`z`,
    /// `0`-`9` and `-`, and not our own?
    pub(crate) fn has_plain_section(&self) -> bool {
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        self.section().iter().all(plain) && self.section() != OWN
    }

    /// The path without its section; `None` if there is no more.
    pub fn in_section(&self) -> Option<MemberPath> {
        let cut = self.0.iter().position(|b| *b == b'/')?;
        Some(Self(self.0[cut + 1..].to_vec()))
    }

    /// The components in order.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/')
    }

    /// The path with one more component.
    ///
    /// # Errors
    /// [`ErrorKind::BadName`] as in [`new`](Self::new).
    pub fn join(&self, name: &[u8]) -> Result<Self, Error> {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        match is_component(name) && bytes.len() <= MAX_PATH {
            true => Ok(Self(bytes)),
            false => Self::new(bytes),
        }
    }

    /// The directory that holds it, `None` for a path of one component, and
    /// its last component.
    pub fn split_last(&self) -> (Option<MemberPath>, &[u8]) {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(cut) => (Some(Self(self.0[..cut].to_vec())), &self.0[cut + 1..]),
            None => (None, &self.0),
        }
    }

    /// Is it `other`, or below it?
    pub fn is_within(&self, other: &MemberPath) -> bool {
        self.0
            .strip_prefix(other.0.as_slice())
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

/// Can a path have it as one component?
fn is_component(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|b| matches!(b, b'/' | 0))
}

impl Ord for MemberPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for MemberPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for MemberPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for MemberPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", escape(&self.0))
    }
}

impl FromStr for MemberPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(unescape(text)?)
    }
}

impl Serialize for MemberPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(&self.0))
    }
}

impl<'de> Deserialize<'de> for MemberPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Is it its own text? Nearly every path is, and an index has hundreds of
/// thousands of them.
fn is_own_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| matches!(b, b' '..=b'~') && *b != b'%')
}

/// Bytes as text that is safe to print and can be read back.
pub(crate) fn escape(bytes: &[u8]) -> String {
    if is_own_text(bytes) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_control() {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    text.push_str(&format!("%{byte:02X}"));
                }
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The inverse of [`escape`], which takes only what `escape` writes.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, Error> {
    if is_own_text(text.as_bytes()) {
        return Ok(text.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let byte = tail
                .get(..2)
                .and_then(|hex| std::str::from_utf8(hex).ok())
                .and_then(|hex| u8::from_str_radix(hex, 16).ok());
            match byte {
                Some(byte) => bytes.push(byte),
                None => return Err(bad_escape(text)),
            }
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    if escape(&bytes) != text {
        return Err(bad_escape(text));
    }
    Ok(bytes)
}

fn bad_escape(text: &str) -> Error {
    Error::new(
        ErrorKind::BadName,
        text.chars().take(200).collect::<String>(),
        "a percent sign, or a byte that needs one, is not written as %XX",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_that_could_leave_its_root_is_refused() {
        for bad in [
            "", "/", "/etc", "a//b", "a/", ".", "..", "a/../b", "a/.", "../a", "a\0b",
        ] {
            assert_eq!(
                MemberPath::new(bad).unwrap_err().kind(),
                ErrorKind::BadName,
                "{bad:?}"
            );
        }
        assert!(MemberPath::new("...").is_ok());
        assert!(MemberPath::new("a/..b/.c").is_ok());
    }

    #[test]
    fn paths_are_ordered_as_a_walk_meets_them() {
        let order: Vec<MemberPath> = ["a", "a/b", "a/b/c", "a-b", "a.b"]
            .iter()
            .map(|p| MemberPath::new(*p).unwrap())
            .collect();
        assert!(order.is_sorted());
    }

    #[test]
    fn within_needs_whole_components() {
        let at = |p: &str| MemberPath::new(p).unwrap();
        assert!(at("a/b").is_within(&at("a")));
        assert!(at("a").is_within(&at("a")));
        assert!(!at("ab").is_within(&at("a")));
    }

    proptest! {
        #[test]
        fn every_path_has_one_text(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
            if let Ok(path) = MemberPath::new(bytes) {
                let text = path.to_string();
                prop_assert!(text.chars().all(|c| !c.is_control()));
                prop_assert_eq!(text.parse::<MemberPath>().unwrap(), path);
            }
        }

        #[test]
        fn what_is_joined_is_what_is_made_at_once(name in "[a./\u{0}]{0,3}") {
            let joined = MemberPath::new("x").unwrap().join(name.as_bytes()).ok();
            prop_assert_eq!(joined, MemberPath::new(format!("x/{name}")).ok());
        }

        #[test]
        fn every_text_has_one_path(text in "[a/%0-9A-F.é\u{7f}]{1,12}") {
            if let Ok(path) = text.parse::<MemberPath>() {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
