//! The package state as text and as a digest, to tell whether it changed while it was captured.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    io::Read,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    AutoInstalled, Error, PackageState, Result, Root, auto_installed, conffiles, debconf, keyrings,
    read_sources, read_status, secrets, timers,
};

/// One digest over all that dpkg and apt know, of one instant.
///
/// It covers files that hold passwords, so it is for comparing in memory: it can neither be printed
/// nor stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<&'static str, [u8; 32]>);

impl Fingerprint {
    /// The part that a look of apt at its mirrors moves, which moves no package.
    pub const LISTS: &'static str = "the lists of apt";

    /// Takes it. Of apt's lists it has names, sizes and times; of all else the content.
    ///
    /// # Errors
    /// As [`read_status`] and [`auto_installed`]; [`ErrorKind::Io`](crate::ErrorKind::Io) and
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) for what can't be read.
    pub fn of(root: &Root) -> Result<Self> {
        let packages = read_status(root)?;
        let auto = auto_installed(root, &packages)?;
        let mut parts = BTreeMap::new();
        let mut put = |name, digest: Sha256| {
            parts.insert(name, <[u8; 32]>::from(digest.finalize()));
        };
        let mut states = Sha256::new();
        states.update(state_listing(&packages, &auto));
        for file in [
            "/var/lib/dpkg/status",
            "/var/lib/dpkg/arch",
            "/var/lib/apt/extended_states",
        ] {
            add(root, Path::new(file), &mut states)?;
        }
        add_all(root, "/var/lib/dpkg/updates", &mut states)?;
        put("the state of packages", states);

        let mut of_dpkg = Sha256::new();
        for file in ["/var/lib/dpkg/diversions", "/var/lib/dpkg/statoverride"] {
            add(root, Path::new(file), &mut of_dpkg)?;
        }
        put("diversions and overrides", of_dpkg);

        let mut alternatives = Sha256::new();
        add_all(root, "/var/lib/dpkg/alternatives", &mut alternatives)?;
        for name in root.names("/etc/alternatives")? {
            let link = root.link(Path::new("/etc/alternatives").join(&name))?;
            frame(&mut alternatives, name.as_bytes());
            frame(
                &mut alternatives,
                link.unwrap_or_default().as_os_str().as_bytes(),
            );
        }
        put("alternatives", alternatives);

        let mut answers = Sha256::new();
        for file in [debconf::CONFIG, debconf::TEMPLATES, debconf::PASSWORDS] {
            add(root, Path::new(file), &mut answers)?;
        }
        put("answers to debconf", answers);

        let mut conffiles = Sha256::new();
        let paths: BTreeSet<&PathBuf> = conffiles::watched(&packages).map(|c| &c.path).collect();
        for path in paths {
            add(root, path, &mut conffiles)?;
        }
        put("configuration files", conffiles);

        let mut apt = Sha256::new();
        for files in [
            crate::apt::files(root)?,
            crate::preferences::files(root)?,
            crate::apt_conf::files(root)?,
        ] {
            for file in files {
                add(root, &file, &mut apt)?;
            }
        }
        for file in secrets::of_apt(root)? {
            add(root, &file, &mut apt)?;
        }
        put("the configuration of apt", apt);

        let mut keys = Sha256::new();
        // Sources that nobody can read name no keys; that they change is told all the same.
        let sources = read_sources(root).unwrap_or_default();
        for keyring in keyrings::read_keyrings(root, &sources)? {
            frame(&mut keys, keyring.file.as_os_str().as_bytes());
            let digest = keyring.sha256.map(|digest| digest.to_string());
            frame(&mut keys, digest.unwrap_or_default().as_bytes());
        }
        put("the keys of apt", keys);

        let mut lists = Sha256::new();
        for name in root.names("/var/lib/apt/lists")? {
            let inside = Path::new("/var/lib/apt/lists").join(&name);
            let Some(file) = root.find(&inside)? else {
                continue;
            };
            let meta = file
                .symlink_metadata()
                .map_err(|e| Error::io(format!("look at {}", root.describe(&inside)), e))?;
            // `partial` and `lock` change with every look of apt at its lists.
            if meta.is_file() && name != "lock" {
                frame(&mut lists, name.as_bytes());
                for number in [
                    meta.size() as i64,
                    meta.mtime(),
                    meta.mtime_nsec(),
                    meta.ino() as i64,
                ] {
                    lists.update(number.to_le_bytes());
                }
            }
        }
        put(Self::LISTS, lists);

        let mut base = Sha256::new();
        for file in [
            "/etc/os-release",
            "/usr/lib/os-release",
            "/etc/debian_version",
        ] {
            add(root, Path::new(file), &mut base)?;
        }
        put("the release of Debian", base);

        let mut by_itself = Sha256::new();
        for timer in timers::read_timers(root)? {
            frame(&mut by_itself, format!("{timer:?}").as_bytes());
        }
        put("timers", by_itself);
        Ok(Self(parts))
    }

    /// What is not as it was, in words that fit after "… changed", sorted.
    pub fn moved(&self, later: &Self) -> Vec<&'static str> {
        let changed = |(name, digest): (&&'static str, &[u8; 32])| {
            (later.0.get(name) != Some(digest)).then_some(*name)
        };
        self.0.iter().filter_map(changed).collect()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// Adds bytes with their length, so that no two ways to cut them up are one.
fn frame(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

fn add_all(root: &Root, dir: &str, digest: &mut Sha256) -> Result<()> {
    for name in root.names(dir)? {
        add(root, &Path::new(dir).join(name), digest)?;
    }
    Ok(())
}

const MOST: u64 = 256 << 20;

/// Adds a file's path and content, or that there is none. What is no regular file has no content.
fn add(root: &Root, inside: &Path, digest: &mut Sha256) -> Result<()> {
    frame(digest, inside.as_os_str().as_bytes());
    let file = match root.open_file(inside, MOST) {
        Ok(file) => file,
        Err(error) if error.kind() == crate::ErrorKind::Path => None,
        Err(error) => return Err(error),
    };
    let Some(mut file) = file else {
        digest.update([0]);
        return Ok(());
    };
    digest.update([1]);
    let mut of_file = Sha256::new();
    let mut buffer = [0; 32 << 10];
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(|e| Error::io(format!("read {}", root.describe(inside)), e))?;
        if read == 0 {
            break;
        }
        of_file.update(&buffer[..read]);
    }
    digest.update(of_file.finalize());
    Ok(())
}

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
