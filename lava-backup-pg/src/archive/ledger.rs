use std::collections::BTreeMap;

use super::contents::{DumpContents, SequenceSet, TableInfo, TableSummary};
use super::copy_statement;
use super::error::{ArchiveError, ArchiveErrorKind, excerpt};
use super::header::DumpHeader;
use super::toc::TocEntry;
use crate::digest::TableHasher;
use crate::large_objects::LargeObjects;

/// How much may be kept of a table of contents, in bytes.
pub(super) const MEMORY_LIMIT: u64 = 256 * 1024 * 1024;

/// What is known of the dump so far.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) header: Option<DumpHeader>,
    pub(super) entries: u64,
    announced: BTreeMap<i32, Announced>,
    memory: u64,
    pub(super) tables: Vec<TableSummary>,
    sequences: Vec<SequenceSet>,
    pub(super) large_objects: LargeObjects,
}

/// A data block that the table of contents tells of.
#[derive(Debug)]
struct Announced {
    block: Block,
    offset: Option<u64>,
}

/// What a data block holds.
#[derive(Debug)]
pub(super) enum Block {
    Table(TableInfo),
    LargeObjects,
    /// It has come.
    Read,
}

impl Ledger {
    /// Of nothing yet; large objects are digested into a table without rows.
    pub(super) fn new(table: TableHasher) -> Self {
        Self {
            header: None,
            entries: 0,
            announced: BTreeMap::new(),
            memory: 0,
            tables: Vec::new(),
            sequences: Vec::new(),
            large_objects: LargeObjects::new(table),
        }
    }

    /// Keeps of an entry what must be known later.
    pub(super) fn keep(&mut self, entry: TocEntry, at: u64) -> Result<(), ArchiveError> {
        if entry.desc == "SEQUENCE SET" {
            let sequence = SequenceSet::from_entry(&entry, at)?;
            self.remember(&[&sequence.schema, &sequence.name], at)?;
            self.sequences.push(sequence);
        }
        if !entry.has_data {
            return Ok(());
        }
        let block = match entry.desc.as_str() {
            "TABLE DATA" => {
                Block::Table(table_of(entry.copy_stmt, entry.namespace, entry.tag, at)?)
            }
            "BLOBS" => Block::LargeObjects,
            other => {
                let what = "the kind of an entry with data";
                let found = excerpt(other);
                return Err(ArchiveError::malformed(
                    what,
                    "TABLE DATA or BLOBS",
                    found,
                    at,
                ));
            }
        };
        if let Block::Table(table) = &block {
            self.remember(&[&table.schema, &table.name], at)?;
            for column in &table.columns {
                self.remember(&[column], at)?;
            }
        }
        self.remember(&[], at)?;
        let announced = Announced {
            block,
            offset: entry.data_offset,
        };
        match self.announced.insert(entry.dump_id, announced) {
            None => Ok(()),
            Some(_) => {
                let what = "the number of an entry with data";
                let found = format!("{}, twice", entry.dump_id);
                Err(ArchiveError::malformed(what, "its own", found, at))
            }
        }
    }

    /// Accounts for texts that stay in memory, and for what surrounds them.
    fn remember(&mut self, texts: &[&str], at: u64) -> Result<(), ArchiveError> {
        const AROUND: u64 = 64;
        self.memory += AROUND + texts.iter().map(|t| AROUND + t.len() as u64).sum::<u64>();
        if self.memory > MEMORY_LIMIT {
            let what = "the memory that the table of contents needs";
            return Err(ArchiveError::too_large(what, MEMORY_LIMIT, self.memory, at));
        }
        Ok(())
    }

    /// The data block of an entry begins.
    pub(super) fn open(&mut self, id: i32, at: u64) -> Result<Block, ArchiveError> {
        let what = "the number of a data block";
        let Some(announced) = self.announced.get_mut(&id) else {
            return Err(ArchiveError::malformed(
                what,
                "that of an entry with data",
                id,
                at,
            ));
        };
        if let Some(offset) = announced.offset.filter(|&offset| offset != at) {
            let what = "the offset of a data block";
            return Err(ArchiveError::malformed(what, offset, at, at));
        }
        match std::mem::replace(&mut announced.block, Block::Read) {
            Block::Read => {
                let found = format!("{id}, twice");
                Err(ArchiveError::malformed(
                    what,
                    "that of an entry with data",
                    found,
                    at,
                ))
            }
            block => Ok(block),
        }
    }

    pub(super) fn finish(mut self, at: u64) -> Result<DumpContents, ArchiveError> {
        let mut missing = self.announced.values().filter_map(|a| match &a.block {
            Block::Table(table) => Some(format!("table {}.{}", table.schema, table.name)),
            Block::LargeObjects => Some("large objects".to_owned()),
            Block::Read => None,
        });
        if let Some(first) = missing.next() {
            let kind = ArchiveErrorKind::MissingData {
                first,
                missing: 1 + missing.count() as u64,
                announced: self.announced.len() as u64,
            };
            return Err(ArchiveError::new(kind, at));
        }
        let name = |t: &TableSummary| (t.table.schema.clone(), t.table.name.clone());
        self.tables.sort_by_cached_key(name);
        if let Some(pair) = self
            .tables
            .windows(2)
            .find(|pair| name(&pair[0]) == name(&pair[1]))
        {
            let found = format!("{}.{}, twice", pair[0].table.schema, pair[0].table.name);
            return Err(ArchiveError::malformed(
                "the name of a table",
                "its own",
                found,
                at,
            ));
        }
        self.sequences
            .sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        let Some(header) = self.header else {
            return Err(ArchiveError::new(ArchiveErrorKind::Empty, at));
        };
        Ok(DumpContents {
            header,
            entries: self.entries,
            tables: self.tables,
            sequences: self.sequences,
            large_objects: self.large_objects.count(),
            large_objects_digest: (self.large_objects.count() > 0)
                .then(|| self.large_objects.digest()),
            bytes: at,
        })
    }
}

/// The entry has the table's name unquoted, its `COPY` statement the columns.
fn table_of(
    copy_stmt: Option<String>,
    schema: Option<String>,
    name: String,
    at: u64,
) -> Result<TableInfo, ArchiveError> {
    let schema = schema.unwrap_or_default();
    let Some(statement) = copy_stmt else {
        let kind = ArchiveErrorKind::NotCopy {
            schema,
            table: name,
        };
        return Err(ArchiveError::new(kind, at));
    };
    match copy_statement::columns(&statement) {
        Some(columns) => Ok(TableInfo {
            schema,
            name,
            columns,
        }),
        None => {
            let expected = "COPY … (…) FROM stdin;";
            let found = excerpt(&statement);
            Err(ArchiveError::malformed(
                "a COPY statement",
                expected,
                found,
                at,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted_byte_for_byte() {
        let mut ledger = Ledger::new(TableHasher::unkeyed());
        ledger.memory = MEMORY_LIMIT - 64 - (64 + 3) - (64 + 5);
        assert_eq!(ledger.remember(&["lab", "table"], 0), Ok(()));
        assert_eq!(ledger.memory, MEMORY_LIMIT);
        assert!(ledger.remember(&[], 0).is_err());
    }
}
