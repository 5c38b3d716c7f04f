use std::io::{self, Read};
use std::process::{Child, ChildStderr, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::archive::{DumpContents, DumpReader, Observer, TableInfo, TableSummary};
use crate::error::{Error, ErrorKind, Result};
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

/// Dumps the database of a snapshot into `sink`, reading it as it passes.
///
/// `pg_dump` of the server's own major writes its custom format, uncompressed,
/// from that very snapshot. A slow sink slows the server: that is how a rate is
/// kept, `bytes_per_second` at most.
///
/// # Errors
/// [`ErrorKind::Program`], [`ErrorKind::Failed`] with what `pg_dump` said,
/// [`ErrorKind::Dump`] if what it wrote is not a whole dump,
/// [`ErrorKind::Query`] if the snapshot did not live to its end, or
/// [`ErrorKind::Io`] from the sink.
pub fn dump(
    snapshot: &mut Snapshot,
    bytes_per_second: Option<u64>,
    sink: &mut dyn DumpSink,
) -> Result<DumpContents> {
    let programs = Programs::find(snapshot.facts().major)?;
    let address = snapshot.address().clone();
    let passfile = address
        .passfile_line()
        .map(|line| PrivateFile::new(&line))
        .transpose()?;
    let program = programs.path("pg_dump");
    let mut command = server::command(&program, None);
    command
        .args(["--format=custom", "--compress=0", "--no-password"])
        .args(["--lock-wait-timeout=60s"])
        .arg(format!("--snapshot={}", snapshot.name()))
        .arg(format!("--host={}", address.host))
        .arg(format!("--port={}", address.port))
        .arg(format!("--username={}", address.user))
        .arg(format!("--dbname={}", address.database))
        .env("PGAPPNAME", "lava-backup")
        .env("PGOPTIONS", SESSION)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(passfile) = &passfile {
        command.env("PGPASSFILE", passfile.path());
    }
    let mut child = Running::start(command.spawn().map_err(|e| {
        Error::with(
            ErrorKind::Program,
            format!("start {}", program.display()),
            e,
        )
    })?);

    let passed = pass(&mut child, bytes_per_second, sink);
    let said = child.end(passed.is_err());
    let what = format!("dump the {address} with {}", program.display());
    match said {
        // What pg_dump says went wrong explains a cut stream better than the
        // reader can.
        Ok((status, stderr)) if !status.success() && !passed.as_ref().is_err_and(is_ours) => {
            return Err(Error::new(
                ErrorKind::Failed,
                format!("{what}: {} ({status})", server::complaint(&stderr)),
            ));
        }
        Ok(_) => {}
        Err(e) => return Err(Error::with(ErrorKind::Io, what, e)),
    }
    let contents = passed?;
    snapshot.still_holds()?;
    Ok(contents)
}

/// What makes equal rows equal text and `pg_dump` leaves as it finds it: the
/// server, the database or the role may say otherwise, here or where it is
/// restored. [`compare`](crate::compare) reads under the same.
pub(crate) const SESSION: &str = "-c timezone=UTC -c bytea_output=hex";

/// Did we end the dump ourselves, so that `pg_dump` only complains of that?
fn is_ours(error: &Error) -> bool {
    error.kind() == ErrorKind::Io
}

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
            .map(|stderr| std::thread::spawn(|| read_some(stderr)));
        Self { child, stderr }
    }

    fn end(&mut self, kill: bool) -> io::Result<(std::process::ExitStatus, Vec<u8>)> {
        if kill {
            // Closed, so that it can't wait for us to read on.
            drop(self.child.stdout.take());
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

/// The beginning of what a program says; the rest is read and dropped.
fn read_some(mut stderr: ChildStderr) -> Vec<u8> {
    let mut kept = Vec::new();
    let _ = (&mut stderr).take(64 << 10).read_to_end(&mut kept);
    let _ = io::copy(&mut stderr, &mut io::sink());
    kept
}

/// Moves the stream from the child to the sink and the reader.
fn pass(
    child: &mut Running,
    bytes_per_second: Option<u64>,
    sink: &mut dyn DumpSink,
) -> Result<DumpContents> {
    let to_sink = |e| Error::with(ErrorKind::Io, "write the dump", e);
    let mut reader = DumpReader::new();
    let mut pace = bytes_per_second.map(Pace::new);
    let mut buffer = vec![0; 256 << 10];
    let stdout = child.child.stdout.as_mut();
    let mut stdout =
        stdout.ok_or_else(|| Error::new(ErrorKind::Failed, "read pg_dump's output"))?;
    loop {
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
        if let Some(pace) = &mut pace {
            pace.took(read as u64);
        }
    }
    Ok(reader.finish()?)
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

/// Keeps a stream to a rate by waiting where it is ahead.
struct Pace {
    bytes_per_second: u64,
    free_at: Instant,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            free_at: Instant::now(),
        }
    }

    fn took(&mut self, bytes: u64) {
        let now = Instant::now();
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        // Time that was not used is not saved up: it would be spent in a burst.
        self.free_at = self.free_at.max(now) + cost;
        std::thread::sleep(self.free_at.saturating_duration_since(now));
    }
}
