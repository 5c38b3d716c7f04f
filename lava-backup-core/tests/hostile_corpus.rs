//! Archives made to hurt whoever restores them, each restored as root beside
//! canaries, many of them while somebody swaps directories for links.
#![allow(clippy::unwrap_used, clippy::type_complexity)]

mod common;
mod corpus;
mod forge;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::whole;
use corpus::{Case, Expect};
use forge::ID;
use lava_backup_core::{
    Backup, Depth, Error, ErrorKind, Root, Store, extract, verify, verify_store, verify_stream,
};

/// Anything that reads may need a few frames at once, and no more.
const MEMORY: u64 = 300 << 20;
/// What no case may take, even on a machine that is busy.
const TIME: Duration = Duration::from_secs(30);

/// What the archive is said to be, in the order met.
type Said = Vec<(ErrorKind, String)>;

struct Room {
    dir: tempfile::TempDir,
    canaries: Vec<String>,
}

impl Room {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = "umask 077; mkdir -p outside/dir; for f in file dir/f dir/file dir/x; do
                echo canary > outside/$f; touch -d 2001-01-01 outside/$f; done
            chmod 4751 outside/dir/f; touch -d 2001-01-01 outside/dir outside";
        common::sh(script, dir.path());
        for name in ["outside/file", "outside/dir"] {
            let flags = rustix::fs::XattrFlags::empty();
            let _ = rustix::fs::setxattr(dir.path().join(name), "user.canary", b"1", flags);
        }
        let canaries = look(&dir.path().join("outside"));
        Self { dir, canaries }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn anew(&self, name: &str) -> PathBuf {
        let place = self.at(name);
        if place.exists() {
            fs::remove_dir_all(&place).unwrap();
        }
        fs::create_dir(&place).unwrap();
        place
    }
}

/// Content, mode, owner, time and attributes of all below.
fn look(at: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![at.to_owned()];
    while let Some(path) = todo.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let content = match stat.is_dir() {
            true => Vec::new(),
            false => fs::read(&path).unwrap(),
        };
        if stat.is_dir() {
            let mut below: Vec<PathBuf> = fs::read_dir(&path)
                .unwrap()
                .map(|e| e.unwrap().path())
                .collect();
            below.sort();
            todo.extend(below);
        }
        let mut names = vec![0; 4096];
        let length = rustix::fs::llistxattr(&path, &mut names[..]).unwrap_or(0);
        found.push(format!(
            "{} {:o} {}:{} {}.{} {content:?} {:?}",
            path.display(),
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec(),
            String::from_utf8_lossy(&names[..length])
        ));
    }
    found
}

/// Opens, lists and verifies; says what is wrong.
fn read(store: &Path) -> (Said, Option<Backup>) {
    let mut said: Said = Vec::new();
    let mut note = |e: &Error| said.push((e.kind(), e.to_string()));
    let store = match Store::open(store) {
        Ok(store) => store,
        Err(e) => {
            note(&e);
            return (said, None);
        }
    };
    let backup = match store.backup(&ID.parse().unwrap()) {
        Ok(backup) => backup,
        Err(e) => {
            note(&e);
            return (said, None);
        }
    };
    let _ = backup.frames().map_err(|e| note(&e));
    match backup.index() {
        Ok(index) => index.filter_map(Result::err).for_each(|e| note(&e)),
        Err(e) => note(&e),
    }
    let _ = backup.evidence().map_err(|e| note(&e));
    let mut damage = verify_store(&store).unwrap();
    for depth in [Depth::Quick, Depth::Full] {
        damage.extend(verify(&backup, depth).unwrap().damage);
    }
    said.extend(
        damage
            .into_iter()
            .map(|d| (ErrorKind::Damaged, format!("{:?}: {}", d.file, d.what))),
    );
    (said, Some(backup))
}

/// Swaps directories of the target for links to the canaries, and back.
fn attack(target: &Path, outside: &Path, stop: &AtomicBool) {
    let mut turn = 0u32;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let spare = target.join(format!(".spare{turn}"));
        let to = if turn.is_multiple_of(2) {
            outside.join("dir")
        } else {
            outside.join("file")
        };
        let _ = symlink(to, &spare);
        let place = target.join(["d", "x", "f", "kept"][turn as usize / 2 % 4]);
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        let here = rustix::fs::CWD;
        for _ in 0..2 {
            let _ = rustix::fs::renameat_with(here, &spare, here, &place, flags);
        }
        let _ = fs::remove_file(&spare);
    }
}

/// Why the case is not what it must be, if it is not.
fn run(room: &Room, number: usize, case: &Case) -> Vec<String> {
    let mut wrong = Vec::new();
    let forgery = (case.forge)();
    let mut files = forgery.files();
    if let Some(change) = &case.files {
        change(&mut files);
    }
    let store = room.anew("store");
    forge::write(&store, &files);
    for (key, length) in &case.holes {
        let place = store.join(key);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::File::create(place).unwrap().set_len(*length).unwrap();
    }
    let exported = (forgery.one_file && case.files.is_none()).then(|| forgery.exported());
    drop((forgery, files));

    let memory = Peak::begin();
    let began = Instant::now();
    let (mut said, backup) = read(&store);
    let sound = !matches!(case.expect, Expect::Refused(..));
    if sound != said.is_empty() {
        wrong.push(format!("sound: {sound}, and it is said: {said:?}"));
    }
    if let Expect::Refused(kind, text) = case.expect
        && !said.iter().any(|(k, t)| *k == kind && t.contains(text))
    {
        wrong.push(format!("expected {kind:?} {text:?}, found {said:?}"));
    }
    if let Some(file) = exported {
        match verify_stream(Path::new("pipe"), file.as_slice()) {
            Ok(_) if !sound => wrong.push("comes through a pipe as sound".into()),
            Err(e) if sound => wrong.push(format!("does not come through a pipe: {e}")),
            piped => said.extend(piped.err().map(|e| (e.kind(), e.to_string()))),
        }
    }
    if let Some(backup) = backup {
        let attacked = number.is_multiple_of(4)
            && !matches!(case.expect, Expect::Stuck(..))
            && case.plant.is_none();
        let target = room.anew("target");
        if let Some(plant) = &case.plant {
            plant(&target, &room.at("outside"));
        }
        for replace in [false, true] {
            let root = Root::open(&target).unwrap();
            let mut options = whole(&["config", "data", "logs", "facts"]);
            options.replace = replace;
            let stop = AtomicBool::new(false);
            let done = std::thread::scope(|scope| {
                if attacked {
                    scope.spawn(|| attack(&target, &room.at("outside"), &stop));
                }
                let done = extract(&backup, &root, &options, &mut |_| ());
                stop.store(true, Ordering::Relaxed);
                done
            });
            match (&case.expect, &done) {
                (Expect::Stuck(kind, text), Err(e))
                    if e.kind() == *kind && e.to_string().to_lowercase().contains(text) => {}
                (Expect::Stuck(kind, text), _) => {
                    wrong.push(format!("expected {kind:?} {text:?}, extracted {done:?}"))
                }
                _ => {}
            }
            said.extend(done.err().map(|e| (e.kind(), e.to_string())));
        }
    }
    for (_, text) in &said {
        if text.chars().any(|c| c.is_control() || c == '\u{202e}') {
            wrong.push(format!("steers a terminal: {text:?}"));
        }
        if text.len() > 6000 {
            wrong.push(format!(
                "a text of {} bytes: {}…",
                text.len(),
                text.chars().take(200).collect::<String>()
            ));
        }
    }
    if look(&room.at("outside")) != room.canaries {
        wrong.push(format!(
            "a canary was touched: {:?}",
            look(&room.at("outside"))
        ));
    }
    if let Some(grown) = memory.grown().filter(|grown| *grown > MEMORY) {
        wrong.push(format!("took {grown} bytes"));
    }
    if began.elapsed() > TIME {
        wrong.push(format!("took {:?}", began.elapsed()));
    }
    wrong
}

/// The most memory that this process has had since.
struct Peak(Option<u64>);

impl Peak {
    fn begin() -> Self {
        let reset = fs::write("/proc/self/clear_refs", "5");
        Self(reset.ok().and_then(|()| Self::now("VmRSS:")))
    }

    fn grown(&self) -> Option<u64> {
        Some(Self::now("VmHWM:")?.saturating_sub(self.0?))
    }

    /// A line of the kernel's account of this process, in bytes.
    fn now(line: &str) -> Option<u64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix(line))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    }
}

#[test]
#[allow(clippy::print_stdout)]
fn whatever_an_archive_says_it_is_refused_with_its_place_or_stays_where_it_is_put() {
    if !rustix::process::geteuid().is_root() {
        common::skip("hostile_corpus", "needs root");
        return;
    }
    let room = Room::new();
    let cases = corpus::corpus(&room.at("outside"));
    let only = std::env::var("LAVA_BACKUP_TEST_CASE").ok();
    let (mut wrong, mut slowest, mut most) = (Vec::new(), (Duration::ZERO, ""), 0);
    for (number, case) in cases.iter().enumerate() {
        if only.as_ref().is_some_and(|only| !case.name.contains(only)) {
            continue;
        }
        let began = Instant::now();
        let memory = Peak::begin();
        for why in run(&room, number, case) {
            wrong.push(format!("{}, {}: {why}", case.class, case.name));
        }
        slowest = slowest.max((began.elapsed(), case.name.as_str()));
        most = most.max(memory.grown().unwrap_or(0));
    }
    let classes: std::collections::BTreeSet<u8> = cases.iter().map(|case| case.class).collect();
    println!(
        "{} hostile archives of the classes {classes:?}; slowest {slowest:?}, most {most} bytes",
        cases.len()
    );
    assert!(
        wrong.is_empty(),
        "{} are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(cases.len() >= 300);
}

/// A file of these pieces.
fn pieces(pieces: &[(u8, &[u8])]) -> Vec<u8> {
    let pieces = pieces
        .iter()
        .map(|(magic, bytes)| forge::piece(*magic, bytes));
    pieces.collect::<Vec<_>>().concat()
}

/// A sound backup in one file, changed before and after it becomes pieces.
fn one_files() -> Vec<(String, &'static str, Vec<u8>)> {
    use forge::{CONTENT as C, METADATA as M, metadata_member};
    let forgery = corpus::sample();
    let metadata = forgery.metadata();
    let frames: Vec<&[u8]> = forgery
        .frames
        .iter()
        .map(|(_, bytes)| bytes.as_slice())
        .collect();
    let sound = forgery.exported();
    let (head, tail) = metadata.split_at(700);
    let with = |more: Vec<u8>| [metadata.as_slice(), &more].concat();
    let before = |metadata: &[u8]| {
        pieces(&[
            (M, metadata),
            (C, frames[0]),
            (C, frames[1]),
            (C, frames[2]),
        ])
    };
    let mut stream_in_two = [frames[0], frames[1]].concat();
    let last = [stream_in_two.split_off(1600), frames[2].to_vec()].concat();
    let announced = metadata_member("seen.json", &vec![b'x'; 4096])[..1024 + 512].to_vec();
    let mut files: Vec<(&str, &'static str, Vec<u8>)> = vec![
        (
            "an end in its metadata",
            "metadata",
            before(&with(vec![0; 1024])),
        ),
        (
            "one empty block in its metadata",
            "metadata",
            before(&with(vec![0; 512])),
        ),
        (
            "metadata that announces more than it has",
            "ends within a member",
            before(&with(announced)),
        ),
        (
            "metadata after the first frame",
            "in one place",
            pieces(&[
                (C, frames[0]),
                (M, &metadata),
                (C, frames[1]),
                (C, frames[2]),
            ]),
        ),
        (
            "metadata after all frames",
            "in one place",
            pieces(&[
                (C, frames[0]),
                (C, frames[1]),
                (C, frames[2]),
                (M, &metadata),
            ]),
        ),
        (
            "metadata in two places",
            "in one place",
            pieces(&[
                (M, head),
                (C, frames[0]),
                (C, frames[1]),
                (M, tail),
                (C, frames[2]),
            ]),
        ),
        (
            "metadata within the content of a file",
            "",
            pieces(&[(C, &stream_in_two), (M, &metadata), (C, &last)]),
        ),
        (
            "a member that is no part of it",
            "no part of it",
            before(&with(metadata_member("seen", b"x"))),
        ),
        (
            "a member that leads out",
            "",
            before(&with(metadata_member("../x", b"x"))),
        ),
        (
            "its seal twice",
            "",
            before(&with(metadata_member("backup.json", b"x"))),
        ),
        (
            "no metadata",
            "seal",
            pieces(&[(C, frames[0]), (C, frames[1]), (C, frames[2])]),
        ),
        ("no frames", "", pieces(&[(M, &metadata)])),
        ("nothing", "seal", Vec::new()),
        (
            "a frame less",
            "frame",
            pieces(&[(M, &metadata), (C, frames[0]), (C, frames[2])]),
        ),
        (
            "a frame more",
            "frame",
            pieces(&[
                (M, &metadata),
                (C, frames[0]),
                (C, frames[1]),
                (C, frames[2]),
                (C, frames[2]),
            ]),
        ),
        (
            "frames in another order",
            "frame",
            pieces(&[
                (M, &metadata),
                (C, frames[1]),
                (C, frames[0]),
                (C, frames[2]),
            ]),
        ),
        (
            "a byte after it",
            "48 more bytes",
            [sound.clone(), vec![0]].concat(),
        ),
        (
            "zeros after it",
            "at byte",
            [sound.clone(), vec![0; 512]].concat(),
        ),
        ("itself after it", "", sound.repeat(2)),
    ];
    let lie = |at: usize, bytes: &[u8]| {
        let mut file = sound.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    files.push((
        "another magic",
        "at byte 0: expected a piece",
        lie(0, &[0x50]),
    ));
    files.push((
        "a long prelude",
        "expected a prelude of 40 bytes, found 41",
        lie(4, &[41]),
    ));
    files.push((
        "a piece of a gibibyte",
        "found 1073741824",
        lie(8, &(1u64 << 30).to_le_bytes()),
    ));
    files.push((
        "a piece of 9 MiB",
        "expected 9437184 more bytes",
        lie(8, &(9u64 << 20).to_le_bytes()),
    ));
    files.push(("another name", "byte", lie(16, &[7; 32])));
    let mut files: Vec<_> = files
        .into_iter()
        .map(|(n, t, f)| (n.to_owned(), t, f))
        .collect();
    for cut in (1..sound.len()).step_by(sound.len() / 24) {
        files.push((
            format!("nothing from byte {cut} on"),
            "",
            sound[..cut].to_vec(),
        ));
    }
    // A list that says it has as many bytes as its seal allows, all of them a hole.
    let mut seal = forgery.seal.clone();
    seal["archive"]["frames"] = (1u64 << 50).into();
    let mut hole = forge::Member::sparse("lava-backup/frames", 68 << 50, &[(68 << 50, 0)]);
    (hole.mode, hole.mtime) = (0o600, (0, 0));
    let lists = [
        metadata_member("backup.json", forge::document(&seal).as_bytes()),
        hole.header_blocks(),
    ];
    files.push((
        "a list that is a hole".into(),
        "no file of the metadata",
        before(&lists.concat()),
    ));
    files
}

#[test]
fn a_file_that_tars_would_read_otherwise_is_refused_however_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("file");
    let sought = || {
        let store = Store::open_file(&place).map_err(|e| (e.kind(), e.to_string()))?;
        let backup = store.backup(&ID.parse().unwrap()).unwrap();
        let mut damage = verify(&backup, Depth::Full).unwrap().damage;
        damage.extend(verify_store(&store).unwrap());
        match damage.first() {
            Some(d) => Err((ErrorKind::Damaged, format!("{:?}: {}", d.file, d.what))),
            None => Ok(()),
        }
    };
    let forgery = corpus::sample();
    let [one, two, end] = [0, 1, 2].map(|n| forgery.frames[n].1.as_slice());
    // As `create --to` writes it.
    let metadata = forgery.metadata();
    let late = [
        (forge::CONTENT, one),
        (forge::CONTENT, two),
        (forge::METADATA, &metadata),
        (forge::CONTENT, end),
    ];
    for sound in [forgery.exported(), pieces(&late)] {
        fs::write(&place, &sound).unwrap();
        sought().unwrap();
        verify_stream(&place, sound.as_slice()).unwrap();
    }
    for (name, text, file) in one_files() {
        fs::write(&place, &file).unwrap();
        let piped = verify_stream(&place, file.as_slice()).map(drop);
        for said in [piped.map_err(|e| (e.kind(), e.to_string())), sought()] {
            let (kind, said) = said.expect_err(&name);
            assert_eq!(kind, ErrorKind::Damaged, "{name}: {said}");
            // By seeking it is seen elsewhere that a member is no part of it.
            let elsewhere = said.contains("does not belong");
            assert!(said.contains(text) || elsewhere, "{name}: {said}");
            assert!(!said.chars().any(char::is_control), "{name}: {said:?}");
        }
    }
}
