//! A master's root on disk.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{io, thread};

use crate::error::Error;
use crate::host;
use crate::job::Job;
use crate::lab::Lab;
use crate::log::Log;
use crate::packages::{self, Role};
use crate::small;
use crate::tree::{LAVA, Meta, Tree};

/// Where a master keeps its jobs' files, seen from its root.
pub const JOB_OUTPUT: &str = "var/lib/lava-server/default/media/job-output";

/// Jobs that a thread takes at once, and whose logs it packs in one go.
const BATCH: u32 = 64;

/// Lay out a whole master in `root`, which must be empty or absent.
///
/// What is written is a function of the lab alone: contents, modes, times, and
/// owners if root runs this (else all is the caller's). Two threads write;
/// memory does not grow with the number of jobs, but for the names of days
/// and of folders of small files.
///
/// # Errors
/// [`ErrorKind::NotEmpty`](crate::ErrorKind::NotEmpty) before anything is
/// written; afterwards the file system's own, or that `xz`, which packs the
/// oldest logs, is missing. What was written until then stays.
pub fn write(lab: &Lab, root: &Path) -> Result<(), Error> {
    let mut tree = Tree::new(root, lab.until)?;
    host::debian(&mut tree, "master", Role::Master)?;
    host::server(&mut tree, lab)?;
    host::worker(&mut tree, lab, "rack-a", "http://localhost/")?;
    packages::write(&mut tree, Role::Master)?;
    tree.dir(JOB_OUTPUT, LAVA, 0o755)?;
    let days: BTreeSet<String> = (1..=lab.jobs).map(|id| lab.job(id).day()).collect();
    for day in days {
        for end in [4, 7, 10] {
            tree.dir(&format!("{JOB_OUTPUT}/{}", &day[..end]), LAVA, 0o755)?;
        }
    }
    small::write(lab, &mut tree)?;
    let next = AtomicU32::new(1);
    thread::scope(|scope| {
        let writers = [(); 2].map(|()| scope.spawn(|| write_jobs(lab, &tree, &next)));
        writers
            .into_iter()
            .try_for_each(|writer| match writer.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })?;
    tree.finish()
}

fn write_jobs(lab: &Lab, tree: &Tree, next: &AtomicU32) -> Result<(), Error> {
    let mut log = Log::default();
    loop {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        if first > lab.jobs {
            return Ok(());
        }
        let batch: Vec<Job> = (first..=lab.jobs.min(first + BATCH - 1))
            .map(|id| lab.job(id))
            .collect();
        for job in &batch {
            write_job(tree, job, &mut log)?;
        }
        let packed: Vec<&Job> = batch.iter().filter(|job| job.packed).collect();
        if !packed.is_empty() {
            pack(tree, &packed)?;
        }
        for job in &batch {
            tree.stamp(format!("{JOB_OUTPUT}/{}", job.folder()), job.end())?;
        }
    }
}

fn write_job(tree: &Tree, job: &Job, log: &mut Log) -> Result<(), Error> {
    let folder = format!("{JOB_OUTPUT}/{}", job.folder());
    let dir = Meta {
        owner: LAVA,
        mode: 0o755,
        time: job.end(),
    };
    let early = Meta {
        owner: LAVA,
        mode: 0o644,
        time: job.start,
    };
    let late = Meta {
        time: job.end(),
        ..early
    };
    let (definition, device, description) =
        (job.definition(), job.device_yaml(), job.description_yaml());
    let (name, metadata) = job.metadata();
    let small = definition.len() + device.len() + description.len() + metadata.len();
    log.write(job, job.bytes.saturating_sub(small as u64));

    tree.leaf_dir(&folder, dir)?;
    tree.leaf_dir(format!("{folder}/metadata"), dir)?;
    tree.leaf_file(format!("{folder}/job.yaml"), early, definition.as_bytes())?;
    tree.leaf_file(format!("{folder}/device.yaml"), early, device.as_bytes())?;
    tree.leaf_file(
        format!("{folder}/description.yaml"),
        late,
        description.as_bytes(),
    )?;
    tree.leaf_file(
        format!("{folder}/metadata/{name}"),
        late,
        metadata.as_bytes(),
    )?;
    tree.stamp(format!("{folder}/metadata"), job.end())?;
    tree.leaf_file(format!("{folder}/output.idx"), late, &log.index)?;
    tree.leaf_file(format!("{folder}/output.yaml"), late, &log.text)?;
    if job.packed {
        let size = log.text.len().to_string();
        tree.leaf_file(format!("{folder}/output.yaml.size"), late, size.as_bytes())?;
    }
    Ok(())
}

/// Turn logs into `output.yaml.xz`, as `lava-server manage jobs compress` does.
/// Owner, mode and time go over to the packed file.
fn pack(tree: &Tree, jobs: &[&Job]) -> Result<(), Error> {
    // A fast preset: the default one took 8.1 s for 20 MB of logs, this one
    // 0.4 s, for files that are a third larger.
    let outcome = Command::new("xz")
        .args(["-0", "--threads=1", "--quiet", "--"])
        .args(
            jobs.iter()
                .map(|job| tree.full(format!("{JOB_OUTPUT}/{}/output.yaml", job.folder()))),
        )
        .stdin(Stdio::null())
        .output()
        .and_then(|done| match done.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(
                String::from_utf8_lossy(&done.stderr).trim().to_string(),
            )),
        });
    outcome.map_err(|source| Error::xz(&tree.full(JOB_OUTPUT), source))
}
