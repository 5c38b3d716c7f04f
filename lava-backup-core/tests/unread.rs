//! The next run: what stands as it did is taken over unread, and nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use common::{noise, path};
use lava_backup_core::{
    Backup, Capture, Choice, Class, Depth, MemberPath, Root, SealInput, Sealed, Store, verify,
};

/// Files change unseen if they change twice within a tick of some clock, so
/// those that are younger than two seconds are always read.
fn settle() {
    std::thread::sleep(Duration::from_millis(3100));
}

fn back_up(store: &Store, tree: &Path, id: &str, previous: Option<&Backup>) -> Sealed {
    let root = Root::open(tree).unwrap();
    let mut writer = store.create(id.parse().unwrap()).unwrap();
    let choose = |path: &MemberPath| match path.as_bytes().ends_with(b"secret") {
        true => Choice::Take(Class::Secret),
        false => Choice::Take(Class::Plain),
    };
    let mut observe = |_: &lava_backup_core::Entry| {};
    let mut capture = Capture::new(&root, &choose, &mut observe);
    capture.unsure_for(2);
    if let Some(previous) = previous {
        capture.after(previous).unwrap();
    }
    for section in ["config", "data"] {
        capture
            .section(&mut writer, section, &[path(section)])
            .unwrap();
    }
    let input = SealInput {
        host: "lab".into(),
        ..SealInput::default()
    };
    writer.seal(input).unwrap()
}

fn backup(store: &Store, sealed: &Sealed) -> Backup {
    let backup = store.backup(&sealed.seal.id).unwrap();
    let report = verify(&backup, Depth::Full).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    backup
}

/// 600 jobs of 20 kB and 5 MB in one file.
fn lab(tree: &Path) {
    fs::create_dir_all(tree.join("config")).unwrap();
    fs::write(tree.join("config/secret"), "key").unwrap();
    for job in 0..600 {
        let dir = tree.join(format!("data/jobs/{job:04}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("output.yaml"), noise(20_000, job)).unwrap();
        fs::write(dir.join("output.yaml.size"), "20000").unwrap();
    }
    fs::write(tree.join("data/large"), noise(5 << 20, 1)).unwrap();
    fs::write(tree.join("data/zlast"), "last").unwrap();
}

/// The entries but for where their content lies.
fn content(backup: &Backup) -> Vec<lava_backup_core::Entry> {
    let entries = backup.index().unwrap().map(Result::unwrap);
    let placeless = |entry| lava_backup_core::Entry {
        frame: 0,
        offset: 0,
        ..entry
    };
    entries.map(placeless).collect()
}

#[test]
fn what_stands_as_it_did_is_taken_over_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let store = Store::init(&dir.path().join("store")).unwrap();
    lab(&tree);

    // Too young to be sure of, unless this machine is very slow.
    let written = std::time::Instant::now();
    fs::write(tree.join("config/secret"), "key").unwrap();
    fs::write(tree.join("config/zlast"), "").unwrap();
    let young = back_up(&store, &tree, "b0", None);
    let slow = written.elapsed() > Duration::from_secs(2);
    settle();
    let again = back_up(&store, &tree, "b1", Some(&backup(&store, &young)));
    assert!(slow || again.unread < again.seal.archive.entries);

    let first = back_up(&store, &tree, "b2", None);
    let first = backup(&store, &first);
    let same = back_up(&store, &tree, "b3", Some(&first));
    assert_eq!(same.unread, same.seal.archive.entries);
    assert_eq!(same.new_frames, 0);
    let same = backup(&store, &same);
    assert_eq!(content(&same), content(&first));
    assert_eq!(same.frames().unwrap(), first.frames().unwrap());

    // Each of these changes one job in a way that a careless look would miss.
    let job = |n: u32| tree.join(format!("data/jobs/{n:04}/output.yaml"));
    let keep_time = |path: &Path, change: &dyn Fn()| {
        let time = fs::metadata(path).unwrap().modified().unwrap();
        change();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    };
    keep_time(&job(3), &|| fs::write(job(3), noise(20_000, 9999)).unwrap());
    let other = tree.join("other");
    fs::write(&other, noise(20_000, 300_300)).unwrap();
    let time = fs::metadata(job(300)).unwrap().modified().unwrap();
    fs::File::options()
        .write(true)
        .open(&other)
        .unwrap()
        .set_modified(time)
        .unwrap();
    fs::rename(&other, job(300)).unwrap();
    fs::set_permissions(job(599), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(job(450)).unwrap();
    fs::write(tree.join("data/jobs/0100/new"), "new").unwrap();
    let inode = fs::metadata(tree.join("data/large")).unwrap().ino();
    let changed = back_up(&store, &tree, "b4", Some(&same));
    assert!(changed.unread > 0, "frames without a change are taken over");
    assert!(changed.unread < changed.seal.archive.entries);
    let changed = backup(&store, &changed);
    let whole = back_up(&store, &tree, "b5", None);
    assert_eq!(content(&changed), content(&backup(&store, &whole)));

    // A frame that is gone, cut short or a link is not taken over.
    settle();
    let steady = back_up(&store, &tree, "b6", None);
    let steady = backup(&store, &steady);
    let frames = steady.frames().unwrap();
    let place = |n: usize| store.path().join("frames").join(frames[n].file());
    fs::remove_file(place(2)).unwrap();
    let cut = fs::File::options().write(true).open(place(3)).unwrap();
    cut.set_len(100).unwrap();
    let outside = dir.path().join("frame");
    fs::rename(place(4), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, place(4)).unwrap();
    let healed = back_up(&store, &tree, "b7", Some(&steady));
    assert_eq!(healed.new_frames, 3);
    backup(&store, &healed);
    assert_eq!(fs::metadata(tree.join("data/large")).unwrap().ino(), inode);
}

#[test]
fn a_frame_that_holds_files_of_several_trees_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let store = Store::init(&dir.path().join("store")).unwrap();
    let names = ["etc/a", "etc/b", "opt", "srv/one"];
    for name in &names[..3] {
        fs::create_dir_all(tree.join(name)).unwrap();
        fs::write(tree.join(name).join("file"), name).unwrap();
    }
    fs::create_dir(tree.join("srv")).unwrap();
    fs::write(tree.join("srv/one"), "one").unwrap();
    settle();
    let run = |id: &str, previous: Option<&Backup>| {
        let root = Root::open(&tree).unwrap();
        let mut writer = store.create(id.parse().unwrap()).unwrap();
        let choose = |_: &MemberPath| Choice::Take(Class::Plain);
        let mut observe = |_: &lava_backup_core::Entry| {};
        let mut capture = Capture::new(&root, &choose, &mut observe);
        capture.unsure_for(2);
        if let Some(previous) = previous {
            capture.after(previous).unwrap();
        }
        let starts = names.map(path);
        capture.section(&mut writer, "config", &starts).unwrap();
        writer.seal(SealInput::default()).unwrap()
    };
    let first = run("b1", None);
    assert_eq!(first.seal.archive.entries, 7);
    let first = backup(&store, &first);
    let same = run("b2", Some(&first));
    assert_eq!(same.unread, 7);
    assert_eq!(content(&backup(&store, &same)), content(&first));
    // The last of them; the walk goes back over all trees to read them.
    fs::write(tree.join("srv/one"), "two").unwrap();
    let changed = run("b3", Some(&first));
    assert_eq!(changed.unread, 0);
    assert_eq!(changed.seal.archive.entries, 7);
    let before = content(&first);
    let after = content(&backup(&store, &changed));
    assert_eq!(after[..6], before[..6]);
    assert_ne!(after[6], before[6]);
}
