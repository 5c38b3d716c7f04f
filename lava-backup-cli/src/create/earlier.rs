//! The earlier backup whose frames the next one may take over.

use lava_backup_core::{Backup, BackupId, Capture, Store};
use lava_restore_plan::facts::Role;

use crate::backup_facts;
use crate::verify::EVERY_BYTE;

/// Lets a capture take over frames of the newest backup of this host, in this
/// role, that was not found damaged; gives its id.
///
/// One that can't be used is passed over, and if none is left, every file is
/// read: that costs time and nothing else.
pub(super) fn follow(
    capture: &mut Capture<'_>,
    store: &Store,
    host: &str,
    role: Role,
) -> Option<BackupId> {
    let fits = |id: &BackupId| {
        store.backup(id).is_ok_and(|backup| {
            backup.seal().host == host
                && backup_facts::facts(&backup).is_ok_and(|facts| facts.role == role)
                && is_sound(&backup)
                && capture.after(&backup).is_ok()
        })
    };
    store.backups().ok()?.into_iter().rev().find(fits)
}

/// Has no check found damage, but for what a later one of every byte has found
/// healed?
fn is_sound(backup: &Backup) -> bool {
    let Ok(evidence) = backup.evidence() else {
        return false;
    };
    let decides = |e: &&lava_backup_core::Evidence| {
        e.check == "verify" && (!e.passed || e.depth == EVERY_BYTE)
    };
    evidence.iter().rfind(decides).is_none_or(|e| e.passed)
}
