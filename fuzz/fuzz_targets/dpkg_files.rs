//! dpkg's diversions, overrides and alternatives and debconf's answers: any bytes are read or
//! refused, and what is read is written back as it was.
#![no_main]

mod host;

use std::os::unix::ffi::OsStrExt;

use lava_backup_debian::{
    read_alternatives, read_diversions, read_selections, read_stat_overrides,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let root = host::root();
    host::write("var/lib/dpkg/diversions", data);
    if let Ok(diversions) = read_diversions(root) {
        let mut text = Vec::new();
        for d in &diversions {
            let package = d.package.as_deref().unwrap_or(":");
            for line in [
                d.from.as_os_str().as_bytes(),
                d.to.as_os_str().as_bytes(),
                package.as_bytes(),
            ] {
                text.extend_from_slice(line);
                text.push(b'\n');
            }
        }
        if std::str::from_utf8(data).is_ok() && data.ends_with(b"\n") {
            assert_eq!(text, data);
        }
    }
    host::write("var/lib/dpkg/statoverride", data);
    if let Ok(overrides) = read_stat_overrides(root) {
        for o in &overrides {
            assert!(o.mode <= 0o7777 && o.path.is_absolute());
        }
    }
    host::write("var/lib/dpkg/alternatives/x", data);
    if let Ok(alternatives) = read_alternatives(root) {
        assert!(alternatives.len() == 1 && alternatives[0].link.is_absolute());
    }
    host::write("var/cache/debconf/templates.dat", &data[..data.len() / 2]);
    host::write("var/cache/debconf/config.dat", &data[data.len() / 2..]);
    if let Ok(selections) = read_selections(root) {
        assert!(selections.iter().all(|s| !s.secret || s.value.is_none()));
        assert!(selections.is_sorted_by(|a, b| a.question <= b.question));
    }
});
