//! The backup by itself.

use super::{Case, note, ok, prepare, refuse, shown};
use crate::draft::names;
use crate::facts::{DatabaseState, Role};
use crate::finding::Finding;
use crate::migration::{Difference, list};
use crate::release::Release;
use crate::{forbid, master, name};

/// Everything from the backup or the caller that will stand on a command line.
pub(super) fn names(case: &Case<'_>) -> Vec<Finding> {
    let (backup, target, options) = (case.backup(), case.target(), case.options);
    let mut bad: Vec<(&str, &str)> = Vec::new();
    let mut check = |what: &'static str, value: &'static str, good: bool| {
        if !good {
            bad.push((what, value));
        }
    };
    check("backup id", "", name::is_plain(&backup.id));
    check("store", "", name::is_argument(&case.host.store));
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
    let sites = |facts: &crate::Facts| {
        let mut sites = facts.apache.sites.iter().flatten();
        sites.all(|site| name::is_plain(site))
    };
    check("site of apache", "of the target", sites(target));
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
        backup.paths.iter().all(|path| name::is_member(path)),
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
    let workers = backup.database.iter().flat_map(|dump| &dump.workers);
    let mut workers = workers
        .flatten()
        .map(String::as_str)
        .chain(case.worker_name());
    check("worker name", "", workers.all(name::is_plain));
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
    let held = |name: &str| case.backup().sections.iter().any(|section| section == name);
    let why = "a backup is self-contained: what it lacks can't be taken from \
     another date";
    let wanted: &[&str] = match case.planned.role {
        Role::Master if case.restores_data() => &["facts", "database", "config", "data", "logs"],
        _ => &["facts", "config"],
    };
    wanted
        .iter()
        .map(|name| {
            let missing = match *name {
                name if held(name) => return ok("self.part", name).compared("held", "held"),
                "logs" => note("self.missing_part", name),
                "data" => prepare("self.missing_part", name, names::ACCEPT).remedy(
                    "accept that the output of all jobs stays lost, or take another \
                     backup",
                ),
                name => refuse("self.missing_part", name).remedy("take another backup"),
            };
            missing.compared("held", "missing").because(why, "R16, R17")
        })
        .collect()
}

pub(super) fn degraded(case: &Case<'_>) -> Vec<Finding> {
    let reasons = &case.backup().degraded;
    if reasons.is_empty() {
        return vec![ok("backup.degraded", "backup").compared("whole", "whole")];
    }
    let finding = |reason: &String| {
        prepare("backup.degraded", "backup", names::ACCEPT)
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
    if master::settings_held(case.backup()).is_empty() {
        return vec![
            prepare("self.no_settings", "config", names::ACCEPT)
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
    const KNOWN: &str = "2016.12 to 2026.10";
    const MEASURED: (u16, u8) = (2020, 12);
    let version = case.backup().facts.lava_version();
    let finding = match &version {
        Some(known) if Release::of(known).is_some() && known.year_month() >= MEASURED => {
            ok("release", "LAVA")
        }
        Some(known) if Release::of(known).is_some() => note("release.not_measured", "LAVA")
            .because(
                "its units, settings and commands are known from its sources, and no host of it \
                 was ever restored here",
                "R73, R97-R99",
            )
            .remedy("read each step before you run it, and drill first"),
        _ => refuse("release.unknown", "LAVA")
            .because("what is not known of a release can't be planned for", "R73")
            .remedy("use a version of this planner that knows the release"),
    };
    vec![finding.compared(KNOWN, shown(version))]
}

/// Where the exact packages can come from.
pub(super) fn packages(case: &Case<'_>) -> Vec<Finding> {
    const WHY: &str = "packages that a mirror no longer has can't be installed from it";
    const GROUND: &str = "R21, R22, R26";
    let Some(debs) = &case.backup().debs else {
        return vec![
            note("self.no_debs", "packages")
                .compared("the .debs of the backup's packages", "none")
                .because(WHY, GROUND)
                .remedy("have the exact versions at hand, or back up with `--packages closure`"),
        ];
    };
    let lacking = debs.lacking.iter().map(|package| {
        note("self.deb_missing", package)
            .compared("a .deb in the backup", "none")
            .because(WHY, GROUND)
            .remedy("have this version at hand")
    });
    let mut findings: Vec<Finding> = lacking.collect();
    if debs.closed == Some(false) {
        findings.push(
            note("self.closure_open", "packages")
                .compared("enough for apt alone", "others are needed too")
                .because("apt needs more than the backup holds", GROUND)
                .remedy("have the sources of the suite at hand"),
        );
    }
    if findings.is_empty() {
        findings.push(ok("self.debs", "packages").compared("held", &debs.scope));
    }
    findings
}

/// Ids that were given between the backup and the loss are given again.
pub(super) fn next_job(case: &Case<'_>) -> Vec<Finding> {
    let DatabaseState::Present(database) = &case.backup().facts.database else {
        return vec![];
    };
    let highest = database.max_job_id;
    let after = highest.map_or(1, |id| id.saturating_add(1));
    const WHY: &str = "jobs that the lab ran after the backup had these ids, and whoever keeps \
                       results by id mixes the new ones up with them";
    let finding = match case.options.next_job_id {
        Some(id) if highest.is_some_and(|highest| id <= highest) => {
            refuse("jobs.next_id", "job ids")
                .remedy("name an id that no job had, or none")
                .compared(format!("at least {after}"), id)
        }
        Some(id) => ok("jobs.next_id", "job ids").compared(format!("at least {after}"), id),
        None => note("jobs.next_id", "job ids")
            .compared("ids that no job had", format!("the next job has {after}"))
            .remedy("give the highest id that anybody saw, and one more, as the next job's id"),
    };
    vec![finding.because(WHY, "R27; lava.md 8.4")]
}

/// What the gates compare with.
pub(super) fn content(case: &Case<'_>) -> Vec<Finding> {
    let Some(dump) = &case.backup().database else {
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
        .backup()
        .database
        .as_ref()
        .and_then(|dump| dump.migrations.as_ref());
    let (Some(applied), Some(shipped)) = (applied, &case.backup().facts.migrations_shipped) else {
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
    let backend = case.backup().facts.settings.log_backend.as_deref();
    if backend == Some(FILES) {
        return vec![ok("log_backend", "LAVA_LOG_BACKEND").compared(FILES, FILES)];
    }
    vec![
        prepare("log_backend", "LAVA_LOG_BACKEND", names::LOGS_ELSEWHERE)
            .compared(FILES, shown(backend))
            .because(
                "with another backend the text of the jobs' logs is in that \
                 service, and not in this backup",
                "measured: LAVA shows a job without its log and reports no error",
            )
            .remedy("restore that service from its own backup"),
    ]
}
