use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::{At, Error, ErrorKind, Result};
use super::journal::{Journal, Record};
use crate::{Plan, render};

/// The directory of a run: its journal, its plan, what its commands printed, and its evidence.
///
/// Only its owner may enter it.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    pub(crate) journal: Journal,
}

const JOURNAL: &str = "journal";
const PLAN: &str = "plan.json";
const OUTPUT: &str = "output";

/// The name of a plan: the BLAKE3, in hexadecimal, of what [`render::json`] makes of it.
///
/// # Errors
/// `Refused` if the plan holds what no plan may hold.
pub fn plan_digest(plan: &Plan) -> Result<String> {
    Ok(blake3::hash(render::json(plan)?.as_bytes())
        .to_hex()
        .to_string())
}

impl State {
    /// Opens the directory of a run, which is made if it is not there. A last record that was not
    /// wholly written is cut off.
    ///
    /// # Errors
    /// `Unsafe` if others may enter it, `Damaged` if a record is not as it was written, `Io`.
    pub fn open(dir: &Path) -> Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(dir).at("make", dir)?;
        private(dir)?;
        let output = dir.join(OUTPUT);
        builder.create(&output).at("make", &output)?;
        let journal = Journal::open(&dir.join(JOURNAL))?;
        // The names last before anything relies on them.
        let dirs = [Some(dir), dir.parent()];
        for dir in dirs.into_iter().flatten() {
            sync_dir(dir)?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            journal,
        })
    }

    /// What is recorded of the run of this directory; nothing if there is no such directory. It is
    /// left as it is.
    ///
    /// # Errors
    /// `Damaged` and `Io`.
    pub fn look(dir: &Path) -> Result<Vec<Record>> {
        Journal::look(&dir.join(JOURNAL))
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its records, in their order.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        self.journal.records()
    }

    /// Did a run begin here?
    #[must_use]
    pub fn is_begun(&self) -> bool {
        !self.records().is_empty()
    }

    /// Bytes of a torn last record, which were cut off when it was opened.
    #[must_use]
    pub fn torn(&self) -> u64 {
        self.journal.torn()
    }

    /// Keeps the plan, for whoever reads the journal.
    pub(crate) fn keep_plan(&self, plan: &Plan) -> Result<()> {
        self.write(PLAN, &render::json(plan)?).map(drop)
    }

    pub(crate) fn output_dir(&self) -> PathBuf {
        self.dir.join(OUTPUT)
    }

    /// Writes a file so that it is there whole or not at all.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let (path, new) = (self.dir.join(name), self.dir.join(format!("{name}.new")));
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .at("write", &new)?;
        let written = file.write_all(text.as_bytes());
        written.and_then(|()| file.sync_all()).at("write", &new)?;
        fs::rename(&new, &path).at("write", &path)?;
        sync_dir(&self.dir)?;
        Ok(path)
    }
}

/// Refuses a directory that others may write into or look through.
pub(crate) fn private(dir: &Path) -> Result<()> {
    let found = fs::symlink_metadata(dir).at("look at", dir)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw();
    if found.is_dir() && ours && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    let what = format!(
        "use {}: it must be a directory of ours that nobody else may enter (mode 0700)",
        dir.display()
    );
    Err(Error::new(ErrorKind::Unsafe, what))
}

fn sync_dir(dir: &Path) -> Result<()> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    File::open(dir).and_then(|d| d.sync_all()).at("sync", dir)
}
