use crate::error::{Error, ErrorKind, Result};
use crate::readback::literal;
use crate::superuser::{Console, Superuser};

/// Held by the one restore of a database that is at work, so that no other
/// takes its unfinished database for one that was left.
///
/// A lock of the server's own, in a session of ours: however we end, it ends too,
/// with what it had not committed.
pub(super) struct Turn {
    server: Console,
}

/// What our locks have in common: "lava".
const OURS: u32 = 0x6c61_7661;

impl Turn {
    pub(super) fn take(admin: &Superuser, database: &str) -> Result<Self> {
        let mut server = admin.console("postgres")?;
        let lock = format!(
            "SELECT pg_catalog.pg_try_advisory_lock({OURS}, pg_catalog.hashtext({}))",
            literal(database)
        );
        match server.value(&lock)?.as_deref() {
            Some("t") => Ok(Self { server }),
            _ => Err(Error::new(
                ErrorKind::Refused,
                format!("restore the database {database}: another restore of it is at work"),
            )),
        }
    }

    /// The session, which is in no database that is restored.
    pub(super) fn server(&mut self) -> &mut Console {
        &mut self.server
    }

    /// Is the lock still held?
    pub(super) fn is_ours(&mut self) -> bool {
        self.server.query("SELECT 1").is_ok()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // The server may see only later that the session is over.
        let free = "SELECT pg_catalog.pg_advisory_unlock_all()";
        let _ = self.server.query(free);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn one_has_the_turn_and_the_next_has_it_as_soon_as_it_is_over() {
        let cluster = Scratch::for_test();
        let take = |database| Turn::take(cluster.superuser(), database);
        for _ in 0..20 {
            let mut turn = take("lab").unwrap();
            turn.server().query("BEGIN").unwrap();
            let refused = take("lab").err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::Refused);
            take("other").unwrap();
        }
    }

    /// A server that is slow to see that a session is over holds its lock till then.
    #[test]
    fn who_gives_the_turn_back_waits_until_the_server_has_it() {
        let cluster = Scratch::for_test();
        let take = || Turn::take(cluster.superuser(), "lab");
        let mut turn = take().unwrap();
        let pid = "SELECT pg_catalog.pg_backend_pid()";
        let pid = turn.server().value(pid).unwrap().unwrap();
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        let giving = std::thread::spawn(move || drop(turn));
        std::thread::sleep(Duration::from_millis(200));
        let waited = !giving.is_finished();
        kill_process(pid, Signal::CONT).unwrap();
        giving.join().unwrap();
        assert!(waited);
        take().unwrap();
    }
}
