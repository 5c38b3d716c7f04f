use std::process::Command;

use postgres::Client;
use postgres::error::{DbError, Severity};

use crate::dump::SESSION;
use crate::error::{Error, ErrorKind, Result};
use crate::server::{self, Address, OsUser, Programs};
use crate::snapshot::text_rows;

/// Whoever may make databases on a server.
///
/// On a Debian host that is the system's `postgres`, known to the server by the
/// socket it comes through, so sessions are begun, and programs run, as that user.
#[derive(Clone, Debug)]
pub struct Superuser {
    programs: Programs,
    user: Option<OsUser>,
    role: String,
    host: String,
    port: u16,
}

/// Our sessions wait, for each other and for large tables. Not every version knows both.
pub(crate) const PATIENCE: &str = "SELECT pg_catalog.set_config(name, '0', false) \
    FROM pg_catalog.pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')";

/// Where Debian's servers have their sockets.
pub const DEBIAN_SOCKETS: &str = "/var/run/postgresql";

impl Superuser {
    /// The role `postgres`, through a socket in the directory `host`, as the
    /// given user of the system, or as ourselves.
    pub fn new(programs: Programs, user: Option<OsUser>, host: &str, port: u16) -> Self {
        Self {
            programs,
            user,
            role: "postgres".into(),
            host: host.to_owned(),
            port,
        }
    }

    /// PostgreSQL's programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    pub(crate) fn user(&self) -> Option<OsUser> {
        self.user
    }

    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = server::command(&self.programs.path(name), self.user);
        command
            .arg(format!("--host={}", self.host))
            .arg(format!("--port={}", self.port))
            .arg(format!("--username={}", self.role))
            .arg("--no-password")
            .env("PGAPPNAME", "lava-backup")
            // Names are UTF-8 to us, whatever the server keeps them in.
            .env("PGCLIENTENCODING", "UTF8")
            .env("PGOPTIONS", SESSION);
        command
    }

    /// Where a database is, for a session of our own.
    pub(crate) fn address(&self, database: &str) -> Address {
        Address {
            host: self.host.clone(),
            port: self.port,
            database: database.to_owned(),
            user: self.role.clone(),
            password: None,
            os_user: self.user,
        }
    }

    pub(crate) fn console(&self, database: &str) -> Result<Console> {
        let mut console = Console {
            client: self.address(database).connect_as_user()?,
            what: format!(
                "ask PostgreSQL at {}:{} as {}",
                self.host, self.port, self.role
            ),
        };
        console.query(PATIENCE)?;
        Ok(console)
    }

    /// Runs statements in one database; the rows of the answers, as text, empty for a
    /// null. Several are one transaction, unless they end it themselves.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] if the server can't be reached, [`ErrorKind::Absent`] if it has
    /// no such database, [`ErrorKind::Query`] with what it said.
    pub fn query(&self, database: &str, sql: &str) -> Result<Vec<Vec<String>>> {
        self.console(database)?.query(sql)
    }

    /// The first value of the first row.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn value(&self, database: &str, sql: &str) -> Result<Option<String>> {
        self.console(database)?.value(sql)
    }
}

/// A session for statements and their answers.
pub(crate) struct Console {
    client: Client,
    what: String,
}

impl Console {
    /// As [`Superuser::query`].
    pub(crate) fn query(&mut self, sql: &str) -> Result<Vec<Vec<String>>> {
        let answer = self.client.simple_query(sql);
        let answer = answer.map_err(|e| {
            let severity = e.as_db_error().and_then(DbError::parsed_severity);
            let kind = match severity {
                Some(Severity::Error) => ErrorKind::Query,
                // The session is over.
                _ => ErrorKind::Connection,
            };
            Error::with(kind, self.what.clone(), e)
        })?;
        let text = |value: Option<String>| value.unwrap_or_default();
        let rows = text_rows(answer).into_iter();
        Ok(rows
            .map(|row| row.into_iter().map(text).collect())
            .collect())
    }

    /// As [`Superuser::value`].
    pub(crate) fn value(&mut self, sql: &str) -> Result<Option<String>> {
        let rows = self.query(sql)?;
        Ok(rows.into_iter().next().and_then(|r| r.into_iter().next()))
    }

    /// Every statement that the answer to a query consists of.
    pub(crate) fn statements(&mut self, sql: &str) -> Result<Vec<String>> {
        Ok(self.query(sql)?.into_iter().flatten().collect())
    }
}
