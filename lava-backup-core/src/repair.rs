use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::ahead::Ahead;
use crate::backend::{Content, Lock};
use crate::backup::Backup;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Form, Index};
use crate::layout;
use crate::marks::Marks;
use crate::previous::Previous;
use crate::rebuild::Rebuild;
use crate::store::Store;
use crate::writer::StoreSink;

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

/// Writes the index anew in the form that it was sealed in, which only its
/// digest tells.
fn rebuild(backup: &Backup) -> Result<()> {
    let backend = backup.store().backend();
    let sink = Arc::new(StoreSink::new(backup.store())?);
    let mut outcome = Ok(());
    for form in [Form::Frames(sink), Form::Inline] {
        let place = backup.place(layout::INDEX);
        let mut rebuild = Rebuild::new(place, backend.spool()?, form)?;
        for bytes in Ahead::new(backup.store(), backup.frames()?) {
            rebuild.frame(&bytes?)?;
        }
        match rebuild.finish(backup.seal()) {
            Ok(index) => {
                backend.settle()?;
                let index = Content::Spooled(index.finish()?);
                return backend.put(&backup.key(layout::INDEX), index);
            }
            Err(e) if e.kind() == ErrorKind::Damaged => outcome = Err(e),
            Err(e) => return Err(e),
        }
    }
    outcome
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
