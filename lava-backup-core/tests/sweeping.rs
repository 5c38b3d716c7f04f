//! Backups are made, let go and swept at the same time, with no grace at all:
//! whatever is sealed is whole.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::noise;
use lava_backup_core::{
    Class, Depth, Meta, Prune, SealInput, Store, Time, prune, verify, verify_store,
};

const ROUNDS: u64 = 40;

/// Most frames are those of other backups; some come and go.
fn make(store: &Store, round: u64, maker: u64) {
    let id = format!("b{round:03}-{maker}").parse().unwrap();
    let mut writer = store.create(id).unwrap();
    let meta = || Meta::private(Class::Plain, Time::default());
    for file in 0..6 {
        let seed = match file {
            0..3 => file,
            3..5 => 100 + round % 4,
            _ => 1000 + round * 2 + maker,
        };
        let path = format!("data/{file}").parse().unwrap();
        writer
            .add_file(path, meta(), &noise(1 << 20, seed))
            .unwrap();
    }
    writer.seal(SealInput::default()).unwrap();
}

fn sound(place: &Path) -> usize {
    let store = Store::open(place).unwrap();
    let backups = store.backups().unwrap();
    for id in &backups {
        let report = verify(&store.backup(id).unwrap(), Depth::Full).unwrap();
        assert!(report.damage.is_empty(), "{id}: {:?}", report.damage);
    }
    assert!(verify_store(&store).unwrap().is_empty());
    backups.len()
}

#[test]
fn a_sweep_takes_nothing_that_a_backup_needs() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    Store::init(&place).unwrap();
    let done = AtomicBool::new(false);
    let removed = AtomicU64::new(0);
    let options = Prune {
        grace: Duration::ZERO,
        dry_run: false,
    };
    std::thread::scope(|scope| {
        let makers: Vec<_> = (0..2)
            .map(|maker| {
                let place = &place;
                scope.spawn(move || {
                    let store = Store::open(place).unwrap();
                    for round in 0..ROUNDS {
                        make(&store, round, maker);
                        // What shares most of its frames goes again.
                        if round % 3 > 0 {
                            let id = format!("b{round:03}-{maker}").parse().unwrap();
                            store.forget(&id).unwrap();
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let store = Store::open(&place).unwrap();
            while !done.load(Ordering::Relaxed) {
                let report = prune(&store, options).unwrap();
                removed.fetch_add(report.removed, Ordering::Relaxed);
            }
        });
        for maker in makers {
            maker.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(sound(&place), 2 * ROUNDS.div_ceil(3) as usize);
    // In the end nothing is left but what is needed. A mark is of a second.
    let store = Store::open(&place).unwrap();
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(1001));
        removed.fetch_add(prune(&store, options).unwrap().removed, Ordering::Relaxed);
    }
    let report = prune(&store, options).unwrap();
    assert_eq!((report.marked, report.waiting), (0, 0));
    assert!(removed.load(Ordering::Relaxed) > 0);
    sound(&place);
}
