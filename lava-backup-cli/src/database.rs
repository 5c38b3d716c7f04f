//! The database of a backup: shown, restored, compared.

use std::io::{self, Write};

use lava_backup_core::{Backup, Root};
use lava_backup_pg::{Comparison, Programs, Restore, Stage, Superuser};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::{BackupArgs, DatabaseArgs, DatabaseCommand, DatabaseTargetArgs};
use crate::backup_facts::{self, DumpDocument};
use crate::exit::{CouldNot, Exit, Failure};
use crate::progress::Progress;
use crate::settings::LavaSettings;
use crate::{clock, host, named, text};

/// What the dump of a backup holds.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DumpShown {
    /// The backup.
    pub(crate) backup: String,
    /// The database.
    pub(crate) database: String,
    /// PostgreSQL's version.
    pub(crate) server: String,
    /// The role that owned it.
    pub(crate) owner: String,
    /// Its encoding.
    pub(crate) encoding: String,
    /// Its tables, by schema and name.
    pub(crate) tables: Vec<TableShown>,
}

/// One table of a dump.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TableShown {
    /// `schema.name`.
    pub(crate) table: String,
    /// Its rows.
    pub(crate) rows: u64,
    /// Bytes of their text.
    pub(crate) bytes: u64,
    /// A digest of the rows, whatever their order.
    pub(crate) digest: String,
}

/// What a restore or a comparison of a database found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Compared {
    /// The backup.
    pub(crate) backup: String,
    /// The database.
    pub(crate) database: String,
    /// Tables whose rows are those of the dump, byte for byte.
    pub(crate) equal: u64,
    /// Rows in them.
    pub(crate) rows: u64,
    /// Tables that differ, with what differs.
    pub(crate) differ: Vec<DifferentTable>,
    /// Tables that the dump does not have.
    pub(crate) extra: Vec<String>,
    /// Sequences that are behind the dump's.
    pub(crate) sequences_behind: Vec<String>,
    /// Sequences whose tables hold their next value already, in words.
    pub(crate) sequences_low: Vec<String>,
    /// The name under which the database that was there is kept.
    pub(crate) kept: Option<String>,
}

/// One table that is not as the dump has it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DifferentTable {
    /// `schema.name`.
    pub(crate) table: String,
    /// What differs.
    pub(crate) what: String,
}

pub(crate) fn database(args: &DatabaseArgs, quiet: bool) -> Result<Answer, Failure> {
    match &args.command {
        DatabaseCommand::Show(args) => show(args),
        DatabaseCommand::Restore(args) => restore(args, quiet),
        DatabaseCommand::Compare(args) => compare(args, quiet),
    }
}

fn show(args: &BackupArgs) -> Result<Answer, Failure> {
    let backup = backup_facts::open(args)?;
    let dump = backup_facts::need_dump(&backup)?;
    let shown = DumpShown {
        backup: backup.id().to_string(),
        database: dump.server.database,
        server: dump.server.version,
        owner: dump.server.owner,
        encoding: dump.server.encoding,
        tables: dump
            .contents
            .tables
            .iter()
            .map(|t| TableShown {
                table: format!("{}.{}", t.table.schema, t.table.name),
                rows: t.rows,
                bytes: t.bytes,
                digest: t.digest.to_string(),
            })
            .collect(),
    };
    let mut out = format!(
        "{} of PostgreSQL {}, {}, owned by {}\n",
        shown.database, shown.server, shown.encoding, shown.owner
    );
    for table in &shown.tables {
        out += &format!(
            "{:>12} {:>9}  {}\n",
            text::grouped(table.rows),
            text::bytes(table.bytes),
            table.table
        );
    }
    Ok(Answer::new(Exit::Done, &shown, out))
}

/// A database of a server, and what LAVA's settings there say of it.
struct Target {
    admin: Superuser,
    name: String,
    settings: LavaSettings,
}

impl Target {
    fn of(args: &DatabaseTargetArgs, dump: &DumpDocument) -> Result<Self, Failure> {
        let root = Root::open(&args.root).could_not("open the root")?;
        let settings = LavaSettings::read(&root)?;
        let known = settings.database.as_ref();
        let port = args.port.or(known.map(|a| a.port)).unwrap_or(5432);
        let name = args
            .name
            .clone()
            .or_else(|| known.map(|a| a.database.clone()))
            .unwrap_or_else(|| dump.server.database.clone());
        let user = host::postgres_user()?;
        let socket = match (&args.socket, known) {
            (Some(dir), _) => dir
                .canonicalize()
                .could_not(format!("find the server's socket in {}", dir.display()))?
                .to_string_lossy()
                .into_owned(),
            (None, Some(address)) => host::socket(address).ok_or_else(|| {
                Failure::new(
                    Exit::Refused,
                    format!(
                        "could not come to the {address}: it is not on this host, and only a server's own socket lets the superuser in"
                    ),
                )
                .hint("run this on that host, or name a socket here with --socket")
            })?,
            (None, None) => lava_backup_pg::DEBIAN_SOCKETS.to_owned(),
        };
        // Of any version that could take the dump: to ask which one is there.
        let programs =
            Programs::at_least(dump.server.major).could_not("find PostgreSQL's programs")?;
        let asked = Superuser::new(programs.clone(), user, &socket, port);
        let version = asked
            .value("postgres", "SHOW server_version_num")
            .could_not("ask the server for its version")?;
        let major = version.and_then(|v| v.parse::<u32>().ok()).unwrap_or(0) / 10_000;
        if major < dump.server.major {
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "could not restore into PostgreSQL {major}: the dump is of PostgreSQL {}",
                    dump.server.major
                ),
            )
            .hint("a dump goes into the same major version or a later one"));
        }
        let programs = match programs.major() {
            found if found == major => programs,
            _ => Programs::find(major).could_not("find PostgreSQL's programs")?,
        };
        Ok(Self {
            admin: Superuser::new(programs, user, &socket, port),
            name,
            settings,
        })
    }
}

fn restore(args: &DatabaseTargetArgs, quiet: bool) -> Result<Answer, Failure> {
    let backup = named::open(&args.store, &args.backup)?;
    let dump = backup_facts::need_dump(&backup)?;
    let target = Target::of(args, &dump)?;
    let known = target.settings.database.as_ref();
    let spec = Restore {
        database: target.name.clone(),
        // LAVA comes as the role of its settings; the dump's objects are its
        // old owner's, which a lab keeps.
        password: known
            .filter(|a| a.user == dump.server.owner)
            .and_then(|a| a.password.clone()),
        holds_data: HOLDS_DATA.into(),
        replace_data: args.replace_data,
        low_sequences: args.low_sequences,
        jobs: jobs(),
        mark: Some(format!("lava-backup: restored from {}", backup.digest())),
        ..Restore::of(&dump.server, &dump.contents, &clock::now().compact())
    };
    let progress = Progress::new(quiet);
    // A plan that was interrupted after the swap comes here again. One that somebody else has
    // loaded may have all rows and lack what is made after them.
    let mark = lava_backup_pg::mark(&target.admin, &target.name);
    if mark.could_not("look for the database")? == spec.mark {
        progress.say("comparing the database that is there");
        let there =
            lava_backup_pg::compare(&target.admin, &target.name, &dump.contents, &mut |_| ());
        if let Ok(comparison) = there
            && comparison.holds()
        {
            let compared = compared(&backup, &target.name, comparison, None);
            let out = format!("it is there already: {}", said(&compared));
            return Ok(Answer::new(Exit::Done, &compared, out));
        }
    }
    let mut observe = |stage: Stage<'_>| match stage {
        Stage::Removing(name) => progress.say(format!("removing the unfinished {name}")),
        Stage::Loading(1) => progress.say("loading the dump"),
        Stage::Loading(jobs) => progress.say(format!("loading the dump by {jobs} sessions")),
        Stage::LoadingAgain(why) => progress.say(format!(
            "loading the dump anew, by one session: several could not {why}"
        )),
        Stage::Analysing => progress.say("making statistics"),
        Stage::Comparing(table) => progress.say(format!("comparing {}", table.name)),
        Stage::Swapping => progress.say("swapping the databases"),
        _ => {}
    };
    let mut broken = None;
    let mut feed = feed(&backup, &dump, &mut broken);
    let restored = lava_backup_pg::restore(&target.admin, &spec, &mut feed, &mut observe);
    drop(feed);
    drop(progress);
    if let Some(e) = broken {
        return Err(e).could_not("read the dump of the backup");
    }
    let restored = restored.could_not("restore the database")?;
    let compared = compared(&backup, &target.name, restored.comparison, restored.kept);
    let mut out = said(&compared);
    if let Some(removed) = restored.removed {
        out += &format!("{removed}, which an interrupted restore had left, is removed\n");
    }
    if let Some(why) = restored.loaded_alone {
        out += &format!("one job loaded it, for several could not: {why}\n");
    }
    if let Some(kept) = &compared.kept {
        out += &format!("the database that was there is kept as {kept}\n");
    }
    if let Some(lacks) = target.admin.programs().lacks_fixes() {
        out += &format!("{lacks}\n");
    }
    Ok(Answer::new(Exit::Done, &compared, out))
}

/// As many sessions as there are processors, so that each has one; more wait for each
/// other, and for the disk.
pub(crate) fn jobs() -> u32 {
    let processors = std::thread::available_parallelism();
    processors.map_or(1, |processors| processors.get().min(8) as u32)
}

/// A fresh installation has no job and no device.
pub(crate) const HOLDS_DATA: &str = "SELECT (SELECT count(*) FROM public.lava_scheduler_app_testjob) \
     + (SELECT count(*) FROM public.lava_scheduler_app_device)";

/// Gives the dump to whoever loads it; damage on the way is kept for the error.
pub(crate) fn feed<'f>(
    backup: &'f Backup,
    dump: &'f DumpDocument,
    broken: &'f mut Option<lava_backup_core::Error>,
) -> impl FnMut(&mut dyn Write) -> io::Result<()> + 'f {
    move |out| {
        let read = backup.frames().and_then(|frames| {
            let entry = backup.entry(&dump.member)?;
            backup.read(&frames, &entry, out)
        });
        read.map_err(|e| {
            let kind = std::error::Error::source(&e)
                .and_then(|s| s.downcast_ref::<io::Error>())
                .map_or(io::ErrorKind::Other, io::Error::kind);
            if kind != io::ErrorKind::BrokenPipe {
                *broken = Some(e);
            }
            kind.into()
        })
    }
}

fn compare(args: &DatabaseTargetArgs, quiet: bool) -> Result<Answer, Failure> {
    let backup = named::open(&args.store, &args.backup)?;
    let dump = backup_facts::need_dump(&backup)?;
    let target = Target::of(args, &dump)?;
    let progress = Progress::new(quiet);
    let mut each = |table: &lava_backup_pg::archive::TableInfo| {
        progress.say(format!("comparing {}", table.name));
    };
    let comparison =
        lava_backup_pg::compare(&target.admin, &target.name, &dump.contents, &mut each)
            .could_not("compare the database")?;
    drop(progress);
    let exit = if comparison.holds() {
        Exit::Done
    } else {
        Exit::Refused
    };
    let compared = compared(&backup, &target.name, comparison, None);
    let out = said(&compared);
    Ok(Answer::new(exit, &compared, out))
}

fn compared(
    backup: &Backup,
    database: &str,
    comparison: Comparison,
    kept: Option<String>,
) -> Compared {
    Compared {
        backup: backup.id().to_string(),
        database: database.to_owned(),
        equal: comparison.equal,
        rows: comparison.rows,
        differ: comparison
            .differ
            .into_iter()
            .map(|d| DifferentTable {
                table: d.table,
                what: d.what,
            })
            .collect(),
        extra: comparison.extra,
        sequences_behind: comparison.sequences_behind,
        sequences_low: comparison.sequences_low,
        kept,
    }
}

fn said(compared: &Compared) -> String {
    let mut out = format!(
        "{} of {} are equal to the dump's, {}, byte for byte\n",
        text::count(compared.equal, "table"),
        compared.database,
        text::count(compared.rows, "row")
    );
    for table in &compared.differ {
        out += &format!("DIFFERS  {}: {}\n", table.table, table.what);
    }
    for table in &compared.extra {
        out += &format!("EXTRA    {table}: the dump does not have it\n");
    }
    for sequence in &compared.sequences_behind {
        out += &format!("BEHIND   the sequence {sequence}\n");
    }
    for sequence in &compared.sequences_low {
        out += &format!("LOW      the sequence {sequence}\n");
    }
    out
}
