//! Large objects, digested as if they were the rows of a table.

use crate::digest::{RowHasher, TableDigest, TableHasher};

/// A row is an object's number, a tab, its bytes.
#[derive(Debug)]
pub(crate) struct LargeObjects {
    ended: TableHasher,
    open: Option<RowHasher>,
    length: u64,
}

impl LargeObjects {
    /// None yet, into a table without rows.
    pub(crate) fn new(table: TableHasher) -> Self {
        Self {
            ended: table,
            open: None,
            length: 0,
        }
    }

    /// One begins; the one before is over.
    pub(crate) fn begin(&mut self, oid: u32) {
        self.end();
        let mut row = self.ended.begin_row();
        row.update(format!("{oid}\t").as_bytes());
        self.open = Some(row);
        self.length = 0;
    }

    /// More of its bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        if let Some(row) = &mut self.open {
            row.update(bytes);
            self.length += bytes.len() as u64;
        }
    }

    /// Zeros up to a length, where the server has stored nothing.
    pub(crate) fn fill(&mut self, length: u64) {
        const ZEROS: [u8; 4096] = [0; 4096];
        while self.length < length {
            let missing = (length - self.length).min(ZEROS.len() as u64);
            self.add(&ZEROS[..missing as usize]);
        }
    }

    /// The one that was open is over.
    pub(crate) fn end(&mut self) {
        if let Some(row) = self.open.take() {
            self.ended.end_row(&row);
        }
    }

    /// How many are over.
    pub(crate) fn count(&self) -> u64 {
        self.ended.rows()
    }

    /// Of all that are over.
    pub(crate) fn digest(&self) -> TableDigest {
        self.ended.digest()
    }
}
