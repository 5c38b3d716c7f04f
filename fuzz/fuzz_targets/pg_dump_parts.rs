//! The second reader of dumps, which takes them apart for a restore: any bytes, in any slices, never
//! panic, and rows that the first one reads too are the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The last byte is the length of the slices, so that a seed file is a dump and one byte.
fuzz_target!(|data: &[u8]| {
    if let Some((&slices, dump)) = data.split_last() {
        lava_backup_pg::archive::fuzz_parts(dump, slices.into());
    }
});
