//! The backup that a person names: in a store, in one file, or on standard input.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use lava_backup_core::{Backup, BackupId, Store};

use crate::args::OptionalStore;
use crate::exit::{CouldNot, Exit, Failure};

/// What standard input is called in messages.
pub(crate) const STDIN: &str = "standard input";

/// How a name is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named<'n> {
    /// An exported file.
    File(&'n Path),
    /// An exported file that comes through a pipe.
    Stdin,
    /// Whatever the store calls so.
    InStore(&'n str),
}

impl<'n> Named<'n> {
    /// No id holds a `/`; a file without one is told by its ending.
    pub(crate) fn of(name: &'n str) -> Self {
        match name {
            "-" => Self::Stdin,
            file if file.contains('/') || file.ends_with(".tar.zst") => Self::File(file.as_ref()),
            id => Self::InStore(id),
        }
    }
}

/// Opens the store that is named, which may be a file: a store of one backup.
pub(crate) fn open_store(args: &OptionalStore) -> Result<Store, Failure> {
    let Some(path) = &args.store else {
        return Err(no_store("look for the backup"));
    };
    match path.is_file() {
        true => Store::open_file(path).could_not("open the backup"),
        false => Store::open(path).could_not("open the store"),
    }
}

/// Is the backup of this name one file, to which no evidence can be added?
pub(crate) fn is_one_file(args: &OptionalStore, name: &str) -> bool {
    match Named::of(name) {
        Named::InStore(_) => args.store.as_ref().is_some_and(|store| store.is_file()),
        Named::File(_) | Named::Stdin => true,
    }
}

/// That a store is needed, and none is named.
pub(crate) fn no_store(act: &str) -> Failure {
    let what = format!("could not {act}: no store is named");
    Failure::new(Exit::Usage, what).hint("name it with --store or LAVA_BACKUP_STORE")
}

/// The store that holds the backup of this name, and its id there.
pub(crate) fn find(args: &OptionalStore, name: &str) -> Result<(Store, BackupId), Failure> {
    let (store, name) = match Named::of(name) {
        Named::InStore(name) => (open_store(args)?, name),
        Named::File(path) => (
            Store::open_file(path).could_not("open the backup")?,
            "latest",
        ),
        Named::Stdin => {
            let mut input = stdin()?;
            let opened = Store::open_stream(Path::new(STDIN), &mut input);
            (opened.could_not("open the backup")?, "latest")
        }
    };
    let id = store.find(name).could_not("find the backup")?;
    Ok((store, id))
}

/// Opens the backup of this name.
pub(crate) fn open(args: &OptionalStore, name: &str) -> Result<Backup, Failure> {
    open_in_store(args, name).map(|(_, backup)| backup)
}

/// Opens the backup of this name, and the store that holds it.
pub(crate) fn open_in_store(args: &OptionalStore, name: &str) -> Result<(Store, Backup), Failure> {
    let (store, id) = find(args, name)?;
    let backup = store
        .backup(&id)
        .could_not(format!("open the backup {id}"))?;
    Ok((store, backup))
}

/// Standard input, for a backup to come from.
pub(crate) fn stdin() -> Result<std::io::StdinLock<'static>, Failure> {
    let input = std::io::stdin();
    if input.is_terminal() {
        let what = "could not read a backup from standard input: it is a terminal";
        return Err(Failure::new(Exit::Usage, what));
    }
    Ok(input.lock())
}

/// Refuses two names that both stand for standard input, which is read once.
pub(crate) fn stdin_once(one: &str, other: &str) -> Result<(), Failure> {
    match (one, other) {
        ("-", "-") => Err(Failure::new(
            Exit::Usage,
            "could not read standard input twice: only one name may be `-`",
        )),
        _ => Ok(()),
    }
}

/// The store of the environment; a variable that is empty names none.
pub(crate) fn store_of_environment() -> Option<PathBuf> {
    let store = std::env::var_os("LAVA_BACKUP_STORE")?;
    (!store.is_empty()).then(|| store.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_or_the_ending_of_an_exported_file_is_a_file() {
        for file in ["./b1", "/srv/b1", "b1.tar.zst", "a/latest"] {
            assert_eq!(Named::of(file), Named::File(Path::new(file)));
        }
        assert_eq!(Named::of("-"), Named::Stdin);
        for id in ["latest", "20261122T214018Z-lab-01.example", "b.tar", ""] {
            assert_eq!(Named::of(id), Named::InStore(id));
        }
    }
}
