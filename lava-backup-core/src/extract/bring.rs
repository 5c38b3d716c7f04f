//! Bringing one member back.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{self, FileType, Mode, RenameFlags};
use rustix::io::Errno;

use super::compare::Decision;
use super::crew::Work;
use super::keep::Kept;
use super::leftover;
use super::links::{FileId, Origin};
use super::made::{self, Made};
use super::target::{LOOK, parent_dir};
use crate::content::{Frames, Spread};
use crate::entry::{Entry, Kind};
use crate::error::{At, Error, Result};
use crate::path::MemberPath;
use crate::tarstream::stored_size;

/// One of those who work at an extraction: it holds a frame and a directory.
pub(super) struct Hand<'h> {
    pub(super) work: &'h Work<'h>,
    frames: Frames<'h>,
    parent: Option<(Option<MemberPath>, Rc<OwnedFd>)>,
}

impl<'h> Hand<'h> {
    pub(super) fn new(work: &'h Work<'h>) -> Self {
        Self {
            work,
            frames: Frames::new(work.store, work.frames),
            parent: None,
        }
    }

    /// Makes or changes what is no directory. `origin`: of a file that hard
    /// links lead to.
    pub(super) fn bring(
        &mut self,
        path: &MemberPath,
        entry: &Entry,
        decision: Decision,
        origin: Option<&Origin>,
    ) -> Result<()> {
        let target = self.work.target;
        let place = target.root.show(path);
        let (parent, name) = self.parent(path)?;
        if decision == Decision::Metadata {
            let stat = target.dress_by_name(&parent, &name, entry);
            let stat = stat.at("change", &place)?;
            origin.inspect(|origin| origin.is(&stat));
            return Ok(());
        }
        let names = &self.work.names;
        let made = match entry.kind {
            Kind::File => {
                let made = Made::file(&parent, names).at("create", &place)?;
                self.write(&made, entry, &place)?;
                let file = made.as_file().at("create", &place)?;
                let stat = target.dress(file, entry).at("change", &place)?;
                self.switch(made, &parent, &name, path, decision)?;
                origin.inspect(|origin| origin.is(&stat));
                return Ok(());
            }
            Kind::Symlink => {
                let link = entry.link.as_ref().map_or(&b""[..], |l| l.as_bytes());
                Made::named(&parent, names, |name| fs::symlinkat(link, &*parent, name))
            }
            Kind::Fifo => {
                let private = Mode::RUSR | Mode::WUSR;
                let make = |name: &OsStr| fs::mknodat(&*parent, name, FileType::Fifo, private, 0);
                Made::named(&parent, names, make)
            }
            Kind::Dir | Kind::Hardlink => return Ok(()),
        };
        let made = made.at("create", &place)?;
        target
            .dress_by_name(&parent, made.temporary(), entry)
            .at("change", &place)?;
        self.switch(made, &parent, &name, path, decision)
    }

    fn write(&mut self, made: &Made<'_>, entry: &Entry, place: &Path) -> Result<()> {
        let file = made.as_file().at("create", place)?;
        let mut spread = Spread::new(entry)?;
        if !entry.extents.is_empty() {
            file.set_len(entry.size).at("write", place)?;
        }
        self.frames.content(entry, &mut |mut bytes| {
            while let Some((at, run)) = spread.next(&mut bytes) {
                file.write_all_at(run, at).at("write", place)?;
            }
            Ok(())
        })?;
        self.work.wrote(stored_size(entry));
        Ok(())
    }

    /// Gives a finished file its name; what had it is kept.
    fn switch(
        &self,
        made: Made<'_>,
        parent: &OwnedFd,
        name: &OsStr,
        path: &MemberPath,
        decision: Decision,
    ) -> Result<()> {
        let place = self.work.target.root.show(path);
        if decision == Decision::New {
            // Another section, or somebody else, may have made it meanwhile.
            return made.put(name).at("name", &place);
        }
        match self.keep(parent, name, path)? {
            Kept::Copied(old) => made
                .put_over(name, old, &self.work.names)
                .at("name", &place),
            Kept::Moved(dir, kept) => {
                let put = made.put(name);
                if put.is_err() {
                    let flags = RenameFlags::NOREPLACE;
                    let _ = fs::renameat_with(&dir, kept, parent, name, flags);
                }
                put.at("name", &place)
            }
        }
    }

    /// Makes a hard link, to what this extraction has made or compared and
    /// nothing else; where there can be none, a file of its own.
    pub(super) fn link(
        &mut self,
        path: &MemberPath,
        entry: &Entry,
        decision: Decision,
        origin: &Origin,
    ) -> Result<()> {
        let root = self.work.target.root;
        let place = root.show(path);
        let (Some(alone), Some(base)) = (origin.alone(entry), origin.base()) else {
            return Ok(());
        };
        if base == path {
            return self.bring(path, &alone, decision, Some(origin));
        }
        let file = root.open_at(base, LOOK, Mode::empty());
        let file = file.at("open", root.show(base))?;
        let stat = fs::fstat(&file).at("open", root.show(base))?;
        if origin.file.get() != Some(&FileId::from(&stat)) {
            let what = std::io::Error::other("was replaced by something else");
            return Err(Error::io(root.show(base), "link to", what));
        }
        let (parent, name) = self.parent(path)?;
        let mut refused = false;
        let made = Made::named(&parent, &self.work.names, |name| {
            let linked = made::link(&file, &parent, name);
            // Another file system, one without links, or too many of them.
            refused = matches!(
                linked,
                Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP)
            );
            linked
        });
        match made {
            Err(_) if refused => self.bring(path, &alone, decision, None),
            made => self.switch(made.at("link", &place)?, &parent, &name, path, decision),
        }
    }

    /// Opens the directory of a path, making what is missing of it.
    fn parent(&mut self, path: &MemberPath) -> Result<(Rc<OwnedFd>, OsString)> {
        let (parent, name) = path.split_last();
        let name = OsString::from_vec(name.to_vec());
        if let Some((last, fd)) = &self.parent
            && *last == parent
        {
            return Ok((Rc::clone(fd), name));
        }
        let root = self.work.target.root;
        let fd = parent_dir(root, parent.as_ref())?;
        leftover::share(&fd);
        let used = self.work.disks.uses(&fd);
        used.at("open the directory of", root.show(path))?;
        let fd = Rc::new(fd);
        self.parent = Some((parent, Rc::clone(&fd)));
        Ok((fd, name))
    }
}
