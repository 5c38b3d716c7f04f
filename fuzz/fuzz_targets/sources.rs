//! apt's sources in both forms: any bytes are read or refused, and no password is ever shown.
#![no_main]

use std::fs;
use std::sync::OnceLock;

use lava_backup_debian::{Root, SourceEntry, read_sources};
use libfuzzer_sys::fuzz_target;

const LINES: &str = "etc/apt/sources.list";
const PARAGRAPHS: &str = "etc/apt/sources.list.d/x.sources";

fn root() -> &'static (tempfile::TempDir, Root) {
    static ROOT: OnceLock<(tempfile::TempDir, Root)> = OnceLock::new();
    ROOT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        for inside in ["etc/apt/sources.list.d", "var/lib/dpkg"] {
            fs::create_dir_all(dir.path().join(inside)).unwrap();
        }
        fs::write(dir.path().join("var/lib/dpkg/status"), "").unwrap();
        fs::write(dir.path().join("etc/os-release"), "ID=debian\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    })
}

fn read(lines: &[u8], paragraphs: &[u8]) -> Result<Vec<SourceEntry>, String> {
    let (dir, root) = root();
    fs::write(dir.path().join(LINES), lines).unwrap();
    fs::write(dir.path().join(PARAGRAPHS), paragraphs).unwrap();
    // An error's text must not quote the file, where a password may be.
    read_sources(root).map_err(|e| format!("{e} {e:?}"))
}

fn check(entries: &[SourceEntry], file: &str, text: &[u8]) {
    let lines = text.iter().filter(|b| **b == b'\n').count() as u64 + 1;
    for entry in entries {
        assert!(entry.file.ends_with(file) && (1..=lines).contains(&entry.line));
        assert!(!(entry.types.is_empty() || entry.uris.is_empty() || entry.suites.is_empty()));
        for uri in &entry.uris {
            assert!(!uri.had_credentials() || uri.as_str().contains('…'));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    if let Ok(entries) = read(data, b"") {
        check(&entries, LINES, data);
    }
    if let Ok(entries) = read(b"", data) {
        check(&entries, PARAGRAPHS, data);
    }

    // A password of any letters, in a source that is otherwise in order.
    const SECRET: &str = "correct-horse-battery";
    let Ok(noise) = std::str::from_utf8(data) else {
        return;
    };
    let blank = |c: char| c.is_whitespace() || matches!(c, '#' | '[' | ']' | '"');
    if noise.contains(blank) || noise.contains(SECRET) {
        return;
    }
    let uri = format!("https://{noise}{SECRET}{noise}@host/debian");
    let line = format!("deb {uri} stable main\n");
    let paragraph = format!("Types: deb\nURIs: {uri}\nSuites: stable\nComponents: main\n");
    for said in [read(line.as_bytes(), b""), read(b"", paragraph.as_bytes())] {
        let shown = said.map_or_else(|e| e, |entries| format!("{entries:?}"));
        assert!(!shown.contains(SECRET), "{shown}");
    }
});
