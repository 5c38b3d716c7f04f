//! The earlier backup whose frames the next one may take over.

use lava_backup_core::{BackupId, Capture, Store};
use lava_restore_plan::facts::Role;

use crate::backup_facts;
use crate::standing::is_sound;

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
                && backup.evidence().is_ok_and(|found| is_sound(&found))
                && capture.after(&backup).is_ok()
        })
    };
    store.backups().ok()?.into_iter().rev().find(fits)
}
