//! Which files of a backup are those of its own host, whatever becomes of it.

use super::*;

/// What makes a host that host; another host keeps its own.
const IDENTITY: [&str; 7] = [
    "config/etc/fstab",
    "config/etc/hostname",
    "config/etc/hosts",
    "config/etc/machine-id",
    "config/etc/network",
    "config/etc/resolv.conf",
    "config/etc/systemd/network",
];

/// Whether a member of a backup is a part of what makes a host that host.
pub(crate) fn is_identity(member: &str) -> bool {
    IDENTITY.iter().any(|path| is_at_or_below(member, path))
}

/// Whether a path is this one, or one below it.
pub(crate) fn is_at_or_below(member: &str, path: &str) -> bool {
    let below = member.strip_prefix(path);
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Draft<'_> {
    /// Which files stay in the backup when the target is another host.
    pub(crate) fn identity(&self) -> Vec<String> {
        let backup = &self.case.backup();
        let name = |facts: &Facts| facts.hostname.clone();
        let same =
            name(self.case.target()).is_some() && name(self.case.target()) == name(&backup.facts);
        if same {
            return vec![];
        }
        let held = |path: &&&str| backup.holds(path) || backup.holds(&format!("{path}/"));
        let paths = IDENTITY.iter().filter(held);
        paths.map(|path| (*path).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::is_identity;

    #[test]
    fn a_host_is_its_name_its_addresses_and_its_disks() {
        for own in ["config/etc/hosts", "config/etc/network/interfaces"] {
            assert!(is_identity(own), "{own}");
        }
        for other in [
            "config/etc/hosts.allow",
            "config/etc/lava-server/env.yaml",
            "config/etc",
        ] {
            assert!(!is_identity(other), "{other}");
        }
    }
}
