use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde::Serialize;

use crate::archive::{DumpContents, SequenceSet, TableInfo, TableSummary};
use crate::digest::{RowHasher, TableDigest, TableHasher};
use crate::dump::SESSION;
use crate::error::{Error, ErrorKind, Result};
use crate::server::{self, PrivateFile};
use crate::superuser::Superuser;

/// How a database differs from the dump it should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Tables whose rows are those of the dump, byte for byte.
    pub equal: u64,
    /// Rows in them.
    pub rows: u64,
    /// Tables that differ.
    pub differ: Vec<TableDifference>,
    /// Sequences that are behind the dump's.
    pub sequences_behind: Vec<String>,
}

/// One table that is not as the dump has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableDifference {
    /// The table, as `schema.name`.
    pub table: String,
    /// Rows in the dump.
    pub dumped: u64,
    /// Rows in the database; `None` if the table can't be read.
    pub found: Option<u64>,
    /// What differs, for a person.
    pub what: String,
}

impl Comparison {
    /// Is the database what was dumped?
    pub fn holds(&self) -> bool {
        self.differ.is_empty() && self.sequences_behind.is_empty()
    }
}

/// Reads every table of the dump back from a database and compares rows and
/// digests; then the sequences, which may be ahead but not behind.
///
/// # Errors
/// [`ErrorKind::Connection`] or [`ErrorKind::Failed`] if the database can't be
/// asked at all.
pub fn compare(
    admin: &Superuser,
    database: &str,
    dumped: &DumpContents,
    each: &mut dyn FnMut(&TableInfo),
) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    admin.query(database, "SELECT 1")?;
    for summary in &dumped.tables {
        each(&summary.table);
        match read_back(admin, database, &summary.table) {
            Ok((rows, digest)) if rows == summary.rows && digest == summary.digest => {
                comparison.equal += 1;
                comparison.rows += rows;
            }
            Ok((rows, _)) => comparison.differ.push(TableDifference {
                table: name(&summary.table),
                dumped: summary.rows,
                found: Some(rows),
                what: if rows == summary.rows {
                    "has as many rows, and not the same".into()
                } else {
                    format!("has {rows} rows instead of {}", summary.rows)
                },
            }),
            Err(e) => comparison.differ.push(missing(summary, &e)),
        }
    }
    for sequence in &dumped.sequences {
        let found = admin.query(
            database,
            &format!(
                "SELECT last_value, is_called FROM {}.{}",
                identifier(&sequence.schema),
                identifier(&sequence.name)
            ),
        );
        if !found.is_ok_and(|rows| is_not_behind(sequence, &rows)) {
            let what = format!("{}.{}", sequence.schema, sequence.name);
            comparison.sequences_behind.push(what);
        }
    }
    Ok(comparison)
}

fn name(table: &TableInfo) -> String {
    format!("{}.{}", table.schema, table.name)
}

fn missing(summary: &TableSummary, error: &Error) -> TableDifference {
    TableDifference {
        table: name(&summary.table),
        dumped: summary.rows,
        found: None,
        what: format!("can't be read: {error}"),
    }
}

fn is_not_behind(sequence: &SequenceSet, found: &[Vec<String>]) -> bool {
    let Some([last, called]) = found.first().map(Vec::as_slice) else {
        return false;
    };
    let next = |last: i64, called: bool| i128::from(last) + i128::from(called);
    last.parse().is_ok_and(|last| {
        next(last, called == "t") >= next(sequence.last_value, sequence.is_called)
    })
}

/// The rows of one table and their digest, under the session settings of the
/// dump, so that equal rows are equal text.
fn read_back(admin: &Superuser, database: &str, table: &TableInfo) -> Result<(u64, TableDigest)> {
    let columns: Vec<String> = table.columns.iter().map(|c| identifier(c)).collect();
    let columns = if columns.is_empty() {
        String::new()
    } else {
        format!(" ({})", columns.join(", "))
    };
    let script = format!(
        "SET datestyle = ISO; SET intervalstyle = postgres; SET extra_float_digits = 3; \
         SET synchronize_seqscans = off; SET statement_timeout = 0; SET row_security = off; \
         SET search_path = ''; SET client_encoding = 'UTF8';\n\
         COPY {}.{}{columns} TO STDOUT;\n",
        identifier(&table.schema),
        identifier(&table.name),
    );
    let mut child = admin
        .psql(database)
        .env("PGOPTIONS", SESSION)
        .stdin(PrivateFile::new(&script)?.into_stdin()?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| Error::with(ErrorKind::Program, "start psql", e))?;
    let io = |e| Error::with(ErrorKind::Io, format!("read the table {}", name(table)), e);
    let mut hasher = TableHasher::new();
    if let Some(stdout) = child.stdout.take() {
        add_lines(BufReader::with_capacity(1 << 18, stdout), &mut hasher).map_err(io)?;
    }
    let mut said = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut said).map_err(io)?;
    }
    let status = child.wait().map_err(io)?;
    if !status.success() {
        return Err(Error::new(
            ErrorKind::Failed,
            format!(
                "read the table {}: {}",
                name(table),
                server::complaint(&said)
            ),
        ));
    }
    Ok((hasher.rows(), hasher.digest()))
}

/// Adds each line as a row, whatever its length.
fn add_lines(mut lines: impl BufRead, hasher: &mut TableHasher) -> std::io::Result<()> {
    let mut row = RowHasher::new();
    let mut begun = false;
    loop {
        let piece = lines.fill_buf()?;
        if piece.is_empty() {
            if begun {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            return Ok(());
        }
        let end = piece.iter().position(|b| *b == b'\n');
        row.update(&piece[..end.unwrap_or(piece.len())]);
        let used = end.map_or(piece.len(), |at| at + 1);
        begun = end.is_none();
        if end.is_some() {
            hasher.add(&row);
            row.reset();
        }
        lines.consume(used);
    }
}

/// A name as SQL takes it.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL takes it.
pub(crate) fn literal(text: &str) -> String {
    // E'' reads backslashes the same way whatever the server's settings.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
