use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::thread::JoinHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::readback::literal;
use crate::server;
use crate::superuser::{PATIENCE, Superuser};

/// Held by the one restore of a database that is at work, so that no other
/// takes its unfinished database for one that was left.
///
/// A lock of the server's own, in a session whose statements come through a pipe
/// from us: however we end, it ends too, with what it had not committed.
pub(super) struct Turn {
    psql: Child,
    answers: BufReader<ChildStdout>,
    said: Option<JoinHandle<Vec<u8>>>,
    what: String,
}

/// What our locks have in common: "lava".
const OURS: u32 = 0x6c61_7661;

impl Turn {
    pub(super) fn take(admin: &Superuser, database: &str) -> Result<Self> {
        let what = format!("restore the database {database}");
        let io = |e| Error::with(ErrorKind::Program, what.clone(), e);
        let mut psql = admin
            .psql("postgres")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io)?;
        let stderr = psql.stderr.take();
        let stdout = psql.stdout.take();
        let stdout = stdout.ok_or_else(|| Error::new(ErrorKind::Program, "read psql's output"))?;
        let mut turn = Self {
            psql,
            answers: BufReader::new(stdout),
            said: stderr.map(|stderr| std::thread::spawn(|| server::read_some(stderr))),
            what,
        };
        turn.run(PATIENCE)?;
        let lock = format!(
            "SELECT pg_catalog.pg_try_advisory_lock({OURS}, pg_catalog.hashtext({}))",
            literal(database)
        );
        match turn.run(&lock)?.as_str() {
            "t" => Ok(turn),
            _ => Err(Error::new(
                ErrorKind::Refused,
                format!("{}: another restore of it is at work", turn.what),
            )),
        }
    }

    /// Is the lock still held?
    pub(super) fn is_ours(&mut self) -> bool {
        self.run("SELECT 1").is_ok()
    }

    /// Runs statements in the session and waits for them; gives the last row.
    ///
    /// # Errors
    /// [`ErrorKind::Query`] with what the server said; then the session is over,
    /// and what it had begun is rolled back.
    pub(super) fn run(&mut self, sql: &str) -> Result<String> {
        let script = format!("{sql};\n\\echo done\n");
        let sent = match &mut self.psql.stdin {
            Some(stdin) => stdin.write_all(script.as_bytes()),
            None => Ok(()),
        };
        let mut row = String::new();
        while sent.is_ok() {
            let mut answer = Vec::new();
            let read = self.answers.read_until(b'\n', &mut answer);
            if !matches!(read, Ok(1..)) {
                break;
            }
            let answer = String::from_utf8_lossy(&answer);
            let rows = answer.split('\0').map(str::trim_end);
            // The mark follows the last row, which ends with a NUL, in its line.
            for found in rows.filter(|found| !found.is_empty()) {
                match found {
                    "done" => return Ok(row),
                    found => row = found.to_owned(),
                }
            }
        }
        let said = self.said.take().and_then(|said| said.join().ok());
        let said = server::complaint(&said.unwrap_or_default());
        let what = format!("{}: {said}", self.what);
        Err(Error::new(ErrorKind::Query, what))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.psql.stdin.take());
        let _ = self.psql.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::scratch::Scratch;
    use std::path::Path;

    #[test]
    fn a_turn_that_is_over_is_over_on_the_server_too() {
        let cluster = Scratch::for_test();
        for _ in 0..2 {
            let turn = Turn::take(cluster.superuser(), "lab").unwrap();
            let psql = Path::new("/proc").join(turn.psql.id().to_string());
            assert!(psql.exists());
            drop(turn);
            assert!(!psql.exists());
        }
    }
}
