//! The tar headers of members: POSIX (pax), read alike by GNU tar, bsdtar and
//! Python.

use tar::{EntryType, Header};

use crate::entry::{Entry, Kind, LinkTarget, Time};

/// Content is padded to a multiple of this.
pub(crate) const BLOCK: u64 = 512;

/// Zeros that end a member of that size.
pub(crate) fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK) as usize
}

/// The two empty blocks that end a tar stream.
pub(crate) const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];

/// The header blocks of a member: the time to the nanosecond, and whatever does
/// not fit the old header, in a pax header before it.
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
    if let Some(link) = &entry.link {
        put_name(
            &mut header.as_old_mut().linkname,
            link.as_bytes(),
            "linkpath",
            &mut pax,
        );
    }

    header.set_size(put_number(entry.size, 0o77_777_777_777, "size", &mut pax));
    header.set_uid(put_number(entry.uid.into(), 0o7_777_777, "uid", &mut pax));
    header.set_gid(put_number(entry.gid.into(), 0o7_777_777, "gid", &mut pax));
    put_owner(&entry.user, "uname", &mut pax, |n| header.set_username(n));
    put_owner(&entry.group, "gname", &mut pax, |n| header.set_groupname(n));

    // Never negative in the old header: its readers disagree about the sign.
    let seconds = u64::try_from(entry.mtime.seconds).unwrap_or(0);
    header.set_mtime(seconds.min(0o77_777_777_777));
    pax.record("mtime", pax_time(entry.mtime).as_bytes());

    header.set_cksum();
    let mut blocks = pax.blocks();
    blocks.extend_from_slice(header.as_bytes());
    blocks
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
        pax.record(key, value.to_string().as_bytes());
        return 0;
    }
    value
}

fn put_owner(name: &str, key: &str, pax: &mut Pax, set: impl FnOnce(&str) -> std::io::Result<()>) {
    if name.len() > 31 || !name.is_ascii() {
        pax.record(key, name.as_bytes());
    } else {
        // Fails only for a name that is too long for the field.
        let _ = set(name);
    }
}

/// The records of one pax header.
#[derive(Default)]
struct Pax(Vec<u8>);

impl Pax {
    /// Adds `LENGTH KEY=VALUE\n`, where the length counts itself.
    fn record(&mut self, key: &str, value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0
            .extend_from_slice(format!("{length} {key}=").as_bytes());
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

/// Does the header in these blocks say what the index says? `Err` tells what
/// differs.
///
/// The `tar` crate finds no record whose value holds a newline, which a path
/// may, so the records are taken apart here.
pub(crate) fn agrees(blocks: &[u8], entry: &Entry) -> Result<(), String> {
    let (records, header) = split(blocks).ok_or("its tar header is unreadable")?;
    let record = |key: &[u8]| records.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
    let differs = |what: &str| Err(format!("tar header and index differ in the {what}"));
    let until_nul = |field: &[u8]| field.split(|b| *b == 0).next().map(<[u8]>::to_vec);
    let text =
        |key: &[u8], field: &[u8]| record(key).map_or(until_nul(field), |v| Some(v.to_vec()));
    let number = |key: &[u8], field: std::io::Result<u64>| match record(key) {
        Some(value) => std::str::from_utf8(value).ok()?.parse().ok(),
        None => field.ok(),
    };

    let kind = match header.entry_type() {
        EntryType::Regular => Kind::File,
        EntryType::Directory => Kind::Dir,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Fifo => Kind::Fifo,
        _ => return differs("type"),
    };
    if kind != entry.kind {
        return differs("type");
    }
    let old = header.as_old();
    let mut path = text(b"path", &old.name).unwrap_or_default();
    if kind == Kind::Dir && path.last() == Some(&b'/') {
        path.pop();
    }
    if path != entry.path.as_bytes() {
        return differs("path");
    }
    if number(b"size", header.size()) != Some(entry.size) {
        return differs("size");
    }
    if header.mode().ok() != Some(entry.mode) {
        return differs("mode");
    }
    let user = text(b"uname", header.username_bytes().unwrap_or_default());
    let group = text(b"gname", header.groupname_bytes().unwrap_or_default());
    let named = user.as_deref() == Some(entry.user.as_bytes())
        && group.as_deref() == Some(entry.group.as_bytes());
    let numbered = number(b"uid", header.uid()) == Some(entry.uid.into())
        && number(b"gid", header.gid()) == Some(entry.gid.into());
    if !(named && numbered) {
        return differs("owner");
    }
    if record(b"mtime") != Some(pax_time(entry.mtime).as_bytes()) {
        return differs("time");
    }
    let link = text(b"linkpath", &old.linkname).and_then(LinkTarget::new);
    if link != entry.link {
        return differs("link");
    }
    // A prefix or a record come twice is read by some and not by others, so
    // what says the same in other bytes is not the same.
    if blocks != crate::tarstream::header(entry) {
        return Err("its tar header is not written as we write it".into());
    }
    Ok(())
}

type Records<'b> = Vec<(&'b [u8], &'b [u8])>;

/// The pax records and the header of exactly one member.
fn split(blocks: &[u8]) -> Option<(Records<'_>, &Header)> {
    let (first, mut rest) = blocks.split_at_checked(BLOCK as usize)?;
    let mut header = checked(first)?;
    let mut records = Vec::new();
    if header.entry_type() == EntryType::XHeader {
        let length = usize::try_from(header.size().ok()?).ok()?;
        let (mut body, after) = rest.split_at_checked(length)?;
        while !body.is_empty() {
            let digits = body.iter().position(|b| *b == b' ')?;
            let length: usize = std::str::from_utf8(&body[..digits]).ok()?.parse().ok()?;
            let (line, next) = body.split_at_checked(length)?;
            let line = line.get(digits + 1..)?.strip_suffix(b"\n")?;
            let equals = line.iter().position(|b| *b == b'=')?;
            records.push((&line[..equals], &line[equals + 1..]));
            body = next;
        }
        let (zeros, after) = after.split_at_checked(padding(length as u64))?;
        let (second, end) = after.split_at_checked(BLOCK as usize)?;
        if zeros.iter().any(|b| *b != 0) {
            return None;
        }
        header = checked(second)?;
        rest = end;
    }
    rest.is_empty().then_some((records, header))
}

fn checked(block: &[u8]) -> Option<&Header> {
    let header = Header::from_byte_slice(block);
    let mut again = header.clone();
    again.set_cksum();
    (again.cksum().ok() == header.cksum().ok()).then_some(header)
}
