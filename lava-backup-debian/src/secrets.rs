//! Files about packages that hold a password.

use std::path::{Path, PathBuf};

use crate::{Result, Root, apt::without_credentials};

const APT: &str = "/etc/apt";
/// No setting of apt's is larger.
const MOST: u64 = 1 << 20;

/// Files that apt has for passwords alone, and whatever an editor left beside them.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) when a directory can't be read.
pub(crate) fn of_apt(root: &Root) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for name in root.names(APT)? {
        let file = Path::new(APT).join(&name);
        if !name.to_string_lossy().starts_with("auth.conf") {
            continue;
        }
        match root.find(&file)?.is_some_and(|found| found.is_dir()) {
            true => files.extend(root.names(&file)?.into_iter().map(|name| file.join(name))),
            false => files.push(file),
        }
    }
    Ok(files)
}

/// Files below apt's directory with a URI that holds credentials, whether apt reads them or not: a
/// comment or a copy such as `sources.list.save` has them too. What can't be read as a file of
/// settings is among them if it is too large to tell.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) when a directory or a file can't be read.
pub(crate) fn with_credentials(root: &Root) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![PathBuf::from(APT)];
    while let Some(dir) = dirs.pop() {
        // A file may be where a directory is looked for.
        if !root.find(&dir)?.is_some_and(|found| found.is_dir()) {
            continue;
        }
        for name in root.names(&dir)? {
            let file = dir.join(&name);
            // Of links, what they lead to is met where it lies, or is no file of apt's.
            if root.link(&file)?.is_none() && root.find(&file)?.is_some_and(|found| found.is_dir())
            {
                dirs.push(file);
            } else if !is_keyring(&file) && holds_credentials(root, &file)? {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// Keyrings are public, and look like anything.
fn is_keyring(file: &Path) -> bool {
    let extension = file.extension().and_then(|e| e.to_str());
    matches!(extension, Some("gpg" | "asc" | "pgp" | "kbx"))
}

fn holds_credentials(root: &Root, file: &Path) -> Result<bool> {
    match root.read(file, MOST) {
        Ok(bytes) => {
            let bytes = bytes.unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let mut words = text.split_whitespace().filter(|word| word.contains('@'));
            Ok(words.any(|word| without_credentials(word).1))
        }
        Err(error) => match error.kind() {
            crate::ErrorKind::Path => Ok(false),
            crate::ErrorKind::TooLarge => Ok(true),
            _ => Err(error),
        },
    }
}
