//! What the target does, what runs on it, and what it has room for.

use super::{Case, Code, note, ok, prepare, refuse, shown};
use crate::draft::names;
use crate::facts::{DatabaseState, Role, Room, UNATTENDED, Unit};
use crate::finding::{Finding, Verdict};
use crate::release::Release;

const GATHER: &str = "gather the target's facts again, as root";

pub(super) fn role(case: &Case<'_>) -> Vec<Finding> {
    let (wanted, found) = (case.planned.role, case.target().role);
    let finding = match found {
        found if found == wanted => ok(Code::TargetRole, "target"),
        Role::Unknown if case.lacks_lava() => prepare(Code::TargetRole, "target", names::PACKAGES)
            .remedy("install the backup's packages"),
        _ => refuse(Code::TargetRole, "target")
            .remedy("give the facts of the host that this backup is for"),
    };
    vec![finding.compared(role_name(wanted), role_name(found))]
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Master => "master",
        Role::Worker => "worker",
        Role::Unknown => "unknown",
    }
}

pub(super) fn apache(case: &Case<'_>) -> Vec<Finding> {
    let finding = match case.target().apache.lava_site_enabled {
        Some(true) => note(Code::IsolationOpen, "apache")
            .compared("does not serve LAVA", "serves LAVA")
            .seen_to_by(names::SITE),
        Some(false) => {
            ok(Code::Isolation, "apache").compared("does not serve LAVA", "does not serve LAVA")
        }
        // The package brings it; it is closed as soon as it is installed.
        None if case.lacks_lava() => {
            ok(Code::Isolation, "apache").compared("does not serve LAVA", "no LAVA yet")
        }
        None => refuse(Code::IsolationUnknown, "apache")
            .compared("known", "unknown")
            .remedy(GATHER),
    };
    vec![finding]
}

pub(super) fn units(case: &Case<'_>) -> Vec<Finding> {
    let version = case.backup().facts.lava_version();
    let Some(release) = version.and_then(|version| Release::of(&version)) else {
        return vec![]; // `release` refuses
    };
    let Some(units) = &case.target().units else {
        let finding = if case.lacks_lava() {
            prepare(Code::UnitsUnknown, "services", names::PACKAGES)
                .remedy("install the backup's packages")
        } else {
            refuse(Code::UnitsUnknown, "services").remedy(GATHER)
        };
        return vec![finding.compared("known", "unknown")];
    };
    if case.lacks_lava() {
        return vec![];
    }
    let needed = match case.planned.role {
        Role::Master => release.master_units,
        Role::Worker | Role::Unknown => std::slice::from_ref(&release.worker_unit),
    };
    let is_master = case.planned.role == Role::Master;
    let of = |unit: &&str| match units.iter().find(|known| known.name == **unit) {
        Some(there) if is_master && there.active == Some(false) => stopped(case, unit),
        Some(_) => ok(Code::Units, unit).compared("there", "there"),
        None => refuse(Code::UnitsMissing, unit)
            .compared("there", "missing")
            .remedy("repair the installation of LAVA on the target"),
    };
    needed.iter().map(of).collect()
}

/// The smoke test wants a master's services up, and up they drive what is in the database.
fn stopped(case: &Case<'_>, unit: &str) -> Finding {
    let finding = match super::data::data(case)[0].severity == Verdict::Ok {
        true if super::lacks_database(case) => note(Code::UnitsStopped, unit),
        true => prepare(Code::UnitsStopped, unit, names::SERVICES)
            .remedy("start it while the database is empty"),
        false if case.options.replace_data => prepare(Code::UnitsStopped, unit, names::UNTRIED)
            .remedy("let the smoke test go: the same check after the load finds what it would"),
        false => refuse(Code::UnitsStopped, unit).remedy(
            "go on with the restore that stopped it, if there was one; else start LAVA there, take \
             another target, or say that the lab there is to be replaced",
        ),
    };
    finding.compared("up", "stopped")
}

/// A lab that has lost its database and nothing else.
pub(super) fn smoke(case: &Case<'_>) -> Vec<Finding> {
    if !super::lacks_database(case) {
        return vec![];
    }
    let finding = match case.restores_data() {
        true => note(Code::SmokeNone, "LAVA")
            .remedy("what is wrong with this host is seen when LAVA runs again"),
        false => refuse(Code::SmokeNone, "LAVA").remedy("set up the new lab on a fresh target"),
    };
    vec![finding.compared("a database to try it on", "none")]
}

/// What changes packages by itself. The plan stops it, so finding it is no fault.
pub(super) fn unattended(case: &Case<'_>) -> Vec<Finding> {
    let Some(timers) = &case.target().timers else {
        return vec![
            refuse(Code::PkgUnattendedUnknown, "timers")
                .compared("known", "unknown")
                .remedy(GATHER),
        ];
    };
    let ours = |unit: &&Unit| UNATTENDED.contains(&unit.name.as_str());
    let stopped = |unit: &Unit| {
        note(Code::PkgUnattended, &unit.name)
            .compared("stopped for the restore", "there")
            .seen_to_by(names::TIMERS)
    };
    timers.iter().filter(ours).map(stopped).collect()
}

pub(super) fn hostname(case: &Case<'_>) -> Vec<Finding> {
    let (then, now) = (&case.backup().facts.hostname, &case.target().hostname);
    let finding = match (then, now) {
        (Some(then), Some(now)) if then == now => ok(Code::Hostname, "host"),
        _ => note(Code::Hostname, "host").remedy(
            "let the old name lead to the new host; /etc/hostname and the like stay the target's \
             own",
        ),
    };
    vec![finding.compared(shown(then.as_ref()), shown(now.as_ref()))]
}

/// Where Debian keeps clusters.
const CLUSTERS: &str = "/var/lib/postgresql";
/// A small file takes a whole block, and so does a directory.
const BLOCK: u64 = 4096;

/// Room for the database beside the one that is there, and for the files.
pub(super) fn room(case: &Case<'_>) -> Vec<Finding> {
    let backup = case.backup();
    let size = match &backup.facts.database {
        // As much again is for the log that is written ahead, and for sorting into indexes.
        DatabaseState::Present(database) => database.size_bytes.map(|size| size.saturating_mul(2)),
        _ => None,
    };
    let files = backup.sizes.as_ref().map(|sizes| {
        let held = ["data", "logs"].iter().filter_map(|name| sizes.get(*name));
        let each = held.map(|held| {
            let blocks = held.entries.saturating_mul(BLOCK);
            held.bytes.saturating_add(blocks)
        });
        each.fold(0, u64::saturating_add)
    });
    let media = backup.facts.settings.media_root.as_deref();
    let at = |path: Option<&str>| {
        let path = path?.trim_end_matches('/');
        let mut rooms = case.target().room.iter().flatten();
        rooms.find(|room| room.path.trim_end_matches('/') == path)
    };
    let (database, output) = (at(Some(CLUSTERS)), at(media));
    // What shares a file system shares its room.
    let shared = matches!((database, output), (Some(a), Some(b)) if a.mount == b.mount);
    let also = if shared { files.unwrap_or(0) } else { 0 };
    let with_files = size.map(|size| size.saturating_add(also));
    // Job output that is there already is not written again.
    let name = &backup.facts.hostname;
    let may_be_there =
        case.options.replace_data || name.is_some() && *name == case.target().hostname;
    vec![
        fits("database", with_files, database, shared && may_be_there),
        fits("job output", files, output, may_be_there),
    ]
}

fn fits(what: &str, needed: Option<u64>, at: Option<&Room>, doubtful: bool) -> Finding {
    let mebibytes = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
    let expected = needed.map_or("enough".to_owned(), mebibytes);
    let found = shown(at.map(|room| format!("{} on {}", mebibytes(room.free_bytes), room.mount)));
    let finding = match (needed, at) {
        (Some(needed), Some(room)) if room.free_bytes >= needed => {
            // How much more there is changes from hour to hour.
            return ok(Code::Space, what).compared("enough", "enough");
        }
        (Some(_), Some(_)) if !doubtful => {
            refuse(Code::Space, what).remedy("make room, or mount a larger disk there")
        }
        (Some(_), Some(_)) => note(Code::Space, what)
            .remedy("see that what is not there already has room, or make some"),
        _ => note(Code::Space, what).remedy("look with df before the restore"),
    };
    finding.compared(expected, found)
}
