//! The packages without which a backup of LAVA can't be brought back.

use std::collections::BTreeSet;

use crate::{PackageState, Shipped};

/// Names that LAVA's manual calls critical, over all its releases, and what they were split into
/// since: `lava-common` and `lava-dispatcher-host` must have the server's version exactly.
const NAMES: [&str; 17] = [
    "lava",
    "lava-common",
    "lava-coordinator",
    "lava-dispatcher",
    "lava-dispatcher-host",
    "lava-server",
    "lava-server-doc",
    "postgresql",
    "postgresql-client",
    "postgresql-client-common",
    "postgresql-common",
    "python-django",
    "python-django-common",
    "python-django-tables2",
    "python3-django",
    "python3-django-common",
    "python3-django-tables2",
];

/// Of the installed packages those that a restored database and LAVA itself need in exactly this
/// version: what the manual names, by whatever name its era has for it, PostgreSQL's servers and
/// clients of any major, and everything that ships migrations. In the order given.
///
/// Nothing that these depend on is among them; that is the whole of what is installed.
pub fn critical<'p>(packages: &'p [PackageState], shipped: &Shipped) -> Vec<&'p PackageState> {
    let migrating: BTreeSet<&str> = shipped.iter().map(|s| s.package.as_str()).collect();
    packages
        .iter()
        .filter(|package| package.is_installed())
        .filter(|package| {
            let name = package.name.as_str();
            NAMES.contains(&name) || is_versioned_server(name) || migrating.contains(name)
        })
        .collect()
}

/// `postgresql-15`, `postgresql-client-9.6`.
fn is_versioned_server(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("postgresql-") else {
        return false;
    };
    let major = rest.strip_prefix("client-").unwrap_or(rest);
    major.starts_with(|c: char| c.is_ascii_digit())
        && major.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_any_major_is_critical_and_its_extensions_are_not() {
        for name in ["postgresql-15", "postgresql-9.6", "postgresql-client-13"] {
            assert!(is_versioned_server(name), "{name}");
        }
        for name in [
            "postgresql",
            "postgresql-common",
            "postgresql-15-debversion",
            "postgresql-contrib",
        ] {
            assert!(!is_versioned_server(name), "{name}");
        }
    }
}
