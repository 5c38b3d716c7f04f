//! The bytes of one file, which may change while they are read.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;

use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::attributes::{Extent, MAX_EXTENTS};
use crate::cut::SMALL_FILE;
use crate::entry::Time;
use crate::error::{At, Result};
use crate::packed::is_unfinished;
use crate::tarstream::BLOCK;
use crate::writer::Sparse;

/// How the reading of a file went.
pub(super) enum Reading {
    /// All of it was read; was it the same before and after?
    Small { file: File, stat: Stat, still: bool },
    /// It is longer than a small file.
    Large { file: File, stat: Stat },
}

pub(super) fn open_regular(parent: impl AsFd, name: &CString) -> io::Result<(File, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(fs::openat(parent, name, flags, Mode::empty())?);
    let stat = fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(replaced());
    }
    Ok((file, stat))
}

pub(super) fn read_small(
    name: &CStr,
    file: File,
    before: Stat,
    content: &mut Vec<u8>,
) -> io::Result<Reading> {
    if size(&before) > SMALL_FILE as u64 {
        return Ok(Reading::Large { file, stat: before });
    }
    // One byte more than there should be, so that the end is seen in one call.
    let expected = usize::try_from(size(&before)).unwrap_or(0);
    content.resize(expected + 1, 0);
    let mut length = read_once(&file, content)?;
    if length != expected {
        content.truncate(length);
        let rest = (SMALL_FILE + 1 - length) as u64;
        length += (&file).take(rest).read_to_end(content)?;
    }
    if length > SMALL_FILE {
        return Ok(Reading::Large { file, stat: before });
    }
    content.truncate(length);
    let finished = !is_unfinished(name, &file, content.len() as u64);
    let after = fs::fstat(&file)?;
    let still = finished && same(&before, &after) && content.len() as u64 == size(&after);
    Ok(Reading::Small {
        file,
        stat: after,
        still,
    })
}

fn read_once(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Where a file of this size has data. One without holes has one extent, and
/// one that is nothing but a hole has an empty one at its end.
pub(super) fn extents(file: &File, size: u64) -> Vec<Extent> {
    let whole = vec![Extent {
        offset: 0,
        length: size,
    }];
    let mut found: Vec<Extent> = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match fs::seek(file, fs::SeekFrom::Data(at)) {
            Ok(data) if data < size => data,
            Ok(_) | Err(Errno::NXIO) => break,
            // Not every file system can tell.
            Err(_) => return whole,
        };
        let end = match fs::seek(file, fs::SeekFrom::Hole(data)) {
            Ok(end) if end > data => end.min(size),
            _ => return whole,
        };
        // GNU tar takes whole blocks for each extent.
        let begin = data - data % BLOCK;
        let end = end.next_multiple_of(BLOCK).min(size);
        match found.last_mut() {
            // What was written there since the end was looked for.
            Some(last) if last.offset + last.length == begin => last.length = end - last.offset,
            _ => found.push(Extent {
                offset: begin,
                length: end - begin,
            }),
        }
        at = end;
    }
    if found.is_empty() {
        found.push(Extent {
            offset: size,
            length: 0,
        });
    }
    // The shortest holes are stored as the zeros that they read as.
    let mut least = 4096;
    while found.len() > MAX_EXTENTS {
        least *= 2;
        found.dedup_by(|next, last| {
            let joins = next.offset - (last.offset + last.length) < least;
            if joins {
                last.length = next.offset + next.length - last.offset;
            }
            joins
        });
    }
    found
}

/// Copies the extents of a file, up to where it ends by now. Gives the bytes
/// copied, and why there are no more.
pub(super) fn copy_extents(
    mut file: &File,
    extents: &[Extent],
    out: &mut impl Write,
) -> Result<(u64, Option<io::Error>)> {
    let mut length = 0;
    let mut buffer = vec![0; 1 << 18];
    for extent in extents {
        if let Err(e) = file.seek(io::SeekFrom::Start(extent.offset)) {
            return Ok((length, Some(e)));
        }
        let mut rest = file.take(extent.length);
        loop {
            match rest.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    length += read as u64;
                    out.write_all(&buffer[..read]).at("write", "frames")?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Ok((length, Some(e))),
            }
        }
        if rest.limit() > 0 {
            break;
        }
    }
    Ok((length, None))
}

/// Of a sparse file, the part of which so many bytes were read.
pub(super) fn read_part(extents: &[Extent], length: u64, stat: &Stat) -> Sparse {
    let mut left = length;
    let mut part = extents.to_vec();
    for extent in &mut part {
        extent.length = extent.length.min(left);
        left -= extent.length;
    }
    if part == extents {
        let size = size(stat);
        return Sparse {
            size,
            extents: part,
        };
    }
    part.retain(|e| e.length > 0);
    let end = part.last().map_or(0, |e| e.offset + e.length);
    Sparse {
        size: end,
        extents: part,
    }
}

pub(super) fn same(before: &Stat, after: &Stat) -> bool {
    before.st_size == after.st_size
        && Time::modified(before) == Time::modified(after)
        && Time::changed(before) == Time::changed(after)
}

pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

pub(super) fn replaced() -> io::Error {
    io::Error::other("was replaced by something else")
}
