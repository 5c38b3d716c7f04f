//! The dump reader: any bytes, in any slices, never panic, and slices make no difference.
#![no_main]

use lava_backup_pg::archive::{
    ArchiveError, DumpContents, DumpReader, Observer, TableInfo, TableSummary, TocEntry,
};
use libfuzzer_sys::fuzz_target;

/// What an observer was told, as far as it can differ.
#[derive(Default, PartialEq, Debug)]
struct Told {
    entries: Vec<TocEntry>,
    begun: Vec<(TableInfo, u64)>,
    rows: Vec<Vec<u8>>,
    ended: Vec<TableSummary>,
}

impl Observer for Told {
    fn entry(&mut self, entry: &TocEntry) {
        self.entries.push(entry.clone());
    }
    fn table_begins(&mut self, table: &TableInfo, offset: u64) {
        self.begun.push((table.clone(), offset));
    }
    fn wants(&mut self, _: &TableInfo) -> bool {
        self.begun.len() % 4 != 0
    }
    fn row(&mut self, _: &TableInfo, row: &[u8]) {
        self.rows.push(row.to_vec());
    }
    fn table_ends(&mut self, summary: &TableSummary) {
        self.ended.push(summary.clone());
    }
}

fn read<'a>(
    slices: impl IntoIterator<Item = &'a [u8]>,
) -> (Result<DumpContents, ArchiveError>, Told) {
    let mut told = Told::default();
    let mut reader = DumpReader::new().with_row_limit(64);
    for slice in slices {
        // An error stays, and finish() gives it again.
        let _ = reader.feed(slice, &mut told);
    }
    (reader.finish(), told)
}

// The last byte is the seed of the slices' lengths, so that a seed file is a dump and one byte.
fuzz_target!(|data: &[u8]| {
    let Some((&seed, dump)) = data.split_last() else {
        return;
    };
    let mut state = u32::from(seed) + 1;
    let mut rest = dump;
    let slices = std::iter::from_fn(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = (state >> 24) as usize % (usize::from(seed) + 1);
        let (slice, after) = rest.split_at(length.max(1).min(rest.len()));
        rest = after;
        (!slice.is_empty()).then_some(slice)
    });
    let in_slices = read(slices);
    let at_once = read([dump]);
    assert_eq!(in_slices, at_once);
    match in_slices.0 {
        Ok(contents) => {
            let rows: u64 = contents.tables.iter().map(|t| t.rows).sum();
            assert!(rows <= dump.len() as u64 && contents.bytes == dump.len() as u64);
        }
        Err(error) => assert!(error.offset() <= dump.len() as u64),
    }
});
