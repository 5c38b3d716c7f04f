//! What comes back with a master's data.

use super::{Case, Code, note, ok, prepare, refuse, shown};
use crate::draft::names;
use crate::facts::DatabaseState;
use crate::finding::Finding;
use crate::master;
use crate::migration::{self, list};
use crate::release::{DeviceHealth, JobState};

/// The files with the database's password and the secret key.
pub(super) fn settings(case: &Case<'_>) -> Vec<Finding> {
    if master::settings_held(case.backup()).is_empty() {
        return vec![
            prepare(Code::SelfNoSettings, "config", names::ACCEPT)
                .compared("LAVA's settings files", "none")
                .remedy("see that the target's own settings fit, or restore them by hand first"),
        ];
    }
    vec![ok(Code::SelfSettings, "config").compared("held", "held")]
}

/// What the gates compare with.
pub(super) fn known(case: &Case<'_>) -> Vec<Finding> {
    let Some(dump) = &case.backup().database else {
        return vec![]; // `sections` or the next line of a degraded backup says so
    };
    let unknown = |what: &str, known: bool| {
        (!known).then(|| {
            refuse(Code::SelfUnknown, what)
                .compared("read from the dump", "unknown")
                .remedy("verify the backup; its dump may be damaged")
        })
    };
    let jobs = dump.active_jobs.is_some() && dump.jobs_by_state.is_some();
    let consistent = master::active_jobs_agree(dump);
    [
        unknown("tables", !dump.tables.is_empty()),
        unknown("devices", dump.devices_by_health.is_some()),
        unknown("jobs", jobs),
        (jobs && !consistent).then(|| {
            refuse(Code::SelfContradiction, "jobs")
                .compared(
                    "as many active jobs as their states count",
                    "another number",
                )
                .remedy("verify the backup; its facts may be damaged")
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The migrations that the dump has had against those its own packages ship.
pub(super) fn migrations(case: &Case<'_>) -> Vec<Finding> {
    const SUBJECT: &str = "django_migrations";
    const SAME: &str = "the same set in the dump and in its packages";
    let dump = case.backup().database.as_ref();
    let applied = dump.and_then(|dump| dump.migrations.as_ref());
    let (Some(applied), Some(shipped)) = (applied, &case.backup().facts.migrations_shipped) else {
        return vec![
            refuse(Code::SelfDbPkgMismatch, SUBJECT)
                .compared(SAME, "unknown")
                .remedy("take a backup whose facts hold both"),
        ];
    };
    let mismatch = migration::compare(applied, shipped);
    if mismatch.is_empty() {
        let same = ok(Code::SelfDbPkgMatch, SUBJECT);
        return vec![same.compared(applied.len(), applied.len())];
    }
    let direction = |code, found: String| {
        refuse(code, SUBJECT)
            .compared(SAME, found)
            .remedy("ask LAVA's developers with this list; take an older backup meanwhile")
    };
    let mut findings = Vec::new();
    if !mismatch.unknown.is_empty() {
        let found = format!("only in the dump: {}", list(&mismatch.unknown));
        findings.push(direction(Code::SelfDbNewer, found));
    }
    if !mismatch.missing.is_empty() {
        let found = format!("only in the packages: {}", list(&mismatch.missing));
        findings.push(direction(Code::SelfDbPending, found));
    }
    findings
}

/// Where the text of job logs is.
pub(super) fn log_backend(case: &Case<'_>) -> Vec<Finding> {
    const FILES: &str = "lava_scheduler_app.logutils.LogsFilesystem";
    const SUBJECT: &str = "LAVA_LOG_BACKEND";
    let backend = case.backup().facts.settings.log_backend.as_deref();
    if backend == Some(FILES) {
        return vec![ok(Code::LogBackend, SUBJECT).compared(FILES, FILES)];
    }
    vec![
        prepare(Code::LogBackend, SUBJECT, names::LOGS_ELSEWHERE)
            .compared(FILES, shown(backend))
            .remedy("restore that service from its own backup"),
    ]
}

/// Where job output goes: where the backup's settings say, whatever the target's say now.
pub(super) fn media_root(case: &Case<'_>) -> Vec<Finding> {
    let plain = |facts: &crate::Facts| {
        let root = facts.settings.media_root.as_deref()?;
        Some(root.trim_end_matches('/').to_owned())
    };
    let (backup, target) = (plain(&case.backup().facts), plain(case.target()));
    let finding = match (&backup, &target) {
        (Some(b), Some(t)) if b == t => ok(Code::MediaRoot, "MEDIA_ROOT"),
        (Some(b), _) => note(Code::MediaRoot, "MEDIA_ROOT")
            .remedy(format!("mount what is to hold job output at {b}")),
        (None, _) => note(Code::MediaRoot, "MEDIA_ROOT")
            .remedy("look into the backup's settings where job output goes"),
    };
    vec![finding.compared(shown(backup.as_ref()), shown(target.as_ref()))]
}

/// Ids that were given between the backup and the loss are given again.
pub(super) fn next_job(case: &Case<'_>) -> Vec<Finding> {
    const SUBJECT: &str = "job ids";
    /// They are integers of PostgreSQL's, and no sequence of these goes further.
    const MOST: u64 = i32::MAX as u64;
    let DatabaseState::Present(database) = &case.backup().facts.database else {
        return vec![];
    };
    let highest = database.max_job_id;
    let after = highest.map_or(1, |id| id.saturating_add(1));
    let finding = match case.options.next_job_id {
        Some(id) if !(after..=MOST).contains(&id) => refuse(Code::JobsNextId, SUBJECT)
            .remedy("name an id that no job had, or none")
            .compared(format!("{after} to {MOST}"), id),
        Some(id) => ok(Code::JobsNextId, SUBJECT).compared(format!("at least {after}"), id),
        None => note(Code::JobsNextId, SUBJECT)
            .compared("ids that no job had", format!("the next job has {after}"))
            .remedy("give the highest id that anybody saw, and one more, as the next job's id"),
    };
    vec![finding]
}

/// What would run, and what waits.
pub(super) fn jobs(case: &Case<'_>) -> Vec<Finding> {
    let dump = case.backup().database.as_ref();
    let Some(counts) = dump.and_then(|dump| dump.jobs_by_state.as_ref()) else {
        return vec![]; // `known` refuses
    };
    let of = |wanted: &[JobState]| {
        let counted = counts.iter().filter(|(state, _)| wanted.contains(state));
        counted
            .map(|(_, count)| *count)
            .fold(0, u64::saturating_add)
    };
    let finding = |subject: &str, number, step| {
        if number == 0 {
            return ok(Code::EnvJobs, subject).compared("none", "none");
        }
        note(Code::EnvJobs, subject)
            .compared("none", number)
            .seen_to_by(step)
    };
    let active = of(&JobState::ALL[1..5]);
    let mut findings = vec![finding("active jobs", active, names::JOBS)];
    let queued = of(&JobState::ALL[..1]);
    // A drill asks nobody and starts nothing that could run them.
    if case.intent != crate::Intent::Drill || queued == 0 {
        findings.push(finding("queued jobs", queued, names::QUEUE));
    }
    findings
}

/// What could be given a job.
pub(super) fn devices(case: &Case<'_>) -> Vec<Finding> {
    let dump = case.backup().database.as_ref();
    let Some(devices) = dump.and_then(|dump| dump.devices_by_health.as_ref()) else {
        return vec![]; // `known` refuses
    };
    let awake = devices
        .iter()
        .filter(|(health, _)| DeviceHealth::takes_jobs(**health));
    let number: usize = awake.map(|(_, names)| names.len()).sum();
    let finding = match number {
        0 => ok(Code::EnvDevices, "devices").compared("none in service", "none"),
        _ => note(Code::EnvDevices, "devices")
            .compared("none in service", number)
            .seen_to_by(names::DEVICES),
    };
    vec![finding]
}

/// Materialised views.
pub(super) fn queries(case: &Case<'_>) -> Vec<Finding> {
    let DatabaseState::Present(database) = &case.backup().facts.database else {
        return vec![];
    };
    let finding = match database.queries {
        Some(0) => ok(Code::EnvQueries, "saved queries"),
        _ => note(Code::EnvQueries, "saved queries"),
    };
    vec![finding.compared("none", shown(database.queries))]
}
