//! A backup in one file: who reads it by seeking, who reads it through a pipe, and who reads it with
//! `zstd` and `tar` alone say the same of it.
#![no_main]

#[path = "../../lava-backup-core/tests/forge/mod.rs"]
mod hand;
#[path = "forge/sample.rs"]
mod sample;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hand::{CONTENT, METADATA, digest, document, frame_file, hash, metadata_member, piece};
use lava_backup_core::{
    Depth, Kind, Result, Store, VerifyReport, verify, verify_store, verify_stream,
};
use libfuzzer_sys::fuzz_target;
use sample::{Bytes, forgery, scratch};
use serde_json::json;

struct Room {
    _dir: tempfile::TempDir,
    file: PathBuf,
    frames: Vec<Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    seal: serde_json::Map<String, serde_json::Value>,
}

fn room() -> &'static Room {
    static ROOM: OnceLock<Room> = OnceLock::new();
    ROOM.get_or_init(|| {
        let dir = scratch();
        let forgery = forgery();
        let prefix = hand::of("");
        let files = forgery.files();
        let files = files
            .iter()
            .filter_map(|(k, v)| Some((k.strip_prefix(&prefix)?, v)));
        Room {
            file: dir.path().join("file.tar.zst"),
            frames: forgery.frames.iter().map(|(_, f)| f.clone()).collect(),
            files: files.map(|(k, v)| (k.to_owned(), v.clone())).collect(),
            seal: forgery.seal.clone(),
            _dir: dir,
        }
    })
}

fuzz_target!(|data: &[u8]| {
    let room = room();
    let mut bytes = Bytes(data);
    let file = match bytes.byte() % 8 {
        0 => bytes.0.to_vec(),
        _ => forged(room, &mut bytes),
    };
    check(room, &file);
});

/// Pieces whose digests fit, of what was changed before they had any.
fn forged(room: &Room, bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut frames = room.frames.clone();
    let mut files: Vec<(String, Vec<u8>)> = room.files.clone().into_iter().collect();
    let resign = bytes.byte() % 2 == 0;
    let mut late = Vec::new();
    for _ in 0..bytes.byte() % 4 {
        match bytes.byte() % 12 {
            0 => {
                let at = bytes.below(frames.len());
                bytes.damage(&mut frames[at])
            }
            1 => {
                let (a, b) = (bytes.below(frames.len()), bytes.below(frames.len()));
                frames.swap(a, b)
            }
            2 => {
                let at = bytes.below(frames.len());
                let f = frames[at].clone();
                frames.insert(at, f)
            }
            3 => {
                let at = bytes.below(files.len());
                bytes.damage(&mut files[at].1)
            }
            4 => {
                let at = bytes.below(files.len());
                files.remove(at);
                if files.is_empty() {
                    return Vec::new();
                }
            }
            5 => {
                let at = bytes.below(files.len());
                let f = files[at].clone();
                files.push(f)
            }
            6 => {
                let name = bytes.run();
                files.push((String::from_utf8_lossy(&name).into_owned(), bytes.run()))
            }
            7 => {
                let mut evidence = hand_evidence();
                evidence.insert("seal".into(), json!(digest_of(&files)));
                files.push(("evidence/a.json".into(), document(&evidence).into_bytes()))
            }
            op => late.push(op),
        }
    }
    if resign {
        let names: Vec<String> = frames.iter().map(|f| frame_file(&hash(f))).collect();
        let list: String = names.iter().map(|n| format!("{n}\n")).collect();
        let mut seal = room.seal.clone();
        seal["archive"]["frames_digest"] = json!(digest(list.as_bytes()));
        seal["archive"]["frames"] = json!(frames.len());
        seal["archive"]["bytes"] = json!(frames.iter().map(Vec::len).sum::<usize>());
        for (name, content) in &mut files {
            match name.as_str() {
                "frames" => *content = list.clone().into_bytes(),
                "backup.json" => *content = document(&seal).into_bytes(),
                _ => {}
            }
        }
    }
    let mut metadata: Vec<u8> = files
        .iter()
        .flat_map(|(n, c)| metadata_member(n, c))
        .collect();
    let mut pieces: Vec<(u8, Vec<u8>)> = frames.into_iter().map(|f| (CONTENT, f)).collect();
    let mut at = 0;
    let mut cuts = Vec::new();
    for op in late {
        match op {
            8 => bytes.damage(&mut metadata),
            9 => metadata.extend([0; 512]),
            10 => at = bytes.below(pieces.len() + 1),
            _ => cuts.push(bytes.below(metadata.len() + 1)),
        }
    }
    cuts.sort();
    let mut rest = metadata.as_slice();
    let mut gone = 0;
    for cut in cuts {
        let (head, tail) = rest.split_at((cut - gone).min(rest.len()));
        gone = cut;
        rest = tail;
        if !head.is_empty() {
            pieces.insert(at.min(pieces.len()), (METADATA, head.to_vec()));
            at += 1 + bytes.below(3) / 2;
        }
    }
    if !rest.is_empty() {
        pieces.insert(at.min(pieces.len()), (METADATA, rest.to_vec()));
    }
    let mut out: Vec<u8> = pieces.iter().flat_map(|(m, b)| piece(*m, b)).collect();
    if bytes.byte() % 8 == 7 {
        bytes.damage(&mut out);
    }
    out
}

fn hand_evidence() -> serde_json::Map<String, serde_json::Value> {
    let evidence = json!({
        "format": "lava-backup-evidence/1", "backup": hand::ID, "seal": "00".repeat(32),
        "check": "verify", "depth": "full", "passed": true, "tool": "t", "began": "",
        "milliseconds": 1, "findings": null,
    });
    evidence.as_object().unwrap().clone()
}

/// What the seal among these says its digest is.
fn digest_of(files: &[(String, Vec<u8>)]) -> String {
    let seal = files.iter().find(|(name, _)| name == "backup.json");
    let seal = seal.and_then(|(_, text)| serde_json::from_slice::<serde_json::Value>(text).ok());
    seal.and_then(|s| Some(s.get("digest")?.as_str()?.to_owned()))
        .unwrap_or_default()
}

fn check(room: &Room, file: &[u8]) {
    std::fs::write(&room.file, file).unwrap();
    let piped = verify_stream(Path::new("pipe"), file);
    let sought = seek(&room.file);
    let sound = sought
        .as_ref()
        .is_ok_and(|(report, extra)| report.damage.is_empty() && *extra == 0);
    match (&piped, sound) {
        (Ok(_), true) => plain(room, file),
        (Err(_), false) => {}
        _ => panic!("pipe: {piped:?}, by seeking: {sought:?}"),
    }
}

fn seek(file: &Path) -> Result<(VerifyReport, usize)> {
    let store = Store::open_file(file)?;
    let id = store.backups()?.remove(0);
    let backup = store.backup(&id)?;
    Ok((verify(&backup, Depth::Full)?, verify_store(&store)?.len()))
}

/// What is sound holds for other readers what its index says.
fn plain(room: &Room, file: &[u8]) {
    let text = zstd::decode_all(file).expect("plain zstd reads it");
    let store = Store::open_file(&room.file).unwrap();
    let backup = store.backup(&store.backups().unwrap().remove(0)).unwrap();
    let mut entries = backup.index().unwrap();
    let mut archive = tar::Archive::new(text.as_slice());
    let mut seen = 0;
    for member in archive.entries().unwrap() {
        let mut member = member.unwrap();
        let path = member.path_bytes().into_owned();
        if path.starts_with(b"lava-backup/") {
            continue;
        }
        seen += 1;
        let entry = entries.next().expect("tar has no more members").unwrap();
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        assert_eq!(path, entry.path.as_bytes());
        if entry.kind == Kind::File && entry.extents.is_empty() {
            let mut content = Vec::new();
            member.read_to_end(&mut content).unwrap();
            assert_eq!(Some(digest(&content)), entry.blake3);
        }
    }
    assert!(entries.next().is_none(), "tar has {seen} members alone");
}
