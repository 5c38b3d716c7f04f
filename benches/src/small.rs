//! Many small files: the logs of steps that LAVA kept for each job before it
//! had one log.

use crate::calendar::{DAY, SECOND};
use crate::error::Error;
use crate::lab::{HISTORY, Lab};
use crate::log::Log;
use crate::master::JOB_OUTPUT;
use crate::tree::{LAVA, Meta, Tree};

/// Files in one folder.
const STEPS: u32 = 100;
/// Folders of one day.
const A_DAY: u32 = 40;
/// A file ends with the line that reaches this.
const BYTES: usize = 960;
/// No job of the lab's history has a number as high.
const FIRST: u32 = 100_000_000;

/// Lay out [`Lab::small`] files, in folders of days before the lab's history.
pub(crate) fn write(lab: &Lab, tree: &mut Tree) -> Result<(), Error> {
    let folders = lab.small.div_ceil(STEPS);
    let days = u64::from(folders.div_ceil(A_DAY));
    // All are jobs that have finished.
    let old = Lab {
        jobs: FIRST.saturating_add(folders),
        ..lab.clone()
    };
    let mut log = Log::default();
    for folder in 0..folders {
        let mut job = old.job(FIRST + folder);
        let before = HISTORY + days - u64::from(folder / A_DAY);
        job.submit.0 =
            lab.until.0.saturating_sub(before * DAY) + u64::from(folder % A_DAY) * SECOND;
        job.start = job.submit;
        let meta = Meta {
            owner: LAVA,
            mode: 0o644,
            time: job.end(),
        };
        let dir = format!("{JOB_OUTPUT}/{}/pipeline", job.folder());
        tree.dir(&dir, LAVA, 0o755)?;
        let steps = STEPS.min(lab.small - folder * STEPS);
        log.write(&job, u64::from(steps) * 1200 + 20_000);
        let mut lines = log.text.split_inclusive(|byte| *byte == b'\n');
        for step in 0..steps {
            let mut text = Vec::with_capacity(2 * BYTES);
            while text.len() < BYTES {
                let Some(line) = lines.next() else { break };
                text.extend_from_slice(line);
            }
            tree.leaf_file(format!("{dir}/{step:02}.yaml"), meta, &text)?;
        }
    }
    Ok(())
}
