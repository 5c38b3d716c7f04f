//! Configuration files that are not as their packages ship them.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use md5::{Digest, Md5};
use serde::Serialize;

use crate::{Conffile, Error, PackageState, Result, Root, hex::hex};

/// A configuration file that an admin changed or removed, or that its package ships no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChangedConffile {
    /// The package's name.
    pub package: String,
    /// Its architecture.
    pub architecture: String,
    /// The file as dpkg names it; serialised with what is not UTF-8 replaced.
    #[serde(serialize_with = "crate::status::lossily")]
    pub path: PathBuf,
    /// What is there.
    pub content: ConffileContent,
    /// Whether the installed version ships it no more.
    pub obsolete: bool,
    /// Whether the installed version asks for its removal.
    pub remove_on_upgrade: bool,
}

/// What is at the place of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConffileContent {
    /// What its package ships.
    Shipped,
    /// Something else, with this MD5 in lower-case hexadecimal, the digest that dpkg has.
    Modified(String),
    /// Nothing.
    Missing,
    /// Something that is no regular file, or could not be read.
    Unreadable(String),
}

/// Compares every configuration file of packages that are installed, or that left theirs behind,
/// with what dpkg noted; those that differ or are obsolete, in the order of packages and of dpkg.
///
/// A file that the installed version ships and dpkg has no digest of, because its package is only
/// unpacked, is not looked at.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) when a directory on the way can't be read.
pub fn changed_conffiles(root: &Root, packages: &[PackageState]) -> Result<Vec<ChangedConffile>> {
    let mut changed = Vec::new();
    for package in packages {
        for conffile in &package.conffiles {
            let Some(shipped) = &conffile.md5 else {
                continue;
            };
            let content = content(root, &conffile.path, shipped)?;
            if content == ConffileContent::Shipped && !conffile.obsolete {
                continue;
            }
            // What shall not be there is missing from no place.
            if content == ConffileContent::Missing && conffile.remove_on_upgrade {
                continue;
            }
            changed.push(ChangedConffile {
                package: package.name.clone(),
                architecture: package.architecture.clone(),
                path: conffile.path.clone(),
                content,
                obsolete: conffile.obsolete,
                remove_on_upgrade: conffile.remove_on_upgrade,
            });
        }
    }
    Ok(changed)
}

const MOST_CONFFILE: u64 = 64 << 20;

fn content(root: &Root, path: &Path, shipped: &str) -> Result<ConffileContent> {
    let unreadable = |error: &Error| ConffileContent::Unreadable(format!("could not {error}"));
    let mut file = match root.open_file(path, MOST_CONFFILE) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(ConffileContent::Missing),
        Err(error) => return Ok(unreadable(&error)),
    };
    let mut digest = Md5::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => digest.update(&buffer[..read]),
            Err(e) => {
                let error = Error::io(format!("read {}", root.describe(path)), e);
                return Ok(unreadable(&error));
            }
        }
    }
    let md5 = hex(&digest.finalize());
    Ok(match md5 == shipped {
        true => ConffileContent::Shipped,
        false => ConffileContent::Modified(md5),
    })
}

/// The path of every file that the comparison reads.
pub(crate) fn watched(packages: &[PackageState]) -> impl Iterator<Item = &Conffile> {
    packages.iter().flat_map(|package| &package.conffiles)
}
