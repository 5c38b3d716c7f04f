//! What a backup must find unchanged at its end.

use std::path::Path;

use lava_backup_debian as debian;

use crate::exit::{CouldNot, Failure};
use crate::host::Host;

/// What must not change while a backup is made: packages and settings.
pub(super) struct State {
    packages: debian::Fingerprint,
    config: Vec<String>,
}

impl State {
    /// As it is now.
    pub(super) fn of(host: &Host) -> Result<Self, Failure> {
        Ok(Self {
            packages: debian::Fingerprint::of(&host.debian)
                .could_not("read the state of packages")?,
            config: config_state(&host.root.path().join("etc/lava-server"))
                .could_not("read LAVA's configuration")?,
        })
    }
}

impl State {
    /// What is not as it was, in words that fit before "changed".
    pub(super) fn moved(&self, later: &Self) -> Vec<&'static str> {
        let mut moved = self.packages.moved(&later.packages);
        // apt looks at its mirrors twice a day, and where the packages at hand came from was told
        // before.
        moved.retain(|part| *part != debian::Fingerprint::LISTS);
        if self.config != later.config {
            moved.push("LAVA's configuration");
        }
        moved
    }
}

/// A line for each file below a directory, which no change leaves the same.
fn config_state(dir: &Path) -> std::io::Result<Vec<String>> {
    use std::os::unix::fs::MetadataExt;
    let mut state = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        if meta.is_dir() {
            for found in std::fs::read_dir(&path)? {
                waiting.push(found?.path());
            }
        }
        let (size, inode) = (meta.size(), meta.ino());
        let changed = (
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        );
        state.push(format!("{path:?} {size} {inode} {changed:?}"));
    }
    state.sort();
    Ok(state)
}
