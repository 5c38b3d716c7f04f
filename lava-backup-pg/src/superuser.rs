use std::process::Command;

use postgres::Client;

use crate::dump::SESSION;
use crate::error::{self, Error, ErrorKind, Result};
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

/// Who reads what others have made looks into no view that was put in a table's place: what
/// is in it would run as the superuser (CVE-2024-7348). Minors with that fix know the setting.
pub(crate) const TABLES_ONLY: &str = "SELECT pg_catalog.set_config(name, 'view, foreign-table', false) \
    FROM pg_catalog.pg_settings WHERE name = 'restrict_nonsystem_relation_kind'";

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

    /// A session of our own in a database, for more than one statement.
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

    /// The same, to read what others have made.
    pub(crate) fn reader(&self, database: &str) -> Result<Console> {
        let mut console = self.console(database)?;
        console.query(TABLES_ONLY)?;
        Ok(console)
    }

    /// Runs statements in one database; the rows of the answers, as text, empty for a
    /// null. Several are one transaction, unless they end it themselves. They name the
    /// schema of what is not the server's own: its owner could have put another in the way.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] if the server can't be reached, [`ErrorKind::Absent`] if it has
    /// no such database, [`ErrorKind::Query`] with what it said.
    pub fn query(&self, database: &str, sql: &str) -> Result<Vec<Vec<String>>> {
        self.console(database)?.query(sql)
    }

    /// The first value of the first row, empty for a null.
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
        let rows = answer.and_then(text_rows).map_err(|e| self.failed(e))?;
        let text = |value: Option<String>| value.unwrap_or_default();
        let rows = rows.into_iter();
        Ok(rows
            .map(|row| row.into_iter().map(text).collect())
            .collect())
    }

    /// In the server's words, without those that may quote rows.
    fn failed(&self, error: postgres::Error) -> Error {
        let said = error.as_db_error();
        // Where the server said nothing, the answer may be one that we can't read.
        let goes_on =
            error::refusal(&error).is_some() || said.is_none() && !self.client.is_closed();
        let kind = match goes_on {
            true => ErrorKind::Query,
            false => ErrorKind::Connection,
        };
        match said {
            Some(said) => Error::new(kind, format!("{}: {}", self.what, said.message())),
            None => Error::with(kind, self.what.clone(), error),
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_is_no_text_is_an_error_and_the_session_goes_on() {
        let cluster = Scratch::for_test();
        let admin = cluster.superuser();
        let create = "CREATE DATABASE old TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'";
        admin.query("postgres", create).unwrap();
        let mut console = admin.console("old").unwrap();
        let error = console.query("SELECT pg_catalog.chr(233)").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Query, "{error}");
        assert_eq!(console.value("SELECT 7").unwrap().as_deref(), Some("7"));
    }

    #[test]
    fn a_session_that_is_ended_is_told_from_a_statement_that_is_refused() {
        let cluster = Scratch::for_test();
        let mut console = cluster.superuser().console("postgres").unwrap();
        let refused = console.query("SELECT 1; SELECT 1/0").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Query);
        assert!(
            refused.to_string().ends_with(": division by zero"),
            "{refused}"
        );
        let end = "SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())";
        for _ in 0..2 {
            let ended = console.query(end).unwrap_err();
            assert_eq!(ended.kind(), ErrorKind::Connection, "{ended}");
        }
    }
}
