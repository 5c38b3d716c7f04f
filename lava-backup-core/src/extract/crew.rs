//! The second pass: directories in order, files on all cores.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{self, Mode, Stat};
use rustix::process::geteuid;

use super::Event;
use super::bring::Hand;
use super::compare::Decision;
use super::disks::Disks;
use super::leftover;
use super::links::{FileId, Links};
use super::made::Names;
use super::target::{Target, parent_dir};
use crate::backup::Backup;
use crate::entry::{Entry, Kind};
use crate::error::{At, Error, Result};
use crate::frame::FrameName;
use crate::path::MemberPath;
use crate::store::Store;

#[cfg(test)]
mod tests;

/// What all who work at one extraction share.
pub(super) struct Work<'w> {
    pub(super) target: &'w Target<'w>,
    pub(super) store: &'w Store,
    pub(super) frames: &'w [FrameName],
    pub(super) links: &'w Links,
    pub(super) names: Names,
    bytes: AtomicU64,
    kept: AtomicBool,
    pub(super) disks: Disks,
}

impl<'w> Work<'w> {
    pub(super) fn new(
        target: &'w Target<'w>,
        store: &'w Store,
        frames: &'w [FrameName],
        links: &'w Links,
    ) -> Self {
        Self {
            target,
            store,
            frames,
            links,
            names: Names::default(),
            bytes: AtomicU64::new(0),
            kept: AtomicBool::new(false),
            disks: Disks::default(),
        }
    }

    pub(super) fn wrote(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.disks.wrote(bytes);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn has_kept(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    pub(super) fn kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }
}

/// A member for a hand, with its number in archive order.
type Job = (u64, MemberPath, Entry, Decision);
/// A batch without content ends here; one with content ends with its frame.
const BATCH: usize = 1024;

/// Makes directories, for root alone, and brings back all but hard links.
/// Gives the directories that were made or are to be changed, in archive order.
pub(super) fn bring(
    work: &Work<'_>,
    backup: &Backup,
    decisions: &[Decision],
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<FileId>> {
    let failure = Failure::default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut foreman = Foreman::new(work);
    let decisions = decisions.iter().copied().zip(0..);
    let mut entries = work.target.selected(backup)?.zip(decisions).peekable();
    // One section after the other: of two that hold the same path, the first
    // comes first.
    while let Some((Ok((_, first)), _)) = entries.peek() {
        let section = first.path.section().to_vec();
        std::thread::scope(|scope| {
            let (batches, queue) = sync_channel(cores);
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..cores {
                let queue = Arc::clone(&queue);
                let failure = &failure;
                scope.spawn(move || labour(Hand::new(work), &queue, failure));
            }
            drop(queue);
            while let Some((Ok((path, entry)), (decision, number))) = entries
                .next_if(|(found, _)| matches!(found, Ok((_, e)) if e.path.section() == section))
            {
                // Never sent, it would be started for nothing.
                if failure.is_before(number) {
                    break;
                }
                if decision == Decision::Same || entry.kind == Kind::Hardlink {
                    continue;
                }
                observe(Event::Bring(&entry));
                let job = (number, path, entry, decision);
                if let Err(error) = foreman.take(job, &batches) {
                    failure.note(number, error);
                    break;
                }
            }
            foreman.send(&batches);
        });
        failure.end()?;
    }
    if let Some((Err(error), _)) = entries.next() {
        return Err(error);
    }
    Ok(foreman.dirs)
}

/// Brings batches back until there are no more.
fn labour(mut hand: Hand<'_>, queue: &Mutex<Receiver<Vec<Job>>>, failure: &Failure) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = next else { return };
        for (number, path, entry, decision) in batch {
            if failure.is_before(number) {
                break;
            }
            let origin = hand.work.links.at(&entry.path);
            if let Err(error) = hand.bring(&path, &entry, decision, origin) {
                failure.note(number, error);
                break;
            }
        }
    }
}

/// Makes directories and puts batches together: what lies in one frame is one
/// hand's.
struct Foreman<'f> {
    work: &'f Work<'f>,
    batch: Vec<Job>,
    dirs: Vec<FileId>,
    /// The outermost directory that was made last: nothing was left in it.
    made: Option<MemberPath>,
    /// Where leftovers were looked for: the directory at hand, below others.
    swept: Vec<Option<MemberPath>>,
}

impl<'f> Foreman<'f> {
    fn new(work: &'f Work<'f>) -> Self {
        Self {
            work,
            batch: Vec::new(),
            dirs: Vec::new(),
            made: None,
            swept: Vec::new(),
        }
    }

    fn take(&mut self, job: Job, batches: &SyncSender<Vec<Job>>) -> Result<()> {
        let (_, path, entry, decision) = &job;
        if entry.kind == Kind::Dir {
            return self.dir(path, *decision);
        }
        self.sweep(path)?;
        let frame = self.batch.last().map(|(_, _, entry, _)| entry.frame);
        if frame.is_some_and(|f| f != entry.frame) || self.batch.len() >= BATCH {
            self.send(batches);
        }
        self.batch.push(job);
        Ok(())
    }

    fn send(&mut self, batches: &SyncSender<Vec<Job>>) {
        if !self.batch.is_empty() {
            // Nobody takes it if all have panicked, which the scope tells.
            let _ = batches.send(std::mem::take(&mut self.batch));
        }
    }

    fn dir(&mut self, path: &MemberPath, decision: Decision) -> Result<()> {
        let root = self.work.target.root;
        let place = root.show(path);
        if decision == Decision::New {
            let (parent, name) = path.split_last();
            let parent = parent_dir(root, parent.as_ref())?;
            fs::mkdirat(&parent, name, Mode::RWXU).at("create directory", &place)?;
            if !self.made.as_ref().is_some_and(|m| path.is_within(m)) {
                self.made = Some(path.clone());
            }
        }
        let fd = root.open_dir(Some(path)).at("open", &place)?;
        if decision == Decision::New {
            let stat = fs::fstat(&fd).at("open", &place)?;
            if !is_private(&stat) {
                let what = io::Error::other("was replaced by something else");
                return Err(Error::io(place, "create directory", what));
            }
        }
        self.dirs
            .push(self.work.disks.uses(&fd).at("open", &place)?);
        Ok(())
    }

    fn sweep(&mut self, path: &MemberPath) -> Result<()> {
        if self.made.as_ref().is_some_and(|m| path.is_within(m)) {
            return Ok(());
        }
        let (parent, _) = path.split_last();
        let holds = |above: &Option<MemberPath>| match (above, &parent) {
            (Some(above), Some(parent)) => parent.is_within(above),
            (above, _) => above.is_none(),
        };
        while self.swept.last().is_some_and(|above| !holds(above)) {
            self.swept.pop();
        }
        if self.swept.last() != Some(&parent) {
            let root = self.work.target.root;
            leftover::sweep(root, parent.as_ref())
                .at("look for leftovers beside", root.show(path))?;
            self.swept.push(parent);
        }
        Ok(())
    }
}

/// Can nobody but us have made it, and reach what is in it?
fn is_private(stat: &Stat) -> bool {
    stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o077 == 0
}

/// The error of the first member in archive order that had one.
#[derive(Default)]
struct Failure(Mutex<Option<(u64, Error)>>);

impl Failure {
    fn note(&self, number: u64, error: Error) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|(other, _)| number < *other) {
            *first = Some((number, error));
        }
    }

    /// Has one failed that comes before this? Those before it go on, for one
    /// of them may fail too.
    fn is_before(&self, number: u64) -> bool {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.as_ref().is_some_and(|(other, _)| *other < number)
    }

    fn end(&self) -> Result<()> {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.take().map_or(Ok(()), |(_, error)| Err(error))
    }
}
