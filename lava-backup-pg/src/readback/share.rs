use std::cmp::Reverse;
use std::sync::mpsc::Sender;

use super::blobs::{self, PAGES};
use super::copy;
use super::session::{Rows, Session};
use crate::archive::DumpContents;
use crate::error::Result;
use crate::large_objects::LargeObjects;
use crate::superuser::Superuser;

/// What one session reads back: tables, by their place among all.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Share {
    tables: Vec<usize>,
    large_objects: bool,
}

/// What a session found.
#[derive(Default)]
pub(super) struct Found {
    /// By their places.
    pub(super) tables: Vec<(usize, Rows)>,
    pub(super) large_objects: Option<LargeObjects>,
}

impl Share {
    /// Divides all that is to be read among sessions, so that each has about as
    /// many bytes; nobody gets nothing.
    pub(super) fn all(dumped: &DumpContents, sessions: usize) -> Vec<Self> {
        let mut places: Vec<usize> = (0..dumped.tables.len()).collect();
        places.sort_by_key(|&at| Reverse(dumped.tables[at].bytes));
        let mut shares: Vec<(u64, Self)> = Vec::new();
        shares.resize_with(sessions.clamp(1, places.len().max(1)), Default::default);
        for at in places {
            if let Some((bytes, least)) = shares.iter_mut().min_by_key(|(bytes, _)| *bytes) {
                // An empty table takes a moment, too.
                *bytes += dumped.tables[at].bytes + 1;
                least.tables.push(at);
            }
        }
        if let Some((_, least)) = shares.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            least.large_objects = true;
        }
        shares.into_iter().map(|(_, share)| share).collect()
    }

    /// Reads all of it; which table is begun is told by its place.
    pub(super) fn read(
        &self,
        admin: &Superuser,
        database: &str,
        encoding: &str,
        dumped: &DumpContents,
        begun: &Sender<usize>,
    ) -> Result<Found> {
        let tables = || self.tables.iter().map(|&at| (at, &dumped.tables[at]));
        let statements = tables().map(|(_, summary)| copy(&summary.table));
        let statements = statements.chain(self.large_objects.then(|| PAGES.to_owned()));
        let mut session = Session::start(admin, database, encoding, statements)?;
        let mut found = Found::default();
        for (at, summary) in tables() {
            // Nobody listens any more if another session has failed.
            let _ = begun.send(at);
            found.tables.push((at, session.table(&summary.digest)?));
        }
        if self.large_objects {
            found.large_objects = Some(blobs::read(&mut session, dumped)?);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn dumped(bytes: &[u64]) -> DumpContents {
        let table = |(at, bytes): (usize, &u64)| {
            serde_json::json!({
                "table": { "schema": "s", "name": at.to_string(), "columns": [] },
                "rows": 0, "bytes": bytes, "digest": format!("lthash16:{}", "0".repeat(64)),
            })
        };
        let tables: Vec<_> = bytes.iter().enumerate().map(table).collect();
        let time = serde_json::json!({ "year": 0, "month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0 });
        let header = serde_json::json!({
            "version": { "major": 1, "minor": 14 }, "created": time, "database": "",
            "server_version": "", "dump_version": "",
        });
        let contents = serde_json::json!({
            "header": header, "entries": 0, "tables": tables, "sequences": [],
            "large_objects": 0, "bytes": 0,
        });
        serde_json::from_value(contents).unwrap()
    }

    fn tables(bytes: &[u64], sessions: usize) -> Vec<Vec<usize>> {
        let shares = Share::all(&dumped(bytes), sessions);
        assert_eq!(shares.iter().filter(|share| share.large_objects).count(), 1);
        shares.into_iter().map(|share| share.tables).collect()
    }

    #[test]
    fn every_table_is_read_once_and_sessions_have_about_the_same_to_read() {
        assert_eq!(tables(&[5, 90, 50, 7, 40], 2), [vec![1, 3], vec![2, 4, 0]]);
        assert_eq!(tables(&[5, 90, 50, 7, 40], 1), [[1, 2, 4, 3, 0]]);
    }

    #[test]
    fn there_are_no_more_sessions_than_tables_and_always_one() {
        assert_eq!(tables(&[0, 0], 8).len(), 2);
        assert_eq!(tables(&[], 8), [[0; 0]]);
        assert_eq!(tables(&[1], 0), [[0]]);
    }
}
