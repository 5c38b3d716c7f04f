//! One run at a time on a host.
//!
//! The kernel holds the lock for an open file, and what a run starts inherits that file. So a run
//! that is killed leaves the lock to the command that it was at, and nobody begins beside it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use super::error::{At, Result};
use super::state::private;

/// The lock of a host, held by this process and by what it starts, to the last of them.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Who holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders {
    /// The processes, as far as they can be seen.
    pub processes: Vec<Process>,
    /// What the run said of itself when it took it.
    pub said: String,
    /// Does that run live? If not, these are commands that it left behind.
    pub runner_lives: bool,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

impl std::fmt::Display for Holders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.processes.is_empty() {
            return write!(f, "a process that can't be seen from here ({})", self.said);
        }
        for (position, process) in self.processes.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{} ({})", process.pid, process.command)?;
        }
        Ok(())
    }
}

impl Lock {
    /// Takes the lock of this file, which is made if it is not there, in a directory that only we
    /// may enter; `said` is what others are told of us.
    ///
    /// From here on every program that this process starts holds it as well.
    ///
    /// # Errors
    /// `Io`, and `Unsafe` if others may take it; who holds it is no error.
    pub fn take(path: &Path, said: &str) -> Result<std::result::Result<Self, Holders>> {
        if let Some(dir) = path.parent() {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(dir);
            made.at("make", dir)?;
            private(dir)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .at("open", path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::AGAIN) => return Ok(Err(holders(&mut file, path)?)),
            other => other.at("lock", path)?,
        }
        let text = format!("{} {said}\n", std::process::id());
        file.set_len(0).at("write", path)?;
        file.rewind().at("write", path)?;
        file.write_all(text.as_bytes()).at("write", path)?;
        fcntl_setfd(&file, FdFlags::empty()).at("lock", path)?;
        Ok(Ok(Self { _file: file }))
    }
}

fn holders(file: &mut File, path: &Path) -> Result<Holders> {
    let mut said = String::new();
    let read = Read::by_ref(file).take(4096).read_to_string(&mut said);
    read.at("read", path)?;
    let said = said.trim().to_owned();
    let runner = said.split(' ').next().and_then(|pid| pid.parse().ok());
    let lock = file.metadata().at("look at", path)?;
    let processes = open_in((lock.dev(), lock.ino()));
    Ok(Holders {
        runner_lives: processes.iter().any(|p| Some(p.pid) == runner),
        processes,
        said,
    })
}

/// The other processes that have this file open.
fn open_in(file: (u64, u64)) -> Vec<Process> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = process.file_name().to_string_lossy().parse();
        let Ok(pid) = pid else { continue };
        let open = fs::read_dir(process.path().join("fd"));
        let has = open.into_iter().flatten().flatten().any(|open| {
            let to = fs::metadata(open.path());
            to.is_ok_and(|to| (to.dev(), to.ino()) == file)
        });
        if has && pid != std::process::id() {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            found.push(Process {
                pid,
                command: super::redact::text(line.trim(), 200),
            });
        }
    }
    found.sort_by_key(|process| process.pid);
    found
}
