//! The page docs/FORMAT.md says what the code does, and is enough to read a store without it.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::path;
use lava_backup_core::{
    Backup, Class, Depth, Entry, Error, ErrorKind, Evidence, EvidenceDraft, FrameName, Kind,
    LinkTarget, MAX_FRAME, MemberPath, Meta, Problem, Seal, SealInput, Store, Time, decode, verify,
};
use serde_json::{Value, json};

/// The example of that name: what stands in the block ```` ```json format:NAME ````.
fn example(name: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/FORMAT.md");
    let page = fs::read_to_string(page).unwrap();
    let mut blocks = page.split("\n```json format:").skip(1).filter_map(|block| {
        let (found, text) = block.split_once('\n').unwrap();
        (found == name).then(|| text.split_once("```").unwrap().0.to_owned())
    });
    let found = blocks.next().unwrap_or_else(|| panic!("no example {name}"));
    assert_eq!(blocks.next(), None, "two examples {name}");
    found
}

fn example_value(name: &str) -> Value {
    serde_json::from_str(&example(name)).unwrap()
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.chunks(2).map(byte).collect()
}

/// The text of a document with some members changed, as the page says it is written.
fn document(text: &str, changes: &[(&str, Value)]) -> String {
    let mut members: Value = serde_json::from_str(text).unwrap();
    for (pointer, value) in changes {
        match members.pointer_mut(pointer) {
            Some(found) => *found = value.clone(),
            None => members[&pointer[1..]] = value.clone(),
        }
    }
    let digest_line = |digest: &str| format!("  \"digest\": \"{digest}\",\n");
    members["digest"] = json!("");
    let undigested = format!("{members:#}\n").replace(&digest_line(""), "");
    members["digest"] = json!(blake3::hash(undigested.as_bytes()).to_hex().as_str());
    format!("{members:#}\n")
}

/// A store with the id of the page's, and the backup of the page in it.
struct Example {
    _dir: tempfile::TempDir,
    store: Store,
    backup: Backup,
}

impl Example {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for part in ["frames", "backups", "tmp"] {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        fs::write(dir.path().join("store.json"), example("store.json")).unwrap();
        let store = Store::open(dir.path()).unwrap();
        let backup = page_backup(&store);
        Self {
            _dir: dir,
            store,
            backup,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        let id = self.backup.id().as_str();
        self.store.path().join("backups").join(id).join(name)
    }

    fn open(&self) -> Result<Backup, Error> {
        self.store.backup(self.backup.id())
    }

    fn read_by_the_page(&self) -> Output {
        script(&[self.store.path().as_os_str()])
    }
}

fn script(arguments: &[&std::ffi::OsStr]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/read_store.py");
    Command::new("python3")
        .arg(script)
        .args(arguments)
        .output()
        .unwrap()
}

fn page_backup(store: &Store) -> Backup {
    let mut writer = store
        .create("20261122T120000Z-lab".parse().unwrap())
        .unwrap();
    let meta = |mode, class, seconds, nanoseconds| Meta {
        mode,
        user: "lavaserver".into(),
        group: "adm".into(),
        uid: 996,
        gid: 4,
        mtime: Time {
            seconds,
            nanoseconds,
        },
        class,
        attributes: None,
    };
    let root = |seconds| {
        Meta::private(
            Class::Plain,
            Time {
                seconds,
                nanoseconds: 0,
            },
        )
    };
    let facts = root(1_795_348_800);
    writer
        .add_file(path("facts/facts.json"), facts, b"{}\n")
        .unwrap();
    let secret = Meta::private(
        Class::Secret,
        Time {
            seconds: 1_795_348_800,
            nanoseconds: 0,
        },
    );
    let mut dump = writer
        .stream(path("database/lavaserver.dump"), secret)
        .unwrap();
    dump.write_all(b"PGDMP").unwrap();
    dump.finish().unwrap();
    let dir = Meta {
        mode: 0o2750,
        ..meta(0, Class::Plain, -1, 250_000_000)
    };
    writer
        .add_other(path("config/etc"), Kind::Dir, dir, None)
        .unwrap();
    let key = meta(0o640, Class::Secret, 981_173_106, 123_456_789);
    writer
        .add_file(path("config/etc/key"), key, b"key\n")
        .unwrap();
    let odd = MemberPath::new(b"config/etc/na%me \xc3\xa9\n\xff").unwrap();
    writer
        .add_file(odd.clone(), meta(0o644, Class::InFlight, 0, 0), b"")
        .unwrap();
    let link = LinkTarget::new("../run/link").unwrap();
    let to = path("config/etc-link");
    writer
        .add_other(to, Kind::Symlink, root(0), Some(link))
        .unwrap();
    writer.problem(Problem {
        code: "file.unreadable".into(),
        path: Some(odd),
        message: "could not be read: Input/output error (os error 5)".into(),
        degrades: true,
    });
    let sealed = writer
        .seal(SealInput {
            tool: "lava-backup 0.1.0".into(),
            host: "lab.example".into(),
            taken: "2026-11-22T12:00:00Z".into(),
            sealed: "2026-11-22T12:00:07Z".into(),
            documents: [("facts".to_owned(), json!({"suite": "bookworm"}))].into(),
        })
        .unwrap();
    store.backup(&sealed.seal.id).unwrap()
}

#[test]
fn the_backup_of_the_page_is_the_one_that_is_made() {
    let made = Example::new();
    let entries = made.backup.index().unwrap().map(Result::unwrap);
    let lines = entries.map(|e| serde_json::to_string(&e).unwrap() + "\n");
    let header = "{\"format\":\"lava-backup-index/1\"}\n";
    let text: String = [header.to_owned()].into_iter().chain(lines).collect();
    assert_eq!(text, example("index"));
    let frames = fs::read_to_string(made.file("frames")).unwrap();
    assert_eq!(frames, example("frames"));
    // What zstd makes of the same bytes may differ between its versions.
    let stored = json!(made.backup.seal().archive.stored);
    let seal = fs::read_to_string(made.file("backup.json")).unwrap();
    assert_eq!(
        seal,
        document(&example("seal"), &[("/archive/stored", stored)])
    );
}

#[test]
fn the_documents_of_the_page_have_the_digests_they_say_and_are_read_as_they_stand() {
    for name in ["store.json", "seal", "evidence"] {
        let text = example(name);
        assert_eq!(text, document(&text, &[]), "{name}");
        let line = text
            .lines()
            .find(|l| l.starts_with("  \"digest\": "))
            .unwrap();
        let rest = text.replace(&format!("{line}\n"), "");
        assert!(line.contains(blake3::hash(rest.as_bytes()).to_hex().as_str()));
    }
    let seal: Seal = serde_json::from_str(&example("seal")).unwrap();
    let evidence: Evidence = serde_json::from_str(&example("evidence")).unwrap();
    assert_eq!(evidence.backup, seal.id);
    let digest = &example_value("seal")["digest"];
    assert_eq!(evidence.seal, digest.as_str().unwrap());
    let made = Example::new();
    assert_eq!(seal.store, made.store.id());
    fs::write(made.file("backup.json"), example("seal")).unwrap();
    assert_eq!(*made.open().unwrap().seal(), seal);
    for (line, entry) in example("index")
        .lines()
        .skip(1)
        .zip(made.backup.index().unwrap())
    {
        let read: Entry = serde_json::from_str(line).unwrap();
        assert_eq!(read, entry.unwrap());
    }
}

#[test]
fn the_evidence_of_the_page_is_the_one_that_is_recorded() {
    let made = Example::new();
    let mut draft = EvidenceDraft::new("verify", "full", true);
    draft.tool = "lava-backup 0.1.0".into();
    draft.began = "2026-11-22T13:00:00Z".into();
    draft.milliseconds = 42;
    draft.findings = json!({"damage": [], "frames": 4});
    made.backup.record(draft).unwrap();
    let mut found = fs::read_dir(made.file("evidence")).unwrap();
    let found = found.next().unwrap().unwrap();
    let written = fs::read_to_string(found.path()).unwrap();
    let seal = json!(made.backup.digest());
    assert_eq!(written, document(&example("evidence"), &[("/seal", seal)]));
    let digest: Value = serde_json::from_str(&written).unwrap();
    let digest = digest["digest"].as_str().unwrap();
    let name = format!("20261122T130000Z-verify-{}.json", &digest[..8]);
    assert_eq!(found.file_name().to_str().unwrap(), name);
}

#[test]
fn the_stored_frame_of_the_page_decodes_and_no_bit_of_it_is_free() {
    let vector = example_value("frame");
    let (content, zstd) = (hex(&vector["content"]), hex(&vector["zstd"]));
    let name = FrameName::of(&content);
    assert_eq!(name.to_string(), vector["name"].as_str().unwrap());
    let mut trailer = vec![0x5b, 0x2a, 0x4d, 0x18, 0x20, 0, 0, 0];
    let bound = [&zstd[..], &hex(&vector["name"])].concat();
    trailer.extend_from_slice(blake3::hash(&bound).as_bytes());
    assert_eq!(trailer, hex(&vector["trailer"]));
    let stored = [zstd, trailer].concat();
    assert_eq!(decode(Path::new("f"), name, &stored).unwrap(), content);
    assert_eq!(zstd::decode_all(&stored[..]).unwrap(), content);
    for bit in 0..stored.len() * 8 {
        let mut damaged = stored.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = decode(Path::new("f"), name, &damaged).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "bit {bit}");
    }
    assert_eq!(vector["longest"], json!(MAX_FRAME));
}

#[test]
fn the_index_is_pieces_as_the_page_says() {
    let vector = example_value("piece");
    let frame = example_value("frame");
    for member in ["content", "zstd", "trailer"] {
        assert_eq!(vector[member], frame[member]);
    }
    let stored = [hex(&vector["zstd"]), hex(&vector["trailer"])].concat();
    let prelude = |text: &[u8], stored: &[u8]| {
        let (magic, length) = ([0x5c, 0x2a, 0x4d, 0x18, 40, 0, 0, 0], stored.len() as u64);
        let name = hex(&json!(FrameName::of(text).to_string()));
        [&magic[..], &length.to_le_bytes(), &name].concat()
    };
    let expected = prelude(&hex(&vector["content"]), &stored);
    assert_eq!(expected, hex(&vector["prelude"]));
    let piece = [expected, stored].concat();
    assert_eq!(
        zstd::decode_all(&piece[..]).unwrap(),
        hex(&vector["content"])
    );

    // Blocks in frames: here one for each section, frames counted from its first.
    let mut blocks: Vec<(u64, String)> = Vec::new();
    let mut section = String::new();
    let page = example("index");
    let (header, lines) = page.split_once('\n').unwrap();
    for line in lines.lines() {
        let entry: Entry = serde_json::from_str(line).unwrap();
        let its = String::from_utf8(entry.path.section().to_vec()).unwrap();
        if its != section {
            let begin = if blocks.is_empty() {
                format!("{header}\n")
            } else {
                String::new()
            };
            blocks.push((entry.frame, begin));
            section = its;
        }
        let (base, text) = blocks.last_mut().unwrap();
        let absolute = format!("\"frame\":{},", entry.frame);
        let counted = format!("\"frame\":{},", entry.frame - *base);
        *text += &format!("{}\n", line.replace(&absolute, &counted));
    }
    let made = Example::new();
    let (mut expected, mut digests) = (Vec::new(), Vec::new());
    for (base, text) in &blocks {
        let name = FrameName::of(text.as_bytes());
        let bytes = hex(&json!(name.to_string()));
        let counted = [&bytes[..], &base.to_le_bytes()].concat();
        digests.extend_from_slice(blake3::hash(&counted).as_bytes());
        let magic = [0x5e, 0x2a, 0x4d, 0x18, 40, 0, 0, 0];
        expected.extend_from_slice(&[&magic[..], &base.to_le_bytes(), &bytes].concat());
        let file = made.store.path().join("frames").join(name.file());
        let stored = fs::read(file).unwrap();
        assert_eq!(
            decode(Path::new("b"), name, &stored).unwrap(),
            text.as_bytes()
        );
    }
    assert_eq!(fs::read(made.file("index.zst")).unwrap(), expected);
    let sealed = &made.backup.seal().archive.index_digest;
    assert_eq!(*sealed, blake3::hash(&digests).to_hex().to_string());
}

#[test]
fn gathered_frames_end_where_the_page_says() {
    let made = Example::new();
    let mut writer = made.store.create("cuts".parse().unwrap()).unwrap();
    for number in 0..400 {
        let meta = Meta::private(Class::Plain, Time::default());
        let member = path(&format!("data/{number:03}"));
        writer
            .add_file(member, meta, &[number as u8; 65_000])
            .unwrap();
    }
    let id = writer.seal(SealInput::default()).unwrap().seal.id;
    let backup = made.store.backup(&id).unwrap();
    let (mut full, mut by_path, mut frame) = (0, 0, 0);
    for entry in backup.index().unwrap().map(Result::unwrap) {
        assert_eq!(entry.frame, frame, "{}", entry.path);
        let length = (entry.offset + entry.size).next_multiple_of(512);
        let chance = blake3::hash(entry.path.as_bytes()).as_bytes()[0].is_multiple_of(32);
        if length >= 4 << 20 {
            full += 1;
        } else if length >= 1 << 20 && chance {
            by_path += 1;
        }
        frame = full + by_path;
    }
    assert!(full > 0 && by_path > 0, "{full} {by_path}");
}

#[test]
fn the_paths_of_the_page_are_escaped_refused_and_ordered_so() {
    let vectors = example_value("paths");
    let list = |name: &str| vectors[name].as_array().unwrap().clone();
    let mut ordered = Vec::new();
    for pair in list("good") {
        let parsed = MemberPath::new(hex(&pair[0])).unwrap();
        let text = pair[1].as_str().unwrap();
        assert_eq!(parsed.to_string(), text);
        assert_eq!(text.parse::<MemberPath>().unwrap(), parsed);
        ordered.push(parsed);
    }
    assert!(ordered.is_sorted_by(|a, b| a < b));
    for text in list("refused") {
        let error = text.as_str().unwrap().parse::<MemberPath>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadName, "{text}");
    }
    assert!(MemberPath::new(vec![b'a'; 65_536]).is_ok());
    assert!(MemberPath::new(vec![b'a'; 65_537]).is_err());
}

#[test]
fn a_newer_document_is_refused_as_newer_and_an_unknown_member_is_no_harm() {
    let made = Example::new();
    let seal = fs::read_to_string(made.file("backup.json")).unwrap();
    let with = |pointer: &str, value: Value| {
        let text = document(&seal, &[(pointer, value)]);
        fs::write(made.file("backup.json"), text).unwrap();
        made.open()
    };
    let refused = |opened: Result<Backup, Error>| opened.unwrap_err().kind();
    assert_eq!(
        refused(with("/requires", json!(["age"]))),
        ErrorKind::TooNew
    );
    assert_eq!(
        refused(with("/format", json!("lava-backup/2"))),
        ErrorKind::TooNew
    );
    assert_eq!(refused(with("/id", json!("another"))), ErrorKind::Damaged);
    // A backup may have been made in another store.
    assert!(with("/store", json!("00")).is_ok());
    let opened = with("/later", json!({"b": [1, -1, "é"], "a": {}})).unwrap();
    assert!(verify(&opened, Depth::Full).unwrap().damage.is_empty());
    assert!(made.read_by_the_page().status.success());
    // The same members in another order, or with other blanks, are another document.
    let loose = seal.replacen("  \"archive\"", "   \"archive\"", 1);
    fs::write(made.file("backup.json"), loose).unwrap();
    assert_eq!(refused(made.open()), ErrorKind::Damaged);
}

#[test]
fn the_script_has_the_right_blake3() {
    let dir = tempfile::tempdir().unwrap();
    for length in [0, 64, 1024, 1025, 7 * 1024, 1_100_001] {
        let bytes = common::noise(length, 7);
        let file = dir.path().join("input");
        fs::write(&file, &bytes).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/read_store.py");
        let found = Command::new("python3")
            .arg(script)
            .arg("--blake3")
            .stdin(fs::File::open(&file).unwrap())
            .output()
            .unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        assert_eq!(
            found.trim(),
            blake3::hash(&bytes).to_hex().as_str(),
            "{length}"
        );
    }
}

/// Promise 9: the page is enough to read a store, and a reader of it sees damage as we do.
#[test]
fn a_script_written_from_the_page_alone_reads_every_member() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    common::odd_tree(&root);
    let made = Example::new();
    let odd = common::back_up(&made.store, &root, "odd");
    let mut writer = made.store.create("stream".parse().unwrap()).unwrap();
    let meta = Meta::private(Class::Plain, Time::default());
    let mut member = writer.stream(path("database/dump"), meta.clone()).unwrap();
    for piece in common::noise(300_000, 3).chunks(70_001) {
        member.write_all(piece).unwrap();
        member.begin_part().unwrap();
    }
    member.finish().unwrap();
    writer
        .stream(path("database/empty"), meta)
        .unwrap()
        .finish()
        .unwrap();
    let stream = writer.seal(SealInput::default()).unwrap().seal.id;
    let stream = made.store.backup(&stream).unwrap();

    let read = made.read_by_the_page();
    let said = String::from_utf8(read.stdout).unwrap();
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let mut listed = Vec::new();
    for backup in [&made.backup, &odd, &stream] {
        for entry in backup.index().unwrap() {
            let mut value = serde_json::to_value(entry.unwrap()).unwrap();
            value["backup"] = json!(backup.id().as_str());
            listed.push(value);
        }
    }
    let said: Vec<Value> = said
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(said, listed);
}

#[test]
fn a_script_written_from_the_page_alone_sees_a_bit_that_changed_in_any_file() {
    let made = Example::new();
    assert!(made.read_by_the_page().status.success());
    let frame = made.store.path().join("frames");
    let frame = frame.join(made.backup.frames().unwrap()[0].file());
    let store = made.store.path().join("store.json");
    for file in [
        frame,
        store,
        made.file("frames"),
        made.file("index.zst"),
        made.file("backup.json"),
    ] {
        let whole = fs::read(&file).unwrap();
        for at in [whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&file, damaged).unwrap();
            let read = made.read_by_the_page();
            assert!(!read.status.success(), "byte {at} of {}", file.display());
        }
        fs::write(&file, whole).unwrap();
    }
}
