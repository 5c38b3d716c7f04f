use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::backend::directory::Directory;
use crate::backend::{self, Backend, Found};
use crate::backup::Backup;
use crate::document;
use crate::error::{At, Error, ErrorKind, Result};
use crate::frame::{self, FrameName};
use crate::layout::{self, Named};
use crate::onefile::{self, OneFile};
use crate::seal::BackupId;
use crate::writer::BackupWriter;

#[cfg(test)]
mod tests;

const STORE_FORMAT: &str = "lava-backup-store/1";

/// Where backups live.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<dyn Backend>,
    path: PathBuf,
    config: StoreConfig,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoreConfig {
    format: String,
    requires: Vec<String>,
    id: String,
}

impl Store {
    /// Makes a store in a directory that is absent or empty.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if there is a store already,
    /// [`ErrorKind::Refused`] if something else is there.
    pub fn init(path: &Path) -> Result<Self> {
        let directory = Directory::new(path);
        directory.lay_out()?;
        Self::init_on(Arc::new(directory))?;
        Self::open(path)
    }

    /// Makes a store on a backend that holds none.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if there is a store already.
    pub fn init_on(backend: Arc<dyn Backend>) -> Result<Self> {
        let config = StoreConfig {
            format: STORE_FORMAT.into(),
            requires: Vec::new(),
            id: random()?.iter().map(|b| format!("{b:02x}")).collect(),
        };
        let (text, _) = document::write(&config)?;
        backend.put_new(layout::STORE, text.as_bytes())?;
        Self::on(backend)
    }

    /// Opens a store in a directory, or the backup in a file that `export` or
    /// `create --to` has written.
    ///
    /// # Errors
    /// [`ErrorKind::StoreMissing`], [`ErrorKind::NotAStore`],
    /// [`ErrorKind::TooNew`] or [`ErrorKind::Damaged`], or [`ErrorKind::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let is = |kind, what: &str| Err(Error::new(kind, path, what));
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return is(ErrorKind::NotAStore, "is no directory"),
            Err(e) => match e.kind() {
                std::io::ErrorKind::NotFound => {
                    return is(ErrorKind::StoreMissing, "there is no such directory");
                }
                std::io::ErrorKind::NotADirectory => {
                    return is(ErrorKind::NotAStore, "is no directory");
                }
                _ => return Err(Error::io(path, "open", e)),
            },
        }
        let path = path.canonicalize().at("find", path)?;
        Self::on(Arc::new(Directory::new(&path)))
    }

    /// Opens a backup in one file, as a store that holds it alone and is never
    /// changed.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] or [`ErrorKind::TooNew`] from its seal and lists;
    /// [`ErrorKind::Io`].
    pub fn open_file(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).at("open", path)?;
        Self::of_file(path, file)
    }

    /// As [`open_file`](Self::open_file), from a pipe, by way of a file without
    /// a name in `$TMPDIR` or `/var/tmp`. `place` is for messages.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    pub fn open_stream(place: &Path, input: &mut dyn Read) -> Result<Self> {
        let file = onefile::spool(place, input)?;
        Self::of_file(place, file)
    }

    fn of_file(path: &Path, file: std::fs::File) -> Result<Self> {
        let one = OneFile::open(path, file)?;
        Ok(Self {
            path: path.to_owned(),
            config: StoreConfig {
                format: STORE_FORMAT.into(),
                requires: Vec::new(),
                id: String::new(),
            },
            backend: Arc::new(one),
        })
    }

    /// Opens a store on a backend.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn on(backend: Arc<dyn Backend>) -> Result<Self> {
        let path = backend.place("");
        let place = backend.place(layout::STORE);
        let Some(text) = document::load(&*backend, layout::STORE)? else {
            let what = "is no store: it has no store.json";
            return Err(Error::new(ErrorKind::NotAStore, path, what));
        };
        let (config, _): (StoreConfig, _) = document::read(&place, &text, STORE_FORMAT)?;
        refuse_unknown(&place, &config.requires)?;
        Ok(Self {
            backend,
            path,
            config,
        })
    }

    /// Where it is; for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A random name, given when the store was made and kept in every seal that
    /// is made here.
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// The sealed backups, sorted by id: the oldest first where ids begin with
    /// the time.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the directory can't be read.
    pub fn backups(&self) -> Result<Vec<BackupId>> {
        let mut ids = Vec::new();
        self.backend.list(layout::BACKUPS, &mut |found| {
            if let Named::OfBackup(id, file) = layout::name(&found.key)
                && file == layout::SEAL
            {
                ids.push(id);
            }
            Ok(())
        })?;
        ids.sort();
        Ok(ids)
    }

    /// The backup that a person means: its id, the unique beginning of one, or
    /// `latest`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Ambiguous`].
    pub fn find(&self, name: &str) -> Result<BackupId> {
        let ids = self.backups()?;
        let none = |why: &str| Err(Error::new(ErrorKind::NotFound, &self.path, why));
        if name == "latest" {
            return match ids.into_iter().next_back() {
                Some(id) => Ok(id),
                None => none("holds no backup"),
            };
        }
        if let Some(id) = ids.iter().find(|id| id.as_str() == name) {
            return Ok(id.clone());
        }
        let mut fits = ids.into_iter().filter(|id| id.as_str().starts_with(name));
        match (fits.next(), fits.next()) {
            (Some(id), None) => Ok(id),
            (Some(one), Some(other)) => Err(Error::new(
                ErrorKind::Ambiguous,
                &self.path,
                format!("{name:?} begins more than one id: {one} and {other}"),
            )),
            (None, _) => none(&format!("holds no backup {:?}", name)),
        }
    }

    /// Opens a sealed backup.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none of this id, [`ErrorKind::Damaged`] or
    /// [`ErrorKind::TooNew`] from its seal.
    pub fn backup(&self, id: &BackupId) -> Result<Backup> {
        Backup::open(self, id)
    }

    /// Whether a backup of this id is there, be it readable or not. A backup that was listed may have
    /// been let go since: no other file of it goes before its seal, so what is missed of one that is
    /// not there any more is no damage.
    pub fn holds(&self, id: &BackupId) -> bool {
        let opened = self.backup(id);
        !opened.is_err_and(|e| e.kind() == ErrorKind::NotFound)
    }

    /// Begins a backup; nothing of it is to be seen until it is sealed.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if the id is taken.
    pub fn create(&self, id: BackupId) -> Result<BackupWriter> {
        self.backend.sweep()?;
        BackupWriter::into_store(self, id)
    }

    /// Removes a backup with its evidence. Its frames stay until
    /// [`prune`](crate::prune()) finds that no other backup needs them.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none of this id.
    pub fn forget(&self, id: &BackupId) -> Result<()> {
        let seal = layout::of_backup(id, layout::SEAL);
        if self.backend.open(&seal)?.is_none() {
            let what = format!("holds no backup {:?}", id.as_str());
            return Err(Error::new(ErrorKind::NotFound, &self.path, what));
        }
        self.backend.withdraw(&layout::backup(id), layout::SEAL)
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Where a frame lies; for messages.
    pub(crate) fn frame_place(&self, name: FrameName) -> PathBuf {
        self.backend.place(&layout::frame(name))
    }

    /// The bytes of one frame, checked.
    pub(crate) fn read_frame(&self, name: FrameName) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_frame_into(name, &mut bytes)?;
        Ok(bytes)
    }

    /// The same, into a buffer that may have been used before.
    pub(crate) fn read_frame_into(&self, name: FrameName, bytes: &mut Vec<u8>) -> Result<()> {
        let key = layout::frame(name);
        let place = self.backend.place(&key);
        match backend::read(&*self.backend, &key, frame::MAX_STORED)? {
            Some(stored) => frame::decode_into(&place, name, &stored, bytes),
            None => Err(Error::damaged(place, "the frame is missing")),
        }
    }

    /// A frame as stored, every stored byte as it was written.
    pub(crate) fn stored_frame(&self, name: FrameName) -> Result<Vec<u8>> {
        let key = layout::frame(name);
        let place = self.backend.place(&key);
        match backend::read(&*self.backend, &key, frame::MAX_STORED)? {
            Some(stored) if frame::is_intact(name, &stored) => Ok(stored),
            Some(_) => Err(Error::damaged(
                place,
                "its stored bytes are not those that were written",
            )),
            None => Err(Error::damaged(place, "the frame is missing")),
        }
    }

    /// The length of a frame as stored, if it is there and every stored byte is
    /// what was written.
    pub(crate) fn intact_frame(&self, name: FrameName) -> Option<u64> {
        let key = layout::frame(name);
        let stored = backend::read(&*self.backend, &key, frame::MAX_STORED);
        let stored = stored.ok().flatten()?;
        frame::is_intact(name, &stored).then_some(stored.len() as u64)
    }

    /// Calls `each` for every frame that is there, whether or not a backup
    /// needs it.
    pub(crate) fn each_frame(
        &self,
        each: &mut dyn FnMut(FrameName, &Found) -> Result<()>,
    ) -> Result<()> {
        self.backend.list(
            layout::FRAMES,
            &mut |found| match layout::name(&found.key) {
                Named::Frame(name) if !found.foreign => each(name, &found),
                _ => Ok(()),
            },
        )
    }
}

/// Sixteen bytes that nobody can guess.
pub(crate) fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let place = Path::new("/dev/urandom");
    std::fs::File::open(place)
        .and_then(|mut f| f.read_exact(&mut bytes))
        .at("read", place)?;
    Ok(bytes)
}

/// Refuses a document that needs a feature this version does not have.
pub(crate) fn refuse_unknown(place: &Path, requires: &[String]) -> Result<()> {
    match requires.first() {
        Some(feature) => Err(Error::new(
            ErrorKind::TooNew,
            place,
            format!("needs the feature {feature:?}, which this version does not have"),
        )),
        None => Ok(()),
    }
}
