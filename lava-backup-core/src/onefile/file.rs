use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::gathered::{Gathered, Part};
use super::{BLOCKS, decode};
use crate::backend::{Backend, Blob, Content, Found, Guard, Lock, Spool};
use crate::error::{At, Error, ErrorKind, Result};
use crate::frame::FrameName;
use crate::layout::{self, Named};
use crate::piece::{self, Holds, Prelude};
use crate::seal::BackupId;

/// More pieces than those of any backup that can be made.
const MAX_PIECES: usize = 1 << 26;

/// A backup in one file, read as if it were the only one of a store.
pub(crate) struct OneFile {
    path: PathBuf,
    file: File,
    frames: BTreeMap<FrameName, Prelude>,
    metadata: Gathered,
    id: BackupId,
}

impl OneFile {
    /// Opens what `export` or `create --to` has written.
    pub(crate) fn open(path: &Path, file: File) -> Result<Self> {
        let pieces = piece::survey(path, &file, MAX_PIECES)?;
        let mut metadata = Gathered::new(path)?;
        let mut names = Vec::new();
        let mut frames = BTreeMap::new();
        for prelude in pieces {
            match prelude.holds {
                Holds::Metadata => {
                    let stored = prelude.stored(path, &file)?;
                    metadata.piece(names.len(), &decode(path, &prelude, &stored)?)?;
                }
                Holds::Reference => return Err(super::reference(path, &prelude)),
                Holds::Content => {
                    names.push(prelude.name);
                    frames.entry(prelude.name).or_insert(prelude);
                }
            }
        }
        let (seal, _) = metadata.seal()?;
        metadata.check_frames(&seal, &names)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            frames,
            id: seal.id,
            metadata,
        })
    }

    fn refused<T>(&self) -> Result<T> {
        let what = "is a backup in one file, which is never changed";
        Err(Error::new(ErrorKind::Refused, &self.path, what))
    }
}

impl fmt::Debug for OneFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OneFile({})", self.path.display())
    }
}

impl Backend for OneFile {
    fn place(&self, key: &str) -> PathBuf {
        match key {
            "" => self.path.clone(),
            key => self.path.join(key),
        }
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Blob>>> {
        match layout::name(key) {
            Named::Frame(name) => {
                let Some(prelude) = self.frames.get(&name) else {
                    let block = self.metadata.block(name)?;
                    return Ok(block.map(|block| Box::new(block) as Box<dyn Blob>));
                };
                Ok(Some(Box::new(Part {
                    file: self.file.try_clone().at("read", &self.path)?,
                    offset: prelude.offset,
                    length: prelude.length,
                })))
            }
            Named::OfBackup(id, file) if id == self.id => {
                let blob = self.metadata.blob(&file)?;
                Ok(blob.map(|blob| Box::new(blob) as Box<dyn Blob>))
            }
            _ => Ok(None),
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
        let own = layout::backup(&self.id);
        let files = self.metadata.members.iter();
        let files = files.map(|(file, (_, length))| {
            let key = match file.strip_prefix(BLOCKS) {
                Some(block) => format!("{}{block}", layout::FRAMES),
                None => format!("{own}{file}"),
            };
            (key, *length)
        });
        let frames = self.frames.iter();
        let frames = frames.map(|(name, prelude)| (layout::frame(*name), prelude.length));
        for (key, length) in files.chain(frames) {
            if key.starts_with(prefix) {
                let modified = SystemTime::UNIX_EPOCH;
                let foreign = layout::name(&key) == Named::Foreign;
                each(Found {
                    key,
                    length,
                    modified,
                    foreign,
                })?;
            }
        }
        Ok(())
    }

    fn put(&self, _key: &str, _content: Content) -> Result<()> {
        self.refused()
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn put_new(&self, _key: &str, _bytes: &[u8]) -> Result<()> {
        self.refused()
    }

    fn spool(&self) -> Result<Box<dyn Spool>> {
        self.refused()
    }

    fn publish(&self, _prefix: &str, _files: Vec<(&str, Content)>) -> Result<()> {
        self.refused()
    }

    fn withdraw(&self, _prefix: &str, _first: &str) -> Result<()> {
        self.refused()
    }

    fn delete(&self, _key: &str) -> Result<()> {
        self.refused()
    }

    fn sweep(&self) -> Result<()> {
        self.refused()
    }

    fn lock(&self, _lock: Lock) -> Result<Option<Box<dyn Guard>>> {
        self.refused()
    }
}
