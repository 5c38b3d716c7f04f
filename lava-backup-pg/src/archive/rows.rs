use super::Observer;
use super::contents::{TableInfo, TableSummary};
use super::error::ArchiveError;
use super::scan::Input;
use crate::digest::TableHasher;
use crate::rowsum::RowSum;

/// What `pg_dump` writes after the last row: the end mark, which no row can be since a backslash in
/// a value is doubled, and two empty lines.
const END_MARK: [u8; 2] = *b"\\.";
const EMPTY_LINES: u8 = 2;

/// Splits a table's COPY text into rows, in whatever pieces it comes.
#[derive(Debug)]
pub(super) struct RowReader {
    table: TableInfo,
    rows: RowSum,
    /// The length so far of the row being read.
    length: u64,
    /// Its first two bytes, to know the end mark.
    head: [u8; 2],
    /// The row so far, if its table is wanted and it did not come in one piece.
    kept: Vec<u8>,
    wanted: bool,
    row_limit: usize,
    bytes: u64,
    /// After the end mark, how many empty lines came.
    ended: Option<u8>,
}

impl RowReader {
    pub(super) fn new(table: TableInfo, rows: TableHasher, wanted: bool, row_limit: usize) -> Self {
        Self {
            table,
            rows: RowSum::new(rows),
            length: 0,
            head: [0; 2],
            kept: Vec::new(),
            wanted,
            row_limit,
            bytes: 0,
            ended: None,
        }
    }

    /// Takes the next `n` bytes of the table's data, or as many as there are, and says how many.
    pub(super) fn read(
        &mut self,
        input: &mut Input<'_>,
        n: usize,
        observer: &mut impl Observer,
    ) -> Result<usize, ArchiveError> {
        let mut at = input.offset;
        let data = input.take(n);
        let mut rest = data;
        while let Some(first) = rest.first() {
            let used = match memchr::memchr(b'\n', rest) {
                _ if self.ended.is_some() => {
                    self.trail(*first, at)?;
                    1
                }
                None => {
                    self.begin_or_go_on(rest, at)?;
                    rest.len()
                }
                Some(end) => {
                    self.end_row(&rest[..end], at, observer)?;
                    end + 1
                }
            };
            rest = &rest[used..];
            at += used as u64;
        }
        Ok(data.len())
    }

    /// The table is over: what it held.
    pub(super) fn finish(&self, at: u64) -> Result<TableSummary, ArchiveError> {
        let what = "the end of a table's data";
        let name = || format!("{}.{}", self.table.schema, self.table.name);
        match self.ended {
            Some(EMPTY_LINES) => {
                let rows = self.rows.total();
                Ok(TableSummary {
                    table: self.table.clone(),
                    rows: rows.rows(),
                    bytes: self.bytes,
                    digest: rows.digest(),
                })
            }
            Some(lines) => {
                let found = format!("{lines} in {}", name());
                Err(ArchiveError::malformed(what, "two empty lines", found, at))
            }
            None => {
                let found = format!("row {} of {}", self.rows.rows() + 1, name());
                Err(ArchiveError::malformed(what, "an end mark", found, at))
            }
        }
    }

    fn begin_or_go_on(&mut self, piece: &[u8], at: u64) -> Result<(), ArchiveError> {
        self.measure(piece);
        self.rows.update(piece);
        if self.wanted {
            self.check_length(piece, at)?;
            self.kept.extend_from_slice(piece);
        }
        Ok(())
    }

    fn end_row(
        &mut self,
        piece: &[u8],
        at: u64,
        observer: &mut impl Observer,
    ) -> Result<(), ArchiveError> {
        self.measure(piece);
        if self.length == END_MARK.len() as u64 && self.head == END_MARK {
            self.ended = Some(0);
            self.rows.forget_row();
            return Ok(());
        }
        self.rows.end_row(piece);
        self.bytes += self.length + 1;
        if self.wanted {
            self.check_length(piece, at)?;
            if self.kept.is_empty() {
                observer.row(&self.table, piece);
            } else {
                self.kept.extend_from_slice(piece);
                observer.row(&self.table, &self.kept);
                self.kept.clear();
            }
        }
        self.length = 0;
        Ok(())
    }

    fn measure(&mut self, piece: &[u8]) {
        for (at, &byte) in (self.length..2).zip(piece) {
            self.head[at as usize] = byte;
        }
        self.length += piece.len() as u64;
    }

    /// The error is the same however the row was cut: it lies at the first byte beyond the limit.
    fn check_length(&self, piece: &[u8], at: u64) -> Result<(), ArchiveError> {
        let limit = self.row_limit as u64;
        if self.length > limit {
            let beyond = at + piece.len() as u64 - (self.length - limit);
            let what = "the length of a row";
            return Err(ArchiveError::too_large(what, limit, limit + 1, beyond));
        }
        Ok(())
    }

    fn trail(&mut self, byte: u8, at: u64) -> Result<(), ArchiveError> {
        match (&mut self.ended, byte) {
            (Some(lines), b'\n') if *lines < EMPTY_LINES => *lines += 1,
            _ => {
                let found = format!("\"{}\"", byte.escape_ascii());
                let what = "what follows a table's end mark";
                return Err(ArchiveError::malformed(what, "two empty lines", found, at));
            }
        }
        Ok(())
    }
}
