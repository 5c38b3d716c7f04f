//! An entry as header blocks.

use std::fmt::Write;

use tar::{EntryType, Header};

use super::{padding, stored_size};
use crate::attributes::{Attributes, Extent};
use crate::entry::{Class, Entry, Kind, Time};

/// The header blocks of a member: the time to the nanosecond, and whatever does
/// not fit the old header, in a pax header before it; of a sparse file also the
/// map of its extents after it.
pub(crate) fn header(entry: &Entry) -> Vec<u8> {
    let mut pax = Pax::default();
    let mut header = Header::new_ustar();
    header.set_entry_type(match entry.kind {
        Kind::File => EntryType::Regular,
        Kind::Dir => EntryType::Directory,
        Kind::Symlink => EntryType::Symlink,
        Kind::Fifo => EntryType::Fifo,
        Kind::Hardlink => EntryType::Link,
    });
    header.set_mode(entry.mode);

    let mut path = entry.path.as_bytes().to_vec();
    if entry.kind == Kind::Dir {
        path.push(b'/');
    }
    put_name(&mut header.as_old_mut().name, &path, "path", &mut pax);
    let link = entry.link.as_ref().map(|link| link.as_bytes());
    let target = entry.target.as_ref().map(|target| target.as_bytes());
    if let Some(link) = link.or(target) {
        let field = &mut header.as_old_mut().linkname;
        put_name(field, link, "linkpath", &mut pax);
    }

    let map = match entry.extents.as_slice() {
        [] => Vec::new(),
        extents => map(extents, entry.size),
    };
    let size = stored_size(entry).saturating_add(map.len() as u64);
    header.set_size(put_number(size, 0o77_777_777_777, "size", &mut pax));
    header.set_uid(put_number(entry.uid.into(), 0o7_777_777, "uid", &mut pax));
    header.set_gid(put_number(entry.gid.into(), 0o7_777_777, "gid", &mut pax));
    put_owner(&entry.user, "uname", &mut pax, |n| header.set_username(n));
    put_owner(&entry.group, "gname", &mut pax, |n| header.set_groupname(n));

    // Never negative in the old header: its readers disagree about the sign.
    let seconds = u64::try_from(entry.mtime.seconds).unwrap_or(0);
    header.set_mtime(seconds.min(0o77_777_777_777));
    pax.record("mtime", pax_time(entry.mtime));
    if let Some(class) = class_comment(entry.class) {
        pax.record("comment", class);
    }
    if let Some(attributes) = &entry.attributes {
        put_attributes(attributes, &mut pax);
    }
    if !entry.extents.is_empty() {
        pax.record("GNU.sparse.major", "1");
        pax.record("GNU.sparse.minor", "0");
        pax.record("GNU.sparse.name", entry.path.as_bytes());
        pax.record("GNU.sparse.realsize", entry.size.to_string());
    }

    header.set_cksum();
    let mut blocks = pax.blocks();
    blocks.extend_from_slice(header.as_bytes());
    blocks.extend_from_slice(&map);
    blocks
}

/// What the record `comment` says of a class.
pub(super) fn class_comment(class: Class) -> Option<&'static str> {
    match class {
        Class::Plain => None,
        Class::Secret => Some("lava-backup:secret"),
        Class::InFlight => Some("lava-backup:in-flight"),
    }
}

/// The map of a sparse file, padded: how many extents, then offset and length
/// of each.
///
/// GNU tar makes a file no longer than its last extent, so a hole at the end is
/// followed by an empty extent.
fn map(extents: &[Extent], size: u64) -> Vec<u8> {
    let end = extents
        .last()
        .map_or(0, |e| e.offset.saturating_add(e.length));
    let last = (end < size).then_some(Extent {
        offset: size,
        length: 0,
    });
    let mut text = format!("{}\n", extents.len() + usize::from(last.is_some()));
    for extent in extents.iter().chain(&last) {
        // Writing to a string can't fail.
        let _ = write!(text, "{}\n{}\n", extent.offset, extent.length);
    }
    let mut map = text.into_bytes();
    map.resize(map.len() + padding(map.len() as u64), 0);
    map
}

fn pax_time(time: Time) -> String {
    if time.seconds >= 0 || time.nanoseconds == 0 {
        return format!("{}.{:09}", time.seconds, time.nanoseconds);
    }
    // Nanoseconds count forwards; the decimal of a negative time, backwards.
    let whole = time.seconds + 1;
    let sign = if whole == 0 { "-" } else { "" };
    format!("{sign}{whole}.{:09}", 1_000_000_000 - time.nanoseconds)
}

fn put_name(field: &mut [u8; 100], name: &[u8], key: &str, pax: &mut Pax) {
    let fits = name.len().min(field.len());
    field[..fits].copy_from_slice(&name[..fits]);
    if name.len() > field.len() || !name.is_ascii() {
        pax.record(key, name);
    }
}

fn put_number(value: u64, limit: u64, key: &str, pax: &mut Pax) -> u64 {
    if value > limit {
        pax.record(key, value.to_string());
        return 0;
    }
    value
}

fn put_owner(name: &str, key: &str, pax: &mut Pax, set: impl FnOnce(&str) -> std::io::Result<()>) {
    if name.len() > 31 || !name.is_ascii() {
        pax.record(key, name);
    } else {
        // Fails only for a name that is too long for the field.
        let _ = set(name);
    }
}

fn put_attributes(attributes: &Attributes, pax: &mut Pax) {
    let lists = [
        ("SCHILY.acl.access", &attributes.acl),
        ("SCHILY.acl.default", &attributes.default_acl),
    ];
    for (key, list) in lists {
        if let Some(list) = list {
            pax.record(key, list);
        }
    }
    for (name, value) in &attributes.xattrs {
        // The first `=` of a record ends its key; GNU tar writes it so.
        let mut key = b"SCHILY.xattr.".to_vec();
        for byte in &name.0 {
            match byte {
                b'%' => key.extend_from_slice(b"%25"),
                b'=' => key.extend_from_slice(b"%3D"),
                other => key.push(*other),
            }
        }
        pax.record(key, &value.0);
    }
}

/// The records of one pax header.
#[derive(Default)]
struct Pax(Vec<u8>);

impl Pax {
    /// Adds `LENGTH KEY=VALUE\n`, where the length counts itself.
    fn record(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (key, value) = (key.as_ref(), value.as_ref());
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(format!("{length} ").as_bytes());
        self.0.extend_from_slice(key);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    fn blocks(self) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        let name = b"PaxHeaders/member";
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_mode(0o600);
        header.set_size(self.0.len() as u64);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        let mut blocks = header.as_bytes().to_vec();
        blocks.extend_from_slice(&self.0);
        blocks.resize(blocks.len() + padding(self.0.len() as u64), 0);
        blocks
    }
}
