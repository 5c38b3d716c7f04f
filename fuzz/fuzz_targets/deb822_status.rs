//! dpkg's status and apt's marks: any bytes are read or refused, whole paragraphs in their order.
#![no_main]

use std::fs;
use std::sync::OnceLock;

use lava_backup_debian::{
    Comments, Error, Paragraph, Root, Scanner, auto_installed, read_status, state_listing,
};
use libfuzzer_sys::fuzz_target;

/// A root that is written anew for every input.
fn root() -> &'static (tempfile::TempDir, Root) {
    static ROOT: OnceLock<(tempfile::TempDir, Root)> = OnceLock::new();
    ROOT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        for inside in ["etc", "var/lib/dpkg/updates", "var/lib/apt"] {
            fs::create_dir_all(dir.path().join(inside)).unwrap();
        }
        fs::write(dir.path().join("var/lib/dpkg/status"), "").unwrap();
        fs::write(dir.path().join("etc/os-release"), "ID=debian\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    })
}

fn paragraphs(text: &[u8], comments: Comments) -> Result<Vec<Paragraph>, Error> {
    let mut scanner = Scanner::new(text, "status", comments);
    std::iter::from_fn(|| scanner.next_paragraph().transpose()).collect()
}

fuzz_target!(|data: &[u8]| {
    let strict = paragraphs(data, Comments::Refused);
    let lenient = paragraphs(data, Comments::Skipped);
    if let Ok(strict) = &strict {
        // Without a comment there is nothing to skip.
        assert_eq!(Some(strict), lenient.as_ref().ok());
    }
    for read in [&strict, &lenient].into_iter().flatten() {
        let lines: Vec<u64> = read
            .iter()
            .flat_map(|p| &p.fields)
            .map(|f| f.line)
            .collect();
        assert!(lines.is_sorted_by(|a, b| a < b));
        assert!(read.iter().all(|p| p.line == p.fields[0].line));
        let held: usize = read
            .iter()
            .flat_map(|p| &p.fields)
            .map(|f| f.value.len())
            .sum();
        assert!(held <= data.len());
    }

    let (dir, root) = root();
    let at = |inside: &str| dir.path().join(inside);
    fs::write(at("var/lib/dpkg/status"), data).unwrap();
    fs::write(at("var/lib/dpkg/updates/0001"), &data[data.len() / 2..]).unwrap();
    fs::write(at("var/lib/apt/extended_states"), data).unwrap();
    let Ok(packages) = read_status(root) else {
        return;
    };
    assert!(
        packages
            .iter()
            .map(|p| (&p.name, &p.architecture))
            .is_sorted_by(|a, b| a < b)
    );
    if let Ok(auto) = auto_installed(root, &packages) {
        let listing = state_listing(&packages, &auto);
        assert!(listing.lines().count() >= packages.len());
    }
});
