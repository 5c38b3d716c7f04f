//! What differs between two backups, file by file.

use std::io::Write;

use lava_backup_core::{Backup, Difference, Entry};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::{self, Answer};
use crate::args::DiffArgs;
use crate::exit::{CouldNot, Exit, Failure};
use crate::{named, text};

/// A document lists no more differences than this; text has no limit.
const LISTED: usize = 10_000;

/// How two backups differ.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Differing {
    /// The earlier backup.
    pub(crate) first: String,
    /// The later backup.
    pub(crate) second: String,
    /// Members that only the later one has.
    pub(crate) added: u64,
    /// Members that only the earlier one has.
    pub(crate) removed: u64,
    /// Members that both have, and not the same.
    pub(crate) changed: u64,
    /// The differences, section by section in path order: the first 10,000.
    pub(crate) differences: Vec<Differs>,
}

/// One difference.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Differs {
    /// The member.
    pub(crate) path: String,
    /// `added`, `removed` or `changed`.
    pub(crate) change: String,
    /// In what it changed: `type`, `content`, `link`, `mode`, `owner`, `group`,
    /// `mtime`, `class`, `attributes`.
    pub(crate) what: Vec<String>,
    /// Bytes of content in the earlier backup.
    pub(crate) before: Option<u64>,
    /// Bytes of content in the later backup.
    pub(crate) after: Option<u64>,
}

impl From<Difference> for Differs {
    fn from(difference: Difference) -> Self {
        let of = |path: &Entry, change: &str| Self {
            path: path.path.to_string(),
            change: change.to_owned(),
            what: Vec::new(),
            before: None,
            after: None,
        };
        match difference {
            Difference::Added(entry) => Self {
                after: Some(entry.size),
                ..of(&entry, "added")
            },
            Difference::Removed(entry) => Self {
                before: Some(entry.size),
                ..of(&entry, "removed")
            },
            Difference::Changed(pair) => Self {
                what: pair
                    .0
                    .changes(&pair.1)
                    .into_iter()
                    .map(Into::into)
                    .collect(),
                before: Some(pair.0.size),
                after: Some(pair.1.size),
                ..of(&pair.0, "changed")
            },
        }
    }
}

/// Text is written while the indexes are read, so that it needs no memory.
pub(crate) fn diff(args: &DiffArgs, json: bool) -> Result<Answer, Failure> {
    named::stdin_once(&args.first, &args.second)?;
    let first = named::open(&args.store, &args.first)?;
    let second = named::open(&args.store, &args.second)?;
    if let Some(path) = &args.path {
        let lacks = |backup: &Backup| -> Result<bool, Failure> {
            Ok(backup.entries_below(path)?.next().is_none())
        };
        if lacks(&first)? && lacks(&second)? {
            let what = format!("could not find {path} in either backup");
            return Err(Failure::new(Exit::Failed, what));
        }
    }
    let mut differing = Differing {
        first: first.id().to_string(),
        second: second.id().to_string(),
        added: 0,
        removed: 0,
        changed: 0,
        differences: Vec::new(),
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    let within = args.path.as_ref();
    lava_backup_core::diff(&first, &second, within, &mut |difference| {
        let count = match &difference {
            Difference::Added(_) => &mut differing.added,
            Difference::Removed(_) => &mut differing.removed,
            Difference::Changed(_) => &mut differing.changed,
        };
        *count += 1;
        if !json && written.is_ok() {
            written = out.write_all(line(&difference.into()).as_bytes());
        } else if json && differing.differences.len() < LISTED {
            differing.differences.push(difference.into());
        }
    })
    .could_not(format!("compare {} with {}", first.id(), second.id()))?;
    answer::is_read(written.and_then(|()| out.flush()))?;
    let said = format!(
        "{} added, {} removed, {} changed\n",
        text::grouped(differing.added),
        text::grouped(differing.removed),
        text::grouped(differing.changed)
    );
    Ok(Answer::new(Exit::Done, &differing, said))
}

fn line(differs: &Differs) -> String {
    let bytes = |size: Option<u64>| size.map(text::bytes).unwrap_or_default();
    match differs.change.as_str() {
        "added" => format!("+ {} ({})\n", differs.path, bytes(differs.after)),
        "removed" => format!("- {} ({})\n", differs.path, bytes(differs.before)),
        _ => format!("! {} ({})\n", differs.path, differs.what.join(", ")),
    }
}
