//! What the target has to lose.

use super::{Case, Code, ok, prepare, refuse};
use crate::draft::names;
use crate::facts::{DatabaseState, Role};
use crate::finding::Finding;

/// Whether LAVA is on the target and its database is not, and no package that is to be installed
/// makes one: there is nothing then to try LAVA on before the load.
pub(crate) fn lacks_database(case: &Case<'_>) -> bool {
    let comes = || {
        super::packages_to_name(case)
            .iter()
            .any(|name| name == Role::Master.package())
    };
    case.target().database == DatabaseState::Absent && !case.lacks_lava() && !comes()
}

/// A database with jobs or devices is somebody's lab.
pub(super) fn data(case: &Case<'_>) -> Vec<Finding> {
    let (found, empty) = match &case.target().database {
        DatabaseState::Absent => ("no database".to_owned(), Some(true)),
        DatabaseState::Unknown => ("unknown".to_owned(), None),
        DatabaseState::Present(database) => {
            let devices = database.devices_by_health.as_ref();
            let devices: Option<usize> = devices.map(|map| map.values().map(Vec::len).sum());
            let jobs: Option<u64> = database
                .jobs_by_state
                .as_ref()
                .map(|map| map.values().sum());
            match (jobs, devices) {
                (Some(jobs), Some(devices)) => (
                    format!("{jobs} jobs, {devices} devices"),
                    Some(jobs == 0 && devices == 0),
                ),
                _ => ("unknown content".to_owned(), None),
            }
        }
    };
    let finding = match empty {
        Some(true) => ok(Code::TargetEmpty, "database"),
        // With no lava-server there was never a database of its making, unless somebody says so.
        None if case.lacks_lava() && case.target().postgresql.is_none() => {
            ok(Code::TargetEmpty, "database")
        }
        // A new lab begins in the database that is there.
        _ if !case.restores_data() => {
            refuse(Code::TargetHasData, "database").remedy("set up the new lab on an empty target")
        }
        _ if case.options.replace_data => prepare(Code::TargetHasData, "database", names::REPLACE)
            .remedy("confirm that this lab may be replaced; its database is kept beside"),
        Some(false) => refuse(Code::TargetHasData, "database")
            .remedy("restore to an empty target, or say that this lab is to be replaced"),
        None => refuse(Code::TargetDataUnknown, "database").remedy(
            "gather the target's facts with its database, or say that it is to \
             be replaced",
        ),
    };
    vec![finding.compared("no jobs and no devices", found)]
}
