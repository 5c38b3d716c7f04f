use std::path::PathBuf;

use serde::Serialize;

use crate::ahead::Ahead;
use crate::backend::{Content, Lock};
use crate::backup::Backup;
use crate::error::{Error, ErrorKind, Result};
use crate::index::Index;
use crate::layout;
use crate::marks::Marks;
use crate::previous::Previous;
use crate::rebuild::Rebuild;
use crate::store::Store;

/// What [`repair`] did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RepairReport {
    /// Files that were made anew or put out of the way, with what was done.
    pub repaired: Vec<Repaired>,
    /// Files that can't be had from what is there, with the reason.
    pub lost: Vec<Repaired>,
}

/// One file of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The file.
    pub file: PathBuf,
    /// What was done, or why nothing could be.
    pub what: String,
}

/// Makes anew what follows from what is there: the index of a backup from its
/// frames, byte for byte as it was sealed. Notes that only save work and can't
/// be trusted are removed.
///
/// Frames are not looked at for their own sake: `verify` names those that are
/// damaged. They come back with the next backup of the same files, or from an
/// exported file that is imported.
///
/// # Errors
/// [`ErrorKind::Io`]; [`ErrorKind::Refused`] while another run changes the store.
pub fn repair(store: &Store) -> Result<RepairReport> {
    let backend = store.backend();
    let Some(_lock) = backend.lock(Lock::Exclusive)? else {
        let what = "another run uses the store; repair it when that has ended";
        return Err(Error::new(ErrorKind::Refused, store.path(), what));
    };
    backend.sweep()?;
    let mut report = RepairReport::default();
    if let Err(e) = Marks::read(store) {
        unless_io(&e)?;
        Marks::default().save(store)?;
        report.repaired(e.place(), "marks nothing now; prune begins anew");
    }
    for id in store.backups()? {
        match store.backup(&id) {
            Ok(backup) => one(&backup, &mut report)?,
            Err(e) => {
                unless_io(&e)?;
                report.lost(e.place(), &e.what());
            }
        }
    }
    Ok(report)
}

fn one(backup: &Backup, report: &mut RepairReport) -> Result<()> {
    let backend = backup.store().backend();
    if let Err(e) = backup.frames() {
        unless_io(&e)?;
        report.lost(e.place(), &e.what());
        return Ok(());
    }
    if let Err(e) = Previous::open(backup) {
        unless_io(&e)?;
        let place = backup.place(layout::SEEN);
        if e.place() == place {
            backend.delete(&backup.key(layout::SEEN))?;
            report.repaired(&place, "removed: the next run reads all files");
        }
    }
    let read = |mut index: Index| index.try_for_each(|entry| entry.map(drop));
    let Err(wrong) = backup.index().and_then(read) else {
        return Ok(());
    };
    unless_io(&wrong)?;
    let place = backup.place(layout::INDEX);
    match rebuild(backup) {
        Ok(()) => report.repaired(&place, "made anew from the frames, as it was sealed"),
        Err(e) => {
            unless_io(&e)?;
            report.lost(&place, &format!("{}, and then {e}", wrong.what()));
        }
    }
    Ok(())
}

fn rebuild(backup: &Backup) -> Result<()> {
    let backend = backup.store().backend();
    let place = backup.place(layout::INDEX);
    let mut rebuild = Rebuild::new(place, backend.spool()?)?;
    for bytes in Ahead::new(backup.store(), backup.frames()?) {
        rebuild.frame(&bytes?)?;
    }
    let index = rebuild.finish(backup.seal())?.finish()?;
    backend.put(&backup.key(layout::INDEX), Content::Spooled(index))
}

fn unless_io(error: &Error) -> Result<()> {
    match error.kind() {
        ErrorKind::Io => Err(Error::new(ErrorKind::Io, error.place(), error.what())),
        _ => Ok(()),
    }
}

impl RepairReport {
    fn repaired(&mut self, file: &std::path::Path, what: &str) {
        self.repaired.push(Repaired {
            file: file.to_owned(),
            what: what.to_owned(),
        });
    }

    fn lost(&mut self, file: &std::path::Path, what: &str) {
        self.lost.push(Repaired {
            file: file.to_owned(),
            what: what.to_owned(),
        });
    }
}
