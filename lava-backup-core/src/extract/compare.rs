//! How a target differs from a backup.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{self, AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;

use super::links::FileId;
use super::target::{LOOK, READ, Target, file_type};
use crate::attributes::Extent;
use crate::content::Spread;
use crate::entry::{Entry, Kind, Time};
use crate::error::{At, Error, ErrorKind, Result};
use crate::path::MemberPath;

#[cfg(test)]
mod tests;

/// What is to be done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Decision {
    Same,
    New,
    Content,
    Metadata,
    Type,
}

impl Decision {
    /// The change; `None` if there is none.
    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Self::Same => None,
            Self::New => Some("new"),
            Self::Content => Some("content"),
            Self::Metadata => Some("metadata"),
            Self::Type => Some("type"),
        }
    }
}

/// How one entry compares with what is there.
pub(super) struct Compared {
    pub(super) decision: Decision,
    pub(super) parts: Vec<&'static str>,
    /// Of what was compared, if anything is there.
    pub(super) stat: Option<Stat>,
}

/// Compares entries; the directory that was used last stays open.
pub(super) struct Comparer<'c> {
    target: &'c Target<'c>,
    parent: Option<(Option<MemberPath>, Option<OwnedFd>)>,
}

impl<'c> Comparer<'c> {
    pub(super) fn new(target: &'c Target<'c>) -> Self {
        Self {
            target,
            parent: None,
        }
    }

    /// How the target differs from an entry.
    pub(super) fn compare(&mut self, path: &MemberPath, entry: &Entry) -> Result<Compared> {
        let (mut compared, _) = self.kind(path, entry)?;
        let (Decision::Same, Some(stat)) = (compared.decision, compared.stat) else {
            return Ok(compared);
        };
        let place = self.target.root.show(path);
        let (parent, name) = self.parent(path)?;
        let Some(parent) = parent else {
            return Ok(compared);
        };
        // One that was swapped since the look at it is another.
        let (stat, parts) = match entry.kind {
            Kind::Symlink => {
                let fd = fs::openat(parent, name, LOOK, Mode::empty()).at("open", &place)?;
                let stat = fs::fstat(&fd).at("read", &place)?;
                let link = fs::readlinkat(&fd, "", Vec::new()).at("read", &place)?;
                if entry.link.as_ref().map(|l| l.as_bytes()) != Some(link.as_bytes()) {
                    compared.decision = Decision::Content;
                    return Ok(compared);
                }
                let attributes = self.target.attributes_differ(&fd, entry);
                (stat, attributes.at("read attributes of", &place)?)
            }
            Kind::File if stat.st_size as u64 != entry.size => {
                compared.decision = Decision::Content;
                return Ok(compared);
            }
            Kind::File | Kind::Hardlink | Kind::Dir | Kind::Fifo => {
                let fd = fs::openat(parent, name, READ, Mode::empty()).at("open", &place)?;
                let stat = fs::fstat(&fd).at("read", &place)?;
                if FileType::from_raw_mode(stat.st_mode) != file_type(entry.kind) {
                    compared.decision = Decision::Type;
                    return Ok(compared);
                }
                let attributes = self.target.attributes_differ(&fd, entry);
                let attributes = attributes.at("read attributes of", &place)?;
                let mut file = File::from(fd);
                if entry.kind == Kind::File && !same_content(&mut file, entry).at("read", &place)? {
                    compared.decision = Decision::Content;
                    return Ok(compared);
                }
                (stat, attributes)
            }
        };
        compared.stat = Some(stat);
        compared.parts = self.target.metadata_differs(&stat, entry);
        compared.parts.extend(parts);
        if !compared.parts.is_empty() {
            // One that has other names is made anew: its mode and owner are
            // theirs too, and they may lie outside the root.
            let shared = entry.kind != Kind::Dir && stat.st_nlink > 1;
            compared.decision = match shared {
                true => Decision::Content,
                false => Decision::Metadata,
            };
        }
        Ok(compared)
    }

    /// Whether something of the right type is there, as far as a look tells,
    /// and which file it is.
    pub(super) fn kind(
        &mut self,
        path: &MemberPath,
        entry: &Entry,
    ) -> Result<(Compared, Option<FileId>)> {
        let root = self.target.root;
        let (parent, name) = self.parent(path)?;
        let found = match parent {
            Some(parent) => fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW),
            None => Err(Errno::NOENT),
        };
        let stat = match found {
            Ok(stat) => stat,
            Err(Errno::NOENT) => {
                let new = Compared {
                    decision: Decision::New,
                    parts: Vec::new(),
                    stat: None,
                };
                return Ok((new, None));
            }
            Err(e) => return Err(Error::io(root.show(path), "look at", e)),
        };
        let found = FileType::from_raw_mode(stat.st_mode);
        let wanted = file_type(entry.kind);
        let mut decision = Decision::Same;
        if found != wanted {
            if found == FileType::Directory || wanted == FileType::Directory {
                return Err(Error::new(
                    ErrorKind::Refused,
                    root.show(path),
                    "is a directory where the backup has a file, or the reverse",
                ));
            }
            decision = Decision::Type;
        }
        let compared = Compared {
            decision,
            parts: Vec::new(),
            stat: Some(stat),
        };
        Ok((compared, Some((&stat).into())))
    }

    /// The directory of a path, `None` if there is none, and its last component.
    fn parent<'p>(&mut self, path: &'p MemberPath) -> Result<(Option<&OwnedFd>, &'p OsStr)> {
        let (parent, name) = path.split_last();
        let known = self.parent.as_ref().is_some_and(|known| match known {
            // What is below it is missing, too.
            (Some(missing), None) => parent.as_ref().is_some_and(|p| p.is_within(missing)),
            (last, _) => *last == parent,
        });
        if !known {
            let root = self.target.root;
            let fd = match root.open_dir(parent.as_ref()) {
                Ok(fd) => Some(fd),
                Err(e) => match Errno::from_io_error(&e) {
                    Some(Errno::NOENT) => None,
                    Some(Errno::LOOP | Errno::NOTDIR) => {
                        return Err(Error::new(
                            ErrorKind::Refused,
                            root.show(path),
                            "a symbolic link, or something that is no directory, is in its path",
                        ));
                    }
                    _ => return Err(Error::io(root.show(path), "look at", e)),
                },
            };
            self.parent = Some((parent, fd));
        }
        let fd = self.parent.as_ref().and_then(|(_, fd)| fd.as_ref());
        Ok((fd, OsStr::from_bytes(name)))
    }
}

impl Target<'_> {
    fn metadata_differs(&self, stat: &Stat, entry: &Entry) -> Vec<&'static str> {
        let mut parts = Vec::new();
        if entry.kind != Kind::Symlink && stat.st_mode & 0o7777 != self.mode(entry) {
            parts.push("mode");
        }
        if self.options.own && (stat.st_uid, stat.st_gid) != self.owner_ids(entry) {
            parts.push("owner");
        }
        // The time of a directory is that of its last new name, which others
        // may have made since; the time of a link says nothing.
        let timeless = matches!(entry.kind, Kind::Dir | Kind::Symlink);
        if !timeless && Time::modified(stat) != entry.mtime {
            parts.push("time");
        }
        parts
    }

    /// What the expected directories hold beside what is expected, by path.
    pub(super) fn extra(&self, expected: &BTreeMap<MemberPath, bool>) -> Result<Vec<MemberPath>> {
        let mut extra = Vec::new();
        for (dir, _) in expected.iter().filter(|(_, is_dir)| **is_dir) {
            let place = self.root.show(dir);
            let found = match self.root.open_dir(Some(dir)) {
                Ok(found) => found,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io(place, "read directory", e)),
            };
            for name in fs::Dir::read_from(&found).at("read directory", &place)? {
                let name = name.at("read directory", &place)?;
                let name = name.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let path = dir.join(name)?;
                if !expected.contains_key(&path) && !self.is_excluded(&path) {
                    extra.push(path);
                }
            }
        }
        extra.sort();
        Ok(extra)
    }

    /// Was this path of the target left out by name?
    fn is_excluded(&self, path: &MemberPath) -> bool {
        let inner = self
            .options
            .exclude
            .iter()
            .filter_map(MemberPath::in_section);
        inner.into_iter().any(|excluded| path.is_within(&excluded))
    }
}

/// Has a file of the right size an entry's content?
fn same_content(file: &mut File, entry: &Entry) -> io::Result<bool> {
    let mut hasher = blake3::Hasher::new();
    // Its order is not ours to doubt here: bringing it back would be refused.
    let bad = |e: Error| io::Error::other(e.to_string());
    Spread::new(entry).map_err(bad)?;
    if entry.extents.is_empty() {
        hasher.update_reader(&mut *file)?;
    }
    let mut end = 0;
    for Extent { offset, length } in &entry.extents {
        if !is_hole(file, end, *offset)? {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(*offset))?;
        hasher.update_reader(Read::by_ref(file).take(*length))?;
        end = offset + length;
    }
    if !entry.extents.is_empty() && !is_hole(file, end, entry.size)? {
        return Ok(false);
    }
    Ok(Some(hasher.finalize().to_hex().as_str()) == entry.blake3.as_deref())
}

/// Are these bytes of a file all zero? What is a hole to the file system is
/// not read.
fn is_hole(file: &mut File, mut at: u64, end: u64) -> io::Result<bool> {
    let mut buffer = [0; 1 << 16];
    while at < end {
        let data = match fs::seek(file.as_fd(), fs::SeekFrom::Data(at)) {
            // Nothing but a hole up to the end of the file.
            Err(Errno::NXIO) => return Ok(true),
            // The file system does not tell.
            Err(Errno::INVAL) => at,
            other => other?,
        };
        if data >= end {
            return Ok(true);
        }
        file.seek(SeekFrom::Start(data))?;
        let upto = usize::try_from(end - data).unwrap_or(usize::MAX);
        let upto = upto.min(buffer.len());
        let read = file.read(&mut buffer[..upto])?;
        if read == 0 || buffer[..read].iter().any(|b| *b != 0) {
            return Ok(false);
        }
        at = data + read as u64;
    }
    Ok(true)
}
