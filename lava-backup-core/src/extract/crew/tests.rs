#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::entry::{Class, Time};
use crate::extract::Extract;
use crate::root::Root;
use crate::writer::{Meta, new_entry};

fn failed(what: &str) -> Error {
    Error::damaged(what, "failed")
}

#[test]
fn of_several_failures_the_first_in_archive_order_is_told_whichever_came_first() {
    let failure = Failure::default();
    assert!(!failure.is_before(u64::MAX));
    assert!(failure.end().is_ok());
    let failures = [(7, "seventh"), (3, "third"), (5, "fifth"), (3, "later")];
    for (number, what) in failures {
        failure.note(number, failed(what));
    }
    assert!(!failure.is_before(2) && !failure.is_before(3));
    assert!(failure.is_before(4));
    assert_eq!(failure.end().unwrap_err().place(), Path::new("third"));
}

fn pipe(path: &str) -> Entry {
    let meta = Meta::private(Class::Plain, Time::default());
    Entry {
        offset: 512,
        ..new_entry(path.parse().unwrap(), Kind::Fifo, meta)
    }
}

/// What works at an extraction to a directory, of a backup of no frames.
fn with_work<T>(dir: &Path, act: impl FnOnce(&Work<'_>) -> T) -> T {
    let store = Store::init(&dir.join("store")).unwrap();
    let root = Root::open(dir).unwrap();
    let options = Extract {
        select: Vec::new(),
        exclude: Vec::new(),
        complete: Vec::new(),
        dry_run: false,
        replace: false,
        keep_in: "kept".parse().unwrap(),
        own: false,
        sync: false,
    };
    let target = Target::new(&root, &options).unwrap();
    let links = Links::default();
    act(&Work::new(&target, &store, &[], &links))
}

/// Has pipes brought back below `dir`, as members of these numbers, after what
/// has failed; gives the place of the failure that is told.
fn labour_at(dir: &Path, pipes: &[(u64, &str)], failure: &Failure) -> std::path::PathBuf {
    let (batches, queue) = sync_channel(pipes.len());
    for (number, path) in pipes {
        let path: MemberPath = path.parse().unwrap();
        let entry = pipe(&format!("config/{path}"));
        batches
            .send(vec![(*number, path, entry, Decision::New)])
            .unwrap();
    }
    drop(batches);
    with_work(dir, |work| {
        labour(Hand::new(work), &Mutex::new(queue), failure);
    });
    failure.end().unwrap_err().place().to_owned()
}

#[test]
fn what_lies_in_one_frame_is_handed_over_together_up_to_a_thousand_entries() {
    let dir = tempfile::tempdir().unwrap();
    let (batches, queue) = sync_channel(4 * BATCH);
    let frames = [(7, 2), (8, 2 * BATCH), (9, 1)];
    with_work(dir.path(), |work| {
        let mut foreman = Foreman::new(work);
        let frames = frames.iter().flat_map(|(f, n)| std::iter::repeat_n(*f, *n));
        for (frame, number) in frames.zip(0..) {
            let path: MemberPath = format!("pipe{number}").parse().unwrap();
            let mut entry = pipe(&format!("config/{path}"));
            entry.frame = frame;
            let job = (number, path, entry, Decision::New);
            foreman.take(job, &batches).unwrap();
        }
        foreman.send(&batches);
    });
    drop(batches);
    let given: Vec<_> = queue.iter().map(|b| (b[0].2.frame, b.len())).collect();
    assert_eq!(given, [(7, 2), (8, BATCH), (8, BATCH), (9, 1)]);
}

#[test]
fn leftovers_are_looked_for_once_in_a_directory_and_not_in_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    std::fs::create_dir_all(at("old/inner")).unwrap();
    let [left, inner, new] =
        ["old/", "old/inner/", "new/"].map(|d| at(&format!("{d}.lava-backup-1-1")));
    with_work(dir.path(), |work| {
        let mut foreman = Foreman::new(work);
        let (batches, _queue) = sync_channel(9);
        let take = |foreman: &mut Foreman<'_>, path: &str| {
            let entry = pipe(&format!("config/{path}"));
            let job = (0, path.parse().unwrap(), entry, Decision::New);
            foreman.take(job, &batches).unwrap();
        };
        std::fs::write(&left, "").unwrap();
        std::fs::write(&inner, "").unwrap();
        take(&mut foreman, "old/a");
        assert!(!left.exists() && inner.exists());
        // Between two of its files, another directory, and one below it.
        std::fs::write(&left, "").unwrap();
        take(&mut foreman, "old/b");
        take(&mut foreman, "old/inner/c");
        assert!(left.exists() && !inner.exists());
        take(&mut foreman, "old/z");
        assert!(left.exists());

        for path in ["new", "new/below"] {
            let path = path.parse().unwrap();
            foreman.dir(&path, Decision::New).unwrap();
        }
        std::fs::write(&new, "").unwrap();
        take(&mut foreman, "new/a");
        assert!(new.exists());
    });
}

#[test]
fn nobody_takes_for_left_what_a_hand_is_at_work_on() {
    let dir = tempfile::tempdir().unwrap();
    let alone = || {
        let open = std::fs::File::open(dir.path()).unwrap();
        fs::flock(&open, fs::FlockOperation::NonBlockingLockExclusive)
    };
    with_work(dir.path(), |work| {
        let mut hand = Hand::new(work);
        let (path, entry) = ("pipe".parse().unwrap(), pipe("config/pipe"));
        hand.bring(&path, &entry, Decision::New, None).unwrap();
        assert!(alone().is_err());
        drop(hand);
        assert!(alone().is_ok());
    });
}

#[test]
fn what_comes_before_a_failure_goes_on_and_may_be_the_one_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("taken"), "").unwrap();
    let failure = Failure::default();
    failure.note(9, failed("ninth"));
    let pipes = [(8, "before"), (5, "taken"), (10, "after"), (6, "too-late")];
    let told = labour_at(dir.path(), &pipes, &failure);
    assert!(told.ends_with("taken"), "{told:?}");
    assert!(dir.path().join("before").exists());
    assert!(!dir.path().join("after").exists());
    assert!(!dir.path().join("too-late").exists());
}

#[test]
fn a_directory_that_others_can_reach_or_own_is_not_private() {
    let dir = tempfile::tempdir().unwrap();
    let stat = || fs::stat(dir.path()).unwrap();
    for (mode, expected) in [
        (0o700, true),
        (0o1500, true),
        (0o710, false),
        (0o702, false),
        (0o755, false),
    ] {
        fs::chmod(dir.path(), Mode::from_raw_mode(mode)).unwrap();
        assert_eq!(is_private(&stat()), expected, "{mode:o}");
    }
    fs::chmod(dir.path(), Mode::RWXU).unwrap();
    let mut others = stat();
    others.st_uid = geteuid().as_raw() + 1;
    assert!(!is_private(&others));
}
