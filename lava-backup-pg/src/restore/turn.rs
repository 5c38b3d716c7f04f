use std::io::{Read, Write};
use std::process::{Child, Stdio};

use crate::error::{Error, ErrorKind, Result};
use crate::readback::literal;
use crate::superuser::Superuser;

/// Held by the one restore of a database that is at work, so that no other
/// takes its unfinished database for one that was left.
///
/// A lock of the server's own, in a session whose statements come through a pipe
/// from us: however we end, it ends too.
pub(super) struct Turn(Child);

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
            .stderr(Stdio::null())
            .spawn()
            .map_err(io)?;
        let sql = format!(
            "SELECT pg_catalog.pg_try_advisory_lock({OURS}, pg_catalog.hashtext({}));\n",
            literal(database)
        );
        let mut answer = [0];
        let asked = match (&mut psql.stdin, &mut psql.stdout) {
            (Some(stdin), Some(stdout)) => stdin
                .write_all(sql.as_bytes())
                .and_then(|()| stdout.read_exact(&mut answer)),
            _ => Ok(()),
        };
        let turn = Self(psql);
        match (asked, &answer) {
            (Ok(()), b"t") => Ok(turn),
            (Ok(()), _) => Err(Error::new(
                ErrorKind::Refused,
                format!("{what}: another restore of it is at work"),
            )),
            (Err(e), _) => Err(Error::with(ErrorKind::Connection, what, e)),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
