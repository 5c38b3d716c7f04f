mod copying;
mod load;
mod swap;
mod target;
mod turn;

use std::io::{self, Write};

use crate::archive::{DumpContents, TableInfo};
use crate::error::{Error, ErrorKind, Result};
use crate::readback::{self, Comparison};
use crate::server::Password;
use crate::snapshot::{DatabaseGrant, ServerFacts};
use crate::superuser::Superuser;
use target::Names;
pub use target::mark;
use turn::Turn;

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
    /// The locale provider: `libc`, `icu` or `builtin`.
    pub provider: String,
    /// The locale of a provider other than `libc`.
    pub locale: Option<String>,
    /// The rights to the database itself, whose roles are made as the others are; `None` leaves
    /// what the server gives by default.
    pub grants: Option<Vec<DatabaseGrant>>,
    /// How many sessions may be in it at once; `None` if any number.
    pub connection_limit: Option<u32>,
    /// Kept as the comment of the database from the swap on, for [`mark`] to find: what it was
    /// restored from.
    pub mark: Option<String>,
    /// What the dump holds: every table is compared with it before the swap.
    pub contents: &'r DumpContents,
    /// A statement that answers with a number other than 0 if the database
    /// that is there holds data that nobody can make again. It runs as the superuser:
    /// it names the schema of its tables, and a view in the place of one is refused.
    pub holds_data: String,
    /// Such data may go aside all the same.
    pub replace_data: bool,
    /// A sequence may be so low that its table holds its next value already:
    /// the database that was dumped may have been like that.
    pub low_sequences: bool,
    /// Part of the name that the old database gets: the time. It gets a number, too,
    /// where there is a database of that name.
    pub stamp: String,
    /// How many sessions of the server's load it and read it back, 1 or more; up to three more
    /// keep others out, ask, and make statistics. Rows that several have loaded lie in another
    /// order than in the dump.
    pub jobs: u32,
}

impl<'r> Restore<'r> {
    /// The database that a dump was made of, under its own name, over nothing
    /// that holds a table.
    pub fn of(server: &ServerFacts, contents: &'r DumpContents, stamp: &str) -> Self {
        Self {
            database: server.database.clone(),
            owner: server.owner.clone(),
            password: None,
            roles: server.roles.clone(),
            encoding: server.encoding.clone(),
            collate: server.collate.clone(),
            ctype: server.ctype.clone(),
            provider: server.provider.clone(),
            locale: server.locale.clone(),
            grants: server.grants.clone(),
            connection_limit: server.connection_limit,
            mark: None,
            contents,
            holds_data: "SELECT 1".into(),
            replace_data: false,
            low_sequences: false,
            stamp: stamp.to_owned(),
            jobs: 1,
        }
    }
}

/// What [`restore`] did.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The name under which the old database is kept.
    pub kept: Option<String>,
    /// An unfinished database that an interrupted restore had left, and that
    /// was removed.
    pub removed: Option<String>,
    /// Why several sessions could not load it, where one could.
    pub loaded_alone: Option<String>,
    /// What was compared.
    pub comparison: Comparison,
}

/// Steps of a restore, for who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage<'s> {
    /// What an interrupted restore has left is removed: a database of this name.
    Removing(&'s str),
    /// The rows are loaded, by so many sessions.
    Loading(u32),
    /// Several sessions could not do it, for a reason in words: one does it anew.
    LoadingAgain(&'s str),
    /// The planner's statistics are made.
    Analysing,
    /// A table is read back.
    Comparing(&'s TableInfo),
    /// The new database takes the old one's name.
    Swapping,
}

/// Loads a dump into a new database, proves it, and swaps it in by rename.
///
/// Up to the swap the old database serves on, and it is one transaction: killed
/// at any moment, the old database or the proved new one has the name, and is
/// open. What is left then is a database `…_restoring`, which the next restore
/// removes, unless the server crashed before it was marked as ours; it is left, too,
/// where the server has ended the session that keeps other restores out, for it may be
/// another's by then. Whatever else fails, the new one is dropped and the old one is as
/// it was. After the swap it is kept under another name.
///
/// # Errors
/// [`ErrorKind::Refused`] if the old database is in use, if the name of the one in
/// the making is another's or a name is too long, or if another restore of it is at
/// work; [`ErrorKind::HoldsData`] if it holds data that may not go aside;
/// [`ErrorKind::Failed`] with what `pg_restore` or the server said; [`ErrorKind::Io`] if the
/// server's disk is full; [`ErrorKind::Differs`] if the
/// loaded rows are not those of the dump; [`ErrorKind::LowSequence`]; [`ErrorKind::Query`],
/// [`ErrorKind::Connection`] and [`ErrorKind::Absent`] as for [`Superuser::query`].
/// `Connection` also if the server went away meanwhile, which says nothing of the dump;
/// if it did so during the swap, the name tells which of the two databases has it.
pub fn restore(
    admin: &Superuser,
    spec: &Restore<'_>,
    dump: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    observe: &mut dyn FnMut(Stage<'_>),
) -> Result<Restored> {
    let mut names = Names::of(spec)?;
    let mut turn = Turn::take(admin, &spec.database)?;
    let server = turn.server();
    let old_is_there = target::exists(server, &spec.database)?;
    if old_is_there {
        target::check_free(server, spec)?;
        target::check_data(admin, spec)?;
        names.keep_both(server, spec)?;
    }
    let mut removed = None;
    if target::exists(server, &names.new)? {
        observe(Stage::Removing(&names.new));
        target::drop_unfinished(admin, &names.new)?;
        removed = Some(names.new.clone());
    }
    target::make_roles(server, spec)?;
    let built = target::create(admin, spec, &names.new)
        .and_then(|()| build(admin, &mut turn, spec, &names.new, dump, observe))
        .and_then(|(loaded_alone, comparison)| {
            observe(Stage::Swapping);
            if old_is_there {
                // Time has passed.
                target::check_data(admin, spec)?;
            }
            swap::swap(admin, &mut turn, spec, &names, old_is_there)?;
            Ok(Restored {
                kept: old_is_there.then(|| names.aside.clone()),
                removed,
                loaded_alone,
                comparison,
            })
        });
    built.map_err(|e| match turn.is_ours() {
        true => {
            // The first error is the one to tell.
            let _ = target::drop_unfinished(admin, &names.new);
            e
        }
        false => without_server(e),
    })
}

/// What a program or a session could not do for want of the server.
fn without_server(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Failed => Error::new(ErrorKind::Connection, error.to_string()),
        _ => error,
    }
}

fn build(
    admin: &Superuser,
    turn: &mut Turn,
    spec: &Restore<'_>,
    new: &str,
    dump: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    observe: &mut dyn FnMut(Stage<'_>),
) -> Result<(Option<String>, Comparison)> {
    let loaded_alone = load::load(admin, turn, spec, new, dump, observe)?;
    observe(Stage::Analysing);
    // Beside reading back, which is the longer of the two.
    let comparison = std::thread::scope(|threads| {
        let analysed = threads.spawn(|| admin.query(new, "ANALYZE"));
        let mut each = |table: &TableInfo| observe(Stage::Comparing(table));
        let sessions = spec.jobs.max(1) as usize;
        let compared = readback::compare_by(sessions, admin, new, spec.contents, &mut each)?;
        match analysed.join() {
            Ok(analysed) => analysed.map(|_| compared),
            Err(panicked) => std::panic::resume_unwind(panicked),
        }
    })?;
    let what = |why: String| format!("restore the database {}: {why}", spec.database);
    let differs = |why: String| Err(Error::new(ErrorKind::Differs, what(why)));
    if let Some(first) = comparison.differ.first() {
        return differs(format!(
            "{} of {} tables are not as dumped, the first {}: {}",
            comparison.differ.len(),
            spec.contents.tables.len(),
            first.table,
            first.what
        ));
    }
    if let Some(first) = comparison.extra.first() {
        return differs(format!("the dump does not have the table {first}"));
    }
    if let Some(first) = comparison.sequences_behind.first() {
        return differs(format!("the sequence {first} is behind the dump's"));
    }
    match comparison.sequences_low.first() {
        Some(first) if !spec.low_sequences => {
            let what = what(format!("there is the sequence {first}"));
            Err(Error::new(ErrorKind::LowSequence, what))
        }
        _ => Ok((loaded_alone, comparison)),
    }
}
