use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{columns, qualified};
use crate::archive::{DumpContents, TableInfo};
use crate::error::Result;
use crate::superuser::Console;

/// A table, or a run of its pages: what a session reads back at once.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    /// Its place among the tables.
    pub(super) table: usize,
    /// The first page, if that is not the table's.
    from: Option<u64>,
    /// The page after the last, if that is not the table's.
    upto: Option<u64>,
}

/// Not worth a piece of its own, in bytes of rows as text.
const SMALL: u64 = 4 << 20;

/// How many pages tables have, by schema and name; none is known where the server
/// would read all of a table to find a few of them, as before version 14.
pub(super) fn pages(console: &mut Console) -> Result<BTreeMap<(String, String), u64>> {
    let rows = console.query(
        "SELECT n.nspname, c.relname, pg_catalog.pg_relation_size(c.oid) \
            / pg_catalog.current_setting('block_size')::pg_catalog.int8 \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' \
         AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 140000",
    )?;
    let table = |row: Vec<String>| {
        let [schema, name, pages] = row.try_into().ok()?;
        Some(((schema, name), pages.parse().ok()?))
    };
    Ok(rows.into_iter().filter_map(table).collect())
}

impl Piece {
    /// All that is to be read, the longest first, so that sessions of which each takes the next
    /// one are done at about the same time; large tables of which the pages are known are cut.
    pub(super) fn all(
        dumped: &DumpContents,
        pages: &BTreeMap<(String, String), u64>,
        sessions: usize,
    ) -> Vec<Self> {
        let sessions = sessions.max(1);
        let whole: u64 = dumped.tables.iter().map(|t| t.bytes).sum();
        let large = (whole / (sessions as u64 * 4)).max(SMALL);
        let mut pieces: Vec<(u64, Self)> = Vec::new();
        for (table, summary) in dumped.tables.iter().enumerate() {
            let TableInfo {
                schema,
                name,
                columns,
            } = &summary.table;
            let key = (schema.clone(), name.clone());
            let parts = match pages.get(&key) {
                Some(pages) if sessions > 1 && !columns.is_empty() => {
                    summary.bytes.div_ceil(large).clamp(1, (*pages).max(1))
                }
                _ => 1,
            };
            let cut = |part: u64| Some(pages.get(&key)? * part / parts);
            for part in 0..parts {
                let piece = Self {
                    table,
                    from: (part > 0).then(|| cut(part)).flatten(),
                    upto: (part + 1 < parts).then(|| cut(part + 1)).flatten(),
                };
                pieces.push((summary.bytes / parts, piece));
            }
        }
        pieces.sort_by_key(|(bytes, _)| Reverse(*bytes));
        pieces.into_iter().map(|(_, piece)| piece).collect()
    }

    pub(super) fn copy(&self, table: &TableInfo) -> String {
        let bound = |is: &str, page: Option<u64>| Some(format!("ctid {is} '({},0)'", page?));
        let bounds = [bound(">=", self.from), bound("<", self.upto)];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        let (name, columns) = (qualified(table), columns(table));
        match (bounds.is_empty(), columns.is_empty()) {
            (true, true) => format!("COPY {name} TO STDOUT"),
            (true, false) => format!("COPY {name} ({columns}) TO STDOUT"),
            (false, _) => {
                let bounds = bounds.join(" AND ");
                format!("COPY (SELECT {columns} FROM ONLY {name} WHERE {bounds}) TO STDOUT")
            }
        }
    }
}

#[cfg(test)]
mod tests;
