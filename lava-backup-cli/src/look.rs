//! Making a store, and looking into backups: no PostgreSQL, no target.

use std::io::Write;

use lava_backup_core::{Backup, Entry, Kind, Outcome, Store};
use lava_restore_plan::facts::DatabaseState;
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::{self, Answer};
use crate::args::{BackupArgs, CatArgs, LsArgs, StoreArgs};
use crate::backup_facts;
use crate::collect::role_name;
use crate::create::{self, Noted};
use crate::debs;
use crate::exit::{CouldNot, Exit, Failure};
use crate::{named, standing, text};

/// A store that was made.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Made {
    /// Its directory.
    pub(crate) store: String,
    /// Its random name.
    pub(crate) id: String,
}

pub(crate) fn init(args: &StoreArgs) -> Result<Answer, Failure> {
    let shown = args.store.display();
    let store = Store::init(&args.store).could_not(format!("make a store at {shown}"))?;
    let made = Made {
        store: store.path().to_string_lossy().into_owned(),
        id: store.id().to_owned(),
    };
    let said = format!("store    {}\nid       {}\n", made.store, made.id);
    Ok(Answer::new(Exit::Done, &made, said))
}

/// The backups of a store, the oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Listed {
    /// Its directory.
    pub(crate) store: String,
    /// The backups.
    pub(crate) backups: Vec<ListedBackup>,
}

/// One backup of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ListedBackup {
    /// Its id.
    pub(crate) backup: String,
    /// The host.
    pub(crate) host: String,
    /// The instant that it shows, RFC 3339.
    pub(crate) taken: String,
    /// `complete`, `degraded`, or `unreadable`.
    pub(crate) outcome: String,
    /// Bytes of its tar stream.
    pub(crate) bytes: u64,
    /// The last check of each kind: `verify` and `drill`, with its outcome.
    pub(crate) checks: Vec<Check>,
}

/// One record of a check.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Check {
    /// `verify` or `drill`.
    pub(crate) check: String,
    /// How deeply it looked.
    pub(crate) depth: String,
    /// Did it hold?
    pub(crate) passed: bool,
    /// When it began, RFC 3339.
    pub(crate) began: String,
}

impl Check {
    fn outcome(&self) -> &'static str {
        if self.passed { "passed" } else { "FAILED" }
    }
}

/// The last check of each kind.
fn checks(backup: &Backup) -> Vec<Check> {
    let mut last = std::collections::BTreeMap::new();
    let found = match backup.evidence() {
        Ok(found) => found,
        Err(e) => {
            return vec![Check {
                check: "evidence".into(),
                depth: e.to_string(),
                passed: false,
                began: String::new(),
            }];
        }
    };
    for evidence in found {
        last.insert(evidence.check.clone(), evidence);
    }
    let check = |e: lava_backup_core::Evidence| Check {
        check: e.check,
        depth: e.depth,
        passed: e.passed,
        began: e.began,
    };
    last.into_values().map(check).collect()
}

pub(crate) fn list(args: &StoreArgs) -> Result<Answer, Failure> {
    let store = Store::open(&args.store).could_not("open the store")?;
    let mut listed = Listed {
        store: store.path().to_string_lossy().into_owned(),
        backups: Vec::new(),
    };
    let mut exit = Exit::Done;
    let ids = store.backups().could_not("list the store")?;
    for (id, backup) in standing::opened(&store, ids) {
        listed.backups.push(match backup {
            Ok(backup) => ListedBackup {
                backup: id.to_string(),
                host: backup.seal().host.clone(),
                taken: backup.seal().taken.clone(),
                outcome: outcome(&backup).into(),
                bytes: backup.seal().archive.bytes,
                checks: checks(&backup),
            },
            Err(_) => {
                exit = Exit::Damaged;
                ListedBackup {
                    backup: id.to_string(),
                    host: String::new(),
                    taken: String::new(),
                    outcome: "unreadable".into(),
                    bytes: 0,
                    checks: Vec::new(),
                }
            }
        });
    }
    let mut out = String::new();
    for backup in &listed.backups {
        let checks: Vec<String> = backup
            .checks
            .iter()
            .map(|c| {
                let day = c.began.get(..10).unwrap_or_default();
                format!("{} {} ({}) {day}", c.check, c.outcome(), c.depth)
            })
            .collect();
        out += &format!(
            "{}  {:<10} {:>9}  {}\n",
            backup.backup,
            backup.outcome,
            text::bytes(backup.bytes),
            checks.join(", ")
        );
    }
    if listed.backups.is_empty() {
        out = format!("the store {} holds no backup\n", listed.store);
    }
    Ok(Answer::new(exit, &listed, out))
}

fn outcome(backup: &Backup) -> &'static str {
    match backup.seal().outcome {
        Outcome::Complete => "complete",
        Outcome::Degraded => "degraded",
    }
}

/// What a backup is and holds.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Shown {
    /// Its id.
    pub(crate) backup: String,
    /// The digest of its seal.
    pub(crate) digest: String,
    /// The program that made it.
    pub(crate) tool: String,
    /// The host.
    pub(crate) host: String,
    /// What the host does in its lab.
    pub(crate) role: String,
    /// LAVA's release.
    pub(crate) lava: Option<String>,
    /// The Debian release.
    pub(crate) suite: Option<String>,
    /// The instant that it shows, RFC 3339.
    pub(crate) taken: String,
    /// When it was sealed, RFC 3339.
    pub(crate) sealed: String,
    /// `complete` or `degraded`.
    pub(crate) outcome: String,
    /// What was not as it should be.
    pub(crate) problems: Vec<Noted>,
    /// What each section holds.
    pub(crate) sections: Vec<ShownSection>,
    /// The database, if it holds one.
    pub(crate) database: Option<ShownDatabase>,
    /// Installed packages.
    pub(crate) packages: u64,
    /// The .debs, if any were asked for.
    pub(crate) debs: Option<ShownDebs>,
    /// The last check of each kind.
    pub(crate) checks: Vec<Check>,
}

/// One section.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ShownSection {
    /// Its name.
    pub(crate) section: String,
    /// Entries of every type.
    pub(crate) entries: u64,
    /// Bytes of content.
    pub(crate) bytes: u64,
}

/// The .debs of a backup.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ShownDebs {
    /// What was asked for: `critical` or `closure`.
    pub(crate) scope: String,
    /// How many it holds.
    pub(crate) held: u64,
    /// How many it lacks.
    pub(crate) lacking: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Whether apt installs them from nothing else; `null` if that was not asked.
    pub(crate) closed: Option<bool>,
}

/// The database of a backup.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ShownDatabase {
    /// Its name.
    pub(crate) name: String,
    /// PostgreSQL's version.
    pub(crate) server: String,
    /// Its tables.
    pub(crate) tables: u64,
    /// Their rows.
    pub(crate) rows: u64,
    /// Bytes of the dump.
    pub(crate) bytes: u64,
    /// Applied migrations.
    pub(crate) migrations: Option<u64>,
    /// Devices.
    pub(crate) devices: Option<u64>,
    /// Jobs of every state.
    pub(crate) jobs: Option<u64>,
    /// Jobs that were between the queue and their end.
    pub(crate) active_jobs: Option<u64>,
}

pub(crate) fn show(args: &BackupArgs) -> Result<Answer, Failure> {
    let backup = backup_facts::open(args)?;
    let seal = backup.seal();
    let facts = backup_facts::facts(&backup)?;
    let present = match &facts.database {
        DatabaseState::Present(database) => Some(database),
        _ => None,
    };
    let database = backup_facts::dump(&backup)?.map(|dump| ShownDatabase {
        name: dump.server.database,
        server: dump.server.version,
        tables: dump.contents.tables.len() as u64,
        rows: dump.contents.tables.iter().map(|t| t.rows).sum(),
        bytes: dump.contents.bytes,
        migrations: present.and_then(|d| Some(d.migrations.as_ref()?.len() as u64)),
        devices: present.and_then(|d| {
            let devices = d.devices_by_health.as_ref()?;
            Some(devices.values().map(|names| names.len() as u64).sum())
        }),
        jobs: present.and_then(|d| Some(d.jobs_by_state.as_ref()?.values().sum())),
        active_jobs: present.and_then(|d| Some(d.active_jobs.as_ref()?.len() as u64)),
    });
    let shown = Shown {
        backup: seal.id.to_string(),
        digest: backup.digest().to_owned(),
        tool: seal.tool.clone(),
        host: seal.host.clone(),
        role: role_name(facts.role).into(),
        lava: facts.lava.as_ref().map(|l| l.version.clone()),
        suite: facts.suite.base.as_ref().map(ToString::to_string),
        taken: seal.taken.clone(),
        sealed: seal.sealed.clone(),
        outcome: outcome(&backup).into(),
        problems: seal.problems.iter().map(Into::into).collect(),
        sections: seal
            .sections
            .iter()
            .map(|(name, section)| ShownSection {
                section: name.clone(),
                entries: section.entries,
                bytes: section.bytes,
            })
            .collect(),
        database,
        debs: debs::of(&backup)?.map(|document| ShownDebs {
            held: document.debs.len() as u64,
            lacking: document.lacking.len() as u64,
            bytes: document.bytes(),
            closed: document.closed,
            scope: document.scope,
        }),
        packages: facts.packages.iter().filter(|p| p.is_installed()).count() as u64,
        checks: checks(&backup),
    };
    let out = shown.text();
    Ok(Answer::new(Exit::Done, &shown, out))
}

impl Shown {
    fn text(&self) -> String {
        let unknown = || "unknown".to_owned();
        let mut out = format!("backup    {}\n", self.backup);
        out += &format!("host      {} ({})\n", self.host, self.role);
        out += &format!(
            "runs      LAVA {} on Debian {}, {}\n",
            self.lava.clone().unwrap_or_else(unknown),
            self.suite.clone().unwrap_or_else(unknown),
            text::count(self.packages, "package")
        );
        out += &format!("taken     {}, sealed {}\n", self.taken, self.sealed);
        out += &format!("outcome   {}\n", self.outcome);
        for section in &self.sections {
            out += &format!(
                "section   {:<9} {:>14}  {:>9}\n",
                section.section,
                text::count(section.entries, "file"),
                text::bytes(section.bytes)
            );
        }
        if let Some(debs) = &self.debs {
            let lacking = match debs.lacking {
                0 => String::new(),
                lacking => format!(", {} lacking", text::grouped(lacking)),
            };
            let closed = match debs.closed {
                Some(true) => ", which need no other",
                Some(false) => ", which need others",
                None => "",
            };
            out += &format!(
                "debs      {} ({}), {}{lacking}{closed}\n",
                text::count(debs.held, "file"),
                debs.scope,
                text::bytes(debs.bytes)
            );
        }
        if let Some(d) = &self.database {
            out += &format!(
                "database  {} of PostgreSQL {}: {}, {}\n",
                d.name,
                d.server.split(' ').next().unwrap_or_default(),
                text::count(d.tables, "table"),
                text::count(d.rows, "row"),
            );
            let some = |n: Option<u64>, what: &str| n.map(|n| text::count(n, what));
            let lab: Vec<String> = [
                some(d.migrations, "migration"),
                some(d.devices, "device"),
                some(d.jobs, "job"),
                some(d.active_jobs, "active job"),
            ]
            .into_iter()
            .flatten()
            .collect();
            if !lab.is_empty() {
                out += &format!("lab       {}\n", lab.join(", "));
            }
        }
        out += &create::problems(&self.problems);
        for check in &self.checks {
            out += &format!(
                "{:<9} {} ({}) {}\n",
                check.check,
                check.outcome(),
                check.depth,
                check.began
            );
        }
        if self.checks.is_empty() {
            out += "checked   never\n";
        }
        out + &format!("seal      {}\n", self.digest)
    }
}

/// Files of a backup, in archive order.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Files {
    /// The backup.
    pub(crate) backup: String,
    /// The files.
    pub(crate) files: Vec<FileShown>,
}

/// One file of a backup.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FileShown {
    /// Its path, section first; bytes that are no printable UTF-8 as `%XX`.
    pub(crate) path: String,
    /// `file`, `dir`, `symlink` or `fifo`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Bytes of content.
    pub(crate) size: u64,
    /// Permission bits, octal.
    pub(crate) mode: String,
    /// The owner's name.
    pub(crate) user: String,
    /// The group's name.
    pub(crate) group: String,
    /// When its content last changed: seconds since 1970.
    pub(crate) mtime: i64,
    /// `plain`, `secret` or `in-flight`.
    pub(crate) class: String,
    /// BLAKE3 of the content, for regular files.
    pub(crate) blake3: Option<String>,
    /// Where a symbolic link points.
    pub(crate) link: Option<String>,
}

impl From<&Entry> for FileShown {
    fn from(entry: &Entry) -> Self {
        // The words that the index itself uses.
        fn word(value: impl Serialize) -> String {
            let value = serde_json::to_value(value).unwrap_or_default();
            value.as_str().unwrap_or_default().to_owned()
        }
        Self {
            path: entry.path.to_string(),
            kind: word(entry.kind),
            size: entry.size,
            mode: format!("{:04o}", entry.mode),
            user: entry.user.clone(),
            group: entry.group.clone(),
            mtime: entry.mtime.seconds,
            class: word(entry.class),
            blake3: entry.blake3.clone(),
            link: entry.link.as_ref().map(ToString::to_string),
        }
    }
}

/// Text is written while the index is read, so that it needs no memory.
pub(crate) fn ls(args: &LsArgs, json: bool) -> Result<Answer, Failure> {
    let backup = backup_facts::open(&args.backup)?;
    let one = match args.paths.as_slice() {
        [pattern] => pattern.within(),
        _ => None,
    };
    let index = match &one {
        Some(path) => backup.entries_below(path),
        None => backup.index(),
    };
    let mut files = Files {
        backup: backup.id().to_string(),
        files: Vec::new(),
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    let mut missed: Vec<_> = args.paths.iter().collect();
    for entry in index.could_not("read the index")? {
        let entry = entry.could_not("read the index")?;
        missed.retain(|pattern| !pattern.selects(&entry.path));
        if !args.paths.is_empty() && !args.paths.iter().any(|p| p.selects(&entry.path)) {
            continue;
        }
        if json {
            files.files.push((&entry).into());
        } else {
            written = out.write_all(text::printable(&line(&entry)).as_bytes());
            if written.is_err() {
                break;
            }
        }
    }
    if !answer::is_read(written.and_then(|()| out.flush()))? {
        return Ok(Answer::new(Exit::Done, &files, ""));
    }
    if let Some(pattern) = missed.first() {
        return Err(Failure::new(
            Exit::Failed,
            format!("could not find {pattern} in the backup {}", backup.id()),
        ));
    }
    Ok(Answer::new(Exit::Done, &files, ""))
}

/// As `tar -tv` prints it, with the time in UTC.
fn line(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::Dir => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        _ => '-',
    };
    let name = |name: &str, number: u32| match name {
        "" => number.to_string(),
        name => name.to_owned(),
    };
    let owner = format!(
        "{}/{}",
        name(&entry.user, entry.uid),
        name(&entry.group, entry.gid)
    );
    let when = jiff::Timestamp::from_second(entry.mtime.seconds)
        .map(|t| t.strftime("%Y-%m-%d %H:%M").to_string())
        .unwrap_or_default();
    let link = entry.link.as_ref().map(|l| format!(" -> {l}"));
    format!(
        "{kind}{} {owner:<22} {:>12} {when} {}{}\n",
        mode(entry.mode),
        entry.size,
        entry.path,
        link.unwrap_or_default()
    )
}

fn mode(mode: u32) -> String {
    let mut text = String::new();
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// The content of one file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Content {
    /// The file.
    pub(crate) file: FileShown,
    /// Its content, if it is UTF-8.
    pub(crate) text: Option<String>,
    /// Its content in hexadecimal, if it is not.
    pub(crate) hex: Option<String>,
}

pub(crate) fn cat(args: &CatArgs, json: bool) -> Result<Answer, Failure> {
    let backup = named::open(&args.store, &args.backup)?;
    let entry = backup.entry(&args.path).could_not("find the file")?;
    let frames = backup.frames()?;
    let doing = format!("print {}", args.path);
    let mut content = Content {
        file: (&entry).into(),
        text: None,
        hex: None,
    };
    if json {
        let mut bytes = Vec::new();
        backup.read(&frames, &entry, &mut bytes).could_not(doing)?;
        match String::from_utf8(bytes) {
            Ok(text) => content.text = Some(text),
            Err(e) => {
                let hex = e.as_bytes().iter().map(|b| format!("{b:02x}"));
                content.hex = Some(hex.collect());
            }
        }
    } else {
        let mut out = std::io::stdout().lock();
        backup.read(&frames, &entry, &mut out).could_not(doing)?;
    }
    Ok(Answer::new(Exit::Done, &content, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_ls_writes_them() {
        assert_eq!(mode(0o755), "rwxr-xr-x");
        assert_eq!(mode(0o2775), "rwxrwsr-x");
        assert_eq!(mode(0o4644), "rwSr--r--");
        assert_eq!(mode(0o1777), "rwxrwxrwt");
    }
}
