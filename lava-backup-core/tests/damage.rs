//! Promise 4: damage is always found, and never brought back as if it were sound.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{back_up, sh, whole};
use lava_backup_core::{
    Backup, Depth, Error, EvidenceDraft, FrameName, Root, Store, extract, verify, verify_store,
};

/// A store of a few kilobytes, in memory if there is such a place.
struct Small {
    dir: tempfile::TempDir,
    place: PathBuf,
    /// The frames that members lie in.
    held: Vec<PathBuf>,
}

impl Small {
    fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm");
        let dir = dir.unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/a"), "first").unwrap();
        fs::write(tree.join("etc/b"), "second").unwrap();
        let place = dir.path().join("store");
        let store = Store::init(&place).unwrap();
        let backup = back_up(&store, &tree, "b1");
        backup
            .record(EvidenceDraft::new("verify", "full", true))
            .unwrap();
        // The last frame is the end of the stream, and no member's.
        let mut held = backup.frames().unwrap();
        held.pop();
        let file = |f: &FrameName| place.join("frames").join(f.file());
        let held = held.iter().map(file).collect();
        Self { dir, place, held }
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = sh("find store -type f -size +0", self.dir.path());
        files.lines().map(|f| self.dir.path().join(f)).collect()
    }

    fn backup(&self) -> Result<Backup, Error> {
        Store::open(&self.place)?.backup(&"b1".parse()?)
    }

    fn is_frame(&self, file: &Path) -> bool {
        file.starts_with(self.place.join("frames"))
    }

    /// Does a full look find nothing? What it names are the files hit.
    fn is_sound(&self) -> Result<bool, Error> {
        let store = Store::open(&self.place)?;
        let mut sound = verify_store(&store)?.is_empty();
        for id in store.backups()? {
            let damage = verify(&store.backup(&id)?, Depth::Full)?.damage;
            sound &= damage.is_empty();
            if damage.iter().any(|d| self.held.contains(&d.file)) {
                let named = damage.iter().flat_map(|d| &d.members);
                assert!(named.map(ToString::to_string).any(|m| m == "config/etc/a"));
            }
        }
        // Without its seal it is no backup, which is damage to who knows of it.
        Ok(sound && !store.backups()?.is_empty())
    }

    /// A quick look finds what it reads, and says that it read no frame.
    fn check_quick(&self, file: &Path) {
        let Ok(report) = self.backup().and_then(|b| verify(&b, Depth::Quick)) else {
            return;
        };
        assert_eq!((report.depth, report.bytes), (Depth::Quick, 0));
        let of_store = file.parent() == Some(&*self.place);
        let found = !report.damage.is_empty();
        assert!(
            found || of_store || self.is_frame(file),
            "{}",
            file.display()
        );
    }

    /// Brings back what can be; gives whether all could.
    fn check_extract(&self) -> bool {
        let target = self.dir.path().join("target");
        fs::create_dir(&target).unwrap();
        let root = Root::open(&target).unwrap();
        let done = self
            .backup()
            .and_then(|b| extract(&b, &root, &whole(&["config"]), &mut |_| ()));
        for (name, content) in [("etc/a", "first"), ("etc/b", "second")] {
            match fs::read_to_string(target.join(name)) {
                Ok(found) => assert_eq!(found, content),
                Err(_) => assert!(done.is_err(), "{name} is not there"),
            }
        }
        fs::remove_dir_all(target).unwrap();
        done.is_ok()
    }
}

/// Lays each damaged form of each file, and takes it back.
fn each_damage(small: &Small, forms: impl Fn(&[u8], usize) -> Vec<u8>) -> (u32, u32) {
    assert!(small.is_sound().unwrap() && small.check_extract());
    let (mut tried, mut brought_back) = (0, 0);
    for file in small.files() {
        let bytes = fs::read(&file).unwrap();
        for at in 0..bytes.len() {
            fs::write(&file, forms(&bytes, at)).unwrap();
            let found = !small.is_sound().unwrap_or(false);
            assert!(found, "byte {at} of {}", file.display());
            small.check_quick(&file);
            brought_back += u32::from(small.check_extract());
            tried += 1;
        }
        fs::write(&file, &bytes).unwrap();
    }
    assert!(small.is_sound().unwrap() && small.check_extract());
    assert!(tried > 1000, "{tried}");
    (tried, brought_back)
}

#[test]
fn every_changed_byte_of_a_store_is_found() {
    let small = Small::new();
    let (tried, brought_back) = each_damage(&small, |bytes, at| {
        let mut bad = bytes.to_vec();
        bad[at] ^= 1 << (at % 8);
        bad
    });
    println!("{tried} bytes changed, all found; {brought_back} times all came back as it was");
    fs::write(small.place.join("frames/extra"), "").unwrap();
    assert!(!small.is_sound().unwrap());
}

#[test]
fn every_file_of_a_store_that_was_cut_short_is_found() {
    let small = Small::new();
    let (tried, brought_back) = each_damage(&small, |bytes, at| bytes[..at].to_vec());
    println!("{tried} cuts, all found; {brought_back} times all came back as it was");
}

#[test]
fn a_file_of_a_store_that_is_a_link_is_damage_whatever_it_leads_to() {
    let small = Small::new();
    let outside = small.dir.path().join("outside");
    for file in small.files() {
        fs::rename(&file, &outside).unwrap();
        std::os::unix::fs::symlink(&outside, &file).unwrap();
        let report = small.backup().and_then(|b| verify(&b, Depth::Full));
        let found = report.map_or(true, |r| !r.damage.is_empty());
        assert!(found, "{}", file.display());
        fs::remove_file(&file).unwrap();
        fs::rename(&outside, &file).unwrap();
    }
    assert!(small.is_sound().unwrap() && small.check_extract());
}
