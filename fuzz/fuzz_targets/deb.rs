//! A .deb's outer form, its control members and its files: any bytes are read or refused, no path
//! leads out, and a control stanza that is read is written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lava_backup_debian::fuzz_deb(data));
