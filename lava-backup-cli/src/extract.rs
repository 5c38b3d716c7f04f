//! Bringing files back, or seeing whether they are there.

use lava_backup_core::{Change, Event, Extract, ExtractReport, MemberPath, Root};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::ExtractArgs;
use crate::exit::{CouldNot, Exit, Failure};
use crate::progress::Progress;
use crate::{clock, named, paths, text};

/// What `extract` did, would do, or saw.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Extracted {
    /// The backup.
    pub(crate) backup: String,
    /// The root.
    pub(crate) root: String,
    /// Was anything changed?
    pub(crate) changed: bool,
    /// Entries selected.
    pub(crate) entries: u64,
    /// Entries that were as the backup has them.
    pub(crate) same: u64,
    /// Bytes of content written, holes not counted.
    pub(crate) bytes: u64,
    /// What was made or changed, or differs: the first 10,000 of them.
    pub(crate) changes: Vec<Changed>,
    /// How many more there are.
    pub(crate) unlisted: u64,
    /// Where replaced files are kept, if any were.
    pub(crate) kept: Option<String>,
    /// Owners that are unknown on this root.
    pub(crate) owners: Vec<String>,
}

/// One file that differs from the backup's, or did.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Changed {
    /// Its path below the root.
    pub(crate) path: String,
    /// `new`, `content`, `metadata`, `type`, or `extra` for one that the backup
    /// does not hold.
    pub(crate) what: String,
    /// Of metadata, which: `mode`, `owner`, `time`, `acl`, `xattr`.
    pub(crate) parts: Vec<String>,
}

impl From<&Change> for Changed {
    fn from(change: &Change) -> Self {
        Self {
            path: change.path.to_string(),
            what: change.what.into(),
            parts: change.parts.iter().map(|p| (*p).into()).collect(),
        }
    }
}

/// Not more changes are listed: a person reads no more, and a lab has millions.
const LISTED: usize = 10_000;

/// Where replaced files go, below the root.
const KEEP_IN: &str = "var/lib/lava-backup/replaced";

pub(crate) fn extract(args: &ExtractArgs, quiet: bool) -> Result<Answer, Failure> {
    let backup = named::open(&args.store, &args.backup)?;
    let root = Root::open(&args.root).could_not("open the target")?;
    let keep_in: MemberPath = format!("{KEEP_IN}/{}", clock::now().compact()).parse()?;
    let mut select = args.paths.clone();
    if select.is_empty() {
        let of_host = [paths::CONFIG, paths::DATA, paths::LOGS];
        let held = of_host
            .iter()
            .filter(|s| backup.seal().sections.contains_key(**s));
        select = held.map(|s| s.parse()).collect::<Result<_, _>>()?;
    }
    let options = Extract {
        // LAVA reads whatever lies there: a file too many changes what it does.
        complete: if args.check {
            vec!["config/etc/lava-server".parse()?]
        } else {
            Vec::new()
        },
        select,
        exclude: args.exclude.clone(),
        dry_run: args.dry_run || args.check,
        replace: args.replace || args.check,
        keep_in,
        own: !args.no_owners,
        sync: true,
    };
    let progress = Progress::new(quiet);
    let mut changes: Vec<Changed> = Vec::new();
    let (mut compared, mut brought) = (0u64, 0u64);
    let mut observe = |event: Event<'_>| match event {
        Event::Compare(entry) => {
            compared += 1;
            if compared % 256 == 0 {
                let files = text::count(compared, "file");
                progress.say(format!("looked at {files}: {}", entry.path));
            }
        }
        Event::Change(change) if changes.len() < LISTED => changes.push(change.into()),
        Event::Bring(entry) => {
            brought += 1;
            if brought % 256 == 0 {
                progress.say(format!("{}: {}", text::count(brought, "file"), entry.path));
            }
        }
        _ => {}
    };
    let report = lava_backup_core::extract(&backup, &root, &options, &mut observe);
    drop(progress);
    let report = report.could_not(format!("bring the backup {} back", backup.id()));
    let report = match report {
        Err(f) if f.exit == Exit::Refused && !options.dry_run && !options.replace => {
            return Err(
                f.hint("with --replace it is replaced, and the old one kept; --dry-run shows all")
            );
        }
        other => other?,
    };
    let extracted = extracted(args, backup.id().to_string(), report, changes);
    let differs = args.check && !extracted.changes.is_empty();
    let exit = if differs { Exit::Refused } else { Exit::Done };
    let out = said(&extracted, args);
    Ok(Answer::new(exit, &extracted, out))
}

fn extracted(
    args: &ExtractArgs,
    backup: String,
    report: ExtractReport,
    changes: Vec<Changed>,
) -> Extracted {
    let all = report.changes + report.extra;
    Extracted {
        backup,
        root: args.root.to_string_lossy().into_owned(),
        changed: !args.check && !args.dry_run && report.changes > 0,
        entries: report.entries,
        same: report.same,
        bytes: report.bytes,
        unlisted: all - changes.len() as u64,
        changes,
        kept: report.kept.map(|k| k.to_string_lossy().into_owned()),
        owners: report.owners,
    }
}

fn said(extracted: &Extracted, args: &ExtractArgs) -> String {
    let mut out = String::new();
    if args.check || args.dry_run {
        for change in &extracted.changes {
            out += &format!("{:<8} {}", change.what, change.path);
            if !change.parts.is_empty() {
                out += &format!(" ({})", change.parts.join(", "));
            }
            out.push('\n');
        }
        if extracted.unlisted > 0 {
            out += &format!("and {} more\n", text::grouped(extracted.unlisted));
        }
    }
    let verb = match (args.check, args.dry_run) {
        (true, _) => "differ from the backup's",
        (_, true) => "would be made or changed",
        _ => "were made or changed",
    };
    out += &format!(
        "{} of {} {verb}; {} are as the backup has them\n",
        text::grouped(extracted.changes.len() as u64 + extracted.unlisted),
        text::count(extracted.entries, "file"),
        text::grouped(extracted.same)
    );
    if let Some(kept) = &extracted.kept {
        out += &format!("what was replaced is kept in {kept}\n");
    }
    for owner in &extracted.owners {
        out += &format!("note: {owner}\n");
    }
    out
}
