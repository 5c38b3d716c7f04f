use std::io::Write;
use std::process::{Command, Stdio};

use crate::dump::SESSION;
use crate::error::{Error, ErrorKind, Result};
use crate::server::{self, Address, OsUser, Programs};

/// Whoever may make databases on a server.
///
/// On a Debian host that is the system's `postgres`, known to the server by the
/// socket it comes through, so its statements go through `psql` run as that
/// user. They are given on standard input: a command line is everybody's.
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

    pub(crate) fn psql(&self, database: &str) -> Command {
        let mut command = self.program("psql");
        command
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse"])
            .args(["--field-separator=\u{1f}", "--record-separator-zero"])
            .arg(server::dbname(database));
        command
    }

    /// Where a database is, for a session of our own: `psql` is slow at many rows.
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

    /// Runs statements in one database; the rows of the answers, as text.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] if the server can't be reached,
    /// [`ErrorKind::Query`] with what it said.
    pub fn query(&self, database: &str, sql: &str) -> Result<Vec<Vec<String>>> {
        let what = format!(
            "ask PostgreSQL at {}:{} as {}",
            self.host, self.port, self.role
        );
        let io = |e| Error::with(ErrorKind::Program, what.clone(), e);
        let mut child = self
            .psql(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io)?;
        if let Some(mut stdin) = child.stdin.take() {
            // psql may stop reading at the first error.
            let _ = stdin.write_all(sql.as_bytes());
        }
        let out = child.wait_with_output().map_err(io)?;
        if !out.status.success() {
            // psql's own word: 2 when the connection went bad.
            let kind = match out.status.code() {
                Some(2) => ErrorKind::Connection,
                _ => ErrorKind::Query,
            };
            let said = server::complaint(&out.stderr);
            return Err(Error::new(kind, format!("{what}: {said}")));
        }
        let text = String::from_utf8_lossy(&out.stdout);
        let rows = text.split_terminator('\0').filter(|r| !r.is_empty());
        Ok(rows
            .map(|row| row.split('\u{1f}').map(str::to_owned).collect())
            .collect())
    }

    /// The first value of the first row.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn value(&self, database: &str, sql: &str) -> Result<Option<String>> {
        let rows = self.query(database, sql)?;
        Ok(rows.into_iter().next().and_then(|r| r.into_iter().next()))
    }
}
