//! The tar stream: the headers of members, in POSIX form (pax), read alike by
//! GNU tar, bsdtar and Python; and the way back from the stream to the index.

#[cfg(test)]
mod arbitrary;
mod header;
mod parse;
#[cfg(test)]
mod readers;
#[cfg_attr(
    not(test),
    allow(
        dead_code,
        reason = "what rebuilds an index and what reads a pipe call it"
    )
)]
mod scan;
#[cfg(test)]
mod tests;

use crate::entry::{Entry, Kind};

pub(crate) use header::header;
#[cfg_attr(
    not(test),
    allow(
        unused_imports,
        reason = "what rebuilds an index and what reads a pipe call it"
    )
)]
pub(crate) use scan::Scan;

/// Content is padded to a multiple of this.
pub(crate) const BLOCK: u64 = 512;

/// The two empty blocks that end a tar stream.
pub(crate) const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];

/// Zeros that end a member with so many bytes after its headers.
pub(crate) fn padding(stored: u64) -> usize {
    (stored.wrapping_neg() % BLOCK) as usize
}

/// The bytes of content that follow the headers, padding not counted: of a
/// sparse file those of its extents.
pub(crate) fn stored_size(entry: &Entry) -> u64 {
    match (entry.kind, entry.extents.is_empty()) {
        (Kind::File, true) => entry.size,
        (Kind::File, false) => {
            let lengths = entry.extents.iter().map(|e| e.length);
            lengths.fold(0, u64::saturating_add)
        }
        _ => 0,
    }
}

/// Do the headers in these blocks say what the index says? `Err` tells what
/// differs.
pub(crate) fn agrees(blocks: &[u8], entry: &Entry) -> Result<(), String> {
    let found = parse::parse(blocks).map_err(|why| format!("its tar header {why}"))?;
    let pairs = [
        ("type", found.kind != entry.kind),
        ("path", found.path != entry.path),
        ("size", found.size != entry.size),
        ("mode", found.mode != entry.mode),
        (
            "owner",
            (&found.user, &found.group, found.uid, found.gid)
                != (&entry.user, &entry.group, entry.uid, entry.gid),
        ),
        ("time", found.mtime != entry.mtime),
        ("class", found.class != entry.class),
        ("link", found.link != entry.link),
        ("target", found.target != entry.target),
        ("attributes", found.attributes != entry.attributes),
        ("extents", found.extents != entry.extents),
    ];
    if let Some((what, _)) = pairs.iter().find(|(_, differs)| *differs) {
        return Err(format!("tar header and index differ in the {what}"));
    }
    // A prefix or a record come twice is read by some and not by others, so
    // what says the same in other bytes is not the same.
    if blocks != header(entry) {
        return Err("its tar header is not written as we write it".into());
    }
    Ok(())
}
