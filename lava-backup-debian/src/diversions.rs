//! Files of packages that lie elsewhere, or with other owners and modes, because an admin or a
//! package said so.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{Error, ErrorKind, Result, Root};

/// A file that every package but one puts elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Diversion {
    /// Where packages would put it.
    #[serde(serialize_with = "crate::status::lossily")]
    pub from: PathBuf,
    /// Where it is put.
    #[serde(serialize_with = "crate::status::lossily")]
    pub to: PathBuf,
    /// The package that keeps the place; `None` for an admin, whose diversions alone have to be
    /// made again by hand.
    pub package: Option<String>,
}

/// An owner and mode that dpkg gives a file whatever its package says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct StatOverride {
    /// The file or directory.
    #[serde(serialize_with = "crate::status::lossily")]
    pub path: PathBuf,
    /// The owner: a name, or `#` and a number.
    pub user: String,
    /// The group: a name, or `#` and a number.
    pub group: String,
    /// The permission bits.
    pub mode: u32,
}

const MOST: u64 = 16 << 20;

/// Reads dpkg's diversions, in its order.
///
/// # Errors
/// [`ErrorKind::Malformed`] when a diversion has not its three lines or a path is not absolute.
pub fn read_diversions(root: &Root) -> Result<Vec<Diversion>> {
    let file = Path::new("/var/lib/dpkg/diversions");
    let bytes = root.read(file, MOST)?.unwrap_or_default();
    diversions(&bytes, &root.describe(file))
}

fn diversions(bytes: &[u8], place: &str) -> Result<Vec<Diversion>> {
    let lines: Vec<&[u8]> = lines(bytes).collect();
    let mut found = Vec::new();
    for (at, three) in lines.chunks(3).enumerate() {
        let malformed = |why| malformed(place, 3 * at + 1, why);
        let [from, to, package] = three else {
            return Err(malformed("a diversion has not three lines"));
        };
        let (Some(from), Some(to)) = (path(from), path(to)) else {
            return Err(malformed("a path of a diversion is not absolute"));
        };
        let package = String::from_utf8_lossy(package).into_owned();
        found.push(Diversion {
            from,
            to,
            package: (package != ":").then_some(package),
        });
    }
    Ok(found)
}

/// Reads dpkg's overrides of owners and modes, in its order.
///
/// # Errors
/// [`ErrorKind::Malformed`] when a line is not owner, group, mode and an absolute path.
pub fn read_stat_overrides(root: &Root) -> Result<Vec<StatOverride>> {
    let file = Path::new("/var/lib/dpkg/statoverride");
    let bytes = root.read(file, MOST)?.unwrap_or_default();
    stat_overrides(&bytes, &root.describe(file))
}

fn stat_overrides(bytes: &[u8], place: &str) -> Result<Vec<StatOverride>> {
    let mut found = Vec::new();
    for (at, line) in lines(bytes).enumerate() {
        let stat_override = || {
            let mut words = line.splitn(4, |b| *b == b' ');
            let mut text = || {
                std::str::from_utf8(words.next()?)
                    .ok()
                    .filter(|w| !w.is_empty())
            };
            let (user, group, mode) = (text()?, text()?, text()?);
            let well_formed = mode.len() <= 5 && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
            Some(StatOverride {
                user: user.to_owned(),
                group: group.to_owned(),
                mode: u32::from_str_radix(mode, 8)
                    .ok()
                    .filter(|m| well_formed && *m <= 0o7777)?,
                path: path(words.next()?)?,
            })
        };
        found.push(stat_override().ok_or_else(|| {
            malformed(
                place,
                at + 1,
                "it is not owner, group, mode and an absolute path",
            )
        })?);
    }
    Ok(found)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let none = bytes.is_empty();
    bytes.split(|b| *b == b'\n').filter(move |_| !none)
}

fn path(text: &[u8]) -> Option<PathBuf> {
    text.starts_with(b"/")
        .then(|| PathBuf::from(OsStr::from_bytes(text)))
}

fn malformed(place: &str, line: usize, why: &str) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("read {place}, line {line}"),
        why,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, process::Command};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn diversions_are_those_that_dpkg_lists() {
        let dir = tempfile::tempdir().unwrap();
        let text = "/bin/sh\n/bin/sh.distrib\ndash\n/etc/a b\n/etc/a b.mine\n:\n";
        fs::write(dir.path().join("diversions"), text).unwrap();
        let dpkg = Command::new("dpkg-divert")
            .arg("--admindir")
            .arg(dir.path())
            .arg("--list")
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let ours: String = diversions(text.as_bytes(), "test")
            .unwrap()
            .iter()
            .map(|d| match &d.package {
                Some(package) => format!(
                    "diversion of {} to {} by {package}\n",
                    d.from.display(),
                    d.to.display()
                ),
                None => format!(
                    "local diversion of {} to {}\n",
                    d.from.display(),
                    d.to.display()
                ),
            })
            .collect();
        let mut theirs: Vec<&str> = std::str::from_utf8(&dpkg.stdout).unwrap().lines().collect();
        let mut ours: Vec<&str> = ours.lines().collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn overrides_are_those_that_dpkg_lists() {
        let dir = tempfile::tempdir().unwrap();
        let text = "root #99999 2755 /usr/bin/a\nroot root 644 /etc/a b\n";
        fs::write(dir.path().join("statoverride"), text).unwrap();
        let dpkg = Command::new("dpkg-statoverride")
            .arg("--admindir")
            .arg(dir.path())
            .arg("--list")
            .output()
            .unwrap();
        let mut ours: Vec<String> = stat_overrides(text.as_bytes(), "test")
            .unwrap()
            .iter()
            .map(|o| format!("{} {} {:o} {}", o.user, o.group, o.mode, o.path.display()))
            .collect();
        ours.sort();
        let mut theirs: Vec<String> = String::from_utf8(dpkg.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        theirs.sort();
        assert_eq!(ours.len(), 2);
        assert_eq!(ours, theirs);
    }

    #[test]
    fn what_has_not_its_form_is_an_error_with_its_line() {
        for bad in ["/a\n/b\n", "a\n/b\n:\n", "/a\n/b\n:\n\n"] {
            let error = diversions(bad.as_bytes(), "test").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed);
        }
        for bad in [
            "root root 0644\n",
            "root root 0x /a\n",
            "root root 644 a\n",
            "\n\n",
            "root root 77777 /a\n",
        ] {
            let error = stat_overrides(bad.as_bytes(), "test").unwrap_err();
            assert!(
                error.to_string().starts_with("read test, line 1"),
                "{error}"
            );
        }
        assert_eq!(diversions(b"", "test").unwrap(), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[/a0-7# \n:]{0,40}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let _ = diversions(bytes, "test");
                let _ = stat_overrides(bytes, "test");
            }
        }
    }
}
