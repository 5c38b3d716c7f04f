//! The server that takes the dump.

use std::cmp::Ordering;

use super::{Case, Code, note, ok, prepare, refuse, shown};
use crate::draft::names;
use crate::facts::{Database, DatabaseState, Facts, PostgresqlFacts};
use crate::finding::Finding;
use crate::master;

const USUAL_PORT: u16 = 5432;

fn server_of(facts: &Facts) -> Option<&PostgresqlFacts> {
    facts.postgresql.as_ref()
}

/// The backup's database, as its host saw it.
fn database<'a>(case: &'a Case<'_>) -> Option<&'a Database> {
    match &case.backup().facts.database {
        DatabaseState::Present(database) => Some(database),
        _ => None,
    }
}

pub(super) fn major(case: &Case<'_>) -> Vec<Finding> {
    let (backup, target) = (server_of(&case.backup().facts), server_of(case.target()));
    let major = |server: Option<&PostgresqlFacts>| server.map(|server| server.major);
    let version = |server: Option<&PostgresqlFacts>| {
        let server = server?;
        let said = server.server_version.as_deref();
        let said = said.and_then(|said| said.split(' ').next());
        Some(said.map_or_else(|| server.major.to_string(), str::to_owned))
    };
    let minor = |text: &Option<String>| {
        let (_, minor) = text.as_ref()?.rsplit_once('.')?;
        minor.parse::<u32>().ok()
    };
    let (then, now) = (version(backup), version(target));
    const SUBJECT: &str = "PostgreSQL";
    let finding = match (major(backup), major(target)) {
        (Some(b), Some(t)) => match t.cmp(&b) {
            // A minor release behind lacks its fixes, and takes the dump.
            Ordering::Equal if minor(&now) < minor(&then) => note(Code::PgSame, SUBJECT),
            Ordering::Equal => ok(Code::PgSame, SUBJECT),
            Ordering::Greater => note(Code::PgNewer, SUBJECT),
            Ordering::Less => refuse(Code::PgOlder, SUBJECT)
                .remedy("prepare a target with the backup's major version"),
        },
        (Some(_), None) if case.lacks_lava() => prepare(Code::PgAbsent, SUBJECT, names::PACKAGES)
            .remedy("install the backup's packages"),
        _ => refuse(Code::PgUnknown, SUBJECT)
            .remedy("gather the facts again with the server running"),
    };
    vec![finding.compared(shown(then), shown(now))]
}

/// The tools that read the dump, which are packages of their own.
pub(super) fn client(case: &Case<'_>) -> Vec<Finding> {
    let newest = |facts: &Facts| {
        let installed = facts
            .packages
            .iter()
            .filter(|package| package.is_installed());
        let majors = installed.filter_map(|package| {
            let rest = package.name.strip_prefix("postgresql-client-")?;
            rest.parse::<u32>().ok()
        });
        majors.max()
    };
    let needed = server_of(&case.backup().facts).map(|server| server.major);
    let there = newest(case.target());
    // One that is to be installed anyway is seen to by its own rule.
    let comes = newest(&case.backup().facts) >= needed && needed.is_some();
    match (needed, there) {
        (Some(needed), Some(there)) if there < needed && !comes => vec![
            refuse(Code::PgClientOld, "pg_restore")
                .compared(format!("{needed} or later"), there)
                .remedy(format!("install postgresql-client-{needed} on the target")),
        ],
        _ => vec![],
    }
}

/// Whether the server that the restored settings name is the target's own.
pub(super) fn server(case: &Case<'_>) -> Vec<Finding> {
    let Some(database) = database(case) else {
        return vec![]; // the dump alone says nothing of it; the usual server is meant
    };
    let local = |host: &str| {
        let address = host.parse::<std::net::IpAddr>();
        matches!(host, "" | "localhost")
            || host.starts_with('/')
            || address.is_ok_and(|address| address.is_loopback())
    };
    let host = database.host.as_deref().unwrap_or("");
    let mut findings = Vec::new();
    if !local(host) {
        findings.push(
            refuse(Code::PgRemote, "database server")
                .compared("this host", host)
                .remedy("restore on the host of the database by LAVA's manual"),
        );
    }
    let port = master::port(case).unwrap_or(USUAL_PORT);
    let (ports, clusters): (Vec<u16>, usize) = match server_of(case.target()) {
        Some(server) => {
            let ports = server.clusters.iter().filter_map(|cluster| cluster.port);
            (ports.collect(), server.clusters.len())
        }
        // The cluster that comes with the backup's packages.
        None if case.lacks_lava() => (vec![USUAL_PORT], 1),
        None => return findings, // `major` speaks of it
    };
    let finding = if ports.contains(&port) {
        ok(Code::PgCluster, "database server")
    } else if ports.is_empty() || ports.len() < clusters {
        note(Code::PgCluster, "database server").remedy("look with pg_lsclusters")
    } else {
        refuse(Code::PgCluster, "database server").remedy("give the target's cluster that port")
    };
    findings.push(finding.compared(format!("port {port}"), format!("ports {ports:?}")));
    findings
}

pub(super) fn encoding(case: &Case<'_>) -> Vec<Finding> {
    let backup = case
        .backup()
        .database
        .as_ref()
        .and_then(|dump| dump.encoding.as_deref());
    let target = match &case.target().database {
        DatabaseState::Present(database) => Some(database.encoding.as_deref()),
        _ => None,
    };
    let finding = match (backup, target) {
        (None, _) => refuse(Code::PgEncoding, "database")
            .remedy("verify the backup; its dump may be damaged"),
        (Some(b), Some(Some(t))) if b != t => refuse(Code::PgEncoding, "database")
            .remedy("make the target's cluster anew with the backup's encoding"),
        (Some(_), Some(None)) => note(Code::PgEncoding, "database"),
        _ => ok(Code::PgEncoding, "database"),
    };
    let found = match target {
        None => "no database".to_owned(),
        Some(encoding) => shown(encoding),
    };
    vec![finding.compared(shown(backup), found)]
}

/// Names of one locale: `en_US.UTF-8` in settings, `en_US.utf8` in lists.
fn locale_key(name: &str) -> String {
    let (language, codeset) = name.split_once('.').unwrap_or((name, ""));
    let codeset = codeset.to_ascii_lowercase().replace('-', "");
    format!("{language}.{codeset}")
}

/// Part of the C library itself.
fn always_there(locale: &str) -> bool {
    matches!(locale_key(locale).as_str(), "C." | "POSIX." | "C.utf8")
}

pub(super) fn locale(case: &Case<'_>) -> Vec<Finding> {
    let Some(database) = database(case) else {
        return vec![note(Code::PgLocale, "locale").compared("known", "unknown")];
    };
    let mut wanted: Vec<&str> = [&database.collate, &database.ctype]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    wanted.dedup();
    if wanted.is_empty() {
        return vec![note(Code::PgLocale, "locale").compared("known", "unknown")];
    }
    let there = case.target().locales.as_ref();
    let keys: Option<Vec<String>> =
        there.map(|names| names.iter().map(|name| locale_key(name)).collect());
    let of = |locale: &str| {
        let finding = match &keys {
            _ if always_there(locale) => ok(Code::PgLocale, locale),
            Some(keys) if keys.contains(&locale_key(locale)) => ok(Code::PgLocale, locale),
            Some(_) => {
                return prepare(Code::PgLocale, locale, names::BY_HAND)
                    .compared("there", "missing")
                    .remedy("name it in /etc/locale.gen, and run locale-gen");
            }
            None => {
                return note(Code::PgLocale, locale)
                    .compared("there", "unknown")
                    .remedy("look with `locale -a` on the target");
            }
        };
        finding.compared("there", "there")
    };
    wanted.into_iter().map(of).collect()
}

/// Whether the two C libraries may order text otherwise.
pub(super) fn collation(case: &Case<'_>) -> Vec<Finding> {
    let collate = database(case).and_then(|database| database.collate.as_deref());
    if collate.is_some_and(always_there) {
        return vec![ok(Code::PgCollation, "order of text").compared("by bytes", "by bytes")];
    }
    let library = |facts: &Facts| {
        let package = facts.installed("libc6");
        package.map(|package| package.version.upstream().to_owned())
    };
    let (backup, target) = (library(&case.backup().facts), library(case.target()));
    let finding = match (&backup, &target) {
        (Some(b), Some(t)) if b == t => ok(Code::PgCollation, "order of text"),
        _ => note(Code::PgCollation, "order of text"),
    };
    vec![finding.compared(shown(backup), shown(target))]
}

/// The restore makes the role where it is missing, with the password of the restored settings.
pub(super) fn role(case: &Case<'_>) -> Vec<Finding> {
    let dump = case.backup().database.as_ref();
    let owner = dump.and_then(|dump| dump.owner.as_deref());
    let roles = server_of(case.target()).and_then(|server| server.roles.as_ref());
    let finding = match (owner, roles) {
        (Some(owner), Some(roles)) if roles.iter().any(|role| role == owner) => {
            ok(Code::PgRole, "owner").compared(owner, owner)
        }
        (_, roles) => note(Code::PgRole, "owner")
            .compared(shown(owner), roles.map_or("unknown", |_| "missing"))
            .seen_to_by(names::LOAD),
    };
    vec![finding]
}

pub(super) fn extensions(case: &Case<'_>) -> Vec<Finding> {
    let Some(wanted) = database(case).and_then(|database| database.extensions.as_ref()) else {
        return vec![note(Code::PgExtension, "extensions").compared("known", "unknown")];
    };
    if wanted.is_empty() {
        return vec![ok(Code::PgExtension, "extensions").compared("none", "none")];
    }
    let there = server_of(case.target()).and_then(|server| server.extensions.as_ref());
    let of = |name: &String| {
        let finding = match there {
            Some(there) if there.contains(name) => {
                return ok(Code::PgExtension, name).compared("there", "there");
            }
            Some(_) => refuse(Code::PgExtension, name)
                .remedy("install the package that brings it, and gather the facts again"),
            None => note(Code::PgExtension, name)
                .remedy("look into pg_available_extensions on the target"),
        };
        finding.compared("there", there.map_or("unknown", |_| "missing"))
    };
    wanted.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_has_several_spellings() {
        assert_eq!(locale_key("en_US.UTF-8"), locale_key("en_US.utf8"));
        assert_ne!(locale_key("en_US.UTF-8"), locale_key("en_US.ISO-8859-1"));
        assert!(always_there("C.UTF-8") && always_there("C") && !always_there("de_DE.UTF-8"));
    }
}
