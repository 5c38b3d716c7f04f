use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Output, Stdio};

use postgres::error::SqlState;
use rustix::fs::{MemfdFlags, Mode, fchmod, fchown, memfd_create};
use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::dump::SESSION;
use crate::error::{Error, ErrorKind, Result};
use crate::fixes;

/// Where a database is and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A host name or address, or a directory that holds the server's socket.
    pub host: String,
    /// The port; part of the socket's name too.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// Its password, if the server asks for one.
    pub password: Option<Password>,
    /// The user of the operating system to come through a socket as if the server,
    /// which may know roles by that (`peer`), does not take us for the role as we
    /// are. Only root can be another than itself.
    pub os_user: Option<OsUser>,
}

/// A password, which nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// The password itself: a secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl fmt::Display for Address {
    /// Names the database, without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "database {} at {}:{} as {}",
            self.database, self.host, self.port, self.user
        )
    }
}

impl Address {
    /// Reads an address as `postgres://USER:PASSWORD@HOST:PORT/NAME`, or in
    /// libpq's other form, `host=… dbname=…`.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] if it is neither, or names no database, or no
    /// role, or several servers or a `hostaddr`, or asks for a connection under TLS.
    pub fn parse(url: &str) -> Result<Self> {
        use postgres::config::Host;
        // Nothing of the text is told: it may hold a password.
        let bad = |why: &str| {
            Error::new(
                ErrorKind::Connection,
                format!("understand the address of the database: {why}"),
            )
        };
        let config: postgres::Config = url
            .parse()
            .map_err(|_| bad("it is no postgres://USER@HOST:PORT/NAME"))?;
        if config.get_ssl_mode() == postgres::config::SslMode::Require {
            return Err(bad("it asks for TLS, which this version does not speak"));
        }
        let hosts = config.get_hosts().len().max(config.get_ports().len());
        if hosts > 1 || !config.get_hostaddrs().is_empty() {
            return Err(bad(
                "it names several servers, or one by `hostaddr`: name one, as its host",
            ));
        }
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => path.to_string_lossy().into_owned(),
            None => crate::DEBIAN_SOCKETS.to_owned(),
        };
        let password = config
            .get_password()
            .map(|p| Password::new(String::from_utf8_lossy(p)));
        Ok(Self {
            host,
            port: config.get_ports().first().copied().unwrap_or(5432),
            database: config
                .get_dbname()
                .ok_or_else(|| bad("it names no database"))?
                .to_owned(),
            user: config
                .get_user()
                .ok_or_else(|| bad("it names no role"))?
                .to_owned(),
            password,
            os_user: None,
        })
    }

    /// The same server and role, another database.
    pub fn with_database(&self, database: &str) -> Self {
        Self {
            database: database.to_owned(),
            ..self.clone()
        }
    }

    /// Connects, and tells as which other user, if it was one.
    pub(crate) fn connect(&self) -> Result<(postgres::Client, Option<OsUser>)> {
        let connect = || postgres::Config::from(self.config()).connect(postgres::NoTls);
        match (connect(), self.os_user) {
            (Err(e), Some(user)) if e.code() == Some(&WHO_ARE_YOU) => {
                let connected = self.as_user(user, connect)?;
                Ok((self.connected(connected)?, Some(user)))
            }
            (connected, _) => Ok((self.connected(connected)?, None)),
        }
    }

    /// As [`connect`](Self::connect), at once as the other user if there is one, with what all
    /// sessions of a dump or a restore have set.
    pub(crate) fn connect_as_user(&self) -> Result<postgres::Client> {
        let connect = || postgres::Config::from(self.session()).connect(postgres::NoTls);
        self.connected(self.as_given_user(connect)?)
    }

    /// The same for who waits by a runtime of his own; with what is over when the server has
    /// been told of the client's end.
    pub(crate) fn connect_within(
        &self,
        runtime: &Runtime,
    ) -> Result<(tokio_postgres::Client, JoinHandle<()>)> {
        let connect = || runtime.block_on(self.session().connect(postgres::NoTls));
        let (client, connection) = self.connected(self.as_given_user(connect)?)?;
        // How it ends is told to who asks the client.
        Ok((client, runtime.spawn(async { drop(connection.await) })))
    }

    fn as_given_user<T: Send>(&self, connect: impl FnOnce() -> T + Send) -> Result<T> {
        match self.os_user {
            Some(user) => self.as_user(user, connect),
            None => Ok(connect()),
        }
    }

    /// Credentials are a thread's own, and this one ends with them.
    fn as_user<T: Send>(&self, user: OsUser, connect: impl FnOnce() -> T + Send) -> Result<T> {
        let what = || format!("connect to the {self} as the user {}", user.uid);
        std::thread::scope(|threads| {
            let connecting = threads.spawn(|| {
                become_user(user).map_err(|e| Error::with(ErrorKind::Connection, what(), e))?;
                Ok(connect())
            });
            let connected = connecting.join();
            connected.unwrap_or_else(|_| Err(Error::new(ErrorKind::Connection, what())))
        })
    }

    fn connected<T>(&self, connected: std::result::Result<T, postgres::Error>) -> Result<T> {
        let what = || format!("connect to the {self}");
        connected.map_err(|e| Error::server(ErrorKind::Connection, what(), e))
    }

    fn session(&self) -> tokio_postgres::Config {
        let mut config = self.config();
        config.options(SESSION);
        config
    }

    fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        if self.host.starts_with('/') {
            config.host_path(&self.host);
        } else {
            config.host(&self.host);
        }
        config
            .port(self.port)
            .dbname(&self.database)
            .user(&self.user)
            .application_name("lava-backup")
            .connect_timeout(std::time::Duration::from_secs(30));
        if let Some(password) = &self.password {
            config.password(password.reveal());
        }
        config
    }

    /// The line of a password file that fits this address.
    pub(crate) fn passfile_line(&self) -> Option<String> {
        let escape = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
        let password = self.password.as_ref()?;
        Some(format!(
            "*:{}:*:{}:{}\n",
            self.port,
            escape(&self.user),
            escape(password.reveal())
        ))
    }
}

/// A user of the operating system, to run PostgreSQL's programs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OsUser {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

/// What a server says to a user of the operating system that is not the role's.
const WHO_ARE_YOU: SqlState = SqlState::INVALID_AUTHORIZATION_SPECIFICATION;

/// What this thread does from here on it does as that user.
fn become_user(user: OsUser) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    if (geteuid(), getegid()) == (uid, gid) {
        return Ok(());
    }
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// PostgreSQL's own programs of one major version.
#[derive(Clone, Debug)]
pub struct Programs {
    dir: PathBuf,
    major: u32,
    /// What `pg_dump` and `pg_restore` say they are.
    versions: [String; 2],
}

impl Programs {
    /// Finds the programs of a major version where Debian puts them.
    ///
    /// Never on the `PATH`: what is there is of any version.
    ///
    /// # Errors
    /// [`ErrorKind::Program`] if `pg_dump` or `pg_restore` is missing, of
    /// another major, or a version known to lose data.
    pub fn find(major: u32) -> Result<Self> {
        let dir = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
        let versions = [
            version(&dir, "pg_dump", major)?,
            version(&dir, "pg_restore", major)?,
        ];
        Ok(Self {
            dir,
            major,
            versions,
        })
    }

    /// The oldest major of at least `major` whose server is installed: nearest
    /// to what a dump came from.
    ///
    /// # Errors
    /// [`ErrorKind::Program`] if there is none.
    pub fn at_least(major: u32) -> Result<Self> {
        let place = Path::new("/usr/lib/postgresql");
        let mut majors: Vec<u32> = std::fs::read_dir(place)
            .into_iter()
            .flatten()
            .filter_map(|found| found.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .filter(|found| *found >= major)
            .filter(|found| place.join(found.to_string()).join("bin/initdb").exists())
            .collect();
        majors.sort_unstable();
        match majors.first() {
            Some(found) => Self::find(*found),
            None => Err(Error::new(
                ErrorKind::Program,
                format!(
                    "find a PostgreSQL server of version {major} or later in {}: install postgresql-{major}",
                    place.display()
                ),
            )),
        }
    }

    /// Their major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// If they lack fixes that a dump or a restore needs: what to know.
    pub fn lacks_fixes(&self) -> Option<String> {
        let lacking = self.versions.iter().find_map(|v| fixes::lacking(v))?;
        Some(format!("{}: {lacking}", self.dir.display()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The version of a program that may be used as one of a major.
fn version(dir: &Path, name: &str, major: u32) -> Result<String> {
    let path = dir.join(name);
    let missing = |why: &str| {
        Error::new(
            ErrorKind::Program,
            format!(
                "use {}: {why}; install postgresql-client-{major}",
                path.display()
            ),
        )
    };
    let out = Command::new(&path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| missing(&e.to_string()))?;
    fixes::usable(&String::from_utf8_lossy(&out.stdout), major).map_err(|why| missing(&why))
}

/// A command that runs as another user, with nothing of our environment.
pub(crate) fn command(program: &Path, user: Option<OsUser>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/");
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// The argument that names a database. Bare, a name with an equals sign would be
/// read as a connection of its own, to whatever host it says.
pub(crate) fn dbname(database: &str) -> String {
    let escaped = database.replace('\\', "\\\\").replace('\'', "\\'");
    format!("--dbname=dbname='{escaped}'")
}

/// A file without a name, for a child to read by [`path`](Self::path): killed,
/// we leave nothing behind.
pub(crate) struct PrivateFile(File);

impl PrivateFile {
    /// For ourselves, or for a child that runs as another user.
    pub(crate) fn new(text: &[u8], reader: Option<OsUser>) -> Result<Self> {
        let io = |e: io::Error| Error::with(ErrorKind::Io, "write a private file", e);
        // Not closed in children, so that the path means the same to them.
        let fd = memfd_create("lava-backup", MemfdFlags::empty()).map_err(|e| io(e.into()))?;
        // libpq takes no password file that others could read.
        fchmod(&fd, Mode::RUSR | Mode::WUSR).map_err(|e| io(e.into()))?;
        if let Some(reader) = reader {
            let (uid, gid) = (Uid::from_raw(reader.uid), Gid::from_raw(reader.gid));
            fchown(&fd, Some(uid), Some(gid)).map_err(|e| io(e.into()))?;
        }
        let mut file = File::from(fd);
        file.write_all(text).map_err(io)?;
        Ok(Self(file))
    }

    /// Its path in this process and in its children.
    pub(crate) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

/// Lets a pipe hold more, so that its two ends wait for each other less often; not
/// where the system gives no more.
pub(crate) fn widen(pipe: impl AsFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1 << 20);
}

/// The beginning of what a program says; the rest is read and dropped.
pub(crate) fn read_some(mut stderr: ChildStderr) -> Vec<u8> {
    let mut kept = Vec::new();
    let _ = (&mut stderr).take(64 << 10).read_to_end(&mut kept);
    let _ = io::copy(&mut stderr, &mut io::sink());
    kept
}

/// What a program said, line by line.
pub(crate) fn lines(stderr: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(str::to_owned).collect()
}

/// What a program said, for an error: its last lines, never more than a page.
pub(crate) fn complaint(stderr: &[u8]) -> String {
    last(lines(stderr))
}

/// What the server adds to an error, in lines of its own, quotes rows that could not be
/// loaded: a password's hash, a token.
const QUOTES_ROWS: [&str; 2] = ["DETAIL:", "CONTEXT:"];

/// The same of lines that are the program's own, without rows. Its workers may write into
/// each other's lines.
pub(crate) fn complaint_of(program: &str, stderr: &[u8]) -> String {
    let own = |line: String| {
        let said = line.strip_prefix(program)?.strip_prefix(':')?;
        let quotes = QUOTES_ROWS.iter().filter_map(|label| said.find(label));
        let said = said[..quotes.min().unwrap_or(said.len())].trim_end();
        (!said.is_empty()).then(|| format!("{program}:{said}"))
    };
    last(lines(stderr).into_iter().filter_map(own).collect())
}

fn last(lines: Vec<String>) -> String {
    let short = |line: &String| line.chars().take(400).collect::<String>();
    let last = lines[lines.len().saturating_sub(12)..].iter();
    last.map(short).collect::<Vec<_>>().join("; ")
}

pub(crate) fn succeeded(what: &str, out: &Output) -> Result<()> {
    if out.status.success() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Failed,
        format!("{what}: {} ({})", complaint(&out.stderr), out.status),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_write_into_each_others_lines_quotes_no_row() {
        let said = b"pg_restore: error: could not execute query: ERROR:  no index\n\
            DETAIL:  Key (token)=(secret) is duplicated.\n\
            pg_restore: DETAIL:  Key (token)=(secret) is duplicated.\n\
            pg_restore: while loading: CONTEXT:  COPY t, line 1: \"secret\" DETAIL: secret\n\
            pg_restored: secret\n";
        assert_eq!(
            complaint_of("pg_restore", said),
            "pg_restore: error: could not execute query: ERROR:  no index; \
             pg_restore: while loading:"
        );
    }
}
