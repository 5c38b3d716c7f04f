//! How the backups of a store stand: can they be read, what have checks found?

use clap::ValueEnum as _;
use lava_backup_core::retention::{Candidate, Known};
use lava_backup_core::{Backup, BackupId, Evidence, Outcome, Store};

use crate::args::Level;
use crate::exit::{CouldNot, Failure};
use crate::verify::EVERY_BYTE;

/// A backup and how it stands.
pub(crate) struct Standing {
    /// As far as it decides whether the backup is kept.
    pub(crate) candidate: Candidate,
    /// The backup; the failure if its seal can't be read.
    pub(crate) backup: Result<Backup, Failure>,
}

impl Standing {
    pub(crate) fn id(&self) -> &BackupId {
        &self.candidate.id
    }

    /// The host, if that can be read.
    pub(crate) fn host(&self) -> Option<&str> {
        let backup = self.backup.as_ref().ok()?;
        Some(backup.seal().host.as_str())
    }

    /// Has a drill of it passed, and none failed since?
    pub(crate) fn is_drilled(&self) -> bool {
        self.candidate.known.as_ref().is_some_and(|k| k.drilled)
    }
}

/// Every backup of a store, sorted by id.
pub(crate) fn of_all(store: &Store) -> Result<Vec<Standing>, Failure> {
    let ids = store.backups().could_not("list the store")?;
    Ok(ids.into_iter().map(|id| of(store, id)).collect())
}

fn of(store: &Store, id: BackupId) -> Standing {
    let backup = store.backup(&id);
    let known = backup.as_ref().ok().and_then(|backup| {
        let evidence = backup.evidence().ok()?;
        let drilled = last_drill(&evidence).map(|drill| drill.passed);
        let complete = backup.seal().outcome == Outcome::Complete;
        Some(Known {
            host: backup.seal().host.clone(),
            taken: backup.seal().taken.clone(),
            // That a backup is not equivalent says what its host was like,
            // not that it can't be restored.
            good: complete && is_sound(&evidence) && drilled != Some(false),
            drilled: drilled == Some(true),
        })
    });
    Standing {
        backup: backup.could_not(format!("open the backup {id}")),
        candidate: Candidate { id, known },
    }
}

/// All that checks of these backups have found, the oldest first; of what can't be read, nothing.
pub(crate) fn evidence_of<'b>(backups: impl IntoIterator<Item = &'b Backup>) -> Vec<Evidence> {
    let found = |backup: &Backup| backup.evidence().unwrap_or_default();
    let mut evidence: Vec<Evidence> = backups.into_iter().flat_map(found).collect();
    evidence.sort_by(|a, b| a.began.cmp(&b.began));
    evidence
}

/// The last drill that says whether a backup comes back. One that failed says so at any level; one
/// that passed, only where it brought the database and the files back.
pub(crate) fn last_drill(evidence: &[Evidence]) -> Option<&Evidence> {
    let restored = |e: &Evidence| Level::from_str(&e.depth, false).is_ok_and(Level::restores);
    let tells = |e: &&Evidence| e.check == "drill" && (!e.passed || restored(e));
    evidence.iter().rfind(tells)
}

/// Has no verification found damage, but for what a later one of every byte has
/// found healed? A quicker one that passed may not have looked there.
pub(crate) fn is_sound(evidence: &[Evidence]) -> bool {
    let decides = |e: &&Evidence| e.check == "verify" && (!e.passed || e.depth == EVERY_BYTE);
    evidence.iter().rfind(decides).is_none_or(|e| e.passed)
}
