use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::thread::JoinHandle;

use crate::digest::{TableDigest, TableHasher};
use crate::error::{Error, ErrorKind, Result};
use crate::rowsum::RowSum;
use crate::server::{self, PrivateFile};
use crate::superuser::Superuser;

/// What makes equal rows equal text: as `pg_dump` sets it, and the encoding
/// that the dump was made in.
const SETTINGS: &str = "SET datestyle = ISO; SET intervalstyle = postgres; \
    SET extra_float_digits = 3; SET synchronize_seqscans = off; SET statement_timeout = 0; \
    SET row_security = off; SET search_path = '';\n";

/// A large table takes long. Not every version knows it.
const PATIENCE: &str = "DO $$BEGIN PERFORM pg_catalog.set_config(name, '0', false) \
    FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'; END$$;\n";

/// Says that a statement is over, and how it went. A row never begins with a
/// backslash and a dot: a backslash of its own is written twice.
const MARK: &[u8] = br"\.";
const ECHO: &str = r"\echo '\\.' :SQLSTATE";
const MARK_LENGTH: usize = 8;
const DONE: &[u8] = b"00000";

/// One `psql` that copies one thing after another to us: most tables are small,
/// and to start a session takes longer than to read one.
pub(super) struct Session {
    psql: Child,
    rows: BufReader<ChildStdout>,
    said: Option<JoinHandle<Vec<u8>>>,
    doing: String,
}

/// The sum of a statement's rows; or the SQLSTATE, if the server would not give
/// them.
pub(super) type Rows = Result<TableHasher, String>;

impl Session {
    /// Begins to run `COPY … TO STDOUT` statements, each without its semicolon.
    pub(super) fn start(
        admin: &Superuser,
        database: &str,
        encoding: &str,
        statements: impl Iterator<Item = String>,
    ) -> Result<Self> {
        let doing = format!("read the database {database} back");
        let mut script = format!("SET client_encoding = '{encoding}';\n{SETTINGS}");
        // One table that can't be read is no reason not to read the next.
        script += "\\set ON_ERROR_STOP 0\n";
        script += PATIENCE;
        for statement in statements {
            script += &format!("{statement};\n{ECHO}\n");
        }
        let mut psql = admin
            .psql(database)
            .stdin(PrivateFile::new(&script, None)?.into_stdin()?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Error::with(ErrorKind::Program, "start psql", e))?;
        let said = psql
            .stderr
            .take()
            .map(|stderr| std::thread::spawn(|| server::read_some(stderr)));
        let rows = psql.stdout.take();
        let rows = rows.ok_or_else(|| Error::new(ErrorKind::Program, "read psql's output"))?;
        server::widen(&rows);
        Ok(Self {
            psql,
            rows: BufReader::with_capacity(1 << 18, rows),
            said,
            doing,
        })
    }

    /// The rows of the next statement, whatever their length, with a digest to
    /// compare with this one.
    pub(super) fn table(&mut self, like: &TableDigest) -> Result<Rows> {
        let mut rows = RowSum::new(TableHasher::like(like));
        let mut head = Vec::with_capacity(MARK_LENGTH);
        loop {
            let over = self.piece(|piece, ended| {
                let room = MARK_LENGTH - head.len();
                head.extend_from_slice(&piece[..piece.len().min(room)]);
                match (ended, state(&head)) {
                    (false, _) => rows.update(piece),
                    (true, Some(state)) => return Some(outcome(state)),
                    (true, None) => {
                        rows.end_row(piece);
                        head.clear();
                    }
                }
                None
            })?;
            if let Some(outcome) = over {
                rows.forget_row();
                return Ok(outcome.map(|()| rows.total().clone()));
            }
        }
    }

    /// The rows of the next statement, one by one; the SQLSTATE if the server
    /// would not give them.
    pub(super) fn rows(&mut self, mut each: impl FnMut(&[u8])) -> Result<Result<(), String>> {
        let mut row = Vec::new();
        loop {
            let ended = self.piece(|piece, ended| {
                row.extend_from_slice(piece);
                ended
            })?;
            if !ended {
                continue;
            }
            if let Some(state) = state(&row) {
                return Ok(outcome(state));
            }
            each(&row);
            row.clear();
        }
    }

    /// Gives the next piece of a line, and whether the line ends with it.
    fn piece<T>(&mut self, take: impl FnOnce(&[u8], bool) -> T) -> Result<T> {
        let io = |e| Error::with(ErrorKind::Io, self.doing.clone(), e);
        let piece = self.rows.fill_buf().map_err(io)?;
        if piece.is_empty() {
            return Err(self.lost());
        }
        let end = memchr::memchr(b'\n', piece);
        let taken = take(&piece[..end.unwrap_or(piece.len())], end.is_some());
        let used = end.map_or(piece.len(), |at| at + 1);
        self.rows.consume(used);
        Ok(taken)
    }

    /// The session ended before all was read.
    fn lost(&mut self) -> Error {
        let said = self.said.take().and_then(|said| said.join().ok());
        let said = server::complaint(&said.unwrap_or_default());
        Error::new(ErrorKind::Failed, format!("{}: {said}", self.doing))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // At its end there is nothing more for it to do.
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

fn state(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(MARK)?.strip_prefix(b" ")
}

fn outcome(state: &[u8]) -> Result<(), String> {
    match state {
        DONE => Ok(()),
        other => Err(String::from_utf8_lossy(other).into_owned()),
    }
}
