//! The contents that are brought back, read ahead.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::ahead::Ahead;
use crate::backup::Backup;
use crate::entry::Entry;
use crate::error::{At, Error, Result};
use crate::frame::FrameName;
use crate::store::Store;

/// The contents that are needed, in archive order; the frames in which they
/// begin are read ahead.
pub(super) struct Contents {
    store: Store,
    frames: Vec<FrameName>,
    begins: std::vec::IntoIter<u64>,
    ahead: Ahead,
    /// The frame at hand.
    number: Option<u64>,
    bytes: Vec<u8>,
}

impl Contents {
    /// `begins`: the numbers of the frames in which contents begin, ascending.
    pub(super) fn new(backup: &Backup, mut begins: Vec<u64>) -> Result<Self> {
        let frames = backup.frames()?;
        begins.dedup();
        let names = begins
            .iter()
            .filter_map(|n| frames.get(usize::try_from(*n).ok()?).copied())
            .collect();
        Ok(Self {
            store: backup.store().clone(),
            ahead: Ahead::new(backup.store(), names),
            frames,
            begins: begins.into_iter(),
            number: None,
            bytes: Vec::new(),
        })
    }

    pub(super) fn copy(&mut self, entry: &Entry, file: &mut File, place: &Path) -> Result<()> {
        let mut hasher = blake3::Hasher::new();
        let mut put = |bytes: &[u8], left: &mut u64| {
            let upto = usize::try_from(*left).unwrap_or(usize::MAX);
            let bytes = &bytes[..bytes.len().min(upto)];
            hasher.update(bytes);
            *left -= bytes.len() as u64;
            file.write_all(bytes).at("write", place)
        };
        let beyond = || {
            Error::damaged(
                entry.path.to_string(),
                "its content lies beyond the last frame",
            )
        };
        let mut left = entry.size;
        if left > 0 {
            while self.number != Some(entry.frame) {
                self.number = self.begins.next();
                self.bytes = self.ahead.next().ok_or_else(beyond)??;
            }
            let begin = usize::try_from(entry.offset).unwrap_or(usize::MAX);
            put(self.bytes.get(begin..).unwrap_or_default(), &mut left)?;
            let mut number = usize::try_from(entry.frame).unwrap_or(usize::MAX);
            while left > 0 {
                number += 1;
                let name = self.frames.get(number).ok_or_else(beyond)?;
                put(&self.store.read_frame(*name)?, &mut left)?;
            }
        }
        if Some(hasher.finalize().to_hex().as_str()) != entry.blake3.as_deref() {
            return Err(Error::damaged(
                entry.path.to_string(),
                "its content is not what the index says",
            ));
        }
        Ok(())
    }
}
