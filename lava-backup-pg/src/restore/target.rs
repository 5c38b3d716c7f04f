use std::time::Duration;

use super::Restore;
use crate::error::{Error, ErrorKind, Result};
use crate::readback::{identifier, literal};
use crate::superuser::{Console, Superuser};

/// Names beside the one that the database is to have.
pub(super) struct Names {
    /// While it is built.
    pub(super) new: String,
    /// For the database that was there.
    pub(super) aside: String,
}

/// The server cuts what is longer, and two names may become one.
const NAME_LIMIT: usize = 63;

/// Marks a database of ours that is not finished, so that it may be dropped.
const UNFINISHED: &str = "lava-backup: being restored";

impl Names {
    pub(super) fn of(spec: &Restore<'_>) -> Result<Self> {
        let new = format!("{}_restoring", spec.database);
        let aside = format!("{}_before_{}", spec.database, spec.stamp);
        for name in [&new, &aside] {
            check_length(spec, name)?;
        }
        Ok(Self { new, aside })
    }

    /// Numbers the name for the old database where an earlier restore, maybe of
    /// the same second, has left one of that name.
    pub(super) fn keep_both(&mut self, server: &mut Console, spec: &Restore<'_>) -> Result<()> {
        let stamped = self.aside.clone();
        let mut number = 1_u32;
        while exists(server, &self.aside)? {
            number += 1;
            self.aside = format!("{stamped}_{number}");
            check_length(spec, &self.aside)?;
        }
        Ok(())
    }
}

fn check_length(spec: &Restore<'_>, name: &str) -> Result<()> {
    if name.len() <= NAME_LIMIT {
        return Ok(());
    }
    let what = format!(
        "restore the database {}: {name} would be longer than the {NAME_LIMIT} bytes of a name",
        spec.database
    );
    Err(Error::new(ErrorKind::Refused, what))
}

pub(super) fn exists(server: &mut Console, database: &str) -> Result<bool> {
    let sql = format!(
        "SELECT 1 FROM pg_catalog.pg_database WHERE datname = {}",
        literal(database)
    );
    Ok(server.value(&sql)?.is_some())
}

/// Is nobody in the old database?
pub(super) fn check_free(server: &mut Console, spec: &Restore<'_>) -> Result<()> {
    let who = format!(
        "SELECT usename || ' (' || application_name || ')', count(*) \
         FROM pg_catalog.pg_stat_activity \
         WHERE datname = {} AND backend_type = 'client backend' GROUP BY 1 ORDER BY 1",
        literal(&spec.database)
    );
    let mut users = server.query(&who)?;
    // The last who was there may be on the way out.
    for _ in 0..10 {
        if users.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        users = server.query(&who)?;
    }
    if !users.is_empty() {
        let users: Vec<String> = users.iter().map(|row| row.join(" × ")).collect();
        let what = format!(
            "replace the database {}: it is in use by {}; stop LAVA's services first",
            spec.database,
            users.join(", ")
        );
        return Err(Error::new(ErrorKind::Refused, what));
    }
    Ok(())
}

/// May what the old database holds go aside?
pub(super) fn check_data(admin: &Superuser, spec: &Restore<'_>) -> Result<()> {
    if spec.replace_data {
        return Ok(());
    }
    let refuse = |why: String| {
        let what = format!("replace the database {}: {why}", spec.database);
        Err(Error::new(ErrorKind::HoldsData, what))
    };
    let tables = "SELECT count(*) FROM pg_catalog.pg_class \
        WHERE relkind IN ('r', 'p', 'm') AND relnamespace::regnamespace::text \
        NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";
    let mut old = admin.reader(&spec.database)?;
    if old.value(tables)?.as_deref() == Some("0") {
        return Ok(());
    }
    match old.value(&spec.holds_data) {
        Ok(Some(count)) if count == "0" => Ok(()),
        Ok(count) => refuse(format!(
            "it holds data ({} rows that no installation makes)",
            count.unwrap_or_default()
        )),
        Err(e) if e.kind() == ErrorKind::Query => {
            refuse(format!("whether it holds data can't be seen ({e})"))
        }
        Err(e) => Err(e),
    }
}

/// What a restore has marked a database with, or somebody else has said of it in its comment;
/// `None` too if there is no such database.
///
/// # Errors
/// As for [`Superuser::query`].
pub fn mark(admin: &Superuser, database: &str) -> Result<Option<String>> {
    comment(&mut admin.console("postgres")?, database)
}

fn comment(server: &mut Console, database: &str) -> Result<Option<String>> {
    server.value(&format!(
        "SELECT description FROM pg_catalog.pg_database d, \
            pg_catalog.shobj_description(d.oid, 'pg_database') description \
         WHERE d.datname = {} AND description IS NOT NULL",
        literal(database)
    ))
}

/// Is it one that we began and did not swap in?
fn is_unfinished(server: &mut Console, name: &str) -> Result<bool> {
    Ok(comment(server, name)?.as_deref() == Some(UNFINISHED))
}

/// Drops the largest tables. To drop a database is to write a checkpoint first,
/// and where the disk is full that ends the server with all its databases
/// (measured on 15); to drop a table is to have its room at once.
fn make_room(admin: &Superuser, name: &str) -> Result<()> {
    let mut unfinished = admin.console(name)?;
    let drops = unfinished.statements(
        "SET lock_timeout = '5s'; \
         SELECT pg_catalog.format('DROP TABLE %s CASCADE', oid::pg_catalog.regclass) \
         FROM pg_catalog.pg_class WHERE relkind = 'r' AND oid >= 16384 \
         ORDER BY pg_catalog.pg_table_size(oid) DESC LIMIT 100",
    )?;
    for drop in drops {
        // Another may have taken it along.
        let _ = unfinished.query(&drop);
    }
    Ok(())
}

/// Removes what an interrupted restore of ours has left; nothing else.
pub(super) fn drop_unfinished(admin: &Superuser, name: &str) -> Result<()> {
    let mut server = admin.console("postgres")?;
    if !exists(&mut server, name)? {
        return Ok(());
    }
    if !is_unfinished(&mut server, name)? {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "make the database {name}: there is one, and it is not an unfinished one of ours; rename or drop it"
            ),
        ));
    }
    // A run that was killed leaves sessions that are still at work in it, and
    // hold what is to go. If this or the next fails, so will the drop, and says
    // why.
    let end_others = format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE datname = {}",
        literal(name)
    );
    let _ = server.query(&end_others);
    let _ = make_room(admin, name);
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name));
    server.query(&sql)?;
    Ok(())
}

/// Makes the roles that are missing. One that is there stays as it is.
pub(super) fn make_roles(server: &mut Console, spec: &Restore<'_>) -> Result<()> {
    let granted = spec.grants.iter().flatten();
    let granted = granted.filter_map(|grant| grant.role.as_ref());
    let roles = spec.roles.iter().chain(granted);
    let roles = roles.filter(|role| **role != spec.owner);
    let owner = (&spec.owner, "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE");
    for (role, attributes) in roles.map(|role| (role, "NOLOGIN")).chain([owner]) {
        let sql = format!(
            "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {}",
            literal(role)
        );
        if server.value(&sql)?.is_none() {
            let sql = format!("CREATE ROLE {} {attributes}", identifier(role));
            server.query(&sql)?;
        }
    }
    Ok(())
}

/// Makes the new database, empty, and marked as ours to drop, where the old one lies.
pub(super) fn create(admin: &Superuser, spec: &Restore<'_>, new: &str) -> Result<()> {
    let mut server = admin.console("postgres")?;
    let of_old = server.value(&format!(
        "SELECT t.spcname FROM pg_catalog.pg_database d \
         JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = {}",
        literal(&spec.database)
    ))?;
    let mut create = format!(
        "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}{}",
        identifier(new),
        identifier(&spec.owner),
        literal(&spec.encoding),
        literal(&spec.collate),
        literal(&spec.ctype),
        provider(admin, spec),
    );
    if let Some(tablespace) = of_old {
        create += &format!(" TABLESPACE {}", identifier(&tablespace));
    }
    if let Some(limit) = spec.connection_limit {
        create += &format!(" CONNECTION LIMIT {limit}");
    }
    let mark = format!(
        "COMMENT ON DATABASE {} IS {}",
        identifier(new),
        literal(UNFINISHED)
    );
    let made = server.query(&create).and_then(|_| server.query(&mark));
    made.map_err(|e| {
        let what = format!(
            "make the database {new} with the encoding {} and the locale {}",
            spec.encoding,
            spec.locale.as_ref().unwrap_or(&spec.collate)
        );
        Error::with(e.kind(), what, e)
    })?;
    grant(&mut server, spec, new).map_err(|e| {
        let what = format!("give the rights to the database {new}");
        Error::with(e.kind(), what, e)
    })
}

/// Gives the rights to the database itself, and takes those that the server gives by default.
fn grant(server: &mut Console, spec: &Restore<'_>, new: &str) -> Result<()> {
    let Some(grants) = &spec.grants else {
        return Ok(());
    };
    let database = identifier(new);
    let owner = identifier(&spec.owner);
    server.query(&format!(
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC, {owner}"
    ))?;
    for grant in grants {
        // It came out of a backup, and is no name that could be quoted.
        let privilege = &grant.privilege;
        if !["CONNECT", "CREATE", "TEMPORARY"].contains(&privilege.as_str()) {
            continue;
        }
        let role = grant.role.as_deref();
        let role = role.map_or_else(|| "PUBLIC".to_owned(), identifier);
        let option = match grant.grantable {
            true => " WITH GRANT OPTION",
            false => "",
        };
        server.query(&format!(
            "GRANT {privilege} ON DATABASE {database} TO {role}{option}"
        ))?;
    }
    Ok(())
}

/// Which locale provider, to a server that knows of more than one.
fn provider(admin: &Superuser, spec: &Restore<'_>) -> String {
    if admin.programs().major() < 15 {
        return String::new();
    }
    let mut sql = format!(" LOCALE_PROVIDER {}", identifier(&spec.provider));
    if let Some(locale) = &spec.locale {
        let option = match spec.provider.as_str() {
            "builtin" => "BUILTIN_LOCALE",
            _ => "ICU_LOCALE",
        };
        sql += &format!(" {option} {}", literal(locale));
    }
    sql
}
