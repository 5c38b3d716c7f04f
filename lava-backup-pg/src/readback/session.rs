use std::pin::pin;

use futures_util::TryStreamExt;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::digest::{TableDigest, TableHasher};
use crate::error::{self, Error, ErrorKind, Result};
use crate::superuser::{PATIENCE, Superuser, TABLES_ONLY};

/// What makes equal rows equal text: as `pg_dump` sets it.
const SETTINGS: &str = "SET datestyle = ISO; SET intervalstyle = postgres; \
    SET extra_float_digits = 3; SET synchronize_seqscans = off; \
    SET row_security = off";

/// A session that copies one thing after another to us.
///
/// Rows come one by one, millions of them, so none is waited for anew: a table is one
/// wait, of a runtime.
pub(super) struct Session {
    runtime: Runtime,
    client: Client,
    connection: JoinHandle<()>,
    doing: String,
}

/// The sum of a statement's rows; or the SQLSTATE, if the server would not give
/// them: that one table can't be read is no reason not to read the next.
pub(super) type Rows = Result<TableHasher, String>;

impl Session {
    /// Gives text in this encoding: the one that the dump was made in.
    pub(super) fn start(admin: &Superuser, database: &str, encoding: &str) -> Result<Self> {
        let doing = format!("read the database {database} back");
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build();
        let runtime = runtime.map_err(|e| Error::with(ErrorKind::Io, doing.clone(), e))?;
        let (client, connection) = admin.address(database).connect_within(&runtime)?;
        let settings =
            format!("SET client_encoding = '{encoding}'; {SETTINGS}; {PATIENCE}; {TABLES_ONLY}");
        let failed = |e| Error::server(ErrorKind::Query, doing.clone(), e);
        let set = runtime.block_on(client.batch_execute(&settings));
        set.map_err(failed)?;
        Ok(Self {
            runtime,
            client,
            connection,
            doing,
        })
    }

    /// Says so to the server, whose log would tell of a connection that was lost.
    pub(super) fn end(self) {
        drop(self.client);
        // It can only have ended otherwise, which is no matter any more.
        let _ = self.runtime.block_on(self.connection);
    }

    /// The rows of a `COPY … TO STDOUT`, with a digest to compare with this one.
    pub(super) fn table(&mut self, copy: &str, like: &TableDigest) -> Result<Rows> {
        let mut table = TableHasher::like(like);
        let read = self.rows(copy, |row| table.add_row(row))?;
        Ok(read.map(|()| table))
    }

    /// The same, one by one.
    pub(super) fn rows(
        &mut self,
        copy: &str,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Result<(), String>> {
        let read = self.runtime.block_on(async {
            let mut rows = pin!(self.client.copy_out(copy).await?);
            // The protocol has a message for each row, which ends with a newline.
            while let Some(row) = rows.try_next().await? {
                each(row.strip_suffix(b"\n").unwrap_or(&row));
            }
            Ok(())
        });
        let Err(e): Result<(), tokio_postgres::Error> = read else {
            return Ok(Ok(()));
        };
        match error::refusal(&e) {
            Some(said) => Ok(Err(said.code().code().to_owned())),
            None => Err(Error::with(ErrorKind::Connection, self.doing.clone(), e)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_session_that_ends_is_none_that_the_server_lost() {
        let cluster = Scratch::for_test();
        for _ in 0..200 {
            let mut session = Session::start(cluster.superuser(), "postgres", "UTF8").unwrap();
            let copy = "COPY (SELECT pg_catalog.generate_series(1, 5000)) TO STDOUT";
            session.rows(copy, |_| ()).unwrap().unwrap();
            session.end();
        }
        let said = cluster.said();
        assert!(!said.contains("lost"), "{said}");
    }
}
