use std::path::PathBuf;

use serde::Serialize;

use crate::backup::Backup;
use crate::entry::Entry;
use crate::error::{At, Error, ErrorKind, Result};
use crate::path::MemberPath;
use crate::root::Root;

mod attributes;
mod bring;
mod compare;
mod crew;
mod disks;
mod finish;
mod keep;
mod leftover;
mod links;
mod made;
mod survey;
mod target;

use crew::Work;
use survey::Survey;
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
    /// change, `extra`, and stays. Their paths are held in memory.
    pub complete: Vec<MemberPath>,
    /// Change nothing; say what would change.
    pub dry_run: bool,
    /// What is there and differs may be replaced; it is kept in `keep_in`.
    pub replace: bool,
    /// A directory below the root, for replaced files; made when needed.
    pub keep_in: MemberPath,
    /// Give files their owners, access control lists and all attributes;
    /// otherwise all are whoever's we are, with the attributes of users alone.
    /// A file that does not get the owner that it had loses setuid, setgid and
    /// capabilities.
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
    /// Bytes of content written, holes not counted.
    pub bytes: u64,
    /// Entries that were made or changed, or would be.
    pub changes: u64,
    /// Files that the backup does not hold, where it should hold all.
    pub extra: u64,
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
    /// Of metadata, which: `mode`, `owner`, `time`, `acl`, `xattr`. Of a file
    /// that is made anew because it has other names too, the same.
    pub parts: Vec<&'static str>,
}

/// What [`extract`] tells of on its way.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A member is compared with what is there. In archive order.
    Compare(&'e Entry),
    /// Something will be made or changed, or would be. All of them come before
    /// anything is: in archive order, then hard links in archive order, then
    /// what is `extra` by path.
    Change(&'e Change),
    /// A member is about to be brought back. In archive order.
    Bring(&'e Entry),
}

/// Brings members back below a root, without their section.
///
/// A first pass changes nothing, tells of every change and finds what stands in
/// the way. Then all cores decode frames and make files. A file gets its name
/// when it is whole, with its owner (by name), attributes, mode and time; until
/// then nobody but root can reach it. Last come hard links, and what
/// directories are given. Nothing outside the root can be reached, whatever the
/// archive says.
///
/// Memory does not grow with the number of files but for a byte or two each,
/// and 16 bytes for each directory; hard links are remembered whole.
///
/// # Errors
/// [`ErrorKind::Refused`] if something differs that may not be replaced, or a
/// file of another type or a link is in the way: then nothing was changed.
/// [`ErrorKind::Damaged`] from the archive, [`ErrorKind::Io`] from the target:
/// of several, that of the first member in archive order. What has its name by
/// then stays and is whole.
pub fn extract(
    backup: &Backup,
    root: &Root,
    options: &Extract,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<ExtractReport> {
    let target = Target::new(root, options)?;
    let survey = Survey::of(&target, backup, observe)?;
    if survey.report.entries == 0 {
        let wanted: Vec<String> = options.select.iter().map(ToString::to_string).collect();
        return Err(Error::new(
            ErrorKind::NotFound,
            wanted.join(" "),
            format!("the backup {} holds no such member", backup.id()),
        ));
    }
    let mut report = survey.report;
    if options.dry_run || report.changes == 0 {
        return Ok(report);
    }
    if let Some(path) = survey.in_the_way.filter(|_| !options.replace) {
        return Err(Error::new(
            ErrorKind::Refused,
            root.show(&path),
            "is there already and differs from the backup's",
        ));
    }
    let frames = backup.frames()?;
    let work = Work::new(&target, backup.store(), &frames, &survey.links);
    let mut bring = || crew::bring(&work, backup, &survey.decisions, observe);
    let (dirs, synced) = match options.sync {
        true => work.disks.sync_beside(bring),
        false => (bring(), Ok(())),
    };
    let dirs = dirs?;
    synced.at("sync", root.path())?;
    finish::finish(&work, backup, &survey.decisions, &dirs)?;
    report.bytes = work.bytes();
    report.kept = work.kept().then(|| root.show(&options.keep_in));
    if options.sync {
        work.disks.sync().at("sync", root.path())?;
    }
    Ok(report)
}
