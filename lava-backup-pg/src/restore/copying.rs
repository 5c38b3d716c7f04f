use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use postgres::Client;
use postgres::error::SqlState;

use crate::archive::copy_statement;
use crate::error::{Error, ErrorKind, Result};
use crate::superuser::{PATIENCE, Superuser};

/// What `pg_restore` sets besides; each names what it copies into in full. What a crash forgets
/// is an unfinished database of ours.
const SETTINGS: &str = "SET datestyle = ISO; SET intervalstyle = postgres; \
    SET xmloption = content; SET check_function_bodies = off; SET row_security = off; \
    SET client_min_messages = warning; SET synchronous_commit = off";

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

/// After so many pieces a session asks the server how it went: only then it hears of an error.
const PIECES: usize = 64;

fn copy_with(client: &mut Client, database: &str, pieces: &Pieces) -> Result<()> {
    let what = |doing: &str| format!("load the dump into the database {database}: {doing}");
    let prepared = client.batch_execute(&format!("{SETTINGS}; {PATIENCE}"));
    prepared.map_err(|e| refused(what("begin a session"), Some(&e)))?;
    let mut next = pieces.next();
    while let Some(first) = next.take() {
        let copy = Arc::clone(&first.copy);
        let copied = copy_some(client, first, pieces);
        next = copied.map_err(|e| refused(what(copy_statement::table(&copy)), e.as_ref()))?;
    }
    Ok(())
}

/// Copies some pieces into the table of the first, and gives the next one; `Err(None)` if the way
/// to the server is no more.
fn copy_some(
    client: &mut Client,
    first: Piece,
    pieces: &Pieces,
) -> std::result::Result<Option<Piece>, Option<postgres::Error>> {
    let of_the_way = |e: io::Error| e.downcast::<postgres::Error>().ok();
    // Its end tells whether the rows are there; that of a lone statement comes before.
    let mut transaction = client.transaction()?;
    let mut table = transaction.copy_in(&*first.copy)?;
    table.write_all(&first.rows).map_err(of_the_way)?;
    let mut next = None;
    for _ in 1..PIECES {
        match pieces.next() {
            Some(piece) if piece.copy == first.copy => {
                table.write_all(&piece.rows).map_err(of_the_way)?;
            }
            other => {
                next = Some(other);
                break;
            }
        }
    }
    table.finish()?;
    transaction.commit()?;
    Ok(next.unwrap_or_else(|| pieces.next()))
}

/// In the server's words, without those that quote whole rows: a password's hash, a token.
fn refused(what: String, error: Option<&postgres::Error>) -> Error {
    let Some(said) = error.and_then(postgres::Error::as_db_error) else {
        // Its last words went with the session.
        let why = "the server ended the session, and its log says why";
        return Error::new(ErrorKind::Failed, format!("{what}: {why}"));
    };
    // There will be no more room for another try.
    let kind = match *said.code() {
        SqlState::DISK_FULL => ErrorKind::Io,
        _ => ErrorKind::Failed,
    };
    Error::new(kind, format!("{what}: {}", said.message()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn once_a_session_has_failed_none_goes_on_and_nothing_more_is_taken() {
        let cluster = Scratch::for_test();
        let (sender, pieces) = Pieces::for_sessions(2);
        let piece = || Piece {
            copy: "COPY public.nothing (id) FROM stdin;\n".into(),
            rows: b"1\n".to_vec(),
        };
        sender.send(piece()).unwrap();
        sender.send(piece()).unwrap();
        let failed = copy(cluster.superuser(), "postgres", &pieces).unwrap_err();
        assert!(failed.to_string().contains("does not exist"), "{failed}");
        assert!(pieces.next().is_none());
        assert!(sender.send(piece()).is_err());
    }
}
