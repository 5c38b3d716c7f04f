//! The package state as text, to tell whether it changed while it was captured.

use std::fmt::Write;

use crate::{AutoInstalled, PackageState, Result, Root, auto_installed, read_status};

/// One line for each package, in the order given:
/// `name architecture version want flag state auto|manual`, with `-` for what it does not have.
///
/// What [`read_status`] returns is sorted, so the same state gives the same text.
pub fn state_listing(packages: &[PackageState], auto: &AutoInstalled) -> String {
    let mut listing = String::new();
    for package in packages {
        let or_dash = |text: &'_ str| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text.to_owned()
            }
        };
        let version = package
            .version
            .as_ref()
            .map_or("", |version| version.as_str());
        let mark = if auto.contains(package) {
            "auto"
        } else {
            "manual"
        };
        // Writing to a String can't fail.
        let _ = writeln!(
            listing,
            "{} {} {} {} {} {} {mark}",
            package.name,
            or_dash(&package.architecture),
            or_dash(version),
            package.want,
            package.flag,
            package.state,
        );
    }
    listing
}

/// [`state_listing`] of a root as bytes to hash or to compare.
///
/// # Errors
/// As [`read_status`] and [`auto_installed`].
pub fn state_bytes(root: &Root) -> Result<Vec<u8>> {
    let packages = read_status(root)?;
    let auto = auto_installed(root, &packages)?;
    Ok(state_listing(&packages, &auto).into_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    const STATUS: &str = "Package: lava-server\nStatus: hold ok installed\nArchitecture: all\nVersion: 2023.01-2\n\n\
                          Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.21.22\n\n\
                          Package: gone\nStatus: purge ok not-installed\n";
    const MARKS: &str = "Package: lava-server\nArchitecture: amd64\nAuto-Installed: 1\n\n\
                         Package: dpkg\nArchitecture: amd64\nAuto-Installed: 0\n";

    fn listing(status: &str, marks: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("var/lib/dpkg/status", status),
            ("var/lib/apt/extended_states", marks),
            ("etc/os-release", "ID=debian\n"),
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        String::from_utf8(state_bytes(&Root::open(dir.path()).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn every_package_is_one_line_in_the_order_of_names() {
        assert_eq!(
            listing(STATUS, MARKS),
            "dpkg amd64 1.21.22 install ok installed manual\n\
             gone - - purge ok not-installed manual\n\
             lava-server all 2023.01-2 hold ok installed auto\n"
        );
    }

    #[test]
    fn whatever_dpkg_or_apt_changes_changes_the_listing() {
        let before = listing(STATUS, MARKS);
        for (from, to) in [
            ("2023.01-2", "2023.01-3"),
            ("hold ok", "install ok"),
            ("ok installed", "reinstreq installed"),
            ("ok installed", "ok unpacked"),
            ("Package: gone", "Package: going"),
            ("Architecture: all", "Architecture: amd64"),
        ] {
            assert_ne!(
                listing(&STATUS.replacen(from, to, 1), MARKS),
                before,
                "{from} to {to}"
            );
        }
        assert_ne!(
            listing(
                STATUS,
                &MARKS.replacen("Auto-Installed: 1", "Auto-Installed: 0", 1)
            ),
            before
        );
        assert_ne!(listing(STATUS, ""), before);
    }
}
