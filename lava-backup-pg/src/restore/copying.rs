use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use postgres::Client;

use crate::error::{Error, ErrorKind, Result};
use crate::superuser::Superuser;

/// As `pg_restore` has its sessions; each names what it copies into in full. What a crash forgets
/// is an unfinished database of ours.
const SETTINGS: &str = "SET statement_timeout = 0; SET lock_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; SET default_transaction_read_only = off; \
    SET timezone = 'UTC'; SET datestyle = ISO; SET intervalstyle = postgres; \
    SET xmloption = content; SET check_function_bodies = off; SET row_security = off; \
    SET client_min_messages = warning; SET search_path = ''; SET synchronous_commit = off";

/// Rows on their way into a table.
pub(super) struct Piece {
    /// The statement that they follow.
    pub(super) copy: Arc<str>,
    pub(super) rows: Vec<u8>,
}

/// Where sessions find what to copy next: whoever is done takes the next piece. Gone when one of
/// them fails.
#[derive(Clone)]
pub(super) struct Pieces(Arc<Mutex<Option<Receiver<Piece>>>>);

impl Pieces {
    /// As many pieces wait as keep all sessions at work.
    pub(super) fn for_sessions(sessions: u32) -> (SyncSender<Piece>, Self) {
        let (sender, receiver) = sync_channel(2 * sessions as usize);
        (sender, Self(Arc::new(Mutex::new(Some(receiver)))))
    }

    fn next(&self) -> Option<Piece> {
        let pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.as_ref()?.recv().ok()
    }

    /// Nobody is to go on, nor to bring more.
    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Copies pieces in one session until there are no more.
pub(super) fn copy(admin: &Superuser, database: &str, pieces: &Pieces) -> Result<()> {
    let copied = admin
        .address(database)
        .connect_as_user()
        .and_then(|mut client| copy_with(&mut client, database, pieces));
    if copied.is_err() {
        pieces.end();
    }
    copied
}

fn copy_with(client: &mut Client, database: &str, pieces: &Pieces) -> Result<()> {
    let what = |copy: &str| {
        let table = copy.split(" (").next().unwrap_or_default();
        format!("load the dump into the database {database}: {table}")
    };
    let prepared = client.batch_execute(SETTINGS);
    prepared.map_err(|e| refused(what("SET"), &e))?;
    let mut next = pieces.next();
    while let Some(first) = next.take() {
        let copy = first.copy;
        let copied = (|| -> std::result::Result<_, CopyError> {
            let mut table = client.copy_in(&*copy)?;
            table.write_all(&first.rows)?;
            let next = loop {
                match pieces.next() {
                    Some(piece) if piece.copy == copy => table.write_all(&piece.rows)?,
                    other => break other,
                }
            };
            table.finish()?;
            Ok(next)
        })();
        next = match copied {
            Ok(next) => next,
            Err(CopyError::Server(e)) => return Err(refused(what(&copy), &e)),
            Err(CopyError::Way(e)) => return Err(Error::with(ErrorKind::Failed, what(&copy), e)),
        };
    }
    Ok(())
}

enum CopyError {
    Server(postgres::Error),
    Way(io::Error),
}

impl From<postgres::Error> for CopyError {
    fn from(error: postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<io::Error> for CopyError {
    /// What the server says while rows come is wrapped up.
    fn from(error: io::Error) -> Self {
        match error.downcast::<postgres::Error>() {
            Ok(error) => Self::Server(error),
            Err(error) => Self::Way(error),
        }
    }
}

/// In the server's words, without those that quote rows: a password's hash, a token.
fn refused(what: String, error: &postgres::Error) -> Error {
    let said = match error.as_db_error() {
        Some(said) => said.message().to_owned(),
        None => error.to_string(),
    };
    Error::new(ErrorKind::Failed, format!("{what}: {said}"))
}
