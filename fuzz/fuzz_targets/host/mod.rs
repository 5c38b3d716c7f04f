//! A Debian root with nothing in it, whose files are written anew for every input.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use lava_backup_debian::Root;

const DIRS: [&str; 7] = [
    "etc/apt/apt.conf.d",
    "etc/apt/preferences.d",
    "etc/apt/sources.list.d",
    "var/cache/debconf",
    "var/lib/apt/lists",
    "var/lib/dpkg/alternatives",
    "var/lib/dpkg/updates",
];

/// The root; one for each process.
pub fn root() -> &'static Root {
    static ROOT: OnceLock<(tempfile::TempDir, Root)> = OnceLock::new();
    &ROOT
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            for inside in DIRS {
                fs::create_dir_all(dir.path().join(inside)).unwrap();
            }
            fs::write(dir.path().join("var/lib/dpkg/status"), "").unwrap();
            fs::write(dir.path().join("etc/os-release"), "ID=debian\n").unwrap();
            let root = Root::open(dir.path()).unwrap();
            (dir, root)
        })
        .1
}

/// Writes a file of it.
pub fn write(inside: &str, bytes: &[u8]) {
    fs::write(root().path().join(Path::new(inside)), bytes).unwrap();
}
