//! Backups whose digests all fit and that are not what they say: made by whoever
//! can write the store and knows this format.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use super::*;
use crate::document;
use crate::entry::{Class, Entry, Time};
use crate::index::IndexWriter;
use crate::seal::Seal;
use crate::writer::{Meta, SealInput};

fn store(dir: &Path) -> Store {
    Store::init(&dir.join("store")).unwrap()
}

/// Three files, of which the last has frames of its own.
fn make(store: &Store, id: &str) -> Backup {
    let mut writer = store.create(id.parse().unwrap()).unwrap();
    let meta = || Meta::private(Class::Plain, Time::default());
    for name in ["config/a", "config/b"] {
        writer
            .add_file(name.parse().unwrap(), meta(), name.as_bytes())
            .unwrap();
    }
    let large = vec![7; 5 << 20];
    writer
        .add_file("data/large".parse().unwrap(), meta(), &large)
        .unwrap();
    let sealed = writer.seal(SealInput::default()).unwrap();
    store.backup(&sealed.seal.id).unwrap()
}

/// Writes a backup anew with other lists, each digest made to fit.
fn forge(
    store: &Store,
    backup: &Backup,
    change: impl FnOnce(&mut Vec<Entry>, &mut Vec<FrameName>, &mut Seal),
) -> Backup {
    let mut entries: Vec<Entry> = backup.index().unwrap().map(Result::unwrap).collect();
    let mut frames = backup.frames().unwrap();
    let mut seal = backup.seal().clone();
    change(&mut entries, &mut frames, &mut seal);
    let dir = backup.place("");
    for name in ["index.zst", "frames", "backup.json"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    let place = dir.join("index.zst");
    let spool = store.backend().spool().unwrap();
    let mut index = IndexWriter::new(place.clone(), spool, crate::index::Form::Inline).unwrap();
    for entry in &entries {
        index.push(entry).unwrap();
    }
    let (count, digest, spool) = index.finish().unwrap();
    fs::rename(spool.finish().unwrap().path(), &place).unwrap();
    seal.archive.entries = count;
    seal.archive.index_digest = digest;
    let list: String = frames.iter().map(|f| format!("{}\n", f.file())).collect();
    seal.archive.frames = frames.len() as u64;
    seal.archive.frames_digest = blake3::hash(list.as_bytes()).to_hex().to_string();
    fs::write(dir.join("frames"), list).unwrap();
    fs::write(dir.join("backup.json"), document::write(&seal).unwrap().0).unwrap();
    store.backup(backup.id()).unwrap()
}

fn damage(backup: &Backup) -> Vec<String> {
    let report = verify(backup, Depth::Full).unwrap();
    report.damage.into_iter().map(|d| d.what).collect()
}

#[test]
fn a_forgery_that_changes_nothing_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let backup = make(&store, "b1");
    assert!(backup.frames().unwrap().len() > 5);
    let same = forge(&store, &backup, |_, _, _| ());
    assert_eq!(damage(&same), Vec::<String>::new());
}

#[test]
fn a_member_that_the_index_leaves_out_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for (n, left_out) in ["config/a", "config/b", "data/large"].iter().enumerate() {
        let backup = make(&store, &format!("b{n}"));
        let forged = forge(&store, &backup, |entries, _, seal| {
            entries.retain(|e| e.path.to_string() != *left_out);
            let section = left_out.split('/').next().unwrap();
            let section = seal.sections.get_mut(section).unwrap();
            section.entries -= 1;
        });
        assert!(!damage(&forged).is_empty(), "{left_out}");
    }
}

#[test]
fn frames_in_another_order_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let backup = make(&store, "b1");
    let forged = forge(&store, &backup, |_, frames, _| frames.swap(0, 1));
    assert!(!damage(&forged).is_empty());
}

#[test]
fn an_index_that_points_outside_the_frames_is_found_whatever_the_depth() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let ends = [
        (u64::MAX, 0),
        (u64::MAX, u64::MAX),
        (1 << 40, 512),
        (9_999, 0),
    ];
    for (n, (frame, offset)) in ends.into_iter().enumerate() {
        let backup = make(&store, &format!("b{n}"));
        let lost = backup.frames().unwrap()[2];
        let forged = forge(&store, &backup, |entries, _, _| {
            let last = entries.last_mut().unwrap();
            (last.frame, last.offset) = (frame, offset);
        });
        assert!(!damage(&forged).is_empty());
        fs::remove_file(store.frame_place(lost)).unwrap();
        let quick = verify(&forged, Depth::Quick).unwrap();
        assert!(!quick.damage.is_empty());
    }
}

#[test]
fn a_size_that_is_a_lie_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for (n, size) in [0, 1, 9, u64::MAX].into_iter().enumerate() {
        let backup = make(&store, &format!("b{n}"));
        let forged = forge(&store, &backup, |entries, _, _| entries[1].size = size);
        assert!(!damage(&forged).is_empty(), "{size}");
    }
}

/// A sample of all there is.
fn everything() -> Depth {
    Depth::Sample(Sample {
        share: Share::Frames(u64::MAX),
        seed: Some(1),
    })
}

#[test]
fn a_sample_of_all_frames_finds_each_damage_of_a_frame_that_a_full_look_finds() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let backup = make(&store, "b1");
    let sound = verify(&backup, everything()).unwrap();
    assert_eq!(sound.damage, []);
    let frames = backup.frames().unwrap();
    let different: std::collections::BTreeSet<_> = frames.iter().collect();
    let sampled = sound.sampled.unwrap();
    assert_eq!(
        (sampled.frames, sampled.of),
        (different.len() as u64, different.len() as u64)
    );
    assert!(different.len() < frames.len(), "one comes more than once");
    for name in different {
        let path = store.frame_place(*name);
        let good = fs::read(&path).unwrap();
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            let [sample, full] = [everything(), Depth::Full].map(|d| verify(&backup, d).unwrap());
            assert_eq!(sample.damage.len(), 1);
            assert_eq!(sample.damage[0].file, full.damage[0].file);
            assert_eq!(sample.damage[0].what, full.damage[0].what);
            assert_eq!(sample.damage[0].members, full.damage[0].members);
            assert!(verify(&backup, Depth::Quick).unwrap().damage.is_empty());
        }
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_sample_sees_damage_if_and_only_if_it_drew_the_frame_and_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let backup = make(&store, "b1");
    let frames = backup.frames().unwrap();
    let path = store.frame_place(frames[0]);
    fs::write(&path, "rot").unwrap();
    let look = |seed| {
        let share = Share::PerMillion(300_000);
        verify(&backup, Depth::Sample(Sample { share, seed })).unwrap()
    };
    let (mut seen, mut unseen) = (0, 0);
    for seed in 0..40 {
        let report = look(Some(seed));
        let sample = Sample {
            share: Share::PerMillion(300_000),
            seed: Some(seed),
        };
        let drawn = sample.draw(&frames).unwrap().0.contains(&frames[0]);
        assert_eq!(!report.damage.is_empty(), drawn);
        assert!(report.bytes < backup.seal().archive.bytes);
        seen += u32::from(drawn);
        unseen += u32::from(!drawn);
    }
    assert!(seen > 0 && unseen > 0, "{seen} {unseen}");
    let told = look(None).sampled.unwrap();
    assert_eq!(look(Some(told.seed)).sampled.unwrap(), told);
}

#[test]
fn a_missing_frame_is_named_with_its_members_at_every_depth() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let backup = make(&store, "b1");
    let frames = backup.frames().unwrap();
    // Frame 0: a and b. Frame 1: the header of the large file. Then its content.
    for (number, members) in [
        (0, "config/a config/b"),
        (1, "data/large"),
        (3, "data/large"),
    ] {
        let path = store.frame_place(frames[number]);
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        for depth in [Depth::Quick, everything(), Depth::Full] {
            let report = verify(&backup, depth).unwrap();
            assert_eq!(report.damage.len(), 1, "{:?}", report.damage);
            let named: Vec<String> = report.damage[0]
                .members
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(named.join(" "), members, "{depth:?}");
        }
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn evidence_of_another_backup_is_no_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (one, other) = (make(&store, "b1"), make(&store, "b2"));
    let draft = crate::EvidenceDraft::new("drill", "data", true);
    other.record(draft).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([other.place("evidence"), one.place("evidence")])
        .status();
    assert!(copied.unwrap().success());
    assert!(one.evidence().is_err());
    assert!(!damage(&one).is_empty());
    let odd = crate::EvidenceDraft::new("../verify", "data", true);
    assert!(one.record(odd).is_err());
}
