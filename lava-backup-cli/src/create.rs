//! Backing up a host.

use std::collections::{BTreeMap, BTreeSet};

use lava_backup_core::{
    BackupId, BackupWriter, Capture, Choice, Class, Entry, MemberPath, Meta, Outcome, Problem,
    SealInput, Sealed, Store,
};
use lava_backup_debian as debian;
use lava_backup_pg::archive::DumpContents;
use lava_backup_pg::{Pace, Snapshot, dump};
use lava_restore_plan::Facts;
use lava_restore_plan::facts::{DatabaseState, Role};
use lava_restore_plan::migration;
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::{self, CreateArgs};
use crate::clock::{self, Instant};
use crate::collect;
use crate::debs::DebsDocument;
use crate::exit::{CouldNot, Exit, Failure};
use crate::finished::{self, FinishedJobs};
use crate::host::Host;
use crate::paths::{self, Secrets, Trees};
use crate::progress::Progress;
use crate::settings::LOGS_IN_FILES;
use crate::{TOOL, text};

mod debs;
mod destination;
mod earlier;
mod sink;
mod state;

use debs::Debs;
use destination::Destination;
use sink::Sink;
use state::State;

/// What `create` made.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Created {
    /// The backup's id.
    pub(crate) backup: String,
    /// The digest of its seal: note it where the store's writer can't change it.
    pub(crate) digest: String,
    /// The file that it is; `null` if it is in a store.
    pub(crate) file: Option<String>,
    /// `complete` or `degraded`.
    pub(crate) outcome: String,
    /// Entries of every type.
    pub(crate) entries: u64,
    /// Of these, files that stood as in the backup `after`, and whose frames were
    /// taken over unread.
    pub(crate) unread: u64,
    /// The earlier backup that files were compared with; `null` if every file
    /// was read.
    pub(crate) after: Option<String>,
    /// Bytes of the tar stream.
    pub(crate) bytes: u64,
    /// Frames that the store did not hold before.
    pub(crate) new_frames: u64,
    /// Their bytes on the disk.
    pub(crate) new_bytes: u64,
    /// Tables of the dump.
    pub(crate) tables: Option<u64>,
    /// Rows of the dump.
    pub(crate) rows: Option<u64>,
    /// .deb files that it holds.
    pub(crate) debs: Option<u64>,
    /// Milliseconds it took.
    pub(crate) milliseconds: u64,
    /// What was not as it should be.
    pub(crate) problems: Vec<Noted>,
}

/// Something that was not as it should be.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Noted {
    /// A stable word for the kind of problem.
    pub(crate) code: String,
    /// The file that it concerns, if it is one.
    pub(crate) path: Option<String>,
    /// What happened.
    pub(crate) message: String,
    /// Does the backup lack something because of it?
    pub(crate) degrades: bool,
}

impl From<&Problem> for Noted {
    fn from(problem: &Problem) -> Self {
        Self {
            code: problem.code.clone(),
            path: problem.path.as_ref().map(ToString::to_string),
            message: problem.message.clone(),
            degrades: problem.degrades,
        }
    }
}

/// The database, at the admin's own word.
const LEFT_OUT: &str = "database.left-out";

pub(crate) fn create(args: &CreateArgs, quiet: bool, json: bool) -> Result<Answer, Failure> {
    let began = clock::now();
    let progress = Progress::new(quiet);
    let destination = Destination::of(&args.destination, json)?;
    let host = Host::open(&args.root)?;
    let role = match args.role {
        Some(args::Role::Master) => Role::Master,
        Some(args::Role::Worker) => Role::Worker,
        None => host.role(),
    };
    if role == Role::Unknown {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "could not find LAVA on {}: neither lava-server nor lava-dispatcher is installed",
                args.root.display()
            ),
        )
        .hint("name the role with --role if LAVA was installed without Debian's packages"));
    }
    if role != Role::Master && args.database.url.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "could not back up a database with a worker: only a master has one",
        ));
    }
    progress.say("reading what this host is");
    let before = State::of(&host)?;
    let (mut facts, secrets) = collect::of_files(&host)?;
    facts.role = role;

    // Before the snapshot, which should not be open for long.
    let debs = Debs::fetch(&host, args, destination.store(), &progress)?;
    destination.wait_for_a_name(|| id_at(clock::now(), &host))?;
    let mut snapshot = match (role, args.no_database) {
        (Role::Master, false) => Some(take_snapshot(&host, args)?),
        _ => None,
    };
    // The instant that the backup shows is that of the snapshot.
    let taken = clock::now();
    let mut finished = FinishedJobs::default();
    if let Some(snapshot) = &mut snapshot {
        collect::of_database(&mut facts, snapshot)?;
        finished = FinishedJobs::of(snapshot)?;
    }
    facts.captured_at = Some(taken.rfc3339());
    facts.normalise();

    let id = id_at(taken, &host)?;
    let mut making = Making {
        writer: destination.begin(id).could_not("begin a backup")?,
        documents: BTreeMap::new(),
        finished,
        taken,
        progress,
    };
    making.check(&facts, &host, args.no_database);
    let contents = match snapshot {
        Some(mut snapshot) => Some(making.database(&mut snapshot, args.rate)?),
        None => None,
    };
    if let (Some(contents), DatabaseState::Present(database)) = (&contents, &mut facts.database) {
        database.tables = contents
            .tables
            .iter()
            .map(|t| lava_restore_plan::facts::Table {
                name: t.table.name.clone(),
                rows: t.rows,
            })
            .collect();
        database.tables.sort();
    }
    if let Some(debs) = &debs {
        making.debs(debs)?;
    }
    let secrets = Secrets::of(&secrets);
    let after = making.files(&host, role, args, &secrets, destination.store())?;
    making.unchanged(&host, &before)?;
    making.facts(&facts)?;
    let sealed = making.seal(&host)?;
    let file = destination.file();
    let debs = debs.as_ref().map(Debs::document);
    let answer = answer(&sealed, after, file, contents.as_ref(), debs, began);
    destination.finish(answer)
}

fn take_snapshot(host: &Host, args: &CreateArgs) -> Result<Snapshot, Failure> {
    let address = collect::address(host, args.database.url.as_deref())?.ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            format!(
                "could not find the database of the master {}: its settings name none that runs here",
                args.root.display()
            ),
        )
        .hint("name it with --database, or leave it out with --no-database")
    })?;
    Snapshot::take(&address).could_not("read the database")
}

/// The name of a backup of this host that shows that instant.
fn id_at(taken: Instant, host: &Host) -> Result<BackupId, Failure> {
    Ok(format!("{}-{}", taken.compact(), host_name(host)).parse()?)
}

fn host_name(host: &Host) -> String {
    let name = host.name();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-.".contains(c) {
            c
        } else {
            '-'
        }
    };
    name.chars().map(plain).take(64).collect()
}

/// A backup in the making.
struct Making {
    writer: BackupWriter,
    documents: BTreeMap<String, serde_json::Value>,
    finished: FinishedJobs,
    taken: Instant,
    progress: Progress,
}

impl Making {
    fn problem(&mut self, code: &str, message: String, degrades: bool) {
        self.writer.problem(Problem {
            code: code.to_owned(),
            path: None,
            message,
            degrades,
        });
    }

    /// What facts alone show to be lacking.
    fn check(&mut self, facts: &Facts, host: &Host, no_database: bool) {
        if facts.role == Role::Master && no_database {
            self.problem(LEFT_OUT, "the database was left out".into(), true);
        }
        if facts.role == Role::Master && host.settings.log_backend != LOGS_IN_FILES {
            let backend = &host.settings.log_backend;
            let message = format!("job logs are kept by {backend}, outside of this host's files");
            self.problem("logs.elsewhere", message, true);
        }
        if debian::journal(&host.debian).is_ok_and(|entries| !entries.is_empty()) {
            let message = "dpkg was interrupted, or is running".to_owned();
            self.problem("packages.interrupted", message, true);
        }
        for package in host.packages.iter().filter(|p| p.is_unclean()) {
            let message = format!("the package {} is {}", package.name, package.state.as_str());
            self.problem("packages.unclean", message, true);
        }
        let Some(mismatch) = migrations_differ(facts) else {
            return;
        };
        let list = |set: &BTreeSet<debian::Migration>| {
            let names: Vec<String> = set.iter().map(ToString::to_string).collect();
            names.join(", ")
        };
        if !mismatch.unknown.is_empty() {
            let message = format!(
                "the database has migrations that no installed package ships: {}",
                list(&mismatch.unknown)
            );
            self.problem("migrations.unknown", message, true);
        }
        if !mismatch.missing.is_empty() {
            let message = format!(
                "the installed packages ship migrations that the database lacks: {}",
                list(&mismatch.missing)
            );
            self.problem("migrations.missing", message, true);
        }
    }

    fn database(&mut self, snapshot: &mut Snapshot, pace: Pace) -> Result<DumpContents, Failure> {
        let path: MemberPath =
            format!("database/{}.dump", safe_name(&snapshot.facts().database)).parse()?;
        let settings = snapshot.facts().settings.join(", ");
        if !settings.is_empty() {
            let message = format!(
                "the database has settings of its own, which a restore does not bring back: {settings}"
            );
            self.problem("database.settings", message, false);
        }
        if let Some(lacks) = snapshot.facts().lacks_fixes() {
            self.problem("database.lacks-fixes", lacks, false);
        }
        let server = serde_json::to_value(snapshot.facts()).unwrap_or_default();
        let meta = Meta::private(Class::Secret, self.taken.for_files());
        let of_tables = snapshot.facts().tables.len();
        let member = self.writer.stream(path.clone(), meta)?;
        let mut sink = Sink::new(member, &self.progress, of_tables)?;
        let dumped = dump(snapshot, pace, &mut sink).could_not("dump the database")?;
        sink.finish().could_not("store the dump")?;
        let contents = dumped.contents;
        for warning in dumped.warnings {
            self.problem("database.warning", warning, false);
        }
        self.documents.insert(
            "database".into(),
            serde_json::json!({
                "member": path,
                "server": server,
                "contents": contents,
            }),
        );
        Ok(contents)
    }

    fn files(
        &mut self,
        host: &Host,
        role: Role,
        args: &CreateArgs,
        secrets: &Secrets,
        store: Option<&Store>,
    ) -> Result<Option<BackupId>, Failure> {
        let release = host
            .release()
            .or_else(|| lava_restore_plan::release::RELEASES.last());
        if host.release().is_none() {
            let version = host.lava_version().unwrap_or_else(|| "unknown".into());
            let message = format!(
                "LAVA's release {version} is not known; the newest known one's paths were taken"
            );
            self.problem("release.unknown", message, false);
        }
        let is_master = role == Role::Master;
        let media_root = is_master.then_some(host.settings.media_root.as_path());
        let is_worker = role == Role::Worker || host.has("lava-dispatcher");
        let include = &args.include;
        let trees = Trees::of(
            &host.root, release, is_master, is_worker, media_root, include,
        )
        .could_not("find the files to back up")?;
        // A store within what it backs up would grow without end.
        let root = host.root.path().canonicalize()?;
        let own = store
            .and_then(|store| store.path().strip_prefix(root).ok())
            .and_then(|own| {
                let bytes = std::os::unix::ffi::OsStrExt::as_bytes(own.as_os_str());
                MemberPath::new(bytes.to_vec()).ok()
            });
        let choose = |path: &MemberPath| {
            if own.as_ref() == Some(path) {
                Choice::Skip
            } else {
                Choice::Take(secrets.class(path))
            }
        };
        let Self {
            writer,
            finished,
            progress,
            ..
        } = self;
        let mut entries = 0u64;
        let mut observe = |entry: &Entry| {
            finished.saw(entry);
            entries += 1;
            if entries.is_multiple_of(256) {
                let count = text::count(entries, "file");
                progress.say(format!("{count}: {}", entry.path));
            }
        };
        let mut capture = Capture::new(&host.root, &choose, &mut observe);
        capture.unsure_for(args.unsure);
        let after = store
            .filter(|_| !args.paranoid)
            .and_then(|store| earlier::follow(&mut capture, store, &host.name(), role));
        for (section, starts) in [
            (paths::PACKAGES, &trees.packages),
            (paths::CONFIG, &trees.config),
            (paths::DATA, &trees.data),
            (paths::LOGS, &trees.logs),
        ] {
            capture
                .section(writer, section, starts)
                .could_not("store the files")?;
        }
        if let Some(message) = self.finished.lacking() {
            self.problem(finished::WITHOUT_LOG, message, false);
        }
        Ok(after)
    }

    /// Nothing that must agree with the database has moved meanwhile.
    fn unchanged(&mut self, host: &Host, before: &State) -> Result<(), Failure> {
        let now = Host::open(host.root.path())?;
        let after = State::of(&now)?;
        let moved = before.moved(&after);
        if moved.is_empty() {
            return Ok(());
        }
        let moved = moved.join(" and ");
        Err(Failure::new(
            Exit::Failed,
            format!("could not seal the backup: {moved} changed while it was made"),
        )
        .hint("make it again when the host is quiet; nothing was kept of this one"))
    }

    fn facts(&mut self, facts: &Facts) -> Result<(), Failure> {
        let document = serde_json::to_value(facts).unwrap_or_default();
        let meta = Meta::private(Class::Plain, self.taken.for_files());
        let text = format!("{document:#}\n");
        let path: MemberPath = "facts/facts.json".parse()?;
        self.writer.add_file(path, meta, text.as_bytes())?;
        self.documents.insert("facts".into(), document);
        Ok(())
    }

    fn seal(self, host: &Host) -> Result<Sealed, Failure> {
        self.progress.say("sealing");
        let input = SealInput {
            tool: TOOL.into(),
            host: host.name(),
            taken: self.taken.rfc3339(),
            sealed: clock::now().rfc3339(),
            documents: self.documents,
        };
        self.writer.seal(input).could_not("seal the backup")
    }
}

/// A file name that is the database's own where that is plain.
fn safe_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    name.trim_start_matches('.')
        .chars()
        .map(plain)
        .take(100)
        .collect()
}

/// Do the rows of `django_migrations` match what the packages ship? `None` if
/// there is no database to ask.
fn migrations_differ(facts: &Facts) -> Option<debian::Mismatch> {
    let DatabaseState::Present(database) = &facts.database else {
        return None;
    };
    let applied = database.migrations.as_ref()?;
    Some(migration::compare(
        applied,
        facts.migrations_shipped.as_ref()?,
    ))
}

fn answer(
    sealed: &Sealed,
    after: Option<BackupId>,
    file: Option<&std::path::Path>,
    contents: Option<&DumpContents>,
    debs: Option<&DebsDocument>,
    began: Instant,
) -> Answer {
    let seal = &sealed.seal;
    let degraded = seal.outcome == Outcome::Degraded;
    let created = Created {
        backup: seal.id.to_string(),
        digest: sealed.digest.clone(),
        file: file.map(|file| file.to_string_lossy().into_owned()),
        outcome: if degraded { "degraded" } else { "complete" }.into(),
        entries: seal.archive.entries,
        unread: sealed.unread,
        after: after.map(|id| id.to_string()),
        bytes: seal.archive.bytes,
        new_frames: sealed.new_frames,
        new_bytes: sealed.new_bytes,
        tables: contents.map(|c| c.tables.len() as u64),
        rows: contents.map(|c| c.tables.iter().map(|t| t.rows).sum()),
        debs: debs.map(|document| document.debs.len() as u64),
        milliseconds: began.elapsed(),
        problems: seal.problems.iter().map(Into::into).collect(),
    };
    let mut out = format!("backup   {}\n", created.backup);
    out += &format!("outcome  {}\n", created.outcome);
    out += &format!(
        "holds    {}, {}\n",
        text::count(created.entries, "file"),
        text::bytes(created.bytes)
    );
    if let Some(after) = &created.after {
        let unread = text::grouped(created.unread);
        let files = text::count(created.entries, "file");
        out += &format!("unread   {unread} of {files} stood as in {after}\n");
    }
    if let (Some(tables), Some(rows)) = (created.tables, created.rows) {
        let rows = text::count(rows, "row");
        out += &format!("database {}, {rows}\n", text::count(tables, "table"));
    }
    if let Some(document) = debs {
        out += &format!("packages {}\n", debs::line(document));
    }
    out += &format!(
        "stored   {} in {}, in {}\n",
        text::bytes(created.new_bytes),
        match &created.file {
            Some(file) => file.clone(),
            None => text::count(created.new_frames, "new frame"),
        },
        text::duration(created.milliseconds)
    );
    out += &problems(&created.problems);
    out += &format!("seal     {}\n", created.digest);
    // What was left out on purpose is no failure of the run.
    let lacks = |p: &Noted| p.degrades && p.code != LEFT_OUT;
    let exit = match created.problems.iter().any(lacks) {
        true => Exit::Damaged,
        false => Exit::Done,
    };
    Answer::new(exit, &created, out)
}

/// The problems of a seal, each a line, the many of one kind as a few.
pub(crate) fn problems(problems: &[Noted]) -> String {
    const SHOWN: usize = 8;
    let mut out = String::new();
    let mut kinds: BTreeMap<(&str, bool), Vec<&Noted>> = BTreeMap::new();
    for problem in problems {
        let kind = (problem.code.as_str(), !problem.degrades);
        kinds.entry(kind).or_default().push(problem);
    }
    for ((code, note), of_kind) in kinds {
        let word = if note { "note" } else { "LACKS" };
        for problem in of_kind.iter().take(SHOWN) {
            let path = problem.path.as_ref().map(|p| format!("{p}: "));
            out += &format!(
                "{word:<8} {}{}\n",
                path.unwrap_or_default(),
                problem.message
            );
        }
        if of_kind.len() > SHOWN {
            let more = text::grouped((of_kind.len() - SHOWN) as u64);
            out += &format!("{word:<8} and {more} more of {code}\n");
        }
    }
    out
}
