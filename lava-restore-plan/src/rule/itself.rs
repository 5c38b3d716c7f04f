//! The backup by itself.

use super::{Case, note, ok, prepare, refuse, shown};
use crate::finding::Finding;
use crate::master::ids;
use crate::migration::{Difference, list};
use crate::release::Release;
use crate::{forbid, master, name};

/// Everything from the backup or the caller that will stand on a command line.
pub(super) fn names(case: &Case<'_>) -> Vec<Finding> {
    let Case {
        backup,
        target,
        options,
    } = case;
    let mut bad: Vec<(&str, &str)> = Vec::new();
    let mut check = |what: &'static str, value: &'static str, good: bool| {
        if !good {
            bad.push((what, value));
        }
    };
    check("backup id", "", name::is_plain(&backup.id));
    check("store", "", name::is_argument(&options.store));
    check("program", "", forbid::is_own_program(&options.program));
    let database = master::database_name(case);
    check(
        "database name",
        "",
        database.as_deref().is_none_or(name::is_database),
    );
    let units = |facts: &crate::Facts| {
        let mut units = facts.units.iter().chain(&facts.timers).flatten();
        units.all(|unit| name::is_unit(&unit.name))
    };
    check("unit name", "of the backup", units(&backup.facts));
    check("unit name", "of the target", units(target));
    let packages = |facts: &crate::Facts| facts.packages.iter().all(|p| name::is_package(&p.name));
    check("package name", "of the backup", packages(&backup.facts));
    check("package name", "of the target", packages(target));
    check(
        "section",
        "",
        backup
            .sections
            .iter()
            .all(|section| name::is_plain(section)),
    );
    check(
        "path in config",
        "",
        backup.config_paths.iter().all(|path| name::is_member(path)),
    );
    let devices = backup
        .database
        .iter()
        .flat_map(|dump| &dump.devices_by_health);
    check(
        "device name",
        "",
        devices
            .flat_map(|map| map.values().flatten())
            .all(|d| name::is_plain(d)),
    );
    bad.into_iter()
        .map(|(what, whose)| {
            let subject = format!("{what} {whose}");
            refuse("name.unsafe", subject.trim_end())
                .compared(
                    "a plain name",
                    "one that could be taken for something else on a command line",
                )
                .because(
                    "commands are made of these names, and a backup may have been \
                     tampered with",
                    "measured: psql -d takes a whole address where a name is meant",
                )
                .remedy("look at the backup's index and facts by hand")
        })
        .collect()
}

/// The parts without which there is nothing to restore.
pub(super) fn sections(case: &Case<'_>) -> Vec<Finding> {
    let held = |name: &str| case.backup.sections.iter().any(|section| section == name);
    let why = "a backup is self-contained: what it lacks can't be taken from \
     another date";
    ["facts", "database", "config", "data", "logs"]
        .into_iter()
        .map(|name| {
            let missing = match name {
                _ if held(name) => return ok("self.part", name).compared("held", "held"),
                "logs" => note("self.missing_part", name),
                "data" => prepare("self.missing_part", name, ids::ACCEPT).remedy(
                    "accept that the output of all jobs stays lost, or take another \
                     backup",
                ),
                _ => refuse("self.missing_part", name).remedy("take another backup"),
            };
            missing.compared("held", "missing").because(why, "R16, R17")
        })
        .collect()
}

pub(super) fn degraded(case: &Case<'_>) -> Vec<Finding> {
    let reasons = &case.backup.degraded;
    if reasons.is_empty() {
        return vec![ok("backup.degraded", "backup").compared("whole", "whole")];
    }
    let finding = |reason: &String| {
        prepare("backup.degraded", "backup", ids::ACCEPT)
            .compared("whole", reason)
            .because(
                "what could not be read when the backup was made can't come back",
                "R8, R10",
            )
            .remedy("take a whole backup, or accept the loss")
    };
    reasons.iter().map(finding).collect()
}

/// The files with the database's password and the secret key.
pub(super) fn settings(case: &Case<'_>) -> Vec<Finding> {
    if master::settings_held(case.backup).is_empty() {
        return vec![
            prepare("self.no_settings", "config", ids::ACCEPT)
                .compared("LAVA's settings files", "none")
                .because(
                    "the password of the database's role and the secret key come from \
                     these files",
                    "C7",
                )
                .remedy(
                    "see that the target's own settings fit, or restore them by hand \
                 first",
                ),
        ];
    }
    vec![ok("self.settings", "config").compared("held", "held")]
}

/// Whether LAVA's release is one that this planner plans for.
pub(super) fn release(case: &Case<'_>) -> Vec<Finding> {
    let version = case.backup.facts.lava_version();
    let supported = version.as_ref().and_then(Release::of);
    match supported {
        Some(release) if release.gunicorn_serves_workers => {
            vec![ok("release", "LAVA").compared("2020.09 or later", shown(version))]
        }
        Some(_) => vec![
            refuse("release.unsupported", "LAVA")
                .compared("2020.09 or later", shown(version))
                .because(
                    "services, settings and commands were others before 2020.09",
                    "R97-R99",
                )
                .remedy("restore by LAVA's manual of that release"),
        ],
        None => vec![
            refuse("release.unknown", "LAVA")
                .compared("2020.09 to 2026.10", shown(version))
                .because("what is not known of a release can't be planned for", "R73")
                .remedy("use a version of this planner that knows the release"),
        ],
    }
}

/// What the gates compare with.
pub(super) fn content(case: &Case<'_>) -> Vec<Finding> {
    let Some(dump) = &case.backup.database else {
        return vec![]; // `sections` or the next line of a degraded backup says so
    };
    let unknown = |what: &str, known: bool| {
        (!known).then(|| {
            refuse("self.unknown", what)
                .compared("read from the dump", "unknown")
                .because(
                    "the gates after the load compare the database with it",
                    "R102, R107, R119",
                )
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
            refuse("self.contradiction", "jobs")
                .compared(
                    "as many active jobs as their states count",
                    "another number",
                )
                .because(
                    "a job that is not known can't be ended before LAVA starts",
                    "R119",
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
    const WHY: &str = "a database that does not match its code loses data later, and no \
     check of LAVA's or Django's sees it";
    const GROUND: &str = "R18, R30; measured on three releases: every check exits 0";
    let applied = case
        .backup
        .database
        .as_ref()
        .and_then(|dump| dump.migrations.as_ref());
    let (Some(applied), Some(shipped)) = (applied, &case.backup.facts.migrations_shipped) else {
        return vec![
            refuse("self.db_pkg_mismatch", "django_migrations")
                .compared("the same set in the dump and in its packages", "unknown")
                .because(WHY, GROUND)
                .remedy("take a backup whose facts hold both"),
        ];
    };
    let difference = Difference::of(applied, shipped);
    if difference.is_empty() {
        return vec![
            ok("self.db_pkg_match", "django_migrations")
                .compared(applied.len(), applied.len())
                .because(WHY, GROUND),
        ];
    }
    let direction = |code: &str, found: String| {
        refuse(code, "django_migrations")
            .compared("the same set in the dump and in its packages", found)
            .because(WHY, GROUND)
            .remedy(
                "ask LAVA's developers with this list; take an older backup \
             meanwhile",
            )
    };
    let mut findings = Vec::new();
    if !difference.unknown.is_empty() {
        let found = format!("only in the dump: {}", list(&difference.unknown));
        findings.push(direction("self.db_newer_than_code", found));
    }
    if !difference.pending.is_empty() {
        let found = format!("only in the packages: {}", list(&difference.pending));
        findings.push(direction("self.db_pending", found));
    }
    findings
}

/// Where the text of job logs is.
pub(super) fn log_backend(case: &Case<'_>) -> Vec<Finding> {
    const FILES: &str = "lava_scheduler_app.logutils.LogsFilesystem";
    let backend = case.backup.facts.settings.log_backend.as_deref();
    if backend == Some(FILES) {
        return vec![ok("log_backend", "LAVA_LOG_BACKEND").compared(FILES, FILES)];
    }
    vec![
        prepare("log_backend", "LAVA_LOG_BACKEND", ids::LOGS_ELSEWHERE)
            .compared(FILES, shown(backend))
            .because(
                "with another backend the text of the jobs' logs is in that \
                 service, and not in this backup",
                "measured: LAVA shows a job without its log and reports no error",
            )
            .remedy("restore that service from its own backup"),
    ]
}
