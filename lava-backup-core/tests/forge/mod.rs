//! Backups made by hand from FORMAT.md, not by our writer: whatever they are
//! told to hold, all digests fit, so that lies come past them and into what
//! reads.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

/// The one backup of a forged store.
pub const ID: &str = "20261122T120000Z-lab";
pub const FORMAT_LINE: &str = "{\"format\":\"lava-backup-index/1\"}\n";

/// What changes the headers of a member, or its line in the index.
pub type Twist<T> = Box<dyn Fn(&mut T)>;

/// One member, in the stream and in the index alike but for its twists.
pub struct Member {
    pub path: Vec<u8>,
    /// The type flag of its tar header.
    pub flag: u8,
    pub size: u64,
    pub mode: u32,
    pub owner: (String, String, u32, u32),
    pub mtime: (i64, u32),
    pub class: String,
    /// Where a link of either kind leads.
    pub link: Vec<u8>,
    /// What lies in the stream.
    pub content: Vec<u8>,
    pub extents: Vec<(u64, u64)>,
    pub acl: Option<String>,
    pub default_acl: Option<String>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Records before and after ours.
    pub before: Vec<(Vec<u8>, Vec<u8>)>,
    pub after: Vec<(Vec<u8>, Vec<u8>)>,
    pub headers: Option<Twist<Vec<u8>>>,
    pub line: Option<Twist<Value>>,
}

impl Member {
    pub fn new(path: impl AsRef<[u8]>, flag: u8) -> Self {
        Self {
            path: path.as_ref().to_vec(),
            flag,
            size: 0,
            mode: 0o644,
            owner: ("root".into(), "root".into(), 0, 0),
            mtime: (981_173_106, 123_456_789),
            class: "plain".into(),
            link: Vec::new(),
            content: Vec::new(),
            extents: Vec::new(),
            acl: None,
            default_acl: None,
            xattrs: BTreeMap::new(),
            before: Vec::new(),
            after: Vec::new(),
            headers: None,
            line: None,
        }
    }

    pub fn file(path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref().to_vec();
        Self {
            size: content.len() as u64,
            content,
            ..Self::new(path, b'0')
        }
    }

    pub fn dir(path: impl AsRef<[u8]>) -> Self {
        Self {
            mode: 0o755,
            ..Self::new(path, b'5')
        }
    }

    pub fn symlink(path: impl AsRef<[u8]>, link: impl AsRef<[u8]>) -> Self {
        Self {
            link: link.as_ref().to_vec(),
            mode: 0o777,
            ..Self::new(path, b'2')
        }
    }

    pub fn hard(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            link: target.as_ref().to_vec(),
            ..Self::new(path, b'1')
        }
    }

    pub fn sparse(path: impl AsRef<[u8]>, size: u64, extents: &[(u64, u64)]) -> Self {
        let stored = extents.iter().fold(0u64, |sum, e| sum.saturating_add(e.1));
        Self {
            size,
            content: vec![b's'; stored.min(1 << 20) as usize],
            extents: extents.to_vec(),
            ..Self::new(path, b'0')
        }
    }

    pub fn header_blocks(&self) -> Vec<u8> {
        let mut ours = Vec::new();
        let mut block = [0u8; 512];
        let mut record = |key: &[u8], value: &[u8]| ours.push((key.to_vec(), value.to_vec()));
        let mut path = self.path.clone();
        if self.flag == b'5' {
            path.push(b'/');
        }
        for (at, key, name) in [(0, "path", &path), (157, "linkpath", &self.link)] {
            let fits = name.len().min(100);
            block[at..at + fits].copy_from_slice(&name[..fits]);
            if name.len() > 100 || !name.is_ascii() {
                record(key.as_bytes(), name);
            }
        }
        let map = self.map();
        let stored = if self.extents.is_empty() {
            self.size
        } else {
            self.extents.iter().fold(0u64, |s, e| s.saturating_add(e.1)) + map.len() as u64
        };
        let (user, group, uid, gid) = &self.owner;
        let mut number = |at: usize, digits: usize, key: &str, value: u64| {
            let limit = (1u64 << (3 * digits)) - 1;
            let field = if value > limit { 0 } else { value };
            block[at..at + digits].copy_from_slice(format!("{field:0digits$o}").as_bytes());
            if value > limit {
                record(key.as_bytes(), value.to_string().as_bytes());
            }
        };
        number(100, 7, "mode", self.mode.into());
        number(124, 11, "size", stored);
        number(108, 7, "uid", (*uid).into());
        number(116, 7, "gid", (*gid).into());
        let seconds = u64::try_from(self.mtime.0).unwrap_or(0);
        number(136, 11, "", seconds.min(0o77_777_777_777));
        for (at, key, name) in [(265, "uname", user), (297, "gname", group)] {
            if name.len() > 31 || !name.is_ascii() {
                record(key.as_bytes(), name.as_bytes());
            } else {
                block[at..at + name.len()].copy_from_slice(name.as_bytes());
            }
        }
        record(b"mtime", decimal(self.mtime).as_bytes());
        if self.class != "plain" {
            record(b"comment", format!("lava-backup:{}", self.class).as_bytes());
        }
        for (key, list) in [("access", &self.acl), ("default", &self.default_acl)] {
            if let Some(list) = list {
                record(format!("SCHILY.acl.{key}").as_bytes(), list.as_bytes());
            }
        }
        for (name, value) in &self.xattrs {
            let mut key = b"SCHILY.xattr.".to_vec();
            for byte in name {
                match byte {
                    b'%' => key.extend(b"%25"),
                    b'=' => key.extend(b"%3D"),
                    byte => key.push(*byte),
                }
            }
            record(&key, value);
        }
        if !self.extents.is_empty() {
            record(b"GNU.sparse.major", b"1");
            record(b"GNU.sparse.minor", b"0");
            record(b"GNU.sparse.name", &self.path);
            record(b"GNU.sparse.realsize", self.size.to_string().as_bytes());
        }
        block[156] = self.flag;
        let records: Vec<u8> = self
            .before
            .iter()
            .chain(&ours)
            .chain(&self.after)
            .flat_map(|(key, value)| pax_record(key, value))
            .collect();
        let mut out = pax_block(records.len() as u64);
        out.extend_from_slice(&records);
        pad(&mut out);
        block[257..265].copy_from_slice(b"ustar\x0000");
        out.extend_from_slice(&block);
        let at = out.len() - 512;
        fix_checksum(&mut out[at..]);
        out.extend_from_slice(&map);
        if let Some(twist) = &self.headers {
            twist(&mut out);
        }
        out
    }

    fn map(&self) -> Vec<u8> {
        if self.extents.is_empty() {
            return Vec::new();
        }
        let mut extents = self.extents.clone();
        let end = extents.last().map_or(0, |e| e.0.saturating_add(e.1));
        if end < self.size {
            extents.push((self.size, 0));
        }
        let mut map = format!("{}\n", extents.len()).into_bytes();
        for (offset, length) in extents {
            map.extend(format!("{offset}\n{length}\n").as_bytes());
        }
        pad(&mut map);
        map
    }

    fn index_line(&self, frame: u64, offset: u64) -> Value {
        let (user, group, uid, gid) = &self.owner;
        let kind = match self.flag {
            b'1' => "hardlink",
            b'2' => "symlink",
            b'5' => "dir",
            b'6' => "fifo",
            b'3' => "device",
            _ => "file",
        };
        let mut line = json!({
            "path": escape(&self.path), "type": kind, "size": self.size, "mode": self.mode,
            "user": user, "group": group, "uid": uid, "gid": gid, "mtime": self.mtime,
            "class": self.class, "frame": frame, "offset": offset,
        });
        match kind {
            "file" => line["blake3"] = json!(digest(&self.content)),
            "symlink" => line["link"] = json!(escape(&self.link)),
            "hardlink" => line["target"] = json!(escape(&self.link)),
            _ => {}
        }
        if !self.extents.is_empty() {
            line["extents"] = json!(self.extents);
        }
        let mut attributes = Map::new();
        let lists = [("acl", &self.acl), ("default-acl", &self.default_acl)];
        for (key, list) in lists {
            if let Some(list) = list {
                attributes.insert(key.into(), json!(list));
            }
        }
        if !self.xattrs.is_empty() {
            let pairs = self.xattrs.iter();
            let xattrs = pairs.map(|(name, value)| (escape(name), json!(escape(value))));
            attributes.insert("xattrs".into(), Value::Object(xattrs.collect()));
        }
        if !attributes.is_empty() {
            line["attributes"] = Value::Object(attributes);
        }
        if let Some(twist) = &self.line {
            twist(&mut line);
        }
        line
    }
}

/// Members as frames and lines, before anything has a digest.
pub struct Laid {
    pub frames: Vec<Vec<u8>>,
    pub lines: Vec<String>,
    pub sections: BTreeMap<String, (u64, u64)>,
}

impl Laid {
    /// A frame for each section, and one for the end.
    pub fn of(members: &[Member]) -> Self {
        let mut laid = Self {
            frames: Vec::new(),
            lines: Vec::new(),
            sections: BTreeMap::new(),
        };
        let mut last: Option<&[u8]> = None;
        for member in members {
            let section = member.path.split(|b| *b == b'/').next().unwrap_or_default();
            let full = laid.frames.last().is_some_and(|f| f.len() > 4 << 20);
            if last != Some(section) || full {
                laid.frames.push(Vec::new());
            }
            last = Some(section);
            let number = laid.frames.len() as u64 - 1;
            let frame = laid.frames.last_mut().unwrap();
            frame.extend(member.header_blocks());
            let line = member.index_line(number, frame.len() as u64);
            laid.lines.push(line_text(&line));
            frame.extend_from_slice(&member.content);
            pad(frame);
            let name = String::from_utf8_lossy(section).into_owned();
            let sums = laid.sections.entry(name).or_default();
            sums.0 += 1;
            sums.1 = sums.1.saturating_add(line["size"].as_u64().unwrap_or(0));
        }
        laid.frames.push(vec![0; 1024]);
        laid
    }

    /// The index and the list, and a seal that fits both; not signed yet.
    pub fn sealed(&self) -> Forgery {
        let mut forgery = Forgery {
            seal: Map::new(),
            frames: self.frames.iter().map(|f| (hash(f), f.clone())).collect(),
            list: String::new(),
            index: Vec::new(),
            files: BTreeMap::new(),
            blocks: Vec::new(),
            one_file: true,
        };
        for (name, bytes) in &forgery.frames {
            forgery.list += &format!("{}\n", frame_file(name));
            let stored = stored(bytes);
            let key = format!("frames/{}", frame_file(name));
            forgery.files.insert(key, stored);
        }
        let mut text = FORMAT_LINE.to_owned();
        for line in &self.lines {
            text += &format!("{line}\n");
        }
        let index_digest = forgery.put_index(&[text.as_bytes()]);
        let sections = self.sections.iter();
        let sections = sections.map(|(n, s)| (n.clone(), json!({"entries": s.0, "bytes": s.1})));
        let sections: Map<String, Value> = sections.collect();
        let seal = json!({
            "format": "lava-backup/1", "requires": [], "id": ID, "store": "00".repeat(16),
            "tool": "forge", "host": "lab", "taken": "2026-11-22T12:00:00Z",
            "sealed": "2026-11-22T12:00:00Z", "outcome": "complete", "problems": [],
            "sections": sections, "documents": {},
            "archive": {
                "frames": self.frames.len(),
                "bytes": self.frames.iter().map(Vec::len).sum::<usize>(),
                "stored": 0, "frames_digest": digest(forgery.list.as_bytes()),
                "entries": self.lines.len(), "index_digest": index_digest,
            },
        });
        forgery.seal = object(seal);
        forgery
    }
}

/// A backup with all digests but the seal's own.
pub struct Forgery {
    pub seal: Map<String, Value>,
    /// Names and bytes.
    pub frames: Vec<([u8; 32], Vec<u8>)>,
    pub list: String,
    pub index: Vec<u8>,
    /// Other files of the store, by key.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Blocks of the index that lie in frames.
    pub blocks: Vec<Vec<u8>>,
    /// Does its exported form hold the same lie?
    pub one_file: bool,
}

impl Forgery {
    /// Writes an index of these blocks, and gives its digest.
    pub fn put_index(&mut self, blocks: &[&[u8]]) -> String {
        let mut names = blake3::Hasher::new();
        self.index.clear();
        for text in blocks {
            names.update(&hash(text));
            self.index.extend(piece(CONTENT, text));
        }
        names.finalize().to_hex().to_string()
    }

    /// The same, and says so in the seal.
    pub fn set_index(&mut self, blocks: &[&[u8]]) {
        let digest = self.put_index(blocks);
        self.seal["archive"]["index_digest"] = json!(digest);
    }

    /// Writes an index of references, each with the number of the frame from
    /// which its block counts, and says so in the seal.
    pub fn set_references(&mut self, references: &[([u8; 32], u64)]) {
        let mut names = blake3::Hasher::new();
        self.index.clear();
        for (name, base) in references {
            names.update(&hash(&[&name[..], &base.to_le_bytes()].concat()));
            self.index
                .extend([REFERENCE, 0x2a, 0x4d, 0x18, 40, 0, 0, 0]);
            self.index.extend(base.to_le_bytes());
            self.index.extend(name);
        }
        let digest = names.finalize().to_hex().to_string();
        self.seal["archive"]["index_digest"] = json!(digest);
    }

    pub fn set_list(&mut self, list: String) {
        self.seal["archive"]["frames_digest"] = json!(digest(list.as_bytes()));
        self.seal["archive"]["frames"] = json!(list.lines().count());
        self.list = list;
    }

    /// Every file of the store by its key.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let store = json!({
            "format": "lava-backup-store/1", "requires": [], "id": "00".repeat(16),
        });
        let mut files = BTreeMap::from([
            ("store.json".into(), document(&object(store)).into_bytes()),
            (of("backup.json"), document(&self.seal).into_bytes()),
            (of("frames"), self.list.clone().into_bytes()),
            (of("index.zst"), self.index.clone()),
        ]);
        for block in &self.blocks {
            files.insert(
                format!("frames/{}", frame_file(&hash(block))),
                stored(block),
            );
        }
        files.extend(self.files.clone());
        files
    }

    /// The same as one file, as `export` writes it.
    pub fn exported(&self) -> Vec<u8> {
        let mut out = piece(METADATA, &self.metadata());
        for (_, bytes) in &self.frames {
            out.extend(piece(CONTENT, bytes));
        }
        out
    }

    /// The tar stream of what is said about the backup.
    pub fn metadata(&self) -> Vec<u8> {
        let files = self.files();
        let of_backup = |(key, bytes): (&String, &Vec<u8>)| {
            let name = key.strip_prefix(&of(""))?;
            Some((name.to_owned(), bytes.clone()))
        };
        let mut members: BTreeMap<_, _> = files.iter().filter_map(of_backup).collect();
        for block in &self.blocks {
            members.insert(
                format!("blocks/{}", frame_file(&hash(block))),
                stored(block),
            );
        }
        let members = members.iter();
        members
            .flat_map(|(name, bytes)| metadata_member(name, bytes))
            .collect()
    }
}

/// A member of an exported file's metadata.
pub fn metadata_member(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut member = Member::file(format!("lava-backup/{name}"), bytes);
    member.mode = 0o600;
    member.mtime = (0, 0);
    let mut out = member.header_blocks();
    out.extend_from_slice(bytes);
    pad(&mut out);
    out
}

/// The key of a file of the backup.
pub fn of(file: &str) -> String {
    format!("backups/{ID}/{file}")
}

/// Writes the files of a store into a directory.
pub fn write(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for made in ["frames", "backups", "tmp"] {
        fs::create_dir_all(dir.join(made)).unwrap();
    }
    for (key, bytes) in files {
        let place = dir.join(key);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }
}

/// The text of a document with the digest that it must have.
pub fn document(members: &Map<String, Value>) -> String {
    let mut members = members.clone();
    members.remove("digest");
    let text = |members: &Map<String, Value>| format!("{:#}\n", Value::Object(members.clone()));
    let digest = digest(text(&members).as_bytes());
    members.insert("digest".into(), digest.into());
    text(&members)
}

pub const CONTENT: u8 = 0x5c;
pub const METADATA: u8 = 0x5d;
const REFERENCE: u8 = 0x5e;

/// A piece with a prelude of that magic.
pub fn piece(magic: u8, bytes: &[u8]) -> Vec<u8> {
    let stored = stored(bytes);
    let mut out = vec![magic, 0x2a, 0x4d, 0x18, 40, 0, 0, 0];
    out.extend((stored.len() as u64).to_le_bytes());
    out.extend(hash(bytes));
    out.extend(stored);
    out
}

/// The stored form of bytes.
pub fn stored(bytes: &[u8]) -> Vec<u8> {
    with_trailer(zstd::bulk::compress(bytes, 1).unwrap(), &hash(bytes))
}

/// Compressed bytes and the trailer that fits them and their content's digest.
pub fn with_trailer(mut zstd: Vec<u8>, name: &[u8; 32]) -> Vec<u8> {
    let end = blake3::hash(&[&zstd, &name[..]].concat());
    zstd.extend([0x5b, 0x2a, 0x4d, 0x18, 32, 0, 0, 0]);
    zstd.extend(end.as_bytes());
    zstd
}

/// Where a frame lies below `frames/`.
pub fn frame_file(name: &[u8; 32]) -> String {
    let hex = blake3::Hash::from_bytes(*name).to_hex();
    format!("{}/{hex}", &hex[..2])
}

pub fn hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

pub fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

pub fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

/// `LENGTH KEY=VALUE\n`, whose length counts itself.
pub fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} ").as_bytes(), key, b"=", value, b"\n"].concat()
}

/// The block before records of that length.
pub fn pax_block(length: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..17].copy_from_slice(b"PaxHeaders/member");
    for (at, text) in [(100, "0000600"), (108, "0000000"), (116, "0000000")] {
        block[at..at + 7].copy_from_slice(text.as_bytes());
    }
    block[124..135].copy_from_slice(format!("{length:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = b'x';
    block[257..265].copy_from_slice(b"ustar\x0000");
    fix_checksum(&mut block);
    block
}

/// Makes the checksum of a header block fit.
pub fn fix_checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
}

fn decimal((seconds, nanoseconds): (i64, u32)) -> String {
    if seconds >= 0 || nanoseconds == 0 {
        return format!("{seconds}.{nanoseconds:09}");
    }
    let whole = seconds + 1;
    let sign = if whole == 0 { "-" } else { "" };
    format!("{sign}{whole}.{:09}", 1_000_000_000 - nanoseconds)
}

/// A line of the index, its members in the order in which they are written.
pub fn line_text(line: &Value) -> String {
    let order = [
        "path",
        "type",
        "size",
        "mode",
        "user",
        "group",
        "uid",
        "gid",
        "mtime",
        "class",
        "blake3",
        "link",
        "target",
        "extents",
        "attributes",
        "frame",
        "offset",
    ];
    let Value::Object(members) = line else {
        return line.to_string();
    };
    let place = |key: &str| order.iter().position(|o| *o == key).unwrap_or(order.len());
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(key, _)| place(key));
    let members: Vec<String> = members
        .iter()
        .map(|(key, value)| format!("{}:{value}", json!(key)))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Bytes as a text of the index.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '%' {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    out += &format!("%{byte:02X}");
                }
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => unreachable!("{other}"),
    }
}
