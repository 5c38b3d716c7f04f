//! Which files of a directory of parts apt reads.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{Result, Root};

/// A main file, if it is there, and the parts beside it in apt's order, those whose extension is
/// one that apt reads there. What is no file is left alone, and so is what has any other sign in
/// its name than those of `old.save`.
pub(crate) fn files(
    root: &Root,
    main: &str,
    dir: &str,
    is_read: impl Fn(Option<&str>) -> bool,
) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if root.find(main)?.is_some() {
        files.push(PathBuf::from(main));
    }
    for name in root.names(dir)? {
        let file = Path::new(dir).join(&name);
        let extension = file.extension().and_then(|e| e.to_str());
        let is_part = is_plain(name.as_bytes()) && is_read(extension);
        if is_part && root.find(&file)?.is_some_and(|found| found.is_file()) {
            files.push(file);
        }
    }
    Ok(files)
}

/// Parts with this extension, or without one: those of preferences and settings.
pub(crate) fn plain_or(extension: &str) -> impl Fn(Option<&str>) -> bool {
    move |found| found.is_none_or(|found| found == extension)
}

/// Whether apt reads files of this name at all.
fn is_plain(name: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"_.-".contains(b);
    !name.starts_with(b".") && name.iter().all(allowed)
}
