//! The packages that must be the backup's.

use super::{Case, note, ok, prepare, refuse, shown};
use crate::draft::names;
use crate::facts::{Facts, Package, Role};
use crate::finding::{Finding, Verdict};
use crate::migration::{Difference, list};
use crate::{LavaVersion, PackageVersion};

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

/// The critical packages of the backup that are not on the target as they must be.
pub(crate) fn differing_packages(case: &Case<'_>) -> Vec<String> {
    let critical = critical_packages(&case.backup().facts, case.planned.role);
    let differing = critical.filter(|p| judge(case, p).severity == Verdict::Prepare);
    let mut names: Vec<String> = differing.map(|package| package.name.clone()).collect();
    names.dedup();
    names
}

/// Name and version of each critical package as the target must have it when the database is
/// loaded: the backup's, or the target's where the difference was judged harmless.
pub(crate) fn accepted_versions(case: &Case<'_>) -> Vec<(String, PackageVersion)> {
    let accepted = |package: &Package| {
        let found = installed(case.target(), &package.name);
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
    let unclean: Vec<_> = case
        .target()
        .packages
        .iter()
        .filter(|package| package.is_unclean())
        .collect();
    let why = "whoever finishes it after the load configures LAVA, and that \
     migrates the database";
    let ground = "R34; measured: dpkg configures it with the next package";
    if unclean.is_empty() {
        return vec![
            ok("pkg.clean", "dpkg")
                .compared("nothing left undone", "nothing")
                .because(why, ground),
        ];
    }
    let finding = |package: &&Package| {
        refuse("pkg.unclean", &package.name)
            .compared("installed", &package.state)
            .because(why, ground)
            .remedy("finish or remove it on the target now, and gather the facts again")
    };
    unclean.iter().map(finding).collect()
}

/// lava-server itself.
pub(super) fn lava(case: &Case<'_>) -> Vec<Finding> {
    if case.target().packages.is_empty() || case.backup().facts.packages.is_empty() {
        let whose = if case.target().packages.is_empty() {
            "target"
        } else {
            "backup"
        };
        return vec![
            refuse("pkg.unknown", whose)
                .compared("dpkg's packages", "unknown")
                .because("database and packages must match precisely", "R30, R36")
                .remedy("gather the facts again"),
        ];
    }
    let main = case.planned.role.package();
    let wanted = case.backup().facts.package(main);
    let Some(wanted) = wanted.filter(|package| package.is_installed()) else {
        return vec![
            refuse("lava.unknown", main)
                .compared("installed", "not among the backup's packages")
                .because("a backup is restored to its very release", "R89, R129")
                .remedy("give the backup of a host of this role"),
        ];
    };
    let mut findings = vec![judge_lava(case, wanted)];
    // An older LAVA is brought to the backup's by its package, and that migrates what it finds.
    let older = findings[0].code == "lava.older" && case.planned.role == Role::Master;
    if older && !matches!(super::data::data(case)[0].severity, Verdict::Ok) {
        findings.push(
            refuse("lava.older_with_data", "lava-server")
                .compared("an empty database", "a lab")
                .because(
                    "bringing LAVA forward migrates the database that is there now, and \
                     this one is to be kept",
                    "R34",
                )
                .remedy("restore to a fresh target"),
        );
    }
    findings
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
    for extra in critical_packages(case.target(), case.planned.role)
        .filter(|p| Kind::of(&p.name) == Some(Kind::Lava))
    {
        let release = LavaVersion::of(&extra.version).ok();
        if installed(&case.backup().facts, &extra.name).is_none() && release > newest {
            findings.push(refuse_newer(
                &extra.name,
                shown(newest.as_ref()),
                &extra.version,
            ));
        }
    }
    findings
}

/// The migrations that the target's packages ship against those that the backup's database had.
pub(super) fn migrations(case: &Case<'_>) -> Vec<Finding> {
    let why = "the package migrates a database that lacks one, and breaks on one \
     that has more; LAVA's checks see neither";
    let ground = "R30, C4; measured on three releases";
    let Some(applied) = case
        .backup()
        .database
        .as_ref()
        .and_then(|dump| dump.migrations.as_ref())
    else {
        return vec![]; // `itself::migrations` refuses
    };
    let subject = "django_migrations";
    let finding = match &case.target().migrations_shipped {
        _ if case.lacks_lava() => prepare("target.migrations", subject, names::PACKAGES)
            .compared("those of the backup's database", "no LAVA yet")
            .remedy("install the backup's packages"),
        None => refuse("target.migrations_unknown", subject)
            .compared("those of the backup's database", "unknown")
            .remedy(
                "gather the target's facts again, with its packages' migration \
             files",
            ),
        Some(shipped) => {
            let difference = Difference::of(applied, shipped);
            if difference.is_empty() {
                ok("target.migrations", subject).compared(applied.len(), applied.len())
            } else {
                let mut found = Vec::new();
                if !difference.unknown.is_empty() {
                    found.push(format!("lacks {}", list(&difference.unknown)));
                }
                if !difference.pending.is_empty() {
                    found.push(format!("has more: {}", list(&difference.pending)));
                }
                refuse("target.migrations_differ", subject)
                    .compared("those of the backup's database", found.join("; "))
                    .remedy(
                        "bring the packages to the backup's exact versions on an empty \
                     target, and gather the facts again",
                    )
            }
        }
    };
    vec![finding.because(why, ground)]
}

fn installed<'a>(facts: &'a Facts, name: &str) -> Option<&'a Package> {
    facts.package(name).filter(|package| package.is_installed())
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
    let code = |main: &'static str, other: &'static str| if is_main { main } else { other };
    let name = &wanted.name;
    let Some(found) = installed(case.target(), name) else {
        return prepare(
            code("lava.absent", "pkg.critical_differs"),
            name,
            names::PACKAGES,
        )
        .compared(&wanted.version, "not installed")
        .because(
            "the backup's database belongs to exactly this release",
            "R88, R89",
        )
        .remedy(install(wanted));
    };
    if found.version.as_str() == wanted.version.as_str() {
        return ok(code("lava.equal", "pkg.same"), name).compared(&wanted.version, &found.version);
    }
    let release = |package: &Package| LavaVersion::of(&package.version).ok();
    let (Some(b), Some(t)) = (release(wanted), release(found)) else {
        return refuse("lava.unknown", name)
            .compared(&wanted.version, &found.version)
            .because("which of the two releases is newer can't be told", "R90")
            .remedy("bring the target to the backup's exact version while it is empty");
    };
    if t > b && case.planned.role == Role::Master {
        return refuse_newer(name, &wanted.version, &found.version);
    }
    if t != b && case.planned.role != Role::Master {
        return prepare("worker.package", name, names::PACKAGES)
            .compared(&wanted.version, &found.version)
            .because("a master puts a worker of another version offline", "R129")
            .remedy(install(wanted));
    }
    if t < b {
        return prepare(
            code("lava.older", "pkg.critical_differs"),
            name,
            names::PACKAGES,
        )
        .compared(&wanted.version, &found.version)
        .because(
            "brought forward later, the package migrates the restored database; \
             brought forward now, it meets an empty one",
            "R89, C4",
        )
        .remedy(install(wanted));
    }
    // Another build of the same release: `migrations` refuses when it ships another set.
    note(code("lava.other_build", "pkg.other_build"), name)
        .compared(&wanted.version, &found.version)
        .because(
            "another build of the same release; the sets of migrations decide",
            "C4",
        )
}

fn refuse_newer(name: &str, wanted: impl std::fmt::Display, found: &PackageVersion) -> Finding {
    refuse("lava.newer", name)
        .compared(wanted, found)
        .because(
            "a newer LAVA migrates the backup's database, silently and for good",
            "R33, R90; measured: 2020.12 into 2023.01 and 2026.10",
        )
        .remedy(
            "prepare a fresh target with the backup's exact version; there is \
         no way back for this one",
        )
}

fn judge_django(case: &Case<'_>, wanted: &Package) -> Finding {
    let finding = match installed(case.target(), &wanted.name) {
        None => prepare("django", &wanted.name, names::PACKAGES)
            .compared(&wanted.version, "not installed")
            .remedy(install(wanted)),
        Some(found) => {
            let same =
                |parts: usize| leading(&wanted.version, parts) == leading(&found.version, parts);
            let finding = match () {
                () if found.version.as_str() == wanted.version.as_str() => {
                    ok("django", &wanted.name)
                }
                () if wanted.version.upstream() == found.version.upstream() => {
                    note("django", &wanted.name)
                }
                () if same(2) => {
                    prepare("django", &wanted.name, names::PACKAGES).remedy(install(wanted))
                }
                () => refuse("django", &wanted.name)
                    .remedy("prepare a target with the backup's suite and Django"),
            };
            finding.compared(&wanted.version, &found.version)
        }
    };
    finding.because(
        "Django makes tables of its own: with another feature release the \
         same LAVA has another schema",
        "R36; measured: auth has 11 migrations in Django 2.2, 12 in 3.2",
    )
}

fn judge_companion(case: &Case<'_>, wanted: &Package) -> Finding {
    let found = installed(case.target(), &wanted.name);
    let finding = match found {
        Some(found) if found.version.as_str() == wanted.version.as_str() => {
            ok("pkg.same", &wanted.name)
        }
        Some(found) if found.version.upstream() == wanted.version.upstream() => {
            note("pkg.other_revision", &wanted.name)
        }
        _ => prepare("pkg.critical_differs", &wanted.name, names::PACKAGES).remedy(install(wanted)),
    };
    let found = found.map_or_else(|| "not installed".to_owned(), |p| p.version.to_string());
    finding
        .compared(&wanted.version, found)
        .because("LAVA's code and its tables stand on it", "R36, R37, R41")
}

fn judge_postgresql(case: &Case<'_>, wanted: &Package) -> Finding {
    let major = |facts: &Facts| facts.postgresql.as_ref().map(|server| server.major);
    let other_major =
        major(case.target()).is_some() && major(case.target()) != major(&case.backup().facts);
    let found = installed(case.target(), &wanted.name);
    let finding = match found {
        Some(found) if found.version.as_str() == wanted.version.as_str() => {
            ok("pkg.same", &wanted.name)
        }
        // A minor release changes no format; of another major, `postgresql::major` speaks.
        Some(_) => note("pkg.other_revision", &wanted.name),
        None if other_major => note("pkg.other_major", &wanted.name),
        None => {
            prepare("pkg.critical_differs", &wanted.name, names::PACKAGES).remedy(install(wanted))
        }
    };
    let found = found.map_or_else(|| "not installed".to_owned(), |p| p.version.to_string());
    finding
        .compared(&wanted.version, found)
        .because("the server and its tools take the dump", "R38")
}

/// The first parts of an upstream version, between its dots.
fn leading(version: &PackageVersion, parts: usize) -> Vec<&str> {
    version.upstream().split('.').take(parts).collect()
}

fn install(package: &Package) -> String {
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
