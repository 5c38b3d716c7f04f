use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::fs::{FallocateFlags, Mode, fallocate, fchmod, fchown, statvfs};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::{Restore, Stage};
use crate::error::{Error, ErrorKind, Result};
use crate::server;
use crate::superuser::Superuser;

/// How several jobs may load a dump at once.
///
/// They need all of it at hand, so it is written to a file first: without a
/// name, with room for it taken beforehand, and only where far more is left. Where the dump is too small to
/// gain by it, or the file can't be had, it goes through a pipe to one job.
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

/// Loads a dump into an empty database, stopping at the first error.
///
/// # Errors
/// [`ErrorKind::Failed`] with what `pg_restore` said.
pub(super) fn load(
    admin: &Superuser,
    spec: &Restore<'_>,
    database: &str,
    dump: &mut Dump<'_>,
    observe: &mut dyn FnMut(Stage<'_>),
) -> Result<()> {
    let what = format!("load the dump into the database {database}");
    match spool(admin, spec) {
        Some((file, jobs)) => {
            observe(Stage::Loading(jobs));
            from_file(admin, database, file, jobs, dump, &what)
        }
        None => {
            observe(Stage::Loading(1));
            from_pipe(admin, database, dump, &what)
        }
    }
}

fn pg_restore(admin: &Superuser, database: &str) -> Command {
    let mut command = admin.program("pg_restore");
    command
        .args(["--exit-on-error", "--format=custom"])
        .arg(server::dbname(database))
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

fn from_file(
    admin: &Superuser,
    database: &str,
    mut file: File,
    jobs: u32,
    dump: &mut Dump<'_>,
    what: &str,
) -> Result<()> {
    let io = |e| Error::with(ErrorKind::Io, what, e);
    dump(&mut file).map_err(io)?;
    let mut command = pg_restore(admin, database);
    // Every job opens the file anew, by the name that it has as their standard
    // input.
    command.arg(format!("--jobs={jobs}")).arg("/proc/self/fd/0");
    let child = start(command.stdin(file), what)?;
    beside(child, what, || ()).1
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
fn spool(admin: &Superuser, spec: &Restore<'_>) -> Option<(File, u32)> {
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
    Some((file, *jobs))
}
