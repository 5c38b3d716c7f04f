//! Which files make up a host, and which of them are secret.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lava_backup_core::{Class, MemberPath, Root};
use lava_restore_plan::release::Release;

use crate::exit::Failure;

/// The sections of a backup that hold files of the host, in archive order.
pub(crate) const PACKAGES: &str = "packages";
pub(crate) const CONFIG: &str = "config";
pub(crate) const DATA: &str = "data";
pub(crate) const LOGS: &str = "logs";

/// What dpkg and apt know of the host; kept to be read, never restored.
const PACKAGE_STATE: &[&str] = &[
    "/var/cache/debconf/config.dat",
    "/var/cache/debconf/passwords.dat",
    "/var/lib/apt/extended_states",
    "/var/lib/dpkg/arch",
    "/var/lib/dpkg/diversions",
    "/var/lib/dpkg/status",
    "/var/lib/dpkg/statoverride",
];

/// Configuration that no release's row names: what makes the host this host.
const HOST_CONFIG: &[&str] = &["/etc/hostname", "/etc/ser2net.conf", "/etc/ser2net.yaml"];

const SECRET: &[&str] = &[
    "/etc/apt/auth.conf",
    "/etc/apt/auth.conf.d",
    "/etc/lava-dispatcher/certificates.d",
    "/etc/lava-dispatcher/lava-worker",
    "/etc/lava-server/instance.conf",
    "/etc/lava-server/secret_key.conf",
    "/etc/lava-server/settings.conf",
    "/etc/lava-server/settings.d",
    "/etc/lava-server/settings.yaml",
    "/var/cache/debconf/passwords.dat",
    "/var/cache/debconf/passwords.dat-old",
    "/var/lib/lava/dispatcher/worker/token",
];

/// The trees of each section that are there.
#[derive(Debug, Default)]
pub(crate) struct Trees {
    pub(crate) packages: Vec<MemberPath>,
    pub(crate) config: Vec<MemberPath>,
    pub(crate) data: Vec<MemberPath>,
    pub(crate) logs: Vec<MemberPath>,
}

impl Trees {
    /// Finds the trees of a host: those of its release's row, where its
    /// settings put its data, and what the admin adds.
    ///
    /// # Errors
    /// If a path that the admin named, or that the settings name, is not there.
    pub(crate) fn of(
        root: &Root,
        release: Option<&Release>,
        is_master: bool,
        is_worker: bool,
        media_root: Option<&Path>,
        include: &[PathBuf],
    ) -> Result<Self, Failure> {
        let mut trees = Self::default();
        for path in PACKAGE_STATE {
            trees.packages.extend(there(root, Path::new(path)));
        }
        let mut paths: Vec<&str> = HOST_CONFIG.to_vec();
        if let Some(release) = release {
            if is_master {
                paths.extend(release.master_paths);
            }
            if is_worker {
                paths.extend(release.worker_paths);
            }
        }
        for path in paths {
            if let Some(member) = there(root, Path::new(path)) {
                trees.section_of(path).push(member);
            }
        }
        for path in media_root
            .into_iter()
            .chain(include.iter().map(PathBuf::as_path))
        {
            if let Some(member) = root.resolve(path)? {
                let shown = format!("/{}", member.as_path().display());
                trees.section_of(&shown).push(member);
            }
        }
        Ok(trees)
    }

    fn section_of(&mut self, path: &str) -> &mut Vec<MemberPath> {
        match section(path) {
            CONFIG => &mut self.config,
            LOGS => &mut self.logs,
            _ => &mut self.data,
        }
    }
}

/// The section that a path of the host belongs to.
pub(crate) fn section(path: &str) -> &'static str {
    if path.starts_with("/etc/") {
        CONFIG
    } else if path.starts_with("/var/log/") {
        LOGS
    } else {
        DATA
    }
}

/// The files that make a host this host, each by its own name, and the
/// directories of such files.
pub(crate) fn named() -> impl Iterator<Item = &'static str> {
    HOST_CONFIG.iter().chain(SECRET).copied()
}

/// The path without links, if anything is there.
fn there(root: &Root, path: &Path) -> Option<MemberPath> {
    root.resolve(path).ok().flatten()
}

/// The files of a host that hold a password, key or token: some by their names, others by what was
/// found in them.
pub(crate) struct Secrets(BTreeSet<Vec<u8>>);

impl Secrets {
    /// Those by their names, and these, which are absolute.
    pub(crate) fn of(found: &[PathBuf]) -> Self {
        let found = found.iter().map(|path| path.as_os_str().as_bytes());
        let named = SECRET.iter().map(|path| path.as_bytes());
        Self(named.chain(found).map(|path| path[1..].to_vec()).collect())
    }

    /// The class of a file of the host.
    pub(crate) fn class(&self, path: &MemberPath) -> Class {
        // By bytes, since this is asked of every file of a lab: it or a directory that it is in.
        let path = path.as_bytes();
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut ends = ends.map(|(at, _)| at).chain([path.len()]);
        match ends.any(|end| self.0.contains(&path[..end])) {
            true => Class::Secret,
            false => Class::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_holds_passwords_is_secret() {
        let secrets = Secrets::of(&["/etc/apt/apt.conf.d/90proxy".into()]);
        let class_of = |p: &str| secrets.class(&p.parse().unwrap());
        assert_eq!(
            class_of("etc/lava-server/settings.d/00-database.yaml"),
            Class::Secret
        );
        assert_eq!(
            class_of("var/lib/lava/dispatcher/worker/token"),
            Class::Secret
        );
        assert_eq!(class_of("etc/lava-server/env.yaml"), Class::Plain);
        assert_eq!(class_of("etc/apt/auth.conf"), Class::Secret);
        assert_eq!(class_of("etc/apt/auth.conf.old"), Class::Plain);
        assert_eq!(class_of("etc/apt"), Class::Plain);
        assert_eq!(class_of("etc/apt/apt.conf.d/90proxy"), Class::Secret);
        assert_eq!(class_of("etc/apt/apt.conf.d/90proxy2"), Class::Plain);
        assert_eq!(class_of("var/cache/debconf/passwords.dat"), Class::Secret);
    }
}
