//! The packages that must be the backup's.

use super::{Case, Code, note, ok, prepare, refuse, shown};
use crate::draft::names;
use crate::facts::{Facts, Package, Role};
use crate::finding::{Finding, Verdict};
use crate::migration::{self, LAVA_APPS, list};
use crate::{Backup, Class, LavaVersion, PackageVersion};

/// What a critical package is to LAVA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// LAVA's own: its code, and the migrations of its tables.
    Lava,
    /// Django itself.
    Django,
    /// Django's companions; some ship migrations too.
    Companion,
    /// The server and its client; their major is judged apart.
    Postgresql,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match name {
            "python3-django" | "python-django" | "python-django-common" => Some(Self::Django),
            "postgresql" => Some(Self::Postgresql),
            "lava" => Some(Self::Lava),
            _ if name.starts_with("lava-") => Some(Self::Lava),
            _ if name.starts_with("python3-django") || name.starts_with("python-django") => {
                Some(Self::Companion)
            }
            _ if name.starts_with("postgresql-") && is_server_or_client(name) => {
                Some(Self::Postgresql)
            }
            _ => None,
        }
    }
}

fn is_server_or_client(name: &str) -> bool {
    let number =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let rest = name.strip_prefix("postgresql-").unwrap_or(name);
    matches!(rest, "common" | "client" | "client-common")
        || number(rest)
        || rest.strip_prefix("client-").is_some_and(number)
}

/// Whether a package must be the backup's.
pub(super) fn is_critical(name: &str) -> bool {
    Kind::of(name).is_some()
}

/// Whether the files of a package define the migrations of an application.
pub(crate) fn ships_migrations_of(package: &str, app: &str) -> bool {
    if package == Role::Master.package() {
        // The results of LAVA's first years.
        return LAVA_APPS.contains(&app) || app == "dashboard_app";
    }
    let old = || package.strip_prefix("python-");
    let apps: &[&str] = match package.strip_prefix("python3-").or_else(old) {
        Some("django") => &[
            "admin",
            "auth",
            "contenttypes",
            "flatpages",
            "redirects",
            "sessions",
            "sites",
        ],
        Some("django-allauth") => &["account", "socialaccount"],
        Some("djangorestframework") => &["authtoken"],
        _ => &[],
    };
    apps.contains(&app)
}

/// Whether a package is one of LAVA's own.
pub(crate) fn is_lava(name: &str) -> bool {
    Kind::of(name) == Some(Kind::Lava)
}

/// The packages that a host of this role stands on and has installed; of a worker, LAVA's alone.
pub(crate) fn critical_packages(facts: &Facts, role: Role) -> impl Iterator<Item = &Package> {
    let critical = move |package: &&Package| {
        let kind = Kind::of(&package.name);
        package.is_installed()
            && (kind == Some(Kind::Lava) || kind.is_some() && role == Role::Master)
    };
    facts.packages.iter().filter(critical)
}

/// Whether a backup holds the .deb of a package of its host.
pub(crate) fn has_deb(backup: &Backup, role: Role, name: &str) -> bool {
    let Some(debs) = &backup.debs else {
        return false;
    };
    if let Some(held) = &debs.held {
        return held.iter().any(|known| known == name);
    }
    let is_asked = debs.scope == "closure"
        || critical_packages(&backup.facts, role).any(|package| package.name == name);
    is_asked && !debs.lacking.iter().any(|lacking| lacking == name)
}

/// The packages of the backup that are not on the target as they must be.
pub(crate) fn differing_packages(case: &Case<'_>) -> Vec<String> {
    let critical = critical_packages(&case.backup().facts, case.planned.role);
    let differing = critical.filter(|p| judge(case, p).severity == Verdict::Prepare);
    let mut names: Vec<String> = differing.map(|package| package.name.clone()).collect();
    names.extend(super::archive::differing_dependencies(case));
    names.sort();
    names.dedup();
    names
}

/// The packages that an installation names; none where the backup's .debs are all that is needed.
pub(crate) fn packages_to_name(case: &Case<'_>) -> Vec<String> {
    let differing = differing_packages(case);
    let has = |name: &String| has_deb(case.backup(), case.planned.role, name);
    match case.lacks_lava() && differing.iter().all(has) {
        true => vec![],
        false => differing,
    }
}

/// The packages that an installation may change.
pub(crate) fn changed_packages(case: &Case<'_>) -> Vec<String> {
    let named = packages_to_name(case);
    if !named.is_empty() || !case.lacks_lava() {
        return named;
    }
    let all = case.backup().facts.packages.iter();
    all.map(|package| package.name.clone()).collect()
}

/// Name and version of each critical package as the target must have it when the database is
/// loaded: the backup's, or the target's where the difference was judged harmless.
pub(crate) fn accepted_versions(case: &Case<'_>) -> Vec<(String, PackageVersion)> {
    let accepted = |package: &Package| {
        let found = case.target().installed(&package.name);
        let version = match (judge(case, package).severity, found) {
            (Verdict::Ok | Verdict::Note, found) => found?.version.clone(),
            _ => package.version.clone(),
        };
        Some((package.name.clone(), version))
    };
    let mut versions: Vec<_> = critical_packages(&case.backup().facts, case.planned.role)
        .filter_map(accepted)
        .collect();
    versions.dedup_by(|a, b| a.0 == b.0);
    versions
}

/// Packages that dpkg left off in the middle of. Finishing one later would run lava-server's
/// maintainer script, and so a migration, on the restored database.
pub(super) fn unclean(case: &Case<'_>) -> Vec<Finding> {
    const REMEDY: &str = "finish or remove it on the target now, and gather the facts again";
    let unclean = case
        .target()
        .packages
        .iter()
        .filter(|package| package.is_unclean());
    let mut findings: Vec<Finding> = unclean
        .map(|package| {
            refuse(Code::PkgUnclean, &package.name)
                .compared("installed", &package.state)
                .remedy(REMEDY)
        })
        .collect();
    if case.target().has_disorder("dpkg.interrupted") {
        let finding = refuse(Code::PkgInterrupted, "dpkg").compared("idle", "interrupted");
        findings.push(finding.remedy(REMEDY));
    }
    if findings.is_empty() {
        findings.push(ok(Code::PkgClean, "dpkg").compared("nothing left undone", "nothing"));
    }
    findings
}

/// lava-server itself.
pub(super) fn lava(case: &Case<'_>) -> Vec<Finding> {
    let unknown = |facts: &Facts| facts.packages.is_empty();
    let whose = match (unknown(case.target()), unknown(&case.backup().facts)) {
        (true, _) => Some("target"),
        (_, true) => Some("backup"),
        _ => None,
    };
    if let Some(whose) = whose {
        let finding = refuse(Code::PkgUnknown, whose).compared("dpkg's packages", "unknown");
        return vec![finding.remedy("gather the facts again")];
    }
    let main = case.planned.role.package();
    let Some(wanted) = case.backup().facts.installed(main) else {
        return vec![
            refuse(Code::LavaUnknown, main)
                .compared("installed", "not among the backup's packages")
                .remedy("give the backup of a host of this role"),
        ];
    };
    let mut findings = vec![judge_lava(case, wanted)];
    // Packages are changed on an empty host alone: LAVA's migrate whatever they find.
    let changes = case.planned.role == Role::Master
        && (case.lacks_lava() || !packages_to_name(case).is_empty());
    if changes && !matches!(super::data::data(case)[0].severity, Verdict::Ok) {
        findings.push(
            refuse(Code::PkgChangeWithData, "lava-server")
                .compared("an empty database", "a lab")
                .remedy("restore to a fresh target"),
        );
    }
    findings.extend(partial(case));
    findings
}

/// Whether the target's packages of LAVA's one source disagree.
fn partial(case: &Case<'_>) -> Option<Finding> {
    const ONE_SOURCE: [&str; 6] = [
        "lava",
        "lava-common",
        "lava-dispatcher",
        "lava-dispatcher-host",
        "lava-server",
        "lava-server-doc",
    ];
    let there = ONE_SOURCE
        .iter()
        .filter_map(|name| case.target().installed(name));
    let there: Vec<&Package> = there.collect();
    let releases = there
        .iter()
        .filter_map(|package| LavaVersion::of(&package.version).ok());
    let releases: std::collections::BTreeSet<String> =
        releases.map(|release| release.to_string()).collect();
    if releases.len() < 2 {
        return None;
    }
    let backup = &case.backup().facts;
    let release = backup.lava_version();
    let is_foreign = |package: &&&Package| {
        backup.installed(&package.name).is_none()
            && LavaVersion::of(&package.version).ok() != release
    };
    // No installation from the backup changes one that the backup does not have.
    if let Some(foreign) = there.iter().find(is_foreign) {
        let finding = refuse(Code::LavaPartial, &foreign.name)
            .compared(shown(release), &foreign.version)
            .remedy("remove it from the target, and gather the facts again");
        return Some(finding);
    }
    let as_in_backup = |package: &&Package| {
        let wanted = backup.installed(&package.name);
        wanted.is_some_and(|wanted| wanted.version == package.version)
    };
    let finding = if there.iter().all(as_in_backup) {
        note(Code::LavaPartial, "LAVA")
    } else {
        prepare(Code::LavaPartial, "LAVA", names::PACKAGES)
            .remedy("install the backup's packages, all of one release")
    };
    let found: Vec<String> = releases.into_iter().collect();
    Some(finding.compared("one release", found.join(", ")))
}

/// Every other critical package of the backup.
pub(super) fn critical(case: &Case<'_>) -> Vec<Finding> {
    if case.target().packages.is_empty() {
        return vec![]; // `lava` refuses
    }
    let mut findings: Vec<Finding> = critical_packages(&case.backup().facts, case.planned.role)
        .filter(|package| package.name != case.planned.role.package())
        .map(|package| judge(case, package))
        .collect();
    if case.planned.role != Role::Master {
        return findings;
    }
    // Any LAVA package newer than lava-server's own release would pull it along.
    let newest = case.backup().facts.lava_version();
    for extra in critical_packages(case.target(), case.planned.role).filter(|p| is_lava(&p.name)) {
        let release = LavaVersion::of(&extra.version).ok();
        if case.backup().facts.installed(&extra.name).is_none() && release > newest {
            let newest = shown(newest.as_ref());
            findings.push(refuse_newer(&extra.name, newest, &extra.version));
        }
    }
    findings
}

/// The migrations that the target's packages ship against those that the backup's database had.
pub(super) fn migrations(case: &Case<'_>) -> Vec<Finding> {
    const SUBJECT: &str = "django_migrations";
    const THOSE: &str = "those of the backup's database";
    let dump = case.backup().database.as_ref();
    let Some(applied) = dump.and_then(|dump| dump.migrations.as_ref()) else {
        return vec![]; // `content::migrations` refuses
    };
    let finding = match &case.target().migrations_shipped {
        _ if case.lacks_lava() => prepare(Code::TargetMigrations, SUBJECT, names::PACKAGES)
            .compared(THOSE, "no LAVA yet")
            .remedy("install the backup's packages"),
        None => refuse(Code::TargetMigrationsUnknown, SUBJECT)
            .compared(THOSE, "unknown")
            .remedy("gather the target's facts again, with its packages' migration files"),
        Some(shipped) => {
            let mismatch = migration::compare(applied, shipped);
            if mismatch.is_empty() {
                ok(Code::TargetMigrations, SUBJECT).compared(applied.len(), applied.len())
            } else {
                let mut found = Vec::new();
                if !mismatch.unknown.is_empty() {
                    found.push(format!("lacks {}", list(&mismatch.unknown)));
                }
                if !mismatch.missing.is_empty() {
                    found.push(format!("has more: {}", list(&mismatch.missing)));
                }
                // What ships them is about to become the backup's.
                let changes = packages_to_name(case);
                let differing = mismatch.unknown.iter().chain(&mismatch.missing);
                let mut apps = differing.map(|migration| &migration.app);
                let is_changed =
                    |app: &String| changes.iter().any(|name| ships_migrations_of(name, app));
                let finding = match apps.all(is_changed) {
                    true => prepare(Code::TargetMigrationsDiffer, SUBJECT, names::PACKAGES),
                    false => refuse(Code::TargetMigrationsDiffer, SUBJECT),
                };
                finding
                    .compared(THOSE, found.join("; "))
                    .remedy("bring the packages to the backup's exact versions on an empty target")
            }
        }
    };
    vec![finding]
}

/// One critical package of the backup against the target.
fn judge(case: &Case<'_>, wanted: &Package) -> Finding {
    match Kind::of(&wanted.name) {
        Some(Kind::Lava) => judge_lava(case, wanted),
        Some(Kind::Postgresql) => judge_postgresql(case, wanted),
        Some(Kind::Django) => judge_django(case, wanted),
        _ => judge_companion(case, wanted),
    }
}

fn judge_lava(case: &Case<'_>, wanted: &Package) -> Finding {
    let is_main = wanted.name == case.planned.role.package();
    let code = |main: Code, other: Code| if is_main { main } else { other };
    let name = &wanted.name;
    let Some(found) = case.target().installed(name) else {
        return prepare(
            code(Code::LavaAbsent, Code::PkgCriticalDiffers),
            name,
            names::PACKAGES,
        )
        .compared(&wanted.version, "not installed")
        .remedy(install(wanted));
    };
    let release = |package: &Package| LavaVersion::of(&package.version).ok();
    let (b, t) = (release(wanted), release(found));
    let finding = if found.version.as_str() == wanted.version.as_str() {
        ok(code(Code::LavaEqual, Code::PkgSame), name)
    } else if b.is_none() || t.is_none() {
        refuse(Code::LavaUnknown, name)
            .remedy("bring the target to the backup's exact version while it is empty")
    } else if t > b && case.planned.role == Role::Master {
        return refuse_newer(name, &wanted.version, &found.version);
    } else if t != b && case.planned.role != Role::Master {
        prepare(Code::WorkerPackage, name, names::PACKAGES).remedy(install(wanted))
    } else if t < b {
        prepare(
            code(Code::LavaOlder, Code::PkgCriticalDiffers),
            name,
            names::PACKAGES,
        )
        .remedy(install(wanted))
    } else {
        // Another build of the same release: `migrations` refuses when it ships another set.
        note(code(Code::LavaOtherBuild, Code::PkgOtherBuild), name)
    };
    finding.compared(&wanted.version, &found.version)
}

fn refuse_newer(name: &str, wanted: impl std::fmt::Display, found: &PackageVersion) -> Finding {
    refuse(Code::LavaNewer, name).compared(wanted, found).remedy(
        "prepare a fresh target with the backup's exact version; there is no way back for this one",
    )
}

fn judge_django(case: &Case<'_>, wanted: &Package) -> Finding {
    let name = &wanted.name;
    let Some(found) = case.target().installed(name) else {
        return prepare(Code::DjangoAbsent, name, names::PACKAGES)
            .compared(&wanted.version, "not installed")
            .remedy(install(wanted));
    };
    let is_feature = feature(&wanted.version) != feature(&found.version);
    // A database that stays would not get the tables of another Django.
    let comes = wanted.version > found.version
        && has_deb(case.backup(), case.planned.role, name)
        && (case.restores_data() || case.lacks_lava());
    let finding = if found.version.as_str() == wanted.version.as_str() {
        ok(Code::DjangoSame, name)
    } else if is_feature && !comes {
        refuse(Code::DjangoFeature, name)
            .remedy("prepare a target with the backup's suite and Django")
    } else if let Some(finding) = judge_backport(wanted, found) {
        finding
    } else if is_feature {
        prepare(Code::DjangoFeature, name, names::PACKAGES).remedy(install(wanted))
    } else if wanted.version.upstream() == found.version.upstream() {
        note(Code::DjangoRevision, name)
    } else {
        prepare(Code::DjangoPatch, name, names::PACKAGES).remedy(install(wanted))
    };
    finding.compared(&wanted.version, &found.version)
}

fn judge_companion(case: &Case<'_>, wanted: &Package) -> Finding {
    let name = &wanted.name;
    let Some(found) = case.target().installed(name) else {
        return prepare(Code::PkgCriticalDiffers, name, names::PACKAGES)
            .compared(&wanted.version, "not installed")
            .remedy(install(wanted));
    };
    let finding = if found.version.as_str() == wanted.version.as_str() {
        ok(Code::PkgSame, name)
    } else if let Some(finding) = judge_backport(wanted, found) {
        finding
    } else if found.version.upstream() == wanted.version.upstream() {
        note(Code::PkgOtherRevision, name)
    } else if found.version > wanted.version {
        prepare(Code::PkgDowngrade, name, names::PACKAGES).remedy(install(wanted))
    } else {
        prepare(Code::PkgCriticalDiffers, name, names::PACKAGES).remedy(install(wanted))
    };
    finding.compared(&wanted.version, &found.version)
}

fn judge_postgresql(case: &Case<'_>, wanted: &Package) -> Finding {
    let major = |facts: &Facts| facts.postgresql.as_ref().map(|server| server.major);
    let target = major(case.target());
    let other_major = target.is_some() && target != major(&case.backup().facts);
    let found = case.target().installed(&wanted.name);
    let finding = match found {
        Some(found) if found.version.as_str() == wanted.version.as_str() => {
            ok(Code::PkgSame, &wanted.name)
        }
        // A minor release changes no format; of another major, `postgresql::major` speaks.
        Some(_) => note(Code::PkgOtherRevision, &wanted.name),
        None if other_major => note(Code::PkgOtherMajor, &wanted.name),
        None => {
            prepare(Code::PkgCriticalDiffers, &wanted.name, names::PACKAGES).remedy(install(wanted))
        }
    };
    let found = found.map_or_else(|| "not installed".to_owned(), |p| p.version.to_string());
    finding.compared(&wanted.version, found)
}

/// Two versions that one of the two hosts has from backports.
fn judge_backport(wanted: &Package, found: &Package) -> Option<Finding> {
    match (is_backport(wanted), is_backport(found)) {
        (true, false) => {
            Some(prepare(Code::BpoMissing, &wanted.name, names::PACKAGES).remedy(install(wanted)))
        }
        (false, true) => Some(
            refuse(Code::BpoExtra, &wanted.name)
                .remedy("prepare a target with the suite's own version"),
        ),
        _ => None,
    }
}

/// By where it came from, and by its name where nobody knows.
pub(super) fn is_backport(package: &Package) -> bool {
    match package.origin {
        Some(Class::Backports | Class::BackportsSloppy) => true,
        Some(Class::Superseded | Class::Local | Class::Unknown) | None => {
            package.version.as_str().contains("~bpo")
        }
        Some(_) => false,
    }
}

/// The feature release of Django that a version is of.
fn feature(version: &PackageVersion) -> Vec<&str> {
    version.upstream().split('.').take(2).collect()
}

pub(super) fn install(package: &Package) -> String {
    format!(
        "install {}={} from the backup or its suite",
        package.name, package.version
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_critical_by_its_name() {
        for critical in [
            "lava",
            "lava-server",
            "lava-common",
            "lava-dispatcher",
            "python3-django",
            "python-django-tables2",
            "python3-djangorestframework",
            "postgresql",
            "postgresql-15",
            "postgresql-9.6",
            "postgresql-client-15",
            "postgresql-common",
        ] {
            assert!(Kind::of(critical).is_some(), "{critical}");
        }
        for other in [
            "lavacli",
            "postgresql-15-repack",
            "postgresql-doc",
            "python3-yaml",
            "bash",
        ] {
            assert!(Kind::of(other).is_none(), "{other}");
        }
    }
}
