//! Removing from a store what no backup needs any more.

use lava_backup_core::{Prune, Store};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::PruneArgs;
use crate::exit::{CouldNot, Exit, Failure};
use crate::text;

/// What `prune` did, or would do.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Pruned {
    /// The store.
    pub(crate) store: String,
    /// Was nothing changed, only said what would be?
    pub(crate) dry_run: bool,
    /// Did another run use the store, so that nothing was removed?
    pub(crate) busy: bool,
    /// Frames that backups need.
    pub(crate) needed: u64,
    /// Frames that nothing needs, found so for the first time.
    pub(crate) marked: Frames,
    /// Frames that were marked before, and whose grace period has not ended.
    pub(crate) waiting: Frames,
    /// Frames that were marked for the whole grace period, and are gone.
    pub(crate) removed: Frames,
    /// Unfinished backups that are gone.
    pub(crate) unfinished: u64,
}

/// Frames, and what they take.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Frames {
    /// How many.
    pub(crate) frames: u64,
    /// Their bytes on the disk.
    pub(crate) bytes: u64,
}

pub(crate) fn prune(args: &PruneArgs) -> Result<Answer, Failure> {
    let store = Store::open(&args.store.store).could_not("open the store")?;
    let options = Prune {
        grace: args.grace,
        dry_run: args.dry_run,
    };
    let report = lava_backup_core::prune(&store, options).could_not("prune the store")?;
    let frames = |frames, bytes| Frames { frames, bytes };
    let pruned = Pruned {
        store: store.path().to_string_lossy().into_owned(),
        dry_run: args.dry_run,
        busy: report.busy,
        needed: report.needed,
        marked: frames(report.marked, report.marked_bytes),
        waiting: frames(report.waiting, report.waiting_bytes),
        removed: frames(report.removed, report.removed_bytes),
        unfinished: report.unfinished,
    };
    let out = pruned.text();
    Ok(Answer::new(Exit::Done, &pruned, out))
}

impl Pruned {
    fn text(&self) -> String {
        let mut out = format!("needed   {}\n", text::count(self.needed, "frame"));
        for (what, frames) in [
            ("marked", &self.marked),
            ("waiting", &self.waiting),
            ("removed", &self.removed),
        ] {
            let (bytes, frames) = (text::bytes(frames.bytes), frames.frames);
            out += &format!("{what:<8} {}, {bytes}\n", text::count(frames, "frame"));
        }
        if self.unfinished > 0 {
            let backups = text::count(self.unfinished, "unfinished backup");
            out += &format!("removed  {backups}\n");
        }
        if self.busy {
            out += "note     another run uses the store: nothing was removed\n";
        }
        if self.dry_run {
            out += "note     nothing was changed: this is what would be done\n";
        }
        out
    }
}
