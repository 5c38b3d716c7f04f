//! The third pass: hard links, then what directories are given.

use rustix::fs;

use super::bring::Hand;
use super::compare::Decision;
use super::crew::Work;
use super::links::FileId;
use crate::backup::Backup;
use crate::entry::{Entry, Kind};
use crate::error::{At, Error, Result};
use crate::path::MemberPath;

/// Makes hard links, and gives directories their owner, attributes, mode and
/// time when all below them is in, the innermost first.
///
/// `dirs`: those that were made or are to be changed, in archive order.
pub(super) fn finish(
    work: &Work<'_>,
    backup: &Backup,
    decisions: &[Decision],
    dirs: &[FileId],
) -> Result<()> {
    if dirs.is_empty() && work.links.is_empty() {
        return Ok(());
    }
    let mut hand = Hand::new(work);
    let mut dirs = dirs.iter().copied();
    let mut open: Vec<(MemberPath, Entry, FileId)> = Vec::new();
    for (found, decision) in work.target.selected(backup)?.zip(decisions) {
        let (path, entry) = found?;
        while let Some((dir, ..)) = open.last() {
            if path.is_within(dir) {
                break;
            }
            dress(work, open.pop())?;
        }
        if *decision == Decision::Same {
            continue;
        }
        if entry.kind == Kind::Dir {
            open.extend(dirs.next().map(|id| (path, entry, id)));
        } else if let Some(target) = &entry.target
            && let Some(origin) = work.links.at(target)
        {
            hand.link(&path, &entry, *decision, origin)?;
        }
    }
    while !open.is_empty() {
        dress(work, open.pop())?;
    }
    Ok(())
}

fn dress(work: &Work<'_>, dir: Option<(MemberPath, Entry, FileId)>) -> Result<()> {
    let Some((path, entry, id)) = dir else {
        return Ok(());
    };
    let root = work.target.root;
    let place = root.show(&path);
    let fd = root.open_dir(Some(&path)).at("open", &place)?;
    // Its owner may have moved another one there.
    if FileId::from(&fs::fstat(&fd).at("open", &place)?) != id {
        let what = std::io::Error::other("was replaced by something else");
        return Err(Error::io(place, "change", what));
    }
    work.target.dress(fd, &entry).at("change", place)?;
    Ok(())
}
