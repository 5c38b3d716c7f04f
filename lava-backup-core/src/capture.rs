use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::cut::SMALL_FILE;
use crate::entry::{Class, Entry, Kind, LinkTarget, Time};
use crate::error::{At, Error, Result};
use crate::owner::Owners;
use crate::path::MemberPath;
use crate::readahead::{LEAD, Readahead};
use crate::root::Root;
use crate::seal::Problem;
use crate::writer::{BackupWriter, Meta};

/// A tree that is read into a backup, as it stands or as it moves.
///
/// It is walked by open directories, so a directory that is swapped for a
/// link meanwhile can't make it read what lies elsewhere. A file is stored with
/// just the bytes that were read and the size that they have. One that changed
/// while it was read is read once more, and then stored as read and marked
/// [`Class::InFlight`]; one that vanished is noted, and its directory listed
/// again for what may have taken its place.
pub struct Capture<'a> {
    root: &'a Root,
    owners: Owners,
    /// Why there are no names, where there should be.
    nameless: Option<Error>,
    readahead: Readahead,
    choose: &'a dyn Fn(&MemberPath) -> Choice,
    observe: &'a mut dyn FnMut(&Entry),
}

/// What to do with a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Leave it out, with all below it.
    Skip,
    /// Take it.
    Take(Class),
}

/// Deeper trees are noted and left out.
const MAX_DEPTH: usize = 256;
/// A directory is listed again this often for files that vanish from it.
const MAX_LISTINGS: usize = 4;

impl<'a> Capture<'a> {
    /// Reads from `root`; `choose` gets paths below the root, without section,
    /// and `observe` every entry that was added.
    pub fn new(
        root: &'a Root,
        choose: &'a dyn Fn(&MemberPath) -> Choice,
        observe: &'a mut dyn FnMut(&Entry),
    ) -> Self {
        let (owners, nameless) = match Owners::read(root) {
            Ok(owners) => (owners, None),
            Err(e) => (Owners::default(), Some(e)),
        };
        Self {
            root,
            owners,
            nameless,
            readahead: Readahead::new(),
            choose,
            observe,
        }
    }

    /// Adds the trees at `starts` to a section, in path order, each once.
    ///
    /// What can't be read becomes a problem of the backup, which degrades it.
    ///
    /// # Errors
    /// Only what the store says: an unreadable source is no error.
    pub fn section(
        &mut self,
        writer: &mut BackupWriter,
        section: &str,
        starts: &[MemberPath],
    ) -> Result<()> {
        if let Some(error) = self.nameless.take() {
            writer.problem(Problem {
                code: "owners.unreadable".into(),
                path: None,
                message: format!("the names of owners could not be had: {error}"),
                degrades: true,
            });
        }
        let mut starts = starts.to_vec();
        starts.sort();
        starts.dedup_by(|later, earlier| later.is_within(earlier));
        for start in &starts {
            let target = format!("{section}/").into_bytes();
            let target = MemberPath::new([target.as_slice(), start.as_bytes()].concat())?;
            match self.root.parent(start) {
                Ok((parent, name)) => {
                    let name = std::os::unix::ffi::OsStrExt::as_bytes(name);
                    let Ok(name) = CString::new(name) else {
                        continue;
                    };
                    let at = Place {
                        parent: &parent,
                        name: &name,
                        source: start,
                        target,
                        depth: 0,
                    };
                    self.take(writer, at)?;
                }
                Err(e) => unreadable(writer, &target, &e),
            }
        }
        Ok(())
    }

    /// Adds one file or tree; `false` if it was not there any more.
    fn take(&mut self, writer: &mut BackupWriter, at: Place<'_>) -> Result<bool> {
        let class = match (self.choose)(at.source) {
            Choice::Skip => return Ok(true),
            Choice::Take(class) => class,
        };
        let stat = match fs::statat(at.parent, at.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => {
                vanished(writer, &at.target);
                return Ok(false);
            }
            Err(e) => {
                unreadable(writer, &at.target, &e.into());
                return Ok(true);
            }
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.regular(writer, at, class),
            FileType::Directory => self.directory(writer, at, class),
            FileType::Symlink => {
                let link = fs::readlinkat(at.parent, at.name, Vec::new());
                match link.map(|l| LinkTarget::new(l.into_bytes())) {
                    Ok(Some(link)) => {
                        let meta = self.meta(&stat, class);
                        let entry = writer.add_other(at.target, Kind::Symlink, meta, Some(link))?;
                        (self.observe)(&entry);
                    }
                    Ok(None) | Err(Errno::INVAL) => {
                        let other = io::Error::other("was replaced by something else");
                        unreadable(writer, &at.target, &other);
                    }
                    Err(e) => unreadable(writer, &at.target, &e.into()),
                }
                Ok(true)
            }
            FileType::Fifo => {
                let entry =
                    writer.add_other(at.target, Kind::Fifo, self.meta(&stat, class), None)?;
                (self.observe)(&entry);
                Ok(true)
            }
            other => {
                writer.problem(Problem {
                    code: "file.type".into(),
                    path: Some(at.target),
                    message: format!("left out: {}", type_name(other)),
                    degrades: false,
                });
                Ok(true)
            }
        }
    }

    fn directory(
        &mut self,
        writer: &mut BackupWriter,
        at: Place<'_>,
        class: Class,
    ) -> Result<bool> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = fs::openat(at.parent, at.name, flags, Mode::empty())
            .and_then(|fd| Ok((fs::fstat(&fd)?, fd)))
            .and_then(|(stat, fd)| Ok((stat, list(&fd)?, fd)));
        let (stat, names, fd) = match opened {
            Ok(opened) => opened,
            Err(Errno::NOENT) => {
                vanished(writer, &at.target);
                return Ok(false);
            }
            Err(e) => {
                unreadable(writer, &at.target, &e.into());
                return Ok(true);
            }
        };
        let meta = self.meta(&stat, class);
        let entry = writer.add_other(at.target.clone(), Kind::Dir, meta, None)?;
        (self.observe)(&entry);
        if at.depth >= MAX_DEPTH {
            let deep = io::Error::other(format!("deeper than {MAX_DEPTH} directories"));
            unreadable(writer, &at.target, &deep);
            return Ok(true);
        }

        let fd = Arc::new(fd);
        let mut listings = 1;
        let mut waiting: Vec<CString> = names.into_iter().rev().collect();
        for name in waiting.iter().rev().take(LEAD) {
            self.readahead.soon(&fd, name);
        }
        while let Some(name) = waiting.pop() {
            let lead = waiting
                .len()
                .checked_sub(LEAD)
                .and_then(|at| waiting.get(at));
            if let Some(name) = lead {
                self.readahead.soon(&fd, name);
            }
            let joined = (
                at.source.join(name.as_bytes()),
                at.target.join(name.as_bytes()),
            );
            let (Ok(source), Ok(target)) = joined else {
                let long = io::Error::other("what it holds has too long a path");
                unreadable(writer, &at.target, &long);
                continue;
            };
            let inner = Place {
                parent: &fd,
                name: &name,
                source: &source,
                target,
                depth: at.depth + 1,
            };
            let found = self.take(writer, inner)?;
            // LAVA replaces `output.yaml` by `output.yaml.xz`, which an older
            // listing does not show.
            if !found && listings < MAX_LISTINGS {
                listings += 1;
                if let Ok(names) = list(&fd) {
                    waiting = names.into_iter().filter(|n| *n > name).rev().collect();
                }
            }
        }
        Ok(true)
    }

    fn regular(&mut self, writer: &mut BackupWriter, at: Place<'_>, class: Class) -> Result<bool> {
        let mut settled = Attempt::Moved;
        let mut content = Vec::new();
        for _ in 0..2 {
            content.clear();
            settled = match open_regular(at.parent, at.name) {
                Ok((file, before)) => match read_small(file, &before, &mut content) {
                    Ok(attempt) => attempt,
                    Err(e) => {
                        unreadable(writer, &at.target, &e);
                        return Ok(true);
                    }
                },
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    vanished(writer, &at.target);
                    return Ok(false);
                }
                Err(e) => {
                    unreadable(writer, &at.target, &e);
                    return Ok(true);
                }
            };
            if !matches!(settled, Attempt::Moving(_)) {
                break;
            }
        }
        let entry = match settled {
            Attempt::Still(stat) => {
                writer.add_file(at.target, self.meta(&stat, class), &content)?
            }
            Attempt::Moving(stat) => {
                let class = class.max(Class::InFlight);
                writer.add_file(at.target, self.meta(&stat, class), &content)?
            }
            Attempt::Large(file, stat) => {
                let meta = self.meta(&stat, class);
                large(writer, at.target, meta, &content, file, &stat)?
            }
            Attempt::Moved => return Ok(true),
        };
        (self.observe)(&entry);
        Ok(true)
    }

    fn meta(&self, stat: &Stat, class: Class) -> Meta {
        Meta {
            mode: stat.st_mode & 0o7777,
            user: self.owners.user(stat.st_uid).to_owned(),
            group: self.owners.group(stat.st_gid).to_owned(),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time::modified(stat),
            class,
            attributes: None,
        }
    }
}

/// A name in an open directory, and the paths that it has.
struct Place<'p> {
    parent: &'p OwnedFd,
    name: &'p CString,
    source: &'p MemberPath,
    target: MemberPath,
    depth: usize,
}

/// How the reading of a file went.
enum Attempt {
    /// The file was the same before and after.
    Still(Stat),
    /// It changed meanwhile.
    Moving(Stat),
    /// It is longer than a small file; what was read so far is its beginning.
    Large(File, Stat),
    /// Never read.
    Moved,
}

fn open_regular(parent: impl AsFd, name: &CString) -> io::Result<(File, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(fs::openat(parent, name, flags, Mode::empty())?);
    let stat = fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("was replaced by something else"));
    }
    Ok((file, stat))
}

fn read_small(file: File, before: &Stat, content: &mut Vec<u8>) -> io::Result<Attempt> {
    let expected = usize::try_from(before.st_size).unwrap_or(0);
    content.reserve(expected.min(SMALL_FILE) + 1);
    (&file).take(SMALL_FILE as u64 + 1).read_to_end(content)?;
    if content.len() > SMALL_FILE {
        return Ok(Attempt::Large(file, *before));
    }
    let after = fs::fstat(&file)?;
    let still = same(before, &after) && content.len() as u64 == size(&after);
    Ok(if still {
        Attempt::Still(after)
    } else {
        Attempt::Moving(after)
    })
}

fn large(
    writer: &mut BackupWriter,
    target: MemberPath,
    meta: Meta,
    beginning: &[u8],
    file: File,
    before: &Stat,
) -> Result<Entry> {
    let class = meta.class;
    let mut problem = None;
    let mut length = beginning.len() as u64;
    // To where it ends now: one that grows as fast as it is read has no end.
    let now = fs::fstat(&file).map_err(|e| Error::io(target.as_path(), "read", e))?;
    let mut file = file.take(size(&now).saturating_sub(length));
    let mut member = writer.stream(target.clone(), meta)?;
    member.write_all(beginning).at("write", "frames")?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                length += read as u64;
                member.write_all(&buffer[..read]).at("write", "frames")?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                problem = Some(e);
                break;
            }
        }
    }
    let after = fs::fstat(file.get_ref()).map_err(|e| Error::io(target.as_path(), "read", e))?;
    if !same(before, &after) || length != size(&after) {
        member.set_class(class.max(Class::InFlight));
    }
    let entry = member.finish()?;
    if let Some(e) = problem {
        unreadable(writer, &target, &e);
    }
    Ok(entry)
}

fn same(before: &Stat, after: &Stat) -> bool {
    before.st_size == after.st_size
        && Time::modified(before) == Time::modified(after)
        && before.st_ctime == after.st_ctime
        && before.st_ctime_nsec == after.st_ctime_nsec
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
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

fn type_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "a socket, which the program that listens makes anew",
        FileType::BlockDevice | FileType::CharacterDevice => "a device",
        _ => "a file of an unknown type",
    }
}

fn vanished(writer: &mut BackupWriter, target: &MemberPath) {
    writer.problem(Problem {
        code: "file.vanished".into(),
        path: Some(target.clone()),
        message: "vanished while the backup was made".into(),
        degrades: false,
    });
}

fn unreadable(writer: &mut BackupWriter, target: &MemberPath, error: &io::Error) {
    writer.problem(Problem {
        code: "file.unreadable".into(),
        path: Some(target.clone()),
        message: format!("could not be read: {error}"),
        degrades: true,
    });
}
