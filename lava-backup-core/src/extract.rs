use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::backup::Backup;
use crate::entry::{Entry, Kind};
use crate::error::{At, Error, ErrorKind, Result};
use crate::path::MemberPath;
use crate::root::Root;

mod compare;
mod contents;
mod target;

use contents::Contents;
use target::Target;

/// What to bring back, and how.
#[derive(Clone, Debug)]
pub struct Extract {
    /// Members to bring back, with all below them: whole sections, or paths.
    pub select: Vec<MemberPath>,
    /// Members to leave out, with all below them.
    pub exclude: Vec<MemberPath>,
    /// Members whose directories should hold what the backup holds and nothing
    /// else, as far as they are selected: whatever else is there is told as a
    /// change, `extra`, and stays.
    pub complete: Vec<MemberPath>,
    /// Change nothing; say what would change.
    pub dry_run: bool,
    /// What is there and differs may be replaced; it is kept in `keep_in`.
    pub replace: bool,
    /// A directory below the root, for replaced files; made when needed.
    pub keep_in: MemberPath,
    /// Give files their owners; otherwise all are whoever's we are. A file that
    /// does not get the owner that it had loses setuid and setgid.
    pub own: bool,
    /// Return only when all of it would survive a loss of power.
    pub sync: bool,
}

/// What [`extract`] did, or would do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ExtractReport {
    /// Entries selected.
    pub entries: u64,
    /// Entries that were as the backup has them.
    pub same: u64,
    /// Bytes of content written.
    pub bytes: u64,
    /// What was made or changed, in archive order.
    pub changes: Vec<Change>,
    /// Where replaced files are kept, if any were.
    pub kept: Option<PathBuf>,
    /// Owners that are unknown here, each once, with what was done.
    pub owners: Vec<String>,
}

/// One thing that extraction makes or changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The path below the root.
    pub path: MemberPath,
    /// `new`, `content`, `metadata`, `type`, or `extra`.
    pub what: &'static str,
}

/// Brings members back below a root, without their section.
///
/// Files are written under a temporary name that only root can read, given
/// their owner (by name), mode and time, and then switched in. Nothing outside
/// the root can be reached, whatever the archive says. A first pass changes
/// nothing and finds what stands in the way.
///
/// # Errors
/// [`ErrorKind::Refused`] if something differs that may not be replaced, or a
/// file of another type or a link is in the way: then nothing was changed.
/// [`ErrorKind::Damaged`] from the archive, [`ErrorKind::Io`] from the target.
pub fn extract(
    backup: &Backup,
    root: &Root,
    options: &Extract,
    observe: &mut dyn FnMut(&Entry),
) -> Result<ExtractReport> {
    let mut target = Target::new(root, options)?;
    let mut begins = Vec::new();
    let mut expected = BTreeMap::new();
    for entry in backup.index()? {
        let entry = entry?;
        let Some(path) = target.selects(&entry) else {
            continue;
        };
        target.report.entries += 1;
        if options.complete.iter().any(|c| entry.path.is_within(c)) {
            expected.insert(path.clone(), entry.kind == Kind::Dir);
        }
        match target.compare(&path, &entry)? {
            None => target.report.same += 1,
            Some(what) => {
                let writes = entry.kind == Kind::File && what != "metadata";
                if writes && entry.size > 0 {
                    begins.push(entry.frame);
                }
                target.report.changes.push(Change { path, what });
            }
        }
    }
    if target.report.entries == 0 {
        let wanted: Vec<String> = options.select.iter().map(ToString::to_string).collect();
        return Err(Error::new(
            ErrorKind::NotFound,
            wanted.join(" "),
            format!("the backup {} holds no such member", backup.id()),
        ));
    }
    let extra = target.extra(&expected)?;
    if options.dry_run || target.report.changes.is_empty() {
        target.report.changes.extend(extra);
        return Ok(target.report);
    }
    if !options.replace
        && let Some(change) = target.report.changes.iter().find(|c| c.what != "new")
    {
        return Err(Error::new(
            ErrorKind::Refused,
            root.show(&change.path),
            "is there already and differs from the backup's",
        ));
    }

    let mut contents = Contents::new(backup, begins)?;
    let planned = std::mem::take(&mut target.report.changes);
    let mut changes = planned.iter().peekable();
    for entry in backup.index()? {
        let entry = entry?;
        let Some(path) = target.selects(&entry) else {
            continue;
        };
        target.leave_dirs(&path)?;
        if changes.peek().is_some_and(|c| c.path == path) {
            let change = changes.next().map_or("new", |c| c.what);
            target.bring(&path, &entry, change, &mut contents)?;
        }
        observe(&entry);
    }
    target.leave_all()?;
    target.report.changes = planned;
    target.report.changes.extend(extra);
    if options.sync {
        rustix::fs::syncfs(root).at("sync", root.path())?;
    }
    Ok(target.report)
}
