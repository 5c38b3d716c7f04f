//! `Packages` lists of an archive: any bytes are looked through or refused, plain and as what they
//! claim to be compressed, and no file of a package lies outside its archive.
#![no_main]

mod host;

use std::fs;

use lava_backup_debian::{Class, read_origins, read_sources, read_status};
use libfuzzer_sys::fuzz_target;

const STATUS: &str = "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n\
                      Package: bc\nStatus: install ok installed\nArchitecture: all\nVersion: 1:2.0-1\nDepends: a\n";
const LIST: &str = "var/lib/apt/lists/h_d_dists_bookworm_main_binary-amd64_Packages";

fuzz_target!(|data: &[u8]| {
    let root = host::root();
    host::write("var/lib/dpkg/status", STATUS.as_bytes());
    host::write("etc/apt/sources.list", b"deb http://h/d bookworm main\n");
    let packages = read_status(root).unwrap();
    let sources = read_sources(root).unwrap();
    // The first byte chooses how it is compressed.
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let extension = ["", "", ".lz4", ".gz", ".xz", ".zst"][usize::from(*first) % 6];
    let list = format!("{LIST}{extension}");
    host::write(&list, rest);
    let origins = read_origins(root, &sources, &packages, &["amd64".to_owned()], 0).unwrap();
    fs::remove_file(root.path().join(&list)).unwrap();
    assert_eq!(origins.packages.len(), 2);
    for package in &origins.packages {
        let of = package.origins.iter().chain(&package.other_builds);
        for deb in of.clone().filter_map(|origin| origin.deb.as_ref()) {
            assert!(!deb.filename.starts_with('/') && !deb.filename.split('/').any(|p| p == ".."));
            assert!(!deb.filename.contains(char::is_control));
        }
        // Nothing says what archive this is.
        assert!(package.origins.is_empty() || package.class == Class::Other);
        assert!(
            package
                .newer
                .as_ref()
                .is_none_or(|newer| *newer > package.version)
        );
    }
});
