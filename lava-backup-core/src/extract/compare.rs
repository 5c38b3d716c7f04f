//! How a target differs from a backup.

use std::collections::BTreeMap;
use std::io;

use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Change;
use super::target::{Target, file_type};
use crate::entry::{Entry, Kind, Time};
use crate::error::{At, Error, ErrorKind, Result};
use crate::path::MemberPath;

impl Target<'_> {
    pub(super) fn selects(&self, entry: &Entry) -> Option<MemberPath> {
        let within = |of: &MemberPath| entry.path.is_within(of);
        let wanted = self.options.select.iter().any(within);
        let unwanted = self.options.exclude.iter().any(within);
        (wanted && !unwanted)
            .then(|| entry.path.in_section())
            .flatten()
    }

    /// How the target differs from an entry; `None` if it does not.
    pub(super) fn compare(
        &mut self,
        path: &MemberPath,
        entry: &Entry,
    ) -> Result<Option<&'static str>> {
        let stat = match self.root.stat(path) {
            Ok(stat) => stat,
            Err(e) => {
                return match Errno::from_io_error(&e) {
                    Some(Errno::NOENT) => Ok(Some("new")),
                    Some(Errno::LOOP | Errno::NOTDIR) => Err(Error::new(
                        ErrorKind::Refused,
                        self.root.show(path),
                        "a symbolic link, or something that is no directory, is in its path",
                    )),
                    _ => Err(Error::io(self.root.show(path), "look at", e)),
                };
            }
        };
        let found = FileType::from_raw_mode(stat.st_mode);
        let wanted = file_type(entry.kind);
        if found != wanted {
            if found == FileType::Directory || wanted == FileType::Directory {
                return Err(Error::new(
                    ErrorKind::Refused,
                    self.root.show(path),
                    "is a directory where the backup has a file, or the reverse",
                ));
            }
            return Ok(Some("type"));
        }
        let differs = match entry.kind {
            Kind::File => stat.st_size as u64 != entry.size || self.digest(path)? != entry.blake3,
            Kind::Symlink => {
                let (parent, name) = self.root.parent(path).at("open", self.root.show(path))?;
                let link =
                    fs::readlinkat(&parent, name, Vec::new()).at("read", self.root.show(path))?;
                entry.link.as_ref().map(|l| l.as_bytes()) != Some(link.as_bytes())
            }
            Kind::Dir | Kind::Fifo | Kind::Hardlink => false,
        };
        if differs {
            return Ok(Some("content"));
        }
        // One that has other names is made anew: its mode and owner are theirs
        // too, and they may lie outside the root.
        let shared = entry.kind != Kind::Dir && stat.st_nlink > 1;
        let (uid, gid) = self.owner_ids(entry);
        let owner = stat.st_uid == uid && stat.st_gid == gid;
        let mode = entry.kind == Kind::Symlink || stat.st_mode & 0o7777 == self.mode(entry);
        // The time of a directory is that of its last new name, which others
        // may have made since; the time of a link says nothing.
        let timeless = matches!(entry.kind, Kind::Dir | Kind::Symlink);
        let time = timeless || Time::modified(&stat) == entry.mtime;
        let same = mode && time && (owner || !self.options.own);
        Ok((!same).then_some(if shared { "content" } else { "metadata" }))
    }

    /// What the expected directories hold beside what is expected.
    pub(super) fn extra(&self, expected: &BTreeMap<MemberPath, bool>) -> Result<Vec<Change>> {
        let mut extra = Vec::new();
        for (dir, _) in expected.iter().filter(|(_, is_dir)| **is_dir) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let place = self.root.show(dir);
            let found = match self.root.open_at(dir, flags, Mode::empty()) {
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
                    extra.push(Change {
                        path,
                        what: "extra",
                    });
                }
            }
        }
        extra.sort_by(|a, b| a.path.cmp(&b.path));
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

    fn digest(&self, path: &MemberPath) -> Result<Option<String>> {
        let file = self.root.open_file(path)?;
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_reader(file)
            .at("read", self.root.show(path))?;
        Ok(Some(hasher.finalize().to_hex().to_string()))
    }
}
