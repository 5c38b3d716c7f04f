//! Promise 3, nothing false is sealed: whatever a disk does, a store holds what
//! it held or what it was to hold, and all of it verifies.
//!
//! A *scenario* changes a store. It is run on disks that fail at each call, and
//! its calls are recorded, so that every state that a crash may leave can be
//! laid out and opened.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::directory::Directory;
use crate::disk::Disk;
use crate::error::{ErrorKind, Result};
use crate::evidence::EvidenceDraft;
use crate::layout;
use crate::marks::Marks;
use crate::previous::Previous;
use crate::prune::{Prune, prune};
use crate::seal::BackupId;
use crate::seen::Stand;
use crate::store::Store;
use crate::verify::{Damage, Depth, verify, verify_store};
use crate::writer::{Meta, SealInput};
use crate::{Class, Time, export, import, repair};

mod crash;
mod disks;
mod failing;
mod model;
mod tree;

use disks::Quiet;
use tree::Tree;

/// A change of a store.
struct Scenario {
    name: &'static str,
    /// Lays out what is there before.
    prepare: fn(&Path) -> Result<()>,
    /// The change; repeated, it finds its work done, or does it.
    run: fn(&Path, Arc<dyn Disk>) -> Result<()>,
}

static SCENARIOS: [Scenario; 12] = [
    Scenario {
        name: "init",
        prepare: |_| Ok(()),
        run: init,
    },
    Scenario {
        name: "the first backup",
        prepare: |base| init(base, Arc::new(Quiet)),
        run: |base, disk| create(&open(base, disk)?, "new"),
    },
    Scenario {
        name: "another backup",
        prepare: |base| with_backups(base, &["old"]).map(drop),
        run: |base, disk| create(&open(base, disk)?, "new"),
    },
    Scenario {
        name: "healing",
        prepare: |base| {
            let store = with_backups(base, &["old"])?;
            let name = store.backup(&id("old"))?.frames()?[0];
            let place = store.frame_place(name);
            std::fs::write(place, "rot").unwrap();
            Ok(())
        },
        run: |base, disk| create_anew(&open(base, disk)?, "new"),
    },
    Scenario {
        name: "an imported backup",
        prepare: |base| {
            let elsewhere = scratch();
            let theirs = with_backups(elsewhere.path(), &["new"])?;
            let mut file = std::fs::File::create(base.join("file")).unwrap();
            export(&theirs.backup(&id("new"))?, &mut file)?;
            with_backups(base, &["old"]).map(drop)
        },
        run: |base, disk| {
            let place = base.join("file");
            let file = std::fs::File::open(&place).unwrap();
            import(&open(base, disk)?, &place, file).map(drop)
        },
    },
    Scenario {
        name: "repair",
        prepare: |base| {
            let store = with_backups(base, &["old"])?;
            let index = store.backup(&id("old"))?.place(layout::INDEX);
            std::fs::write(index, "rot").unwrap();
            Ok(())
        },
        run: |base, disk| repair(&open(base, disk)?).map(drop),
    },
    Scenario {
        name: "withdraw",
        prepare: |base| with_backups(base, &["old", "gone"]).map(drop),
        run: |base, disk| withdraw(&open(base, disk)?, "gone"),
    },
    Scenario {
        name: "withdraw and sweep",
        prepare: |base| with_backups(base, &["old", "gone"]).map(drop),
        run: |base, disk| {
            let store = open(base, disk)?;
            match withdraw(&store, "gone") {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                other => other?,
            }
            sweep(&store)?;
            sweep(&store)
        },
    },
    Scenario {
        name: "mark",
        prepare: |base| {
            let store = with_backups(base, &["old", "gone"])?;
            withdraw(&store, "gone")
        },
        run: |base, disk| sweep(&open(base, disk)?),
    },
    Scenario {
        name: "sweep",
        prepare: |base| {
            let store = with_backups(base, &["old", "gone"])?;
            withdraw(&store, "gone")?;
            sweep(&store)
        },
        run: |base, disk| sweep(&open(base, disk)?),
    },
    Scenario {
        name: "the first evidence",
        prepare: |base| with_backups(base, &["old"]).map(drop),
        run: |base, disk| record(&open(base, disk)?, "drill"),
    },
    Scenario {
        name: "more evidence",
        prepare: |base| record(&with_backups(base, &["old"])?, "verify"),
        run: |base, disk| record(&open(base, disk)?, "drill"),
    },
];

impl Scenario {
    fn of(name: &str) -> &'static Self {
        SCENARIOS.iter().find(|s| s.name == name).unwrap()
    }
}

fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

fn open(base: &Path, disk: Arc<dyn Disk>) -> Result<Store> {
    Store::on(Arc::new(Directory::on(&base.join("store"), disk)))
}

fn init(base: &Path, disk: Arc<dyn Disk>) -> Result<()> {
    let directory = Directory::on(&base.join("store"), disk);
    directory.lay_out()?;
    Store::init_on(Arc::new(directory)).map(drop)
}

fn with_backups(base: &Path, ids: &[&str]) -> Result<Store> {
    init(base, Arc::new(Quiet))?;
    let store = open(base, Arc::new(Quiet))?;
    for id in ids {
        create(&store, id)?;
    }
    Ok(store)
}

fn meta() -> Meta {
    Meta::private(Class::Plain, Time::default())
}

/// Text that is the same for the same seed, and compresses by half.
fn text(seed: &str, lines: u32) -> Vec<u8> {
    let line = |n| format!("{}\n", blake3::hash(format!("{seed} {n}").as_bytes()));
    (0..lines).flat_map(|n| line(n).into_bytes()).collect()
}

/// Makes a backup. What `old` holds of it is taken over or shared, if `old` is
/// there.
fn create(store: &Store, name: &str) -> Result<()> {
    let old = store.backup(&id("old")).ok();
    let previous = old.map(|old| Previous::open(&old)).transpose()?.flatten();
    make(store, name, previous)
}

/// Makes a backup of which every frame is written or compared.
fn create_anew(store: &Store, name: &str) -> Result<()> {
    make(store, name, None)
}

fn make(store: &Store, name: &str, previous: Option<Previous>) -> Result<()> {
    let mut writer = store.create(id(name))?;
    let config = "config/a".parse().unwrap();
    let group = match previous {
        Some(mut previous) => previous.group_at(&config)?,
        None => None,
    };
    let group = group.and_then(|g| g.stand.map(|stand| (g.entries, g.frames, stand)));
    match group {
        Some((entries, frames, stand)) if writer.holds(&frames)? => {
            writer.take_over(entries, &frames, stand)?;
        }
        _ => {
            let stand = Some(Stand([7; 32]));
            writer.add_standing(config, meta(), b"first", stand)?;
            let b = "config/b".parse().unwrap();
            writer.add_standing(b, meta(), &text("b", 20), stand)?;
        }
    }
    let mut log = writer.stream("data/log".parse().unwrap(), meta())?;
    for part in ["one", "two", name] {
        log.write_all(&text(part, 1100)).map_err(written)?;
        log.begin_part()?;
    }
    log.finish()?;
    writer.add_file("facts/id".parse().unwrap(), meta(), name.as_bytes())?;
    writer.seal(SealInput::default()).map(drop)
}

/// What a stream reports as an error of the system.
fn written(e: std::io::Error) -> crate::Error {
    crate::Error::io("data/log", "write", e)
}

fn withdraw(store: &Store, name: &str) -> Result<()> {
    store.forget(&id(name))
}

fn sweep(store: &Store) -> Result<()> {
    let options = Prune {
        grace: Duration::ZERO,
        dry_run: false,
    };
    let report = prune(store, options)?;
    assert!(!report.busy);
    Ok(())
}

fn record(store: &Store, check: &str) -> Result<()> {
    let backup = store.backup(&id("old"))?;
    backup
        .record(EvidenceDraft::new(check, "full", true))
        .map(drop)
}

/// What a store holds: the digest of each seal, and its number of records.
type Holding = Option<BTreeMap<BackupId, (String, usize)>>;

/// What a store holds, all of it verified; nothing if there is no store.
///
/// `rotten`: is damage to be expected?
fn holding(base: &Path, rotten: bool) -> Result<Holding, String> {
    let store = match open(base, Arc::new(Quiet)) {
        Err(e) if e.kind() == ErrorKind::NotAStore => return Ok(None),
        other => other.map_err(|e| format!("open: {e}"))?,
    };
    let foreign = verify_store(&store).map_err(|e| e.to_string())?;
    if !foreign.is_empty() {
        return Err(format!("the store: {foreign:?}"));
    }
    let mut all = BTreeMap::new();
    for id in store.backups().map_err(|e| e.to_string())? {
        let backup = store.backup(&id).map_err(|e| e.to_string())?;
        let report = verify(&backup, Depth::Full).map_err(|e| e.to_string())?;
        if !rotten && !report.damage.is_empty() {
            return Err(format!("{id}: {:?}", report.damage));
        }
        let records = backup.evidence().map_err(|e| e.to_string())?.len();
        all.insert(id, (backup.digest().to_owned(), records));
    }
    Ok(Some(all))
}

/// How many frames are marked.
fn marked(base: &Path, store: &Holding) -> usize {
    let Some(_) = store else { return 0 };
    let store = open(base, Arc::new(Quiet)).unwrap();
    let marks = Marks::read(&store).unwrap();
    let mut count = 0;
    store
        .each_frame(&mut |name, _| {
            count += usize::from(marks.since(name).is_some());
            Ok(())
        })
        .unwrap();
    count
}

/// A directory in memory, if there is such a place: nothing here is to last.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// What was there before a scenario, and what is there when it has run.
struct Known {
    before: Tree,
    held: Holding,
    holds: Holding,
    /// Frames that are marked in the end; unknown where it is begun twice.
    marked: Option<usize>,
    /// Is something damaged before, and may stay so?
    rotten: bool,
    /// May a backup be left without its seal, for `prune` to remove?
    unsealed: bool,
}

impl Known {
    fn of(scenario: &Scenario) -> Self {
        let dir = scratch();
        (scenario.prepare)(dir.path()).unwrap();
        let before = Tree::of(dir.path());
        let rotten = ["healing", "repair"].contains(&scenario.name);
        let held = holding(dir.path(), rotten).unwrap();
        (scenario.run)(dir.path(), Arc::new(Quiet)).unwrap();
        let holds = holding(dir.path(), false).unwrap();
        Self {
            before,
            held,
            marked: Some(marked(dir.path(), &holds)),
            holds,
            rotten,
            unsealed: false,
        }
    }

    /// Checks a store that the scenario was to change, and that it goes on
    /// working. `done`: was success reported? Gives whether it was changed.
    fn check(&self, scenario: &Scenario, base: &Path, done: bool) -> Result<bool, String> {
        if let (true, Ok(store)) = (self.unsealed, open(base, Arc::new(Quiet))) {
            let unsealed = |d: &Damage| d.what.starts_with("has no seal");
            if verify_store(&store).unwrap().iter().any(unsealed) {
                sweep(&store).map_err(|e| e.to_string())?;
            }
        }
        let found = holding(base, self.rotten && !done)?;
        // Before it is a store, its identity is not known.
        let alike = |known: &Holding| match scenario.name {
            "init" => known.is_some() == found.is_some(),
            _ => *known == found,
        };
        let changed = alike(&self.holds);
        if !changed && (done || !alike(&self.held)) {
            return Err(format!("it holds {found:?}"));
        }
        let right = |known: usize| marked(base, &found) == known;
        if done && !self.marked.is_none_or(right) {
            return Err("the marks are lost".into());
        }
        let failed = |what: &'static str| move |e: crate::Error| format!("{what}: {e}");
        match (scenario.run)(base, Arc::new(Quiet)) {
            Err(e) if matches!(e.kind(), ErrorKind::Exists | ErrorKind::NotFound) => {}
            other => other.map_err(failed("repeated"))?,
        }
        let store = open(base, Arc::new(Quiet)).map_err(failed("open"))?;
        create_anew(&store, "later").map_err(failed("create"))?;
        for _ in 0..2 {
            sweep(&store).map_err(failed("prune"))?;
        }
        let mut found = holding(base, false)?.unwrap_or_default();
        if found.remove(&id("later")).is_none() {
            return Err("a later backup is not there".into());
        }
        if scenario.name != "init" && Some(found) != self.holds {
            return Err("what was there is not there after create and prune".into());
        }
        nothing_left(base).map(|()| changed)
    }

    /// Checks what the unfinished files of a run do to the next one.
    fn check_unfinished(base: &Path) -> Result<(), String> {
        let Ok(store) = open(base, Arc::new(Quiet)) else {
            return Ok(());
        };
        let next = store.create(id("next")).map_err(|e| e.to_string())?;
        drop(next);
        nothing_left(base)
    }
}

fn nothing_left(base: &Path) -> Result<(), String> {
    let left = std::fs::read_dir(base.join("store/tmp")).map_or(0, Iterator::count);
    match left {
        0 => Ok(()),
        _ => Err(format!("{left} files are left in tmp")),
    }
}
