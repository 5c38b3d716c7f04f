//! The disk: a root that is laid out with owners, modes and times.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, fchown, symlink};
use std::path::{Path, PathBuf};

use crate::calendar::Moment;
use crate::error::{At, Error};

/// User and group, by number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner(pub(crate) u32, pub(crate) u32);

pub(crate) const ROOT: Owner = Owner(0, 0);
pub(crate) const LAVA: Owner = Owner(103, 111);
pub(crate) const LAVA_ADM: Owner = Owner(103, 4);

/// Owner, mode and time of something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) owner: Owner,
    pub(crate) mode: u32,
    pub(crate) time: Moment,
}

/// A root directory that is being filled.
///
/// Owners are given only if the process may: run as another user than root,
/// all is that user's.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    time: Moment,
    owners: bool,
    dirs: BTreeSet<PathBuf>,
}

impl Tree {
    /// Start at a root that is empty or absent. What is not given a time of
    /// its own has `time`.
    pub(crate) fn new(root: &Path, time: Moment) -> Result<Self, Error> {
        fs::create_dir_all(root).at(root)?;
        if fs::read_dir(root).at(root)?.next().is_some() {
            return Err(Error::not_empty(root));
        }
        // Only root may give its files away, and `std` can't tell who runs.
        let owners = chown(root, Some(0), Some(0)).is_ok();
        let mut tree = Self {
            root: root.into(),
            time,
            owners,
            dirs: BTreeSet::new(),
        };
        tree.dir("", ROOT, 0o755)?;
        Ok(tree)
    }

    /// Make a directory; its parents, where missing, are root's and 0755.
    pub(crate) fn dir(&mut self, path: &str, owner: Owner, mode: u32) -> Result<(), Error> {
        self.parents(Path::new(path))?;
        self.leaf_dir(
            path,
            Meta {
                owner,
                mode,
                time: self.time,
            },
        )?;
        self.dirs.insert(path.into());
        Ok(())
    }

    fn parents(&mut self, path: &Path) -> Result<(), Error> {
        let missing: Vec<PathBuf> = path
            .ancestors()
            .skip(1)
            .filter(|above| !self.dirs.contains(*above))
            .map(Into::into)
            .collect();
        for above in missing.into_iter().rev() {
            self.leaf_dir(
                &above,
                Meta {
                    owner: ROOT,
                    mode: 0o755,
                    time: self.time,
                },
            )?;
            self.dirs.insert(above);
        }
        Ok(())
    }

    /// Write a file and the directories above it.
    pub(crate) fn file(
        &mut self,
        path: &str,
        owner: Owner,
        mode: u32,
        text: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        self.parents(Path::new(path))?;
        self.leaf_file(
            path,
            Meta {
                owner,
                mode,
                time: self.time,
            },
            text.as_ref(),
        )
    }

    /// Make a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<(), Error> {
        self.parents(Path::new(path))?;
        let full = self.root.join(path);
        symlink(target, &full).at(&full)
    }

    /// Make a directory whose parent is there. Its time does not last beyond
    /// the next entry in it: see [`Tree::stamp`].
    pub(crate) fn leaf_dir(&self, path: impl AsRef<Path>, meta: Meta) -> Result<(), Error> {
        let full = self.root.join(path);
        if !full.is_dir() {
            fs::create_dir(&full).at(&full)?;
        }
        if self.owners {
            chown(&full, Some(meta.owner.0), Some(meta.owner.1)).at(&full)?;
        }
        fs::set_permissions(&full, Permissions::from_mode(meta.mode)).at(&full)
    }

    /// Write a file whose parent is there.
    pub(crate) fn leaf_file(
        &self,
        path: impl AsRef<Path>,
        meta: Meta,
        text: &[u8],
    ) -> Result<(), Error> {
        let full = self.root.join(path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&full)
            .at(&full)?;
        file.write_all(text).at(&full)?;
        if self.owners {
            fchown(&file, Some(meta.owner.0), Some(meta.owner.1)).at(&full)?;
        }
        file.set_permissions(Permissions::from_mode(meta.mode))
            .at(&full)?;
        set_time(&file, meta.time).at(&full)
    }

    /// Give a directory that is complete its time.
    pub(crate) fn stamp(&self, path: impl AsRef<Path>, time: Moment) -> Result<(), Error> {
        let full = self.root.join(path);
        File::open(&full)
            .and_then(|dir| set_time(&dir, time))
            .at(&full)
    }

    /// Where something lies on this machine.
    pub(crate) fn full(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// Give all directories made by [`Tree::dir`] and as parents their time.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.dirs
            .iter()
            .try_for_each(|dir| self.stamp(dir, self.time))
    }
}

fn set_time(file: &File, time: Moment) -> std::io::Result<()> {
    let time = time.system_time();
    file.set_times(FileTimes::new().set_accessed(time).set_modified(time))
}
