//! A directory with all that is in it, in memory.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The files below a directory, by their paths, with their bytes; directories
/// have none.
#[derive(Clone, Default)]
pub(super) struct Tree(pub(super) BTreeMap<PathBuf, Option<Arc<Vec<u8>>>>);

impl Tree {
    pub(super) fn of(base: &Path) -> Self {
        let walk = walkdir::WalkDir::new(base).min_depth(1);
        let read = |found: walkdir::DirEntry| {
            let path = found.path().strip_prefix(base).unwrap().to_owned();
            let file = found.file_type().is_file();
            (
                path,
                file.then(|| Arc::new(fs::read(found.path()).unwrap())),
            )
        };
        Self(walk.into_iter().map(|found| read(found.unwrap())).collect())
    }

    /// Makes it in a directory that is empty. Its files are old: who asks for
    /// their time must not take them for new.
    pub(super) fn lay(&self, base: &Path) {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
        for (path, bytes) in &self.0 {
            let path = base.join(path);
            match bytes {
                None => DirBuilder::new().mode(0o700).create(path).unwrap(),
                Some(bytes) => {
                    let mut file = File::create(path).unwrap();
                    file.write_all(bytes).unwrap();
                    file.set_modified(then).unwrap();
                }
            }
        }
    }

    /// A digest of all but what is below a directory: equal trees have the same.
    pub(super) fn digest_without(&self, dir: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (path, bytes) in self.0.iter().filter(|(path, _)| !path.starts_with(dir)) {
            let path = path.as_os_str().as_encoded_bytes();
            hasher.update(&(path.len() as u64).to_le_bytes());
            hasher.update(path);
            let length = bytes.as_ref().map_or(u64::MAX, |b| b.len() as u64);
            hasher.update(&length.to_le_bytes());
            hasher.update(bytes.as_ref().map_or(&[], |b| b.as_slice()));
        }
        *hasher.finalize().as_bytes()
    }
}
