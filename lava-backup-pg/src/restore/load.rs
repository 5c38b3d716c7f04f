use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{Scope, ScopedJoinHandle};

use super::copying::{self, Piece, Pieces};
use super::turn::Turn;
use super::{Restore, Stage, target};
use crate::archive::{Parts, Splitter, TableOfContents};
use crate::dump::SESSION;
use crate::error::{Error, ErrorKind, Result};
use crate::server::{self, PrivateFile};
use crate::superuser::{Console, Superuser};

/// Gives the dump to whoever takes it.
pub(super) type Dump<'d> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'd;

/// Loads a dump into a new database, stopping at the first error. Gives what
/// kept several sessions from it, if one had to do it alone.
///
/// # Errors
/// [`ErrorKind::Failed`] with what `pg_restore` or the server said; [`ErrorKind::Io`] if the server's
/// disk is full; [`ErrorKind::Connection`] if it can't be reached.
pub(super) fn load(
    admin: &Superuser,
    turn: &mut Turn,
    spec: &Restore<'_>,
    database: &str,
    dump: &mut Dump<'_>,
    observe: &mut dyn FnMut(Stage<'_>),
) -> Result<Option<String>> {
    let what = format!("load the dump into the database {database}");
    let jobs = jobs(spec);
    observe(Stage::Loading(jobs));
    if jobs == 1 {
        return by_one(admin, database, dump, &what).map(|()| None);
    }
    let for_indexes = for_indexes(turn.server(), jobs)?;
    let Err(why) = by_several(admin, database, jobs, &for_indexes, dump, &what)? else {
        return Ok(None);
    };
    // Some databases load only in the order of the dump, such as one with a check
    // that looks into another table.
    observe(Stage::LoadingAgain(&why));
    if !turn.is_ours() {
        // The server has ended its session, and another restore may be at work by now.
        return Err(Error::new(ErrorKind::Failed, why));
    }
    let again = target::drop_unfinished(admin, database)
        .and_then(|()| target::create(admin, spec, database))
        .and_then(|()| by_one(admin, database, dump, &what));
    match again {
        Ok(()) => Ok(Some(why)),
        Err(e) => Err(Error::with(
            e.kind(),
            format!("{why}; and by one session"),
            e,
        )),
    }
}

/// Large objects, and text in an encoding that the server does not know, are left to
/// `pg_restore`.
fn jobs(spec: &Restore<'_>) -> u32 {
    match spec.contents.large_objects {
        0 if spec.encoding != "SQL_ASCII" => spec.jobs.max(1),
        _ => 1,
    }
}

/// Memory to sort an index in, for each job, in kB.
const MEMORY: u64 = 256 << 10;

/// Options of sessions that make indexes side by side: what each sorts stays in memory where
/// there is enough, and processors that have a job already get no second one from the server. On
/// two processors that is a tenth of the time that a lab's indexes take; more were not tried.
fn for_indexes(server: &mut Console, jobs: u32) -> Result<String> {
    let mut setting = |name: &str| -> Result<u64> {
        let value = server.value(&format!(
            "SELECT setting FROM pg_catalog.pg_settings WHERE name = '{name}'"
        ))?;
        Ok(value.and_then(|v| v.parse().ok()).unwrap_or_default())
    };
    let share = memory_available() / 4 / u64::from(jobs);
    let memory = share.min(MEMORY).max(setting("maintenance_work_mem")?);
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let without_job = (processors / u64::from(jobs)).saturating_sub(1);
    let helpers = setting("max_parallel_maintenance_workers")?.min(without_job);
    Ok(format!(
        "-c maintenance_work_mem={memory}kB -c max_parallel_maintenance_workers={helpers}"
    ))
}

/// In kB, as the kernel estimates it; 0 if it does not say.
fn memory_available() -> u64 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}

/// With these options for its sessions, besides those that all have.
fn pg_restore(admin: &Superuser, database: &str, options: &str) -> Command {
    // As sessions of ours do: it waits for the dump.
    let waits = match admin.programs().major() {
        ..14 => "",
        14..17 => " -c idle_session_timeout=0",
        17.. => " -c idle_session_timeout=0 -c transaction_timeout=0",
    };
    let mut command = admin.program("pg_restore");
    command
        // No other server has the tablespaces of this one, and a drill's none at all.
        .args(["--exit-on-error", "--format=custom", "--no-tablespaces"])
        .arg(server::dbname(database))
        // Hundreds of statements would wait for the disk, one by one. What a crash
        // forgets here is an unfinished database of ours; the swap waits for all
        // that was logged before it. What the server says is looked at, so it says
        // it in English.
        .env(
            "PGOPTIONS",
            format!("{SESSION}{waits} -c synchronous_commit=off -c lc_messages=C {options}"),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// The whole dump through a pipe to one `pg_restore`.
fn by_one(admin: &Superuser, database: &str, dump: &mut Dump<'_>, what: &str) -> Result<()> {
    let mut command = pg_restore(admin, database, "");
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

/// `pg_restore` makes all but rows, which sessions of ours copy as they come, several into one
/// table; the inner error says in words why they could not.
///
/// Several jobs of `pg_restore`'s own would need the whole dump in a file, with as much room, and
/// most of a lab's rows are in one table, which is one job's.
fn by_several(
    admin: &Superuser,
    database: &str,
    jobs: u32,
    for_indexes: &str,
    dump: &mut Dump<'_>,
    what: &str,
) -> Result<std::result::Result<(), String>> {
    let (given, split, made, copied) = std::thread::scope(|threads| {
        let mut loading = Loading {
            admin,
            database,
            jobs,
            what,
            threads,
            contents: None,
            sessions: Vec::new(),
            pieces: None,
            failed: None,
        };
        let mut split = Split {
            splitter: Splitter::new(),
            loading: &mut loading,
            failed: None,
        };
        let given = dump(&mut split);
        let split = match split.failed {
            Some(e) => Err(e),
            None => split.splitter.finish(),
        };
        // The last piece has been given.
        drop(loading.pieces);
        let copied: Vec<Result<()>> = loading
            .sessions
            .into_iter()
            .map(|session| {
                let panicked = |panic| std::panic::resume_unwind(panic);
                session.join().unwrap_or_else(panicked)
            })
            .collect();
        let made = match loading.failed {
            Some(e) => Err(e),
            None => Ok(loading.contents),
        };
        (
            given,
            split,
            made,
            copied.into_iter().collect::<Result<()>>(),
        )
    });
    // What one session may yet do; it would find no more room on the disk.
    let by_one = |e: Error| match e.kind() {
        ErrorKind::Failed | ErrorKind::Connection => Ok(Err(e.to_string())),
        _ => Err(e),
    };
    // The one that failed first has kept those after it from going on.
    let contents = match made.and_then(|contents| copied.map(|()| contents)) {
        Ok(contents) => contents,
        Err(e) => return by_one(e),
    };
    match (given, split) {
        // That the taker is gone is said by us alone.
        (Err(e), _) if e.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Error::with(ErrorKind::Io, what, e));
        }
        (_, Err(e)) => return Ok(Err(format!("{what}: take the dump apart: {e}"))),
        _ => {}
    }
    let Some(contents) = contents else {
        return Ok(Err(format!("{what}: there is nothing in it")));
    };
    let mut rest = pg_restore(admin, database, for_indexes);
    rest.args(["--section=data", "--section=post-data"])
        .arg(format!("--jobs={jobs}"))
        .arg(format!("--use-list={}", contents.others.path()))
        .arg(contents.all.path());
    let ended = beside(start(&mut rest, what)?, what, || ()).1;
    ended.map(Ok).or_else(by_one)
}

/// A dump without its data, for `pg_restore`.
struct Contents {
    all: PrivateFile,
    /// What its `--use-list` takes: all but the rows of tables.
    others: PrivateFile,
}

/// A database that is being loaded.
struct Loading<'scope, 'env> {
    admin: &'env Superuser,
    database: &'env str,
    jobs: u32,
    what: &'env str,
    threads: &'scope Scope<'scope, 'env>,
    contents: Option<Contents>,
    sessions: Vec<ScopedJoinHandle<'scope, Result<()>>>,
    /// Where pieces go, once there are sessions.
    pieces: Option<SyncSender<Piece>>,
    failed: Option<Error>,
}

impl Loading<'_, '_> {
    /// Makes the tables.
    fn begin(&self, contents: &TableOfContents) -> Result<Contents> {
        let others = contents.others.iter();
        let list: String = others.map(|number| format!("{number};\n")).collect();
        let contents = Contents {
            all: PrivateFile::new(&contents.bytes, self.admin.user())?,
            others: PrivateFile::new(list.as_bytes(), self.admin.user())?,
        };
        let mut tables = pg_restore(self.admin, self.database, "");
        tables.arg("--section=pre-data").arg(contents.all.path());
        let child = start(&mut tables, self.what)?;
        beside(child, self.what, || ()).1?;
        Ok(contents)
    }
}

impl Parts for Loading<'_, '_> {
    fn contents(&mut self, contents: &TableOfContents) -> io::Result<()> {
        match self.begin(contents) {
            Ok(contents) => self.contents = Some(contents),
            Err(e) => {
                self.failed = Some(e);
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        let (sender, pieces) = Pieces::for_sessions(self.jobs);
        self.pieces = Some(sender);
        for _ in 0..self.jobs {
            let (admin, database, pieces) = (self.admin, self.database, pieces.clone());
            let copy = move || copying::copy(admin, database, &pieces);
            self.sessions.push(self.threads.spawn(copy));
        }
        Ok(())
    }

    fn rows(&mut self, copy: &Arc<str>, rows: Vec<u8>) -> io::Result<()> {
        let copy = Arc::clone(copy);
        match &self.pieces {
            Some(pieces) if pieces.send(Piece { copy, rows }).is_ok() => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// A dump that is taken apart as it is written. That it can't be is nothing against
/// the dump: who gives it is told that nobody takes it.
struct Split<'l, L> {
    splitter: Splitter,
    loading: &'l mut L,
    failed: Option<io::Error>,
}

impl<L: Parts> Write for Split<'_, L> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.splitter.feed(bytes, self.loading) {
            Ok(()) => Ok(bytes.len()),
            Err(e) => {
                self.failed = Some(e);
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start(command: &mut Command, what: &str) -> Result<Child> {
    let failed = |e| Error::with(ErrorKind::Program, what, e);
    command.spawn().map_err(failed)
}

/// What a server says, of a table, an index or a file to sort in, when its disk is full.
const FULL: [&str; 2] = ["No space left on device", "could not extend file"];

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
                let complaint = complaint();
                let kind = match FULL.iter().any(|full| complaint.contains(full)) {
                    true => ErrorKind::Io,
                    false => ErrorKind::Failed,
                };
                Err(Error::new(kind, format!("{what}: {complaint} ({status})")))
            }
        }
    });
    (worked, ended)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn indexes_are_made_with_as_much_as_the_server_gives_and_more_if_there_is() {
        let cluster = Scratch::for_test();
        let mut server = cluster.superuser().console("postgres").unwrap();
        let mut settings = |jobs: u32, set: &str| -> Vec<u64> {
            server.query(set).unwrap();
            let options = for_indexes(&mut server, jobs).unwrap();
            let told = options
                .split(['=', ' '])
                .filter_map(|part| part.strip_suffix("kB").unwrap_or(part).parse().ok());
            told.collect()
        };
        let [memory, helpers] = settings(2, "SET maintenance_work_mem = '1MB'")[..] else {
            panic!("there are two");
        };
        assert!((2 << 10..=MEMORY).contains(&memory), "{memory}");
        let processors = std::thread::available_parallelism().unwrap().get() as u64;
        assert_eq!(helpers, (processors / 2).saturating_sub(1).min(2));
        // What is said of an idle host says nothing of one with a thousand jobs.
        assert!(settings(1000, "SELECT 1")[0] < MEMORY);
        let much = "SET maintenance_work_mem = '1GB'";
        assert_eq!(settings(1000, much), [1 << 20, 0]);
        let none = "SET max_parallel_maintenance_workers = 0";
        assert_eq!(settings(1, none)[1], 0);
    }
}
