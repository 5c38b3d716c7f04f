//! What binds a plan to each of its hosts, for the renderings that remember what was done.

use crate::PlannedHost;

/// What a directory of done steps is bound to; what was done for another backup or another target
/// says nothing of this plan.
pub(super) fn binding(host: &PlannedHost) -> String {
    let target = host.target_digest.as_deref().unwrap_or("any");
    format!("{} {target}", host.seal_digest)
}

/// Where done steps are remembered on a host if nobody says otherwise.
pub(super) fn state(host: &PlannedHost) -> String {
    format!("/var/lib/lava-backup/restore/{}", host.backup)
}

/// The host that the step with this id is for. An id begins with it.
pub(super) fn host_in(id: &str) -> &str {
    id.split('.').next().unwrap_or_default()
}
