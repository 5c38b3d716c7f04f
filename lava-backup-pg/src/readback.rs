mod blobs;
mod pieces;
mod sequences;
mod session;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::archive::{DumpContents, TableInfo, TableSummary};
use crate::error::{Error, ErrorKind, Result};
use crate::large_objects::LargeObjects;
use crate::superuser::{Console, Superuser};
use pieces::Piece;
use session::{Rows, Session};

/// How a database differs from the dump it should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Tables whose rows are those of the dump, byte for byte.
    pub equal: u64,
    /// Rows in them.
    pub rows: u64,
    /// Tables that differ; large objects are told of as one.
    pub differ: Vec<TableDifference>,
    /// Tables that the dump does not have.
    pub extra: Vec<String>,
    /// Sequences that are behind the dump's.
    pub sequences_behind: Vec<String>,
    /// Sequences whose next value their own column may hold already, in words.
    /// The dump may have come from a database that was like that.
    pub sequences_low: Vec<String>,
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
        self.differ.is_empty() && self.extra.is_empty() && self.sequences_behind.is_empty()
    }
}

/// Reads every table of the dump back from a database and compares rows and
/// digests; then large objects, tables too many, and sequences, which may be
/// ahead but not behind. By one session, for others may be at work.
///
/// # Errors
/// [`Connection`](crate::ErrorKind::Connection) or [`Query`](crate::ErrorKind::Query)
/// if the database can't be asked, [`Absent`](crate::ErrorKind::Absent) if there is none of that name.
pub fn compare(
    admin: &Superuser,
    database: &str,
    dumped: &DumpContents,
    each: &mut dyn FnMut(&TableInfo),
) -> Result<Comparison> {
    compare_by(1, admin, database, dumped, each)
}

/// As [`compare`], by so many sessions, 1 or more, at once.
pub(crate) fn compare_by(
    sessions: usize,
    admin: &Superuser,
    database: &str,
    dumped: &DumpContents,
    each: &mut dyn FnMut(&TableInfo),
) -> Result<Comparison> {
    let mut console = admin.reader(database)?;
    let encoding = console.value("SHOW server_encoding")?;
    // Not where nobody needs them: to count pages, the server waits for whoever has locked a table.
    let pages = match sessions {
        ..2 => BTreeMap::new(),
        _ => pieces::pages(&mut console)?,
    };
    let reading = Reading {
        admin,
        database,
        dumped,
        encoding: dump_encoding(encoding.as_deref().unwrap_or_default()),
        left: Mutex::new(Left {
            pieces: Piece::all(dumped, &pages, sessions).into_iter(),
            large_objects: true,
        }),
    };
    let (begin, begun) = mpsc::channel();
    let read = std::thread::scope(|threads| {
        let read = |begin| {
            let reading = &reading;
            threads.spawn(move || reading.read(&begin))
        };
        let readers: Vec<_> = (0..sessions).map(|_| read(begin.clone())).collect();
        drop(begin);
        for at in begun {
            each(&dumped.tables[at].table);
        }
        let found = readers.into_iter().map(|reader| match reader.join() {
            Ok(found) => found,
            Err(panicked) => std::panic::resume_unwind(panicked),
        });
        found.collect::<Result<Vec<Found>>>()
    })?;
    reading.judge(&read, &mut console)
}

/// A database that is being read back, by sessions of which each takes what comes next.
struct Reading<'r> {
    admin: &'r Superuser,
    database: &'r str,
    dumped: &'r DumpContents,
    encoding: &'static str,
    left: Mutex<Left>,
}

/// What no session has taken yet.
#[derive(Default)]
struct Left {
    pieces: std::vec::IntoIter<Piece>,
    large_objects: bool,
}

/// What a session found.
#[derive(Default)]
struct Found {
    /// By the place of their table.
    tables: Vec<(usize, Rows)>,
    large_objects: Option<LargeObjects>,
}

impl Reading<'_> {
    /// Reads in one session until nothing is left, or nothing is left because it failed. Of which
    /// table something is begun is told by its place.
    fn read(&self, begun: &Sender<usize>) -> Result<Found> {
        let read = self.read_in_a_session(begun);
        if read.is_err() {
            self.left(std::mem::take);
        }
        read
    }

    fn read_in_a_session(&self, begun: &Sender<usize>) -> Result<Found> {
        let mut session = Session::start(self.admin, self.database, self.encoding)?;
        let mut found = Found::default();
        while let Some(piece) = self.left(|left| left.pieces.next()) {
            let _ = begun.send(piece.table);
            let TableSummary { table, digest, .. } = &self.dumped.tables[piece.table];
            let rows = session.table(&piece.copy(table), digest)?;
            found.tables.push((piece.table, rows));
        }
        if self.left(|left| std::mem::take(&mut left.large_objects)) {
            found.large_objects = Some(blobs::read(&mut session, self.dumped)?);
        }
        session.end();
        Ok(found)
    }

    fn left<T>(&self, take: impl FnOnce(&mut Left) -> T) -> T {
        take(&mut self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn judge(&self, read: &[Found], console: &mut Console) -> Result<Comparison> {
        let Self {
            database, dumped, ..
        } = *self;
        let mut comparison = Comparison::default();
        let mut tables: BTreeMap<usize, Rows> = BTreeMap::new();
        for (at, rows) in read.iter().flat_map(|found| &found.tables) {
            match tables.entry(*at) {
                Entry::Vacant(table) => drop(table.insert(rows.clone())),
                Entry::Occupied(mut table) => match (table.get_mut(), rows) {
                    (Ok(sum), Ok(rows)) => sum.merge(rows),
                    (table, Err(_)) => *table = rows.clone(),
                    (Err(_), Ok(_)) => {}
                },
            }
        }
        let not_read = || {
            let what = format!("read the database {database} back: not all of it was read");
            Error::new(ErrorKind::Failed, what)
        };
        for (at, summary) in dumped.tables.iter().enumerate() {
            let found = tables.remove(&at).ok_or_else(not_read)?;
            match found.map(|rows| (rows.rows(), rows.digest())) {
                Ok(found) if found == (summary.rows, summary.digest) => {
                    comparison.equal += 1;
                    comparison.rows += summary.rows;
                }
                Ok((rows, _)) => {
                    let difference = difference(&name(&summary.table), summary.rows, rows);
                    comparison.differ.push(difference);
                }
                Err(state) => {
                    let unread = unread(console, summary, &state);
                    comparison.differ.push(unread);
                }
            }
        }
        let mut large_objects = read.iter().filter_map(|found| found.large_objects.as_ref());
        let found = large_objects.next().ok_or_else(not_read)?;
        if !are_those_of(found, dumped) {
            let difference = difference("large objects", dumped.large_objects, found.count());
            comparison.differ.push(difference);
        }
        comparison.extra = extra(console, dumped)?;
        comparison.sequences_behind = sequences::behind(console, &dumped.sequences)?;
        comparison.sequences_low = sequences::low(console)?;
        Ok(comparison)
    }
}

fn are_those_of(found: &LargeObjects, dumped: &DumpContents) -> bool {
    let digest = dumped.large_objects_digest;
    found.count() == dumped.large_objects && digest.is_none_or(|d| d == found.digest())
}

/// The encoding that a dump of a database of this encoding is made in, and that
/// it is read back in: the names in a dump must be UTF-8. What is in a database
/// that knows no encoding can't be converted.
pub(crate) fn dump_encoding(server: &str) -> &'static str {
    match server {
        "SQL_ASCII" => "SQL_ASCII",
        _ => "UTF8",
    }
}

fn name(table: &TableInfo) -> String {
    format!("{}.{}", table.schema, table.name)
}

/// The columns that the dump has of a table.
fn columns(table: &TableInfo) -> String {
    let columns: Vec<String> = table.columns.iter().map(|c| identifier(c)).collect();
    columns.join(", ")
}

fn qualified(table: &TableInfo) -> String {
    format!("{}.{}", identifier(&table.schema), identifier(&table.name))
}

fn difference(table: &str, dumped: u64, found: u64) -> TableDifference {
    TableDifference {
        table: table.to_owned(),
        dumped,
        found: Some(found),
        what: if found == dumped {
            "has as many rows, and not the same".into()
        } else {
            format!("has {found} rows instead of {dumped}")
        },
    }
}

/// Why the server would not give the rows of a table: asked how it would select
/// them, it says so in words. Only asked: to plan it could run what is in a view.
fn unread(console: &mut Console, summary: &TableSummary, state: &str) -> TableDifference {
    let (table, columns) = (qualified(&summary.table), columns(&summary.table));
    let ask = format!("PREPARE asked AS SELECT {columns} FROM {table}; DEALLOCATE asked");
    let why = match console.query(&ask) {
        Ok(_) => format!("the server ends with error {state}"),
        Err(e) => e.to_string(),
    };
    TableDifference {
        table: name(&summary.table),
        dumped: summary.rows,
        found: None,
        what: format!("can't be read: {why}"),
    }
}

/// Tables that the dump does not have, but for those that an extension makes.
fn extra(console: &mut Console, dumped: &DumpContents) -> Result<Vec<String>> {
    let rows = console.query(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid \
             AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e') \
         ORDER BY 1, 2",
    )?;
    Ok(rows
        .into_iter()
        .filter_map(|row| <[String; 2]>::try_from(row).ok())
        .filter(|[schema, table]| dumped.table(schema, table).is_none())
        .map(|[schema, table]| format!("{schema}.{table}"))
        .collect())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::archive::DumpReader;
    use crate::scratch::Scratch;

    #[test]
    fn what_nobody_has_read_is_not_equal() {
        let mut reader = DumpReader::new();
        let dump = include_bytes!("../tests/data/small.dump");
        reader.feed(dump, &mut ()).unwrap();
        let dumped = reader.finish().unwrap();
        let cluster = Scratch::for_test();
        let reading = Reading {
            admin: cluster.superuser(),
            database: "postgres",
            dumped: &dumped,
            encoding: "UTF8",
            left: Mutex::default(),
        };
        let found = reading.read(&mpsc::channel().0).unwrap();
        let mut console = reading.admin.console("postgres").unwrap();
        let unread = reading.judge(&[found], &mut console).unwrap_err();
        let said = unread.to_string();
        assert!(said.ends_with("not all of it was read"), "{said}");
    }
}
