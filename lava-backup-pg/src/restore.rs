use std::io::{self, Read, Write};
use std::process::Stdio;

use crate::archive::{DumpContents, TableInfo};
use crate::error::{Error, ErrorKind, Result};
use crate::readback::{self, Comparison, identifier, literal};
use crate::server::{self, Password};
use crate::superuser::Superuser;

/// A database to bring back beside the one that is there.
#[derive(Clone, Debug)]
pub struct Restore<'r> {
    /// The name it is to have.
    pub database: String,
    /// The role that owns it; made if it is missing.
    pub owner: String,
    /// The password that role is to have; unchanged if `None`.
    pub password: Option<Password>,
    /// Other roles that the dump names; one that is missing is made without a
    /// right to log in.
    pub roles: Vec<String>,
    /// Its encoding, such as `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// What the dump holds: every table is compared with it before the swap.
    pub contents: &'r DumpContents,
    /// A statement that answers with a number other than 0 if the database
    /// that is there holds data that nobody can make again.
    pub holds_data: String,
    /// Such data may go aside all the same.
    pub replace_data: bool,
    /// Part of the name that the old database gets: the time.
    pub stamp: String,
}

/// What [`restore`] did.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The name under which the old database is kept.
    pub kept: Option<String>,
    /// What was compared.
    pub comparison: Comparison,
}

/// Steps of a restore, for who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage<'s> {
    /// The rows are loaded.
    Loading,
    /// The planner's statistics are made.
    Analysing,
    /// A table is read back.
    Comparing(&'s TableInfo),
    /// The new database takes the old one's name.
    Swapping,
}

/// Marks a database of ours that is not finished, so that it may be dropped.
const UNFINISHED: &str = "lava-backup: being restored";

/// Loads a dump into a new database, proves it, and swaps it in by rename.
///
/// Up to the swap the old database serves on; after it, it is kept under
/// another name. Whatever fails before, the new one is dropped and the old one
/// is as it was.
///
/// # Errors
/// [`ErrorKind::Refused`] if the old database is in use or holds data that may
/// not go aside; [`ErrorKind::Failed`] with what `pg_restore` said;
/// [`ErrorKind::Differs`] if the loaded rows are not those of the dump.
pub fn restore(
    admin: &Superuser,
    spec: &Restore<'_>,
    dump: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    observe: &mut dyn FnMut(Stage<'_>),
) -> Result<Restored> {
    let new = format!("{}_restoring", spec.database);
    let old_is_there = exists(admin, &spec.database)?;
    if old_is_there {
        if is_unfinished(admin, &new)? {
            // Killed in the middle of the swap, we left it closed.
            let name = identifier(&spec.database);
            admin.query(
                "postgres",
                &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
            )?;
        }
        check_old(admin, spec)?;
    }
    drop_unfinished(admin, &new)?;
    make_owner(admin, spec)?;
    for role in &spec.roles {
        if !role_exists(admin, role)? {
            admin.query(
                "postgres",
                &format!("CREATE ROLE {} NOLOGIN", identifier(role)),
            )?;
        }
    }
    admin.query(
        "postgres",
        &format!(
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {};\n\
             COMMENT ON DATABASE {} IS {};",
            identifier(&new),
            identifier(&spec.owner),
            literal(&spec.encoding),
            literal(&spec.collate),
            literal(&spec.ctype),
            identifier(&new),
            literal(UNFINISHED),
        ),
    )?;
    let built = build(admin, spec, &new, dump, observe).and_then(|comparison| {
        observe(Stage::Swapping);
        let kept = swap(admin, spec, &new, old_is_there)?;
        Ok(Restored { kept, comparison })
    });
    if built.is_err() {
        // The first error is the one to tell.
        let _ = drop_unfinished(admin, &new);
    }
    built
}

fn exists(admin: &Superuser, database: &str) -> Result<bool> {
    let sql = format!(
        "SELECT 1 FROM pg_catalog.pg_database WHERE datname = {}",
        literal(database)
    );
    Ok(admin.value("postgres", &sql)?.is_some())
}

/// May the old database go aside?
fn check_old(admin: &Superuser, spec: &Restore<'_>) -> Result<()> {
    let refuse = |what: String| Err(Error::new(ErrorKind::Refused, what));
    let users = admin.query(
        "postgres",
        &format!(
            "SELECT usename || ' (' || application_name || ')', count(*) \
             FROM pg_catalog.pg_stat_activity \
             WHERE datname = {} AND backend_type = 'client backend' GROUP BY 1 ORDER BY 1",
            literal(&spec.database)
        ),
    )?;
    if !users.is_empty() {
        let users: Vec<String> = users.iter().map(|row| row.join(" × ")).collect();
        return refuse(format!(
            "replace the database {}: it is in use by {}; stop LAVA's services first",
            spec.database,
            users.join(", ")
        ));
    }
    if spec.replace_data {
        return Ok(());
    }
    let tables = "SELECT count(*) FROM pg_catalog.pg_class \
        WHERE relkind IN ('r', 'p', 'm') AND relnamespace::regnamespace::text \
        NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";
    if admin.value(&spec.database, tables)?.as_deref() == Some("0") {
        return Ok(());
    }
    match admin.value(&spec.database, &spec.holds_data) {
        Ok(Some(count)) if count == "0" => Ok(()),
        Ok(count) => refuse(format!(
            "replace the database {}: it holds data ({} rows that no installation makes)",
            spec.database,
            count.unwrap_or_default()
        )),
        Err(e) if e.kind() == ErrorKind::Query => refuse(format!(
            "replace the database {}: whether it holds data can't be seen ({e})",
            spec.database
        )),
        Err(e) => Err(e),
    }
}

/// Is it one that we began and did not swap in?
fn is_unfinished(admin: &Superuser, name: &str) -> Result<bool> {
    let mark = admin.value(
        "postgres",
        &format!(
            "SELECT pg_catalog.shobj_description(oid, 'pg_database') \
             FROM pg_catalog.pg_database WHERE datname = {}",
            literal(name)
        ),
    )?;
    Ok(mark.as_deref() == Some(UNFINISHED))
}

/// Removes what an interrupted restore of ours has left; nothing else.
fn drop_unfinished(admin: &Superuser, name: &str) -> Result<()> {
    if !exists(admin, name)? {
        return Ok(());
    }
    if !is_unfinished(admin, name)? {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "make the database {name}: there is one, and it is not an unfinished one of ours; rename or drop it"
            ),
        ));
    }
    // The psql of a run that was killed may be dropping it at this moment.
    let sql = format!("DROP DATABASE IF EXISTS {}", identifier(name));
    admin.query("postgres", &sql)?;
    Ok(())
}

fn role_exists(admin: &Superuser, role: &str) -> Result<bool> {
    let sql = format!(
        "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {}",
        literal(role)
    );
    Ok(admin.value("postgres", &sql)?.is_some())
}

/// Makes the owner's role, or gives it the password that LAVA will come with.
fn make_owner(admin: &Superuser, spec: &Restore<'_>) -> Result<()> {
    let role = identifier(&spec.owner);
    let verb = if role_exists(admin, &spec.owner)? {
        "ALTER"
    } else {
        "CREATE"
    };
    // The verifier, not the password: servers may log statements.
    let password = spec.password.as_ref().map(|password| {
        let verifier = postgres_protocol::password::scram_sha_256(password.reveal().as_bytes());
        format!(" PASSWORD {}", literal(&verifier))
    });
    if verb == "CREATE" || password.is_some() {
        let attributes = if verb == "CREATE" {
            " NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT"
        } else {
            ""
        };
        let password = password.unwrap_or_default();
        admin.query(
            "postgres",
            &format!("{verb} ROLE {role} LOGIN{attributes}{password}"),
        )?;
    }
    Ok(())
}

fn build(
    admin: &Superuser,
    spec: &Restore<'_>,
    new: &str,
    dump: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    observe: &mut dyn FnMut(Stage<'_>),
) -> Result<Comparison> {
    observe(Stage::Loading);
    load(admin, new, dump)?;
    observe(Stage::Analysing);
    admin.query(new, "ANALYZE")?;
    let comparison = readback::compare(admin, new, spec.contents, &mut |table| {
        observe(Stage::Comparing(table));
    })?;
    if let Some(first) = comparison.differ.first() {
        return Err(Error::new(
            ErrorKind::Differs,
            format!(
                "restore the database {}: {} of {} tables are not as dumped, the first {}: {}",
                spec.database,
                comparison.differ.len(),
                spec.contents.tables.len(),
                first.table,
                first.what
            ),
        ));
    }
    if let Some(first) = comparison.sequences_behind.first() {
        return Err(Error::new(
            ErrorKind::Differs,
            format!(
                "restore the database {}: the sequence {first} is behind the dump's",
                spec.database
            ),
        ));
    }
    Ok(comparison)
}

/// Loads a dump into an empty database, stopping at the first error.
///
/// # Errors
/// [`ErrorKind::Failed`] with what `pg_restore` said.
pub fn load(
    admin: &Superuser,
    database: &str,
    dump: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let what = format!("load the dump into the database {database}");
    let io = |e| Error::with(ErrorKind::Program, what.clone(), e);
    let mut child = admin
        .program("pg_restore")
        .args(["--exit-on-error", "--format=custom"])
        .arg(format!("--dbname={database}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io)?;
    let mut stderr = child.stderr.take();
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(stderr) = &mut stderr {
            let _ = stderr.take(64 << 10).read_to_end(&mut said);
        }
        said
    });
    let fed = match child.stdin.take() {
        Some(mut stdin) => dump(&mut stdin),
        None => Ok(()),
    };
    let status = child.wait().map_err(io)?;
    let said = said.join().unwrap_or_default();
    if !status.success() {
        return Err(Error::new(
            ErrorKind::Failed,
            format!("{what}: {} ({status})", server::complaint(&said)),
        ));
    }
    // pg_restore stops reading where its table of contents is satisfied.
    match fed {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::with(ErrorKind::Io, what, e)),
        _ => Ok(()),
    }
}

/// Gives the new database the name, and the old one another.
fn swap(
    admin: &Superuser,
    spec: &Restore<'_>,
    new: &str,
    old_is_there: bool,
) -> Result<Option<String>> {
    let name = identifier(&spec.database);
    let new = identifier(new);
    let ask = |sql: String| admin.query("postgres", &sql).map(|_| ());
    // The mark goes with the rename: until then an interrupted run is ours to
    // drop, from then on the database is not.
    let take_the_name =
        format!("COMMENT ON DATABASE {new} IS NULL; ALTER DATABASE {new} RENAME TO {name}");
    if !old_is_there {
        ask(format!("BEGIN; {take_the_name}; COMMIT"))?;
        return Ok(None);
    }
    let kept = format!("{}_before_{}", spec.database, spec.stamp);
    let aside = identifier(&kept);
    let swapped = ask(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        .and_then(|()| {
            ask(format!(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
                 WHERE datname = {}",
                literal(&spec.database)
            ))
        })
        // One transaction: there is never no database of the name.
        .and_then(|()| {
            ask(format!(
                "BEGIN; ALTER DATABASE {name} RENAME TO {aside}; {take_the_name}; \
                 ALTER DATABASE {aside} ALLOW_CONNECTIONS true; COMMIT"
            ))
        });
    if swapped.is_err() {
        // The first error is the one to tell.
        let _ = ask(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
    }
    swapped?;
    Ok(Some(kept))
}
