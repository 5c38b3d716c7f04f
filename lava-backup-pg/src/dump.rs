#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::archive::{DumpContents, DumpReader, Observer, TableInfo, TableSummary};
use crate::digest::DigestKey;
use crate::error::{Error, ErrorKind, Result};
use crate::pace::{self, Brake, Pace, Rate, Work};
use crate::readback::dump_encoding;
use crate::server::{self, PrivateFile, Programs};
use crate::snapshot::Snapshot;

/// Where a dump goes, piece by piece.
pub trait DumpSink {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// Ends the dump.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The data of a table begins here: a good place to cut.
    ///
    /// # Errors
    /// Ends the dump.
    fn table_begins(&mut self, table: &TableInfo) -> io::Result<()>;

    /// All rows of a table have passed.
    fn table_ends(&mut self, summary: &TableSummary) {
        let _ = summary;
    }
}

/// What [`dump`] gave.
#[derive(Clone, Debug)]
pub struct Dumped {
    /// What the dump holds.
    pub contents: DumpContents,
    /// What `pg_dump` and the server said though all went well, line by line; and what
    /// fixes `pg_dump` lacks, if the server has them.
    pub warnings: Vec<String>,
}

/// Dumps the database of a snapshot into `sink`, reading it as it passes.
///
/// `pg_dump` of the server's own major writes its custom format, uncompressed,
/// from that very snapshot. A slow sink slows the server: that is how the pace is
/// kept.
///
/// # Errors
/// [`ErrorKind::Program`], [`ErrorKind::Failed`] with what `pg_dump` said,
/// [`ErrorKind::Locked`] if a table could not be had in time,
/// [`ErrorKind::Dump`] if what it wrote is not a whole dump,
/// [`ErrorKind::Void`] if the snapshot did not live to its end, or
/// [`ErrorKind::Io`] from the sink.
pub fn dump(snapshot: &mut Snapshot, pace: Pace, sink: &mut dyn DumpSink) -> Result<Dumped> {
    let rate = Rate::of(pace);
    dump_under(&mut Brake::new(&rate), snapshot, pace, sink)
}

/// [`dump`], held back by a brake that can be looked at.
fn dump_under(
    brake: &mut Brake<'_>,
    snapshot: &mut Snapshot,
    pace: Pace,
    sink: &mut dyn DumpSink,
) -> Result<Dumped> {
    let programs = Programs::find(snapshot.facts().major)?;
    let program = programs.path("pg_dump");
    let passfile = snapshot.address().passfile_line();
    let os_user = snapshot.address().os_user;
    let passfile = passfile
        .map(|line| PrivateFile::new(line.as_bytes(), os_user))
        .transpose()?;
    let spawned = pg_dump(&program, snapshot, passfile.as_ref()).spawn();
    let start = |e| {
        let what = format!("start {}", program.display());
        Error::with(ErrorKind::Program, what, e)
    };
    let mut child = Running::start(spawned.map_err(start)?);
    if let (Pace::Unlimited, Some(stdout)) = (pace, &child.child.stdout) {
        server::widen(stdout);
    }

    let passed = beside_heartbeat(snapshot, pace, brake.rate, |alive| {
        pass(&mut child, brake, sink, alive)
    });
    let what = format!("dump the {} with {}", snapshot.address(), program.display());
    let ended = child.end(passed.is_err());
    // One that we ended ourselves has nothing to say.
    let reader = passed?;
    let (status, said) = ended.map_err(|e| Error::with(ErrorKind::Io, what.clone(), e))?;
    if !status.success() {
        return Err(failure(snapshot, &what, status, &said));
    }
    let contents = reader.finish()?;
    snapshot.still_holds()?;
    let mut warnings = server::lines(&said);
    if snapshot.facts().lacks_fixes().is_none() {
        warnings.extend(programs.lacks_fixes());
    }
    Ok(Dumped { contents, warnings })
}

fn pg_dump(program: &Path, snapshot: &Snapshot, passfile: Option<&PrivateFile>) -> Command {
    let address = snapshot.address();
    let wait = snapshot.lock_wait().as_millis();
    let encoding = dump_encoding(&snapshot.facts().encoding);
    let mut command = server::command(program, address.os_user);
    command
        .args(["--format=custom", "--compress=0", "--no-password"])
        .arg(format!("--lock-wait-timeout={wait}"))
        .arg(format!("--encoding={encoding}"))
        .arg(format!("--snapshot={}", snapshot.name()))
        .arg(format!("--host={}", address.host))
        .arg(format!("--port={}", address.port))
        .arg(format!("--username={}", address.user))
        .arg(server::dbname(&address.database))
        .env("PGAPPNAME", "lava-backup")
        .env("PGOPTIONS", SESSION)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(passfile) = passfile {
        command.env("PGPASSFILE", passfile.path());
    }
    command
}

/// Why `pg_dump` failed.
fn failure(snapshot: &mut Snapshot, what: &str, status: ExitStatus, said: &[u8]) -> Error {
    let said = server::complaint(said);
    let told = format!("{what}: {said} ({status})");
    if snapshot.still_holds().is_err() {
        let void = format!("{told}; the session that held its snapshot ended too");
        return Error::new(ErrorKind::Void, void);
    }
    // The statement is in pg_dump's own words, whatever the server's language; it
    // may have been refused for another reason than somebody else's lock.
    let lockers = match said.contains("LOCK TABLE") {
        true => snapshot.lockers(),
        false => Vec::new(),
    };
    match lockers.is_empty() {
        true => Error::new(ErrorKind::Failed, told),
        false => {
            let locked = format!("{told}; a table is locked by {}", lockers.join(", "));
            Error::new(ErrorKind::Locked, locked)
        }
    }
}

/// Does something while the session that holds the snapshot is used now and
/// then; what is done can see that it ended. Where the pace is to yield, the
/// session is used to look at what the server has to do.
fn beside_heartbeat<T>(
    snapshot: &mut Snapshot,
    pace: Pace,
    rate: &Rate,
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T>,
) -> Result<T> {
    let yields = pace == Pace::Yielding;
    let every = match yields {
        true => pace::LOOK_EVERY.min(snapshot.heartbeat()),
        false => snapshot.heartbeat(),
    };
    let (until, over) = mpsc::channel::<()>();
    std::thread::scope(|threads| {
        let beats = threads.spawn(move || {
            let mut seen = yields.then(|| Work::watch(rate, Instant::now()));
            while over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                match &mut seen {
                    Some(seen) => match snapshot.work_of_others() {
                        Err(void) if is_void(&void) => return Err(void),
                        looked => seen.take(looked.ok(), Instant::now()),
                    },
                    None => snapshot.still_holds()?,
                }
            }
            Ok(())
        });
        let worked = work(&|| !beats.is_finished());
        drop(until);
        match beats.join() {
            // Only if the work has ended because of it: else there is more to tell.
            Ok(Err(void)) if worked.as_ref().is_err_and(is_void) => Err(void),
            _ => worked,
        }
    })
}

fn is_void(error: &Error) -> bool {
    error.kind() == ErrorKind::Void
}

/// What makes equal rows equal text and `pg_dump` leaves as it finds it, what
/// would end long work, what would let a server forget in a crash what it said
/// was done, and where names are found: the server, the database or the role may
/// say otherwise, here or where it is restored, and a database's owner would have
/// us run functions of his as the superuser. Every program of ours runs so.
pub(crate) const SESSION: &str = "-c timezone=UTC -c bytea_output=hex -c statement_timeout=0 \
    -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 \
    -c default_transaction_read_only=off -c synchronous_commit=on -c search_path=";

/// A child that does not outlive us, and what it says meanwhile.
struct Running {
    child: Child,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    fn start(mut child: Child) -> Self {
        let stderr = child
            .stderr
            .take()
            .map(|stderr| std::thread::spawn(|| server::read_some(stderr)));
        Self { child, stderr }
    }

    fn end(&mut self, kill: bool) -> io::Result<(std::process::ExitStatus, Vec<u8>)> {
        if kill {
            let _ = self.child.kill();
        }
        let status = self.child.wait()?;
        let said = self.stderr.take().and_then(|thread| thread.join().ok());
        Ok((status, said.unwrap_or_default()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.stderr.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Moves the stream from the child to the sink and the reader, to its end.
fn pass(
    child: &mut Running,
    brake: &mut Brake<'_>,
    sink: &mut dyn DumpSink,
    alive: &dyn Fn() -> bool,
) -> Result<DumpReader> {
    let to_sink = |e| Error::with(ErrorKind::Io, "write the dump", e);
    // Only now, when the snapshot has fixed the rows.
    let key = DigestKey::random().map_err(|e| Error::with(ErrorKind::Io, "draw a key", e))?;
    let mut reader = DumpReader::new().with_digest_key(&key);
    let mut buffer = vec![0; 256 << 10];
    let stdout = child.child.stdout.as_mut();
    let mut stdout =
        stdout.ok_or_else(|| Error::new(ErrorKind::Failed, "read pg_dump's output"))?;
    loop {
        if !alive() {
            return Err(Error::new(ErrorKind::Void, "keep the snapshot"));
        }
        let read = match Read::read(&mut stdout, &mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::with(ErrorKind::Failed, "read pg_dump's output", e)),
        };
        let begins_at = reader.offset();
        let mut seen = Seen::default();
        reader.feed(&buffer[..read], &mut seen)?;
        let mut written = 0;
        for (table, offset) in &seen.begins {
            let upto = usize::try_from(offset.saturating_sub(begins_at)).unwrap_or(0);
            let upto = upto.clamp(written, read);
            sink.write(&buffer[written..upto]).map_err(to_sink)?;
            written = upto;
            sink.table_begins(table).map_err(to_sink)?;
        }
        sink.write(&buffer[written..read]).map_err(to_sink)?;
        for summary in &seen.ends {
            sink.table_ends(summary);
        }
        brake.took(read as u64);
    }
    Ok(reader)
}

/// What the reader told of one piece.
#[derive(Default)]
struct Seen {
    begins: Vec<(TableInfo, u64)>,
    ends: Vec<TableSummary>,
}

impl Observer for Seen {
    fn table_begins(&mut self, table: &TableInfo, offset: u64) {
        self.begins.push((table.clone(), offset));
    }

    fn table_ends(&mut self, summary: &TableSummary) {
        self.ends.push(summary.clone());
    }
}
