use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::fs::{FallocateFlags, Mode, fallocate, fchmod, fchown, statvfs};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::{Restore, Stage, target};
use crate::dump::SESSION;
use crate::error::{Error, ErrorKind, Result};
use crate::server;
use crate::superuser::Superuser;

/// How several jobs may load a dump at once.
///
/// They need all of it at hand, so it is written to a file first: without a
/// name, with room for it taken beforehand, and only where far more is left. Where
/// the dump is too small to gain by it, where the file can't be had, and where the
/// jobs fail, it goes through a pipe to one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Where the file is to be.
    pub dir: PathBuf,
    /// How many jobs; each is a session of the server's.
    pub jobs: u32,
}

/// Below this a job is not worth its start (measured: at 30 MB the gain is
/// what the copy costs).
const WORTH_IT: u64 = 64 << 20;

/// What a server's log may take beside.
const SLACK: u64 = 1 << 30;

/// Gives the dump to whoever takes it.
pub(super) type Dump<'d> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'd;

/// Loads a dump into a new database, stopping at the first error. Gives what
/// kept several jobs from it, if one had to do it alone.
///
/// # Errors
/// [`ErrorKind::Failed`] with what `pg_restore` said.
pub(super) fn load(
    admin: &Superuser,
    spec: &Restore<'_>,
    database: &str,
    dump: &mut Dump<'_>,
    observe: &mut dyn FnMut(Stage<'_>),
) -> Result<Option<String>> {
    let what = format!("load the dump into the database {database}");
    let Some((copy, jobs)) = spool(admin, spec) else {
        observe(Stage::Loading(1));
        return from_pipe(admin, database, dump, &what).map(|()| None);
    };
    observe(Stage::Loading(jobs));
    let Err(why) = from_copy(admin, database, copy, jobs, dump, &what)? else {
        return Ok(None);
    };
    // Some databases load only in the order of the dump, such as one with a check
    // that looks into another table.
    observe(Stage::LoadingAgain(&why));
    target::drop_unfinished(admin, database)?;
    target::create(admin, spec, database)?;
    from_pipe(admin, database, dump, &what)?;
    Ok(Some(why))
}

fn pg_restore(admin: &Superuser, database: &str) -> Command {
    let mut command = admin.program("pg_restore");
    command
        .args(["--exit-on-error", "--format=custom"])
        .arg(server::dbname(database))
        // Hundreds of statements would wait for the disk, one by one. What a crash
        // forgets here is an unfinished database of ours; the swap waits for all
        // that was logged before it.
        .env("PGOPTIONS", format!("{SESSION} -c synchronous_commit=off"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn from_pipe(admin: &Superuser, database: &str, dump: &mut Dump<'_>, what: &str) -> Result<()> {
    let mut command = pg_restore(admin, database);
    let mut child = start(command.stdin(Stdio::piped()), what)?;
    let stdin = child.stdin.take();
    let (fed, ended) = beside(child, what, || match stdin {
        Some(mut stdin) => dump(&mut stdin),
        None => Ok(()),
    });
    ended?;
    // pg_restore stops reading where its table of contents is satisfied.
    match fed {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::with(ErrorKind::Io, what, e)),
        _ => Ok(()),
    }
}

/// Loads it by several jobs; the inner error says in words why they could not.
fn from_copy(
    admin: &Superuser,
    database: &str,
    mut copy: Copy,
    jobs: u32,
    dump: &mut Dump<'_>,
    what: &str,
) -> Result<Result<(), String>> {
    let given = dump(&mut copy);
    if let Some(e) = copy.unwritten {
        return Ok(Err(format!("write a copy of the dump: {e}")));
    }
    given.map_err(|e| Error::with(ErrorKind::Io, what, e))?;
    let mut command = pg_restore(admin, database);
    // Every job opens the file anew, by the name that it has as their standard
    // input.
    command.arg(format!("--jobs={jobs}")).arg("/proc/self/fd/0");
    let child = start(command.stdin(copy.file), what)?;
    let ended = beside(child, what, || ()).1;
    // With the file goes its room, which takes a while (0.3 s for 800 MB).
    std::thread::spawn(|| drop(command));
    match ended {
        Err(e) if e.kind() == ErrorKind::Failed => Ok(Err(e.to_string())),
        ended => ended.map(Ok),
    }
}

/// A copy of the dump in a file. That it could not be written is nothing against
/// the dump: who gives it is told that nobody takes it.
struct Copy {
    file: File,
    unwritten: Option<io::Error>,
}

impl Write for Copy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::Interrupted => e,
            _ => {
                self.unwritten = Some(e);
                io::ErrorKind::BrokenPipe.into()
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start(command: &mut Command, what: &str) -> Result<Child> {
    let failed = |e| Error::with(ErrorKind::Program, what, e);
    command.spawn().map_err(failed)
}

/// Does something while the child runs, and waits for it.
fn beside<T>(mut child: Child, what: &str, work: impl FnOnce() -> T) -> (T, Result<()>) {
    let stderr = child.stderr.take();
    let said = std::thread::spawn(|| stderr.map(server::read_some).unwrap_or_default());
    let worked = work();
    let failed = |e| Error::with(ErrorKind::Program, what, e);
    let ended = child.wait().map_err(failed).and_then(|status| {
        let said = said.join().unwrap_or_default();
        let complaint = || server::complaint_of("pg_restore", &said);
        match status.success() {
            true => Ok(()),
            false => {
                let failed = format!("{what}: {} ({status})", complaint());
                Err(Error::new(ErrorKind::Failed, failed))
            }
        }
    });
    (worked, ended)
}

/// A file that the whole dump fits into, for `pg_restore`'s user alone, and how
/// many jobs are to load it.
fn spool(admin: &Superuser, spec: &Restore<'_>) -> Option<(Copy, u32)> {
    let Spool { dir, jobs } = spec.spool.as_ref()?;
    let bytes = spec.contents.bytes;
    if *jobs < 2 || bytes < WORTH_IT {
        return None;
    }
    // The server's disk may be the same one, and has to take all of it again, with
    // indexes and its log.
    let room = statvfs(dir).ok()?;
    if room.f_bavail.saturating_mul(room.f_frsize) < bytes.saturating_mul(4) + SLACK {
        return None;
    }
    let file = tempfile::tempfile_in(dir).ok()?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(_) => return None,
    }
    fchmod(&file, Mode::RUSR | Mode::WUSR).ok()?;
    if let Some(user) = admin.user() {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        fchown(&file, Some(uid), Some(gid)).ok()?;
    }
    let copy = Copy {
        file,
        unwritten: None,
    };
    Some((copy, *jobs))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_copy_that_finds_no_room_looks_like_a_pipe_that_nobody_reads() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let mut copy = Copy {
            file: full.unwrap(),
            unwritten: None,
        };
        let given = copy.write_all(b"dump").unwrap_err();
        assert_eq!(given.kind(), io::ErrorKind::BrokenPipe);
        let kept = copy.unwritten.unwrap();
        assert_eq!(kept.kind(), io::ErrorKind::StorageFull);
    }
}
