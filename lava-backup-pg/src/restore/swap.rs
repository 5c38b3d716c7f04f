use std::time::Duration;

use super::Restore;
use super::target::{self, Names};
use super::turn::Turn;
use crate::error::{Error, ErrorKind, Result};
use crate::readback::{identifier, literal};
use crate::superuser::Superuser;

/// How long sessions get to end between two looks; a rename waits five seconds.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long the swap waits for who has locked the database itself, as a copy of
/// it as a template does. Whoever comes to it waits behind the swap.
const LOCK_WAIT: &str = "30s";

/// Gives the new database the name, and the old one another.
///
/// In one transaction: there is never no database of the name, and none that is
/// closed. A rename locks its database against those who come and waits for
/// those who are in; they are ended meanwhile. The session is that of our turn,
/// and its end comes from us last: killed before, we have changed nothing, and
/// nobody else begins while it still waits.
pub(super) fn swap(
    admin: &Superuser,
    turn: &mut Turn,
    spec: &Restore<'_>,
    names: &Names,
    old_is_there: bool,
) -> Result<()> {
    let name = identifier(&spec.database);
    let new = identifier(&names.new);
    let mut sql = format!("BEGIN; SET LOCAL lock_timeout = '{LOCK_WAIT}'; ");
    if old_is_there {
        let aside = identifier(&names.aside);
        sql += &format!("ALTER DATABASE {name} RENAME TO {aside}; ");
    }
    // The mark goes with the rename: until then an interrupted run is ours to
    // drop, from then on the database is not.
    let mark = spec.mark.as_deref().map_or("NULL".to_owned(), literal);
    sql += &format!("ALTER DATABASE {new} RENAME TO {name}; COMMENT ON DATABASE {name} IS {mark}");
    let end_others = format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE datname IN ({}, {})",
        literal(&spec.database),
        literal(&names.new)
    );
    let mut others = admin.console("postgres")?;
    let renamed = std::thread::scope(|threads| {
        let renaming = threads.spawn(|| turn.server().query(&sql));
        while !renaming.is_finished() {
            // If this fails, so does the rename, and says why.
            let _ = others.query(&end_others);
            std::thread::sleep(LOOK_AGAIN);
        }
        match renaming.join() {
            Ok(renamed) => renamed,
            Err(_) => Err(Error::new(ErrorKind::Failed, "swap the databases")),
        }
    });
    let swapped =
        renamed
            .and_then(|_| give_password(turn, spec))
            .and_then(|()| match old_is_there {
                true => commit(admin, turn, &names.aside),
                false => commit(admin, turn, &spec.database),
            });
    swapped.map_err(|e| {
        let _ = turn.server().query("ROLLBACK");
        let what = format!("restore the database {}", spec.database);
        Error::with(e.kind(), what, e)
    })
}

/// Commits the making of a name. Where the server's answer is lost, the name tells whether it did:
/// had another made it, our rename would have failed.
fn commit(admin: &Superuser, turn: &mut Turn, makes: &str) -> Result<()> {
    let Err(e) = turn.server().query("COMMIT") else {
        return Ok(());
    };
    let is_made = || target::exists(&mut admin.console("postgres")?, makes);
    match e.kind() {
        ErrorKind::Connection if matches!(is_made(), Ok(true)) => Ok(()),
        _ => Err(e),
    }
}

/// The role serves the old database with the old password until here. By a statement of its
/// own: a server logs one that fails, and shows one that waits, in full.
fn give_password(turn: &mut Turn, spec: &Restore<'_>) -> Result<()> {
    let Some(password) = &spec.password else {
        return Ok(());
    };
    // As a verifier: a server may log its statements.
    let verifier = postgres_protocol::password::scram_sha_256(password.reveal().as_bytes());
    let role = identifier(&spec.owner);
    let sql = format!("ALTER ROLE {role} LOGIN PASSWORD {}", literal(&verifier));
    turn.server().query(&sql).map(drop)
}
