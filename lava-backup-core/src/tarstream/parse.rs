//! Header blocks as an entry.
//!
//! The `tar` crate finds no record whose value holds a newline, which a path
//! may, so the records are taken apart here. What is read leniently is compared
//! with [`header`](super::header) by whoever calls: only what we write passes.

use std::collections::BTreeMap;

use tar::{EntryType, Header};

use super::header::class_comment;
use super::{BLOCK, padding};
use crate::attributes::{Attributes, Bytes, Extent, MAX_EXTENTS};
use crate::entry::{Class, Entry, Kind, LinkTarget, Time};
use crate::path::MemberPath;

const BLOCK_LENGTH: usize = BLOCK as usize;
/// The records of a member are no longer: two paths of 64 KiB, the name of a
/// sparse file, and 256 KiB of attributes.
pub(super) const MAX_RECORDS: u64 = 1 << 20;
/// A count, and two numbers of 64 bits for each extent and for the end.
const MAX_MAP: usize = (1 + 2 * (MAX_EXTENTS + 1)) * 21;

/// How long the headers of a member are, found out as they come in.
pub(super) struct Measure {
    stage: Stage,
    /// Bytes of headers known of so far.
    wanted: usize,
    /// Where the ustar header begins.
    header: usize,
}

enum Stage {
    Begin,
    Records,
    Map,
    Whole,
}

impl Measure {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Begin,
            wanted: BLOCK_LENGTH,
            header: 0,
        }
    }

    /// How many bytes must follow `head` before more can be said; 0 if it is
    /// whole.
    pub(super) fn missing(&mut self, head: &[u8]) -> Result<usize, String> {
        loop {
            if head.len() < self.wanted {
                return Ok(self.wanted - head.len());
            }
            match self.stage {
                Stage::Begin => {
                    let length = records_length(&head[..BLOCK_LENGTH])?;
                    self.header = BLOCK_LENGTH + length + padding(length as u64);
                    self.wanted = self.header + BLOCK_LENGTH;
                    self.stage = Stage::Records;
                }
                Stage::Records => {
                    let sparse = records(head)?.contains_key(b"GNU.sparse.major".as_slice());
                    self.wanted += if sparse { BLOCK_LENGTH } else { 0 };
                    self.stage = if sparse { Stage::Map } else { Stage::Whole };
                }
                Stage::Map => {
                    let begin = self.header + BLOCK_LENGTH;
                    let lines = lines_missing(&head[begin..self.wanted])?;
                    if lines == 0 {
                        self.stage = Stage::Whole;
                        continue;
                    }
                    // A line has a digit and a newline at least.
                    let map = self.wanted - begin + 2 * lines;
                    self.wanted = begin + map + padding(map as u64);
                    if self.wanted - begin > MAX_MAP + BLOCK_LENGTH {
                        return Err("has a map of extents that is too long".into());
                    }
                }
                Stage::Whole => return Ok(0),
            }
        }
    }
}

/// The length of the records that follow a member's first block.
fn records_length(block: &[u8]) -> Result<usize, String> {
    let header = checked(block)?;
    if header.entry_type() != EntryType::XHeader {
        let found = header.as_old().linkflag[0].escape_ascii().to_string();
        return Err(format!("has the type {found:?} where x belongs"));
    }
    let length = header.size().map_err(|_| "has records of no length")?;
    if length > MAX_RECORDS {
        return Err(format!(
            "has {length} bytes of records, of at most {MAX_RECORDS}"
        ));
    }
    Ok(length as usize)
}

/// Lines that the map of a sparse file still lacks.
fn lines_missing(map: &[u8]) -> Result<usize, String> {
    let bad = || "has no count of extents".to_owned();
    let end = map
        .iter()
        .take(6)
        .position(|b| *b == b'\n')
        .ok_or_else(bad)?;
    let count: usize = number(&map[..end]).ok_or_else(bad)?;
    if count > MAX_EXTENTS + 1 {
        return Err(format!("has {count} extents, of at most {MAX_EXTENTS}"));
    }
    let lines = map.iter().filter(|b| **b == b'\n').count();
    Ok((1 + 2 * count).saturating_sub(lines))
}

/// What the headers of exactly one member say, of which no more is known than
/// they say: the place and the digest are not. `Err` tells what they have.
pub(super) fn parse(blocks: &[u8]) -> Result<Entry, String> {
    let mut measure = Measure::new();
    if measure.missing(blocks)? != 0 || measure.wanted != blocks.len() {
        return Err("is longer or shorter than it says".into());
    }
    let records = records(blocks)?;
    let (header, map) = blocks[measure.header..].split_at(BLOCK_LENGTH);
    let header = checked(header)?;
    let fields = Fields { records, header };
    fields.entry(map)
}

struct Fields<'b> {
    records: BTreeMap<&'b [u8], &'b [u8]>,
    header: &'b Header,
}

impl Fields<'_> {
    fn entry(&self, map: &[u8]) -> Result<Entry, String> {
        let old = self.header.as_old();
        let kind = match self.header.entry_type() {
            EntryType::Regular => Kind::File,
            EntryType::Directory => Kind::Dir,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Fifo => Kind::Fifo,
            EntryType::Link => Kind::Hardlink,
            _ => return Err("has a type that no member has".into()),
        };
        let mut path = self.bytes("path", &old.name);
        if kind == Kind::Dir && path.last() == Some(&b'/') {
            path = &path[..path.len() - 1];
        }
        let member = |what: &str, bytes: &[u8]| {
            MemberPath::new(bytes).map_err(|e| format!("has a bad {what}: {e}"))
        };
        let linked = self.bytes("linkpath", &old.linkname);
        let (link, target) = match kind {
            Kind::Symlink => {
                let link = LinkTarget::new(linked).ok_or("has a bad link")?;
                (Some(link), None)
            }
            Kind::Hardlink => (None, Some(member("target", linked)?)),
            _ => (None, None),
        };
        let mut size = self.number("size", self.header.size())?;
        let mut extents = Vec::new();
        if let Some(real) = self.records.get(b"GNU.sparse.realsize".as_slice()) {
            size = number(real).ok_or("has a bad size")?;
            extents = extents_of(map, size).ok_or("has a bad map of extents")?;
        }
        let user = self.bytes("uname", self.header.username_bytes().unwrap_or_default());
        let group = self.bytes("gname", self.header.groupname_bytes().unwrap_or_default());
        Ok(Entry {
            path: member("path", path)?,
            kind,
            size,
            mode: self.header.mode().map_err(|_| "has a bad mode")?,
            user: text(user)?,
            group: text(group)?,
            uid: self.number("uid", self.header.uid())?,
            gid: self.number("gid", self.header.gid())?,
            mtime: self.time().ok_or("has no time, or a bad one")?,
            class: self.class()?,
            blake3: None,
            link,
            target,
            extents,
            attributes: self.attributes()?,
            frame: 0,
            offset: 0,
        })
    }

    /// A record, or else the field of the header up to its first NUL.
    fn bytes<'s>(&'s self, key: &str, field: &'s [u8]) -> &'s [u8] {
        match self.records.get(key.as_bytes()) {
            Some(value) => value,
            None => field.split(|b| *b == 0).next().unwrap_or_default(),
        }
    }

    fn number<N: TryFrom<u64>>(&self, key: &str, field: std::io::Result<u64>) -> Result<N, String> {
        let found = match self.records.get(key.as_bytes()) {
            Some(value) => number(value),
            None => field.ok(),
        };
        let fits = found.and_then(|n| N::try_from(n).ok());
        fits.ok_or_else(|| format!("has a bad {key}"))
    }

    fn time(&self) -> Option<Time> {
        let value = self.records.get(b"mtime".as_slice())?;
        let (whole, decimals) = std::str::from_utf8(value).ok()?.split_once('.')?;
        let nanoseconds: u32 = number(decimals.as_bytes()).filter(|_| decimals.len() == 9)?;
        let seconds: i64 = whole.parse().ok()?;
        let time = match (whole.starts_with('-'), nanoseconds) {
            (true, 1..) => (seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds),
            _ => (seconds, nanoseconds),
        };
        Time::try_from(time).ok()
    }

    fn class(&self) -> Result<Class, String> {
        let Some(comment) = self.records.get(b"comment".as_slice()) else {
            return Ok(Class::Plain);
        };
        [Class::Secret, Class::InFlight]
            .into_iter()
            .find(|class| class_comment(*class).map(str::as_bytes) == Some(comment))
            .ok_or_else(|| "has a comment that is no class".into())
    }

    fn attributes(&self) -> Result<Option<Box<Attributes>>, String> {
        let list = |key: &str| {
            self.records
                .get(key.as_bytes())
                .map(|v| text(v))
                .transpose()
        };
        let mut attributes = Attributes {
            acl: list("SCHILY.acl.access")?,
            default_acl: list("SCHILY.acl.default")?,
            xattrs: BTreeMap::new(),
        };
        for (key, value) in &self.records {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                let name = Bytes(decoded(name).ok_or("has a bad name of an attribute")?);
                attributes.xattrs.insert(name, Bytes(value.to_vec()));
            }
        }
        Ok((!attributes.is_empty()).then(|| Box::new(attributes)))
    }
}

/// The extents that a map lists, without the empty one that ends a file which
/// ends in a hole.
fn extents_of(map: &[u8], size: u64) -> Option<Vec<Extent>> {
    let mut lines = map.split(|b| *b == b'\n');
    let count: usize = number(lines.next()?)?;
    let mut extents = Vec::new();
    // The lines are there: they were counted.
    for _ in 0..count {
        extents.push(Extent {
            offset: number(lines.next()?)?,
            length: number(lines.next()?)?,
        });
    }
    let end = Extent {
        offset: size,
        length: 0,
    };
    if extents.len() > 1 && extents.last() == Some(&end) {
        extents.pop();
    }
    Some(extents)
}

/// The name of an extended attribute in the key of a record.
fn decoded(mut name: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len());
    while let Some((first, rest)) = name.split_first() {
        name = rest;
        if *first != b'%' {
            bytes.push(*first);
        } else if let Some(rest) = name.strip_prefix(b"25") {
            bytes.push(b'%');
            name = rest;
        } else {
            name = name.strip_prefix(b"3D")?;
            bytes.push(b'=');
        }
    }
    Some(bytes)
}

/// The records that follow a member's first block.
fn records(head: &[u8]) -> Result<BTreeMap<&[u8], &[u8]>, String> {
    let length = records_length(&head[..BLOCK_LENGTH])?;
    let bad = || "has a record that is none".to_owned();
    let mut body = head
        .get(BLOCK_LENGTH..BLOCK_LENGTH + length)
        .ok_or_else(bad)?;
    let mut records = BTreeMap::new();
    while !body.is_empty() {
        let (key, value, next) = record(body).ok_or_else(bad)?;
        records.entry(key).or_insert(value);
        body = next;
    }
    Ok(records)
}

/// The first record: its key, its value, and what follows it.
fn record(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let digits = body.iter().take(8).position(|b| *b == b' ')?;
    let length: usize = number(&body[..digits])?;
    let (line, next) = body.split_at_checked(length)?;
    let line = line.get(digits + 1..)?.strip_suffix(b"\n")?;
    let equals = line.iter().position(|b| *b == b'=')?;
    Some((&line[..equals], &line[equals + 1..], next))
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn text(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "has a text that is no UTF-8")?;
    Ok(text.to_owned())
}

fn checked(block: &[u8]) -> Result<&Header, String> {
    let header = Header::from_byte_slice(block);
    let mut again = header.clone();
    again.set_cksum();
    if header.cksum().ok() == again.cksum().ok() {
        Ok(header)
    } else {
        Err("has a checksum that does not fit".into())
    }
}
