//! LAVA's `jobs compress`, which packs the logs of jobs while they are read.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{noise, path};
use lava_backup_core::{
    Backup, Capture, Choice, Class, Entry, MemberPath, Root, SealInput, Sealed, Store,
};

const JOBS: usize = 100;
const REPLACEMENTS: usize = 10_000;
/// So often, a backup finds logs that it could take over.
const SETTLED: usize = 34;

fn job(n: usize) -> String {
    format!("jobs/{n:03}")
}

fn log(n: usize) -> Vec<u8> {
    let line = format!("- {{\"dt\": \"2026\", \"lvl\": \"info\", \"msg\": \"{n}\"}}\n");
    let mut log = line.repeat(200).into_bytes();
    log.extend_from_slice(&noise(6000, n as u64));
    log
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("xz")
        .args(["-zc"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    out.stdout
}

/// As LAVA does it: the size and then the packed log, each opened empty and
/// written in pieces; only then is the plain log unlinked.
fn compress(dir: &Path, plain: &[u8], packed: &[u8]) {
    fs::write(dir.join("output.yaml.size"), plain.len().to_string()).unwrap();
    let mut out = fs::File::create(dir.join("output.yaml.xz")).unwrap();
    out.write_all(&packed[..24]).unwrap();
    std::thread::yield_now();
    for piece in packed[24..].chunks(4096) {
        out.write_all(piece).unwrap();
    }
    drop(out);
    fs::remove_file(dir.join("output.yaml")).unwrap();
}

/// As it was before; the reader sees no half of this.
fn unpack(dir: &Path, plain: &[u8]) {
    fs::write(dir.join("tmp"), plain).unwrap();
    fs::rename(dir.join("tmp"), dir.join("output.yaml")).unwrap();
    fs::remove_file(dir.join("output.yaml.xz")).unwrap();
    fs::remove_file(dir.join("output.yaml.size")).unwrap();
}

fn back_up(store: &Store, tree: &Path, id: usize, previous: Option<&Backup>) -> Sealed {
    let root = Root::open(tree).unwrap();
    let mut writer = store.create(format!("b{id:05}").parse().unwrap()).unwrap();
    let choose = |_: &MemberPath| Choice::Take(Class::Plain);
    let mut observe = |_: &Entry| {};
    let mut capture = Capture::new(&root, &choose, &mut observe);
    capture.unsure_for(2);
    if let Some(previous) = previous {
        capture.after(previous).unwrap();
    }
    capture
        .section(&mut writer, "data", &[path("jobs")])
        .unwrap();
    writer.seal(SealInput::default()).unwrap()
}

/// Ends the other thread, also where an assertion does not hold.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[derive(Debug, Default)]
struct Counts {
    backups: usize,
    unread: u64,
    plain: usize,
    packed: usize,
    both: usize,
    vanished: usize,
    in_flight: usize,
    unfinished_size: usize,
}

/// Of each job, what the backup says is good is whole, and there is some.
fn check(sealed: &Sealed, backup: &Backup, digests: &[[String; 3]], counts: &mut Counts) {
    let entries = backup.index().unwrap().map(Result::unwrap);
    let entries: BTreeMap<String, Entry> = entries.map(|e| (e.path.to_string(), e)).collect();
    for problem in &sealed.seal.problems {
        assert_eq!(problem.code, "file.vanished", "{problem:?}");
        counts.vanished += 1;
    }
    counts.backups += 1;
    counts.unread += sealed.unread;
    for (n, [plain, size, packed]) in digests.iter().enumerate() {
        let get = |name: &str| entries.get(&format!("data/{}/{name}", job(n)));
        let digest = |entry: &Entry| entry.blake3.clone().unwrap();
        let plain_is_there = get("output.yaml").is_some_and(|e| {
            assert_eq!(e.class, Class::Plain, "{e:?}");
            assert_eq!(digest(e), *plain, "{e:?}");
            true
        });
        let packed_is_there = get("output.yaml.xz").is_some_and(|e| {
            counts.in_flight += usize::from(e.class == Class::InFlight);
            if e.class == Class::Plain {
                assert_eq!(digest(e), *packed, "{e:?}");
            }
            e.class == Class::Plain
        });
        let size_is_there = get("output.yaml.size").is_some_and(|e| {
            let whole = e.class == Class::Plain && digest(e) == *size;
            counts.unfinished_size += usize::from(!whole);
            whole
        });
        assert!(
            plain_is_there || (packed_is_there && size_is_there),
            "{n}: {plain_is_there} {packed_is_there} {size_is_there}: {:?}",
            sealed.seal.problems
        );
        counts.plain += usize::from(plain_is_there && !packed_is_there);
        counts.packed += usize::from(packed_is_there && !plain_is_there);
        counts.both += usize::from(packed_is_there && plain_is_there);
        assert!(get("output.idx").is_some());
    }
}

#[test]
fn logs_that_are_packed_while_they_are_read_are_whole_in_one_form() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let store = Store::init(&dir.path().join("store")).unwrap();
    let plain: Vec<_> = (0..JOBS).map(log).collect();
    let packed: Vec<_> = plain.iter().map(|log| xz(log)).collect();
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let digests = plain.iter().zip(&packed).map(|(plain, packed)| {
        let size = plain.len().to_string();
        [digest(plain), digest(size.as_bytes()), digest(packed)]
    });
    let digests: Vec<_> = digests.collect();
    for (n, plain) in plain.iter().enumerate() {
        let dir = tree.join(job(n));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("output.idx"), [0; 800]).unwrap();
        fs::write(dir.join("output.yaml"), plain).unwrap();
    }
    let stop = AtomicBool::new(false);
    let turn = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let mut counts = Counts::default();
    std::thread::scope(|scope| {
        // Turned back between two backups: in one, each log is packed once.
        scope.spawn(|| {
            let mut seen = 0;
            while !stop.load(Ordering::Acquire) {
                if turn.load(Ordering::Acquire) == seen {
                    std::hint::spin_loop();
                    continue;
                }
                seen += 1;
                for n in 0..JOBS {
                    compress(&tree.join(job(n)), &plain[n], &packed[n]);
                }
                done.fetch_add(1, Ordering::Release);
            }
        });
        let _stops = Stops(&stop);
        let mut previous: Option<Backup> = None;
        let mut rounds = 0;
        while rounds * JOBS < REPLACEMENTS {
            rounds += 1;
            if rounds % SETTLED == 0 {
                // Only what is older than two seconds is ever taken over.
                std::thread::sleep(std::time::Duration::from_millis(3100));
                let quiet = back_up(&store, &tree, rounds + 10_000, None);
                previous = Some(store.backup(&quiet.seal.id).unwrap());
            }
            turn.fetch_add(1, Ordering::Release);
            // Each after another part of the packing.
            let head_start = std::time::Duration::from_micros((rounds as u64 * 37) % 3000);
            std::thread::sleep(head_start);
            let after = previous
                .as_ref()
                .filter(|_| rounds % 2 == 0 || rounds % SETTLED == 0);
            let sealed = back_up(&store, &tree, rounds, after);
            let backup = store.backup(&sealed.seal.id).unwrap();
            check(&sealed, &backup, &digests, &mut counts);
            previous = Some(backup);
            while done.load(Ordering::Acquire) < rounds {
                std::hint::spin_loop();
            }
            for (n, plain) in plain.iter().enumerate() {
                unpack(&tree.join(job(n)), plain);
            }
        }
    });
    println!(
        "{} logs packed, {counts:?}",
        done.load(Ordering::Relaxed) * JOBS
    );
    assert!(counts.vanished > 0 && counts.in_flight > 0, "{counts:?}");
}
