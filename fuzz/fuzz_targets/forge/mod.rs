//! A store made by hand from FORMAT.md, with digests that fit whatever it is told to hold, so that
//! hostile bytes come past the digests and into the parsers behind them.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// The one backup of the store.
pub const ID: &str = "20261122T120000Z-lab";

/// The text of a document with the digest that it must have.
pub fn document(members: &Map<String, Value>) -> String {
    let mut members = members.clone();
    members.remove("digest");
    let text = |members: &Map<String, Value>| format!("{:#}\n", Value::Object(members.clone()));
    let digest = blake3::hash(text(&members).as_bytes()).to_hex().to_string();
    members.insert("digest".into(), digest.into());
    text(&members)
}

/// Stored bytes and the trailer that fits them and their content.
pub fn with_trailer(mut zstd: Vec<u8>, content: &blake3::Hash) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&zstd).update(content.as_bytes());
    zstd.extend_from_slice(&[0x5b, 0x2a, 0x4d, 0x18, 32, 0, 0, 0]);
    zstd.extend_from_slice(hasher.finalize().as_bytes());
    zstd
}

/// A store in a directory of its own, removed with it.
pub struct Forge {
    dir: tempfile::TempDir,
    frames: Vec<String>,
}

impl Forge {
    /// With these frames, the last of which is then taken away again.
    pub fn new(contents: &[&[u8]]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let backup = dir.path().join("backups").join(ID);
        for made in ["frames", "tmp"] {
            fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        fs::create_dir_all(backup.join("evidence")).unwrap();
        let mut frames = Vec::new();
        for content in contents {
            let name = blake3::hash(content);
            let file = format!("{}/{}", &name.to_hex()[..2], name.to_hex());
            let path = dir.path().join("frames").join(&file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(
                &path,
                with_trailer(zstd::encode_all(*content, 1).unwrap(), &name),
            )
            .unwrap();
            frames.push(file);
        }
        if let Some(last) = frames.last() {
            fs::remove_file(dir.path().join("frames").join(last)).unwrap();
        }
        let forge = Self { dir, frames };
        fs::write(forge.backup().join("frames"), forge.list()).unwrap();
        fs::write(forge.path().join("store.json"), document(&Self::store())).unwrap();
        forge
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn backup(&self) -> PathBuf {
        self.path().join("backups").join(ID)
    }

    fn list(&self) -> String {
        self.frames.iter().map(|f| format!("{f}\n")).collect()
    }

    /// Writes an index of that text in these blocks, and gives its digest.
    pub fn index(&self, blocks: &[&[u8]]) -> String {
        let (mut pieces, mut names) = (Vec::new(), blake3::Hasher::new());
        for text in blocks {
            let name = blake3::hash(text);
            names.update(name.as_bytes());
            let stored = with_trailer(zstd::encode_all(*text, 1).unwrap(), &name);
            pieces.extend_from_slice(&[0x5c, 0x2a, 0x4d, 0x18, 40, 0, 0, 0]);
            pieces.extend_from_slice(&(stored.len() as u64).to_le_bytes());
            pieces.extend_from_slice(name.as_bytes());
            pieces.extend_from_slice(&stored);
        }
        fs::write(self.backup().join("index.zst"), pieces).unwrap();
        names.finalize().to_hex().to_string()
    }

    pub fn store() -> Map<String, Value> {
        object(json!({"format": "lava-backup-store/1", "requires": [], "id": "00".repeat(16)}))
    }

    pub fn evidence() -> Map<String, Value> {
        object(json!({
            "format": "lava-backup-evidence/1", "backup": ID, "seal": "00".repeat(32),
            "check": "verify", "depth": "full", "passed": true, "tool": "t", "began": "",
            "milliseconds": 1, "findings": null,
        }))
    }

    /// A seal over the frames and an index of so many entries.
    pub fn seal(&self, index_digest: &str, entries: usize) -> Map<String, Value> {
        object(json!({
            "format": "lava-backup/1", "requires": [], "id": ID, "store": "00".repeat(16),
            "tool": "t", "host": "h", "taken": "", "sealed": "", "outcome": "complete",
            "problems": [], "sections": {}, "documents": {},
            "archive": {
                "frames": self.frames.len(), "bytes": 0, "stored": 0,
                "frames_digest": blake3::hash(self.list().as_bytes()).to_hex().to_string(),
                "entries": entries, "index_digest": index_digest,
            },
        }))
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => unreachable!("{other}"),
    }
}
