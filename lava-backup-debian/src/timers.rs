//! What changes packages by itself.

use std::path::Path;

use serde::Serialize;

use crate::{AptSetting, Result, Root, apt_conf};

/// A unit or a job of cron that installs, upgrades or removes packages with nobody asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PackageTimer {
    /// The unit's name, or the path of cron's job.
    pub name: String,
    /// Whether it is started by itself: a unit that is wanted by another and not masked, or a job
    /// that cron runs.
    pub enabled: bool,
    /// Whether it is a unit that can't be started at all.
    pub masked: bool,
}

const UNITS: [&str; 5] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "packagekit-offline-update.service",
    "pk-offline-update.service",
    "unattended-upgrades.service",
];

/// On a host with systemd they leave the work to its timers, but for `cron-apt`.
const JOBS: [&str; 3] = [
    "/etc/cron.daily/apt",
    "/etc/cron.daily/apt-compat",
    "/etc/cron.d/cron-apt",
];

const UNIT_DIRS: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Finds those that the root has, units first, each in the order of names.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) when a directory can't be read.
pub fn read_timers(root: &Root) -> Result<Vec<PackageTimer>> {
    let mut found = Vec::new();
    for name in UNITS {
        let mut is_there = false;
        for dir in UNIT_DIRS {
            is_there |= root.find(Path::new(dir).join(name))?.is_some()
                || root.link(Path::new(dir).join(name))?.is_some();
        }
        if !is_there {
            continue;
        }
        let own = root.link(Path::new(UNIT_DIRS[0]).join(name))?;
        let masked = own.is_some_and(|target| target == Path::new("/dev/null"));
        found.push(PackageTimer {
            name: name.to_owned(),
            enabled: !masked && is_wanted(root, name)?,
            masked,
        });
    }
    for job in JOBS {
        if root.find(job)?.is_some() {
            found.push(PackageTimer {
                name: job.to_owned(),
                enabled: true,
                masked: false,
            });
        }
    }
    Ok(found)
}

/// Whether another unit starts it.
fn is_wanted(root: &Root, unit: &str) -> Result<bool> {
    for dir in UNIT_DIRS {
        for name in root.names(dir)? {
            let Some(wants) = name
                .to_str()
                .filter(|n| n.ends_with(".wants") || n.ends_with(".requires"))
            else {
                continue;
            };
            if root.link(Path::new(dir).join(wants).join(unit))?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether apt's settings let its timers upgrade packages: they are started daily on every host,
/// and do nothing before a setting tells them to.
pub fn upgrades_unattended(settings: &[AptSetting]) -> bool {
    let often = |name: &str| {
        apt_conf::value(settings, name).is_some_and(|value| {
            !matches!(value.trim().trim_start_matches('0'), "" | "no" | "false")
        })
    };
    let enabled = apt_conf::value(settings, "APT::Periodic::Enable").is_none()
        || often("APT::Periodic::Enable");
    enabled && often("APT::Periodic::Unattended-Upgrade")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_timer_is_enabled_wanted_and_not_masked() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for inside in [
            "etc/systemd/system/timers.target.wants",
            "lib/systemd/system",
            "var/lib/dpkg",
            "etc/cron.daily",
        ] {
            fs::create_dir_all(at(inside)).unwrap();
        }
        fs::write(at("var/lib/dpkg/status"), "").unwrap();
        fs::write(at("etc/os-release"), "ID=debian\n").unwrap();
        for unit in [
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
            "unattended-upgrades.service",
        ] {
            fs::write(at("lib/systemd/system").join(unit), "").unwrap();
        }
        for unit in ["apt-daily.timer", "apt-daily-upgrade.timer"] {
            symlink(
                Path::new("/lib/systemd/system").join(unit),
                at("etc/systemd/system/timers.target.wants").join(unit),
            )
            .unwrap();
        }
        symlink(
            "/dev/null",
            at("etc/systemd/system/apt-daily-upgrade.timer"),
        )
        .unwrap();
        fs::write(at("etc/cron.daily/apt-compat"), "").unwrap();
        let found = read_timers(&Root::open(dir.path()).unwrap()).unwrap();
        let said: Vec<_> = found
            .iter()
            .map(|t| (t.name.as_str(), t.enabled, t.masked))
            .collect();
        assert_eq!(
            said,
            [
                ("apt-daily.timer", true, false),
                ("apt-daily-upgrade.timer", false, true),
                ("unattended-upgrades.service", false, false),
                ("/etc/cron.daily/apt-compat", true, false),
            ]
        );
    }
}
