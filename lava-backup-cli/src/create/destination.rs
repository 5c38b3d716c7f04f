//! Where a new backup goes: into a store, or into one file.

use std::path::Path;
use std::thread;
use std::time::Duration;

use lava_backup_core::{BackupId, BackupWriter, Store};

use crate::answer::Answer;
use crate::args::DestinationArgs;
use crate::exit::{CouldNot, Failure};
use crate::named;
use crate::onefile::Output;

pub(super) enum Destination {
    Store(Store),
    File(Output),
}

impl Destination {
    pub(super) fn of(args: &DestinationArgs, json: bool) -> Result<Self, Failure> {
        if let Some(to) = &args.to {
            return Output::to(to, json).map(Self::File);
        }
        let store = args.store.clone().or_else(named::store_of_environment);
        let store = store.ok_or_else(|| {
            named::no_store("tell where the backup is to go")
                .hint("name it with --store or LAVA_BACKUP_STORE, or a file with --to")
        })?;
        Store::open(&store)
            .could_not("open the store")
            .map(Self::Store)
    }

    /// Backups are named to the second: one that follows another of the same host at once waits for
    /// the second to be over.
    pub(super) fn wait_for_a_name(
        &self,
        name: impl Fn() -> Result<BackupId, Failure>,
    ) -> Result<(), Failure> {
        let Self::Store(store) = self else {
            return Ok(());
        };
        let taken = store.backups().could_not("read the store")?;
        while taken.contains(&name()?) {
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub(super) fn begin(&self, id: BackupId) -> Result<BackupWriter, Failure> {
        Ok(match self {
            Self::Store(store) => store.create(id)?,
            Self::File(out) => BackupWriter::into_file(id, out.place(), Box::new(out.writer()?))?,
        })
    }

    pub(super) fn store(&self) -> Option<&Store> {
        match self {
            Self::Store(store) => Some(store),
            Self::File(_) => None,
        }
    }

    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Store(_) => None,
            Self::File(out) => Some(out.place()),
        }
    }

    /// Makes the sealed backup be there, and gives the answer back, to be told
    /// where there is room for it.
    pub(super) fn finish(self, answer: Answer) -> Result<Answer, Failure> {
        match self {
            Self::Store(_) => Ok(answer),
            Self::File(out) => {
                let answer = out.beside(answer);
                out.finish()?;
                Ok(answer)
            }
        }
    }
}
