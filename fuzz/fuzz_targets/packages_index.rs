//! apt's indexes of packages: any bytes are read or refused, and no place that they name is outside
//! of their archive.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lava_backup_debian::fuzz_index(data));
