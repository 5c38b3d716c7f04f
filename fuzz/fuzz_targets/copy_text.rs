//! COPY text: any row is split without a panic, into as many fields as it has tabs and one, none
//! longer than it was written.
#![no_main]

use lava_backup_pg::archive::copy_text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|row: &[u8]| {
    let written: Vec<&[u8]> = row.split(|&b| b == b'\t').collect();
    let read: Vec<_> = copy_text::fields(row).collect();
    assert_eq!(read.len(), written.len());
    for (read, written) in read.iter().zip(written) {
        match read {
            None => assert_eq!(written, br"\N"),
            Some(value) => {
                assert!(value.len() <= written.len());
                assert!(written.contains(&b'\\') || **value == *written);
            }
        }
    }
});
