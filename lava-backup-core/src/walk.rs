//! Trees, file by file in path order, walked by open directories: one that is
//! swapped for a link meanwhile can't lead the walk elsewhere.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::capture::Choice;
use crate::entry::Class;
use crate::path::MemberPath;
use crate::readahead::{DEPTH, LEAD, Readahead};

/// Deeper trees are noted and left out.
const MAX_DEPTH: usize = 256;
/// A directory is listed again this often for files that vanish from it.
const MAX_LISTINGS: u32 = 4;

/// A walk, and where it is.
pub(crate) struct Walk<'w> {
    choose: &'w dyn Fn(&MemberPath) -> Choice,
    readahead: &'w Readahead,
    /// Will contents be read, or only looked at how files stand?
    reads: bool,
    /// The tops of the trees, and how many of them were begun.
    starts: Vec<Next>,
    begun: usize,
    levels: Vec<Level>,
    /// The next name, when it was looked at already.
    peeked: Option<Next>,
}

/// A place in a walk, to which it can go back.
pub(crate) struct Mark {
    begun: usize,
    levels: Vec<Level>,
    peeked: Option<Next>,
}

/// A directory, and which of its names come next.
#[derive(Clone)]
struct Level {
    fd: Arc<OwnedFd>,
    /// Nothing for what holds the top of the walk.
    dir: Option<Paths>,
    names: Arc<Vec<CString>>,
    next: usize,
    listings: u32,
    /// How far below its names they were asked for, with the directory, to be
    /// read soon; nothing if they were not.
    asked: Option<usize>,
}

#[derive(Clone)]
struct Paths {
    source: MemberPath,
    target: MemberPath,
}

#[derive(Clone)]
struct Next {
    fd: Arc<OwnedFd>,
    name: CString,
    paths: Paths,
    class: Class,
}

/// What a walk comes to.
pub(crate) enum Step {
    Found(Box<Found>),
    /// It was there when its directory was listed.
    Vanished(MemberPath),
    Unreadable(MemberPath, io::Error),
}

/// A file of any type, and how it stood.
pub(crate) struct Found {
    pub(crate) parent: Arc<OwnedFd>,
    pub(crate) name: CString,
    pub(crate) target: MemberPath,
    pub(crate) class: Class,
    pub(crate) stat: Stat,
    /// A directory, opened.
    pub(crate) dir: Option<Arc<OwnedFd>>,
    /// Is it a directory that is too deep to be walked?
    pub(crate) too_deep: bool,
}

impl Found {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

impl<'w> Walk<'w> {
    /// A walk of nothing yet.
    pub(crate) fn new(choose: &'w dyn Fn(&MemberPath) -> Choice, readahead: &'w Readahead) -> Self {
        Self {
            choose,
            readahead,
            reads: true,
            starts: Vec::new(),
            begun: 0,
            levels: Vec::new(),
            peeked: None,
        }
    }

    /// Then comes what has this name in a directory, and all below it.
    pub(crate) fn then(
        &mut self,
        parent: OwnedFd,
        name: CString,
        source: MemberPath,
        target: MemberPath,
    ) {
        if let Choice::Take(class) = (self.choose)(&source) {
            self.starts.push(Next {
                fd: Arc::new(parent),
                name,
                paths: Paths { source, target },
                class,
            });
        }
    }

    /// The member that comes next, if it is still there then.
    pub(crate) fn peek(&mut self, odd: &mut Vec<Step>) -> Option<&MemberPath> {
        while self.peeked.is_none() {
            let Some(level) = self.levels.last_mut() else {
                self.peeked = Some(self.starts.get(self.begun)?.clone());
                self.begun += 1;
                break;
            };
            let Some(name) = level.names.get(level.next).cloned() else {
                self.levels.pop();
                continue;
            };
            level.next += 1;
            if let (true, Some(ahead)) = (self.reads, level.names.get(level.next + LEAD - 1))
                && level.asked.is_none()
            {
                self.readahead.soon(&level.fd, ahead);
            }
            let Some(dir) = &level.dir else { continue };
            let joined = (
                dir.source.join(name.as_bytes()),
                dir.target.join(name.as_bytes()),
            );
            let (Ok(source), Ok(target)) = joined else {
                let long = io::Error::other("what it holds has too long a path");
                odd.push(Step::Unreadable(dir.target.clone(), long));
                continue;
            };
            if let Choice::Take(class) = (self.choose)(&source) {
                self.peeked = Some(Next {
                    fd: Arc::clone(&level.fd),
                    name,
                    paths: Paths { source, target },
                    class,
                });
            }
        }
        self.peeked.as_ref().map(|next| &next.paths.target)
    }

    /// Goes one step.
    pub(crate) fn step(&mut self) -> Option<Step> {
        let mut odd = Vec::new();
        self.peek(&mut odd);
        if let Some(odd) = odd.pop() {
            return Some(odd);
        }
        let Next {
            fd,
            name,
            paths,
            class,
        } = self.peeked.take()?;
        let target = paths.target.clone();
        let stat = match fs::statat(&*fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(e) => return Some(odd_step(target, e)),
        };
        let mut found = Found {
            parent: fd,
            name,
            target,
            class,
            stat,
            dir: None,
            too_deep: self.levels.len() > MAX_DEPTH,
        };
        if found.kind() == FileType::Directory {
            match self.descend(&found, paths) {
                Ok((stat, dir)) => {
                    found.stat = stat;
                    found.dir = Some(dir);
                }
                Err(e) => return Some(odd_step(found.target, e)),
            }
        }
        Some(Step::Found(Box::new(found)))
    }

    fn descend(&mut self, found: &Found, paths: Paths) -> Result<(Stat, Arc<OwnedFd>), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&*found.parent, &found.name, flags, Mode::empty())?;
        let stat = fs::fstat(&fd)?;
        let fd = Arc::new(fd);
        if self.levels.len() <= MAX_DEPTH {
            let names = list(&fd)?;
            let above = self.levels.last().filter(|_| self.reads);
            let asked = above.and_then(|above| above.asked.unwrap_or(DEPTH).checked_sub(1));
            if self.reads && asked.is_none() {
                for name in names.iter().take(LEAD) {
                    self.readahead.soon(&fd, name);
                }
            }
            self.levels.push(Level {
                fd: Arc::clone(&fd),
                dir: Some(paths),
                names: Arc::new(names),
                next: 0,
                listings: 1,
                asked,
            });
        }
        Ok((stat, fd))
    }

    /// Lists the directory of the file that was found last again: LAVA replaces
    /// `output.yaml` by `output.yaml.xz`, which an older listing does not show.
    pub(crate) fn list_again(&mut self) {
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        let Some(last) = level.next.checked_sub(1) else {
            return;
        };
        if level.listings >= MAX_LISTINGS || self.peeked.is_some() {
            return;
        }
        level.listings += 1;
        if let (Some(last), Ok(names)) = (level.names.get(last).cloned(), list(&level.fd)) {
            level.names = Arc::new(names.into_iter().filter(|n| *n > last).collect());
            level.next = 0;
        }
    }

    /// Says whether contents will be read.
    pub(crate) fn reads(&mut self, reads: bool) {
        self.reads = reads;
        if let (true, Some(level)) = (reads, self.levels.last()) {
            for name in level.names.iter().skip(level.next).take(LEAD) {
                self.readahead.soon(&level.fd, name);
            }
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            begun: self.begun,
            levels: self.levels.clone(),
            peeked: self.peeked.clone(),
        }
    }

    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.begun = mark.begun;
        self.levels = mark.levels;
        self.peeked = mark.peeked;
    }
}

fn odd_step(target: MemberPath, e: Errno) -> Step {
    match e {
        Errno::NOENT => Step::Vanished(target),
        e => Step::Unreadable(target, e.into()),
    }
}

fn list(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for found in fs::Dir::read_from(dir)? {
        let name = found?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
