use std::borrow::Cow;

use super::session::Session;
use crate::archive::{DumpContents, copy_text};
use crate::digest::TableHasher;
use crate::error::{Error, ErrorKind, Result};
use crate::large_objects::LargeObjects;

/// A page of a large object for each row, and how long a page is.
const PAGES: &str = "COPY (SELECT m.oid, l.pageno, pg_catalog.encode(l.data, 'hex'), \
    pg_catalog.current_setting('block_size')::pg_catalog.int4 / 4 \
    FROM pg_catalog.pg_largeobject_metadata m \
    LEFT JOIN pg_catalog.pg_largeobject l ON l.loid = m.oid ORDER BY 1, 2) TO STDOUT";

/// Reads large objects, to be compared with those of a dump.
pub(super) fn read(session: &mut Session, dumped: &DumpContents) -> Result<LargeObjects> {
    let digest = dumped.large_objects_digest.as_ref();
    let mut pages = Pages::new(digest.map_or_else(TableHasher::unkeyed, TableHasher::like));
    match session.rows(PAGES, |row| pages.take(row))? {
        Ok(()) => Ok(pages.finish()),
        Err(state) => {
            let what = format!("read large objects back: the server ends with error {state}");
            Err(Error::new(ErrorKind::Query, what))
        }
    }
}

/// Puts pages together. One that is not there, and what one lacks before the
/// next, reads as zeros.
struct Pages {
    objects: LargeObjects,
    oid: Option<u32>,
}

impl Pages {
    /// Into a table without rows.
    fn new(table: TableHasher) -> Self {
        Self {
            objects: LargeObjects::new(table),
            oid: None,
        }
    }

    /// Takes a row of [`PAGES`].
    fn take(&mut self, row: &[u8]) {
        let mut fields = copy_text::fields(row).map(|field| field.unwrap_or_default());
        let number = |field: Option<Cow<'_, [u8]>>| {
            let field = field.unwrap_or_default();
            std::str::from_utf8(&field).ok()?.parse::<u32>().ok()
        };
        let (Some(oid), page) = (number(fields.next()), number(fields.next())) else {
            return;
        };
        if self.oid != Some(oid) {
            self.objects.begin(oid);
            self.oid = Some(oid);
        }
        let data = fields.next().unwrap_or_default();
        if let (Some(page), Some(length)) = (page, number(fields.next())) {
            self.objects.fill(u64::from(page) * u64::from(length));
            self.objects.add(&unhex(&data));
        }
    }

    /// All rows have been taken.
    fn finish(mut self) -> LargeObjects {
        self.objects.end();
        self.objects
    }
}

fn unhex(text: &[u8]) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).unwrap_or(0) as u8;
    text.chunks_exact(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}
