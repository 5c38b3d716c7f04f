//! The architectures that dpkg installs packages of.

use crate::{Error, ErrorKind, PackageState, Result, Root};

/// The architectures that dpkg installs, the native one first.
///
/// # Errors
/// As [`native_architecture`].
pub fn architectures(root: &Root, packages: &[PackageState]) -> Result<Vec<String>> {
    let native = native_architecture(root, packages)?;
    let listed = listed(root)?.into_iter();
    let foreign: Vec<String> = listed.filter(|name| *name != native).collect();
    Ok([vec![native], foreign].concat())
}

/// The architecture that dpkg of this root is built for: the first of its list, or on a host that
/// never had a second architecture, that of the package `dpkg`.
///
/// # Errors
/// [`ErrorKind::Malformed`] when neither says, or its list names one that has no architecture's
/// name.
pub fn native_architecture(root: &Root, packages: &[PackageState]) -> Result<String> {
    if let Some(first) = listed(root)?.into_iter().next() {
        return Ok(first);
    }
    packages
        .iter()
        .find(|package| package.name == "dpkg" && !package.architecture.is_empty())
        .map(|package| package.architecture.clone())
        .ok_or_else(|| {
            let what = format!("find the architecture of {}", root.path().display());
            let why = "no list of dpkg and no package dpkg says";
            Error::new(ErrorKind::Malformed, what, why)
        })
}

/// Those of dpkg's list. They become words of commands, so their form is checked.
fn listed(root: &Root) -> Result<Vec<String>> {
    const LIST: &str = "var/lib/dpkg/arch";
    let bytes = root.read(LIST, 1 << 16)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let names = text.split_whitespace().map(|name| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && name.bytes().all(is_plain) {
            return Ok(name.to_owned());
        }
        let what = format!("read {}", root.describe(LIST.as_ref()));
        let why = format!("{name:.40?} is no architecture");
        Err(Error::new(ErrorKind::Malformed, what, why))
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;
    use crate::read_status;

    #[test]
    fn the_native_architecture_is_dpkgs_own_when_there_is_no_list() {
        let dir = tempfile::tempdir().unwrap();
        for inside in ["var/lib/dpkg", "etc"] {
            fs::create_dir_all(dir.path().join(inside)).unwrap();
        }
        let dpkg = "Package: a\nStatus: install ok installed\nArchitecture: i386\nVersion: 1\n\n\
                    Package: dpkg\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n";
        fs::write(dir.path().join("var/lib/dpkg/status"), dpkg).unwrap();
        fs::write(dir.path().join("etc/os-release"), "ID=debian\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let packages = read_status(&root).unwrap();
        let listing = |text: &str| fs::write(dir.path().join("var/lib/dpkg/arch"), text).unwrap();
        assert_eq!(architectures(&root, &packages).unwrap(), ["arm64"]);
        listing("amd64\narm64\n");
        assert_eq!(architectures(&root, &packages).unwrap(), ["amd64", "arm64"]);
        listing("arm64\namd64\narm64\n");
        assert_eq!(architectures(&root, &packages).unwrap(), ["arm64", "amd64"]);
        listing("");
        assert_eq!(architectures(&root, &packages).unwrap(), ["arm64"]);
        let none = architectures(&root, &[]).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::Malformed);
        for hostile in ["amd64\n--root=/srv\n", "amd64\narm\u{1b}[2J\n", "a/b\n"] {
            listing(hostile);
            let error = architectures(&root, &packages).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
            assert!(!error.to_string().contains('\u{1b}'), "{error}");
        }
    }
}
