//! The server that takes the dump.

use super::{Case, note, ok, prepare, refuse, shown};
use crate::draft::names;
use crate::facts::DatabaseState;
use crate::finding::Finding;
use crate::master;

const USUAL_PORT: u16 = 5432;

pub(super) fn major(case: &Case<'_>) -> Vec<Finding> {
    let of = |facts: &crate::Facts| facts.postgresql.as_ref().map(|server| server.major);
    let (backup, target) = (of(&case.backup().facts), of(case.target()));
    let finding = match (backup, target) {
        (Some(b), Some(t)) if t == b => ok("pg.same", "PostgreSQL"),
        (Some(b), Some(t)) if t > b => note("pg.newer", "PostgreSQL"),
        (Some(_), Some(_)) => refuse("pg.older", "PostgreSQL")
            .remedy("prepare a target with the backup's major version"),
        (Some(_), None) if case.lacks_lava() => prepare("pg.absent", "PostgreSQL", names::PACKAGES)
            .remedy("install the backup's packages"),
        _ => refuse("pg.unknown", "PostgreSQL")
            .remedy("gather the facts again with the server running"),
    };
    vec![finding.compared(shown(backup), shown(target)).because(
        "an older server does not take a newer dump",
        "R38, R103; measured: 17 into 15 fails, 13 into 15 and 15 into 17 \
         go",
    )]
}

/// Whether the server that the restored settings name is the target's own.
pub(super) fn server(case: &Case<'_>) -> Vec<Finding> {
    let DatabaseState::Present(database) = &case.backup().facts.database else {
        return vec![]; // the dump alone says nothing of it; the usual server is meant
    };
    let local = |host: &str| {
        matches!(host, "" | "localhost" | "127.0.0.1" | "::1") || host.starts_with('/')
    };
    let host = database.host.as_deref().unwrap_or("");
    let mut findings = Vec::new();
    if !local(host) {
        findings.push(
            refuse("pg.remote", "database server")
                .compared("this host", host)
                .because("the plan restores to a server on the target itself", "R81")
                .remedy("restore on the host of the database by LAVA's manual"),
        );
    }
    let port = master::port(case).unwrap_or(USUAL_PORT);
    let clusters = case
        .target()
        .postgresql
        .iter()
        .flat_map(|server| &server.clusters);
    let ports: Option<Vec<u16>> = clusters.map(|cluster| cluster.port).collect();
    if let Some(ports) = ports.filter(|ports| !ports.is_empty() && !ports.contains(&port)) {
        findings.push(
            refuse("pg.cluster", "database server")
                .compared(format!("port {port}"), format!("ports {ports:?}"))
                .because(
                    "the restored settings look for the database at their own port",
                    "C7",
                )
                .remedy("give the target's cluster that port"),
        );
    }
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
        (None, _) => {
            refuse("pg.encoding", "database").remedy("verify the backup; its dump may be damaged")
        }
        (Some(b), Some(Some(t))) if b != t => refuse("pg.encoding", "database")
            .remedy("make the target's cluster anew with the backup's encoding"),
        (Some(_), Some(None)) => note("pg.encoding", "database"),
        _ => ok("pg.encoding", "database"),
    };
    let found = match target {
        None => "no database".to_owned(),
        Some(encoding) => shown(encoding),
    };
    vec![finding.compared(shown(backup), found).because(
        "text of one encoding is loaded into another without an error",
        "measured: a load into SQL_ASCII exits 0",
    )]
}
