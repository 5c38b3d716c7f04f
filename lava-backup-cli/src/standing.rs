//! How the backups of a store stand: can they be read, what have checks found?

use clap::ValueEnum as _;
use lava_backup_core::retention::{Candidate, Known};
use lava_backup_core::{Backup, BackupId, Error, ErrorKind, Evidence, Outcome, Store};

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

/// Every backup of a store, sorted by id; not those that are let go meanwhile.
pub(crate) fn of_all(store: &Store) -> Result<Vec<Standing>, Failure> {
    let ids = store.backups().could_not("list the store")?;
    let standing = opened(store, ids).map(|(id, backup)| of(id, backup));
    let stays = |found: &Standing| found.candidate.known.is_some() || store.holds(found.id());
    Ok(standing.filter(stays).collect())
}

/// Opens each of those that were listed; those that were let go since are passed over.
pub(crate) fn opened(
    store: &Store,
    listed: Vec<BackupId>,
) -> impl Iterator<Item = (BackupId, Result<Backup, Error>)> {
    let opened = listed.into_iter().map(|id| {
        let backup = store.backup(&id);
        (id, backup)
    });
    let is_gone = |error: &Error| error.kind() == ErrorKind::NotFound;
    opened.filter(move |(_, backup)| !backup.as_ref().is_err_and(is_gone))
}

fn of(id: BackupId, backup: Result<Backup, Error>) -> Standing {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use lava_backup_core::SealInput;

    use super::*;

    #[test]
    fn what_was_let_go_since_it_was_listed_is_passed_over_and_what_is_damaged_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(&dir.path().join("store")).unwrap();
        for id in ["damaged", "gone", "sound"] {
            let writer = store.create(id.parse().unwrap()).unwrap();
            writer.seal(SealInput::default()).unwrap();
        }
        let listed = store.backups().unwrap();
        let seal = dir.path().join("store/backups/damaged/backup.json");
        std::fs::write(seal, "{").unwrap();
        store.forget(&"gone".parse().unwrap()).unwrap();
        let opened: Vec<_> = opened(&store, listed)
            .map(|(id, backup)| (id.to_string(), backup.is_ok()))
            .collect();
        assert_eq!(opened, [("damaged".into(), false), ("sound".into(), true)]);
    }
}
