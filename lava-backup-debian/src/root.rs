//! A Debian root directory, live or offline.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use crate::{Error, ErrorKind, Result};

/// A Debian root: `/` of the running host, or a directory with the disk of another one.
///
/// Every path given to it is a path inside the root. Symbolic links are followed as that root
/// itself would follow them, so an absolute link or a run of `..` ends inside the root; no program
/// of the root is run. It is not meant for a root whose owner changes it while it is read in order
/// to mislead: a link swapped in between two steps of a walk would be followed by the kernel.
#[derive(Clone, Debug)]
pub struct Root {
    path: PathBuf,
}

/// As many as the kernel follows before it gives up.
const MOST_LINKS: usize = 40;

impl Root {
    /// Opens a directory that has dpkg's status file and an `os-release`.
    ///
    /// # Errors
    /// [`ErrorKind::NotDebian`] when one of them is missing, [`ErrorKind::Io`] when the directory
    /// can't be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let what = || format!("open {} as a Debian root", path.display());
        let root = Self {
            path: fs::canonicalize(path).map_err(|e| Error::io(what(), e))?,
        };
        let not_debian = |missing: &str| {
            Error::new(
                ErrorKind::NotDebian,
                what(),
                format!("it is no Debian root: there is no {missing}"),
            )
        };
        if root.find("var/lib/dpkg/status")?.is_none() {
            return Err(not_debian("var/lib/dpkg/status"));
        }
        if root.find("etc/os-release")?.is_none() && root.find("usr/lib/os-release")?.is_none() {
            return Err(not_debian("etc/os-release or usr/lib/os-release"));
        }
        Ok(root)
    }

    /// Where the root is on this machine, absolute and without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is the root of the running host.
    pub fn is_live(&self) -> bool {
        self.path == Path::new("/")
    }

    /// Where a path inside the root is on this machine, all links followed; `None` when nothing is
    /// there.
    ///
    /// # Errors
    /// [`ErrorKind::Path`] when the links never end, [`ErrorKind::Io`] when a directory on the way
    /// can't be read.
    pub fn find(&self, inside: impl AsRef<Path>) -> Result<Option<PathBuf>> {
        let inside = inside.as_ref();
        let what = || format!("find {}", self.describe(inside));
        let mut found = self.path.clone();
        let mut depth = 0_usize;
        let mut links = 0;
        // What is still to walk, the next component last.
        let mut ahead: Vec<OsString> = reversed_components(inside);
        while let Some(name) = ahead.pop() {
            if name == ".." {
                if depth > 0 {
                    found.pop();
                    depth -= 1;
                }
                continue;
            }
            let next = found.join(&name);
            let kind = match fs::symlink_metadata(&next) {
                Ok(metadata) => metadata.file_type(),
                Err(error) if is_absence(&error) => return Ok(None),
                Err(error) => return Err(Error::io(what(), error)),
            };
            if !kind.is_symlink() {
                found = next;
                depth += 1;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Error::new(
                    ErrorKind::Path,
                    what(),
                    "its symbolic links never end",
                ));
            }
            let target = fs::read_link(&next).map_err(|e| Error::io(what(), e))?;
            if target.has_root() {
                found.clone_from(&self.path);
                depth = 0;
            }
            ahead.extend(reversed_components(&target));
        }
        Ok(Some(found))
    }

    /// Opens a regular file inside the root; `None` when nothing is there.
    ///
    /// # Errors
    /// As [`find`](Self::find); [`ErrorKind::Path`] when it is no regular file (opening a pipe
    /// would wait for ever), [`ErrorKind::TooLarge`] when it is larger than `limit` bytes.
    pub(crate) fn open_file(
        &self,
        inside: impl AsRef<Path>,
        limit: u64,
    ) -> Result<Option<io::Take<File>>> {
        let inside = inside.as_ref();
        let what = || format!("read {}", self.describe(inside));
        let Some(path) = self.find(inside)? else {
            return Ok(None);
        };
        let metadata = fs::symlink_metadata(&path).map_err(|e| Error::io(what(), e))?;
        if !metadata.is_file() {
            return Err(Error::new(ErrorKind::Path, what(), "it is no regular file"));
        }
        if metadata.len() > limit {
            return Err(Error::new(
                ErrorKind::TooLarge,
                what(),
                format!("it has {} bytes, more than {limit}", metadata.len()),
            ));
        }
        let file = File::open(&path).map_err(|e| Error::io(what(), e))?;
        // A file may grow while it is read.
        Ok(Some(file.take(limit)))
    }

    /// Reads a regular file inside the root; `None` when nothing is there. Errors as
    /// [`open_file`](Self::open_file).
    pub(crate) fn read(&self, inside: impl AsRef<Path>, limit: u64) -> Result<Option<Vec<u8>>> {
        let inside = inside.as_ref();
        let Some(mut file) = self.open_file(inside, limit)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|e| Error::io(format!("read {}", self.describe(inside)), e))?;
        Ok(Some(bytes))
    }

    /// What a symbolic link inside the root holds, itself not followed; `None` when there is no
    /// link.
    pub(crate) fn link(&self, inside: impl AsRef<Path>) -> Result<Option<PathBuf>> {
        let inside = inside.as_ref();
        let what = || format!("read the link {}", self.describe(inside));
        let (Some(parent), Some(name)) = (inside.parent(), inside.file_name()) else {
            return Ok(None);
        };
        let Some(parent) = self.find(parent)? else {
            return Ok(None);
        };
        match fs::read_link(parent.join(name)) {
            Ok(target) => Ok(Some(target)),
            Err(e) if is_absence(&e) || e.kind() == io::ErrorKind::InvalidInput => Ok(None),
            Err(e) => Err(Error::io(what(), e)),
        }
    }

    /// The names in a directory inside the root, sorted; empty when it is not there.
    pub(crate) fn names(&self, inside: impl AsRef<Path>) -> Result<Vec<OsString>> {
        let inside = inside.as_ref();
        let what = || format!("list {}", self.describe(inside));
        let Some(path) = self.find(inside)? else {
            return Ok(Vec::new());
        };
        let entries = fs::read_dir(&path).map_err(|e| Error::io(what(), e))?;
        let mut names = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<OsString>>>()
            .map_err(|e| Error::io(what(), e))?;
        names.sort();
        Ok(names)
    }

    /// A path inside the root, as it is shown to a person on this machine.
    pub(crate) fn describe(&self, inside: &Path) -> String {
        self.path
            .join(inside.strip_prefix("/").unwrap_or(inside))
            .display()
            .to_string()
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn reversed_components(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            Component::ParentDir => Some(OsStr::new("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .map(OsStr::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{os::unix::fs::symlink, process::Command};

    use tempfile::TempDir;

    use super::*;

    fn debian() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/lib/dpkg")).unwrap();
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        fs::write(dir.path().join("var/lib/dpkg/status"), "").unwrap();
        fs::write(dir.path().join("usr/lib/os-release"), "ID=debian\n").unwrap();
        dir
    }

    fn read(root: &Root, inside: &str) -> Result<Option<Vec<u8>>> {
        root.read(inside, 100)
    }

    #[test]
    fn a_directory_without_dpkgs_status_or_an_os_release_is_no_debian_root() {
        for missing in ["var/lib/dpkg/status", "usr/lib/os-release"] {
            let dir = debian();
            Root::open(dir.path()).unwrap();
            fs::remove_file(dir.path().join(missing)).unwrap();
            let error = Root::open(dir.path()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotDebian);
            assert!(error.to_string().contains("is no Debian root"), "{error}");
            assert!(error.to_string().contains(missing), "{error}");
        }
        assert_eq!(
            Root::open("/nonexistent").unwrap_err().kind(),
            ErrorKind::Io
        );
    }

    #[test]
    fn links_are_followed_inside_the_root_only() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "outside").unwrap();
        let dir = debian();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("etc/passwd"), "inside").unwrap();
        symlink("/etc/passwd", at("absolute")).unwrap();
        symlink("../../../../../../../etc/passwd", at("usr/climbing")).unwrap();
        symlink("/", at("usr/lib/root")).unwrap();
        symlink(outside.path(), at("leaving")).unwrap();
        symlink("../etc", at("usr/relative")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        for inside in [
            "absolute",
            "/absolute",
            "usr/climbing",
            "usr/lib/root/etc/passwd",
            "../etc/passwd",
            "usr/lib/root/usr/lib/root/absolute",
            "usr/relative/passwd",
            "usr/relative/../etc/passwd",
        ] {
            assert_eq!(
                read(&root, inside).unwrap().as_deref(),
                Some(&b"inside"[..]),
                "{inside}"
            );
        }
        assert_eq!(read(&root, "leaving/secret").unwrap(), None);
    }

    #[test]
    fn links_that_never_end_are_an_error() {
        let dir = debian();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(read(&root, "a").unwrap_err().kind(), ErrorKind::Path);
    }

    #[test]
    fn a_pipe_a_directory_and_a_large_file_are_not_read() {
        let dir = debian();
        let pipe = dir.path().join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        fs::write(dir.path().join("large"), [0; 101]).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(read(&root, "pipe").unwrap_err().kind(), ErrorKind::Path);
        assert_eq!(read(&root, "etc").unwrap_err().kind(), ErrorKind::Path);
        assert_eq!(
            read(&root, "large").unwrap_err().kind(),
            ErrorKind::TooLarge
        );
        assert_eq!(read(&root, "etc/none/at/all").unwrap(), None);
        assert_eq!(read(&root, "large/not-a-directory").unwrap(), None);
    }
}
