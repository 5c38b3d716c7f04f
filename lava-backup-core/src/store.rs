use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backup::Backup;
use crate::disk::{self, DirLock, RunDir};
use crate::document;
use crate::error::{At, Error, ErrorKind, Result};
use crate::frame::FrameName;
use crate::seal::BackupId;
use crate::writer::BackupWriter;

const STORE_FORMAT: &str = "lava-backup-store/1";

/// A directory in which backups live.
#[derive(Clone, Debug)]
pub struct Store {
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
        match fs::read_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => disk::make_dir(path)?,
            other => drop(other.at("read directory", path)?),
        }
        let _lock = DirLock::take(path)?;
        if path.join("store.json").exists() {
            return Err(Error::new(ErrorKind::Exists, path, "is a store already"));
        }
        refuse_foreign(path)?;
        for part in ["frames", "backups", "tmp"] {
            disk::make_dir(&path.join(part))?;
        }
        let mut id = [0; 16];
        let place = Path::new("/dev/urandom");
        fs::File::open(place)
            .and_then(|mut f| io::Read::read_exact(&mut f, &mut id))
            .at("read", place)?;
        let config = StoreConfig {
            format: STORE_FORMAT.into(),
            requires: Vec::new(),
            id: id.iter().map(|b| format!("{b:02x}")).collect(),
        };
        let (text, _) = document::write(&config)?;
        let temporary = path.join("tmp/store.json");
        disk::write_new(&path.join("store.json"), &temporary, text.as_bytes())?;
        disk::sync_dir(
            path.parent()
                .filter(|p| p.exists())
                .unwrap_or(Path::new(".")),
        )?;
        Self::open(path)
    }

    /// Opens a store.
    ///
    /// # Errors
    /// [`ErrorKind::StoreMissing`], [`ErrorKind::NotAStore`],
    /// [`ErrorKind::TooNew`] or [`ErrorKind::Damaged`], or [`ErrorKind::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let place = path.join("store.json");
        let is = |kind, what: &str| Err(Error::new(kind, path, what));
        match fs::metadata(&place) {
            Ok(_) => {}
            Err(e) => match e.kind() {
                io::ErrorKind::NotFound if path.is_dir() => {
                    return is(ErrorKind::NotAStore, "is no store: it has no store.json");
                }
                io::ErrorKind::NotFound if !path.exists() => {
                    return is(ErrorKind::StoreMissing, "there is no such directory");
                }
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    return is(ErrorKind::NotAStore, "is no directory");
                }
                _ => return Err(Error::io(&place, "read", e)),
            },
        }
        let text = document::load(&place)?;
        let (config, _): (StoreConfig, _) = document::read(&place, &text, STORE_FORMAT)?;
        refuse_unknown(&place, &config.requires)?;
        let path = path.canonicalize().at("find", path)?;
        Ok(Self { path, config })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A random name, given when the store was made and kept in every seal.
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// The sealed backups, sorted by id: the oldest first where ids begin with
    /// the time.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the directory can't be read.
    pub fn backups(&self) -> Result<Vec<BackupId>> {
        let place = self.path.join("backups");
        let mut ids = Vec::new();
        for found in fs::read_dir(&place).at("read directory", &place)? {
            let found = found.at("read directory", &place)?;
            let id = found.file_name().to_str().and_then(|n| n.parse().ok());
            if let Some(id) = id
                && found.path().join("backup.json").exists()
            {
                ids.push(id);
            }
        }
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
    /// [`ErrorKind::Damaged`] or [`ErrorKind::TooNew`] from its seal.
    pub fn backup(&self, id: &BackupId) -> Result<Backup> {
        Backup::open(self, id)
    }

    /// Begins a backup; nothing of it is to be seen until it is sealed.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if the id is taken.
    pub fn create(&self, id: BackupId) -> Result<BackupWriter> {
        let tmp = self.path.join("tmp");
        let _lock = DirLock::take(&tmp)?;
        RunDir::sweep(&tmp)?;
        BackupWriter::new(self, id)
    }

    /// Where a frame lies.
    pub(crate) fn frame_path(&self, name: FrameName) -> PathBuf {
        self.path.join("frames").join(name.file())
    }

    /// The files below `frames/` that no name of a frame fits, and the number
    /// of frames there.
    pub(crate) fn survey_frames(&self) -> Result<(Vec<PathBuf>, BTreeMap<FrameName, u64>)> {
        let place = self.path.join("frames");
        let mut foreign = Vec::new();
        let mut frames = BTreeMap::new();
        for found in walkdir::WalkDir::new(&place).min_depth(1) {
            let found = found.map_err(|e| Error::io(&place, "walk", e))?;
            let name = found.file_name().to_str().and_then(|n| n.parse().ok());
            let fits = |n: &FrameName| self.frame_path(*n) == found.path();
            match (found.file_type().is_file(), name.filter(fits)) {
                (true, Some(name)) => {
                    let length = found.metadata().map_err(|e| Error::io(&place, "walk", e))?;
                    frames.insert(name, length.len());
                }
                (false, None) if found.file_type().is_dir() && found.depth() == 1 => {}
                _ => foreign.push(found.into_path()),
            }
        }
        Ok((foreign, frames))
    }
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

/// An interrupted `init` may be repeated; anything else that is there stays.
fn refuse_foreign(path: &Path) -> Result<()> {
    for found in fs::read_dir(path).at("read directory", path)? {
        let found = found.at("read directory", path)?.path();
        let ours = ["frames", "backups", "tmp"].map(|part| path.join(part));
        let empty = || {
            fs::read_dir(&found).is_ok_and(|mut inner| {
                inner.all(|f| f.is_ok_and(|f| f.path() == path.join("tmp/store.json")))
            })
        };
        if !(ours.contains(&found) && empty()) {
            return Err(Error::new(
                ErrorKind::Refused,
                path,
                format!("is not empty: it holds {}", found.display()),
            ));
        }
    }
    let _ = fs::remove_file(path.join("tmp/store.json"));
    Ok(())
}
