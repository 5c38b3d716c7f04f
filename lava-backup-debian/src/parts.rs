//! Which files of a directory of parts apt reads.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{Result, Root};

/// A main file, if it is there, and the parts beside it in apt's order: those without an end of
/// their name, or with this one. Others are left alone, as `old.save` is.
pub(crate) fn files(root: &Root, main: &str, dir: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if root.find(main)?.is_some() {
        files.push(PathBuf::from(main));
    }
    for name in root.names(dir)? {
        let file = Path::new(dir).join(&name);
        let known = file.extension().is_none_or(|e| e == extension);
        if known && is_read(name.as_bytes()) {
            files.push(file);
        }
    }
    Ok(files)
}

/// Whether apt reads files of this name at all.
pub(crate) fn is_read(name: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"_.-".contains(b);
    !name.starts_with(b".") && name.iter().all(allowed)
}
