//! Hash, known?, compress, put: on all cores, through bounded queues.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::disk;
use crate::error::{At, Error, Result};
use crate::frame::{self, Encoder, FrameName};
use crate::store::Store;

/// The level that `zstd` itself takes: the peers' measure.
const LEVEL: i32 = 3;
/// A sync waits for the disk, not for a core, so a few run beside the work.
const SYNCERS: usize = 3;

/// Puts frames into a store, out of order, and gives their names in order.
pub(crate) struct Pipeline {
    jobs: Option<SyncSender<Job>>,
    results: Receiver<Result<Put>>,
    threads: Vec<JoinHandle<()>>,
    submitted: u64,
    done: Vec<Option<Put>>,
}

struct Job {
    number: u64,
    bytes: Vec<u8>,
}

/// A frame that the store holds.
#[derive(Clone, Copy)]
pub(crate) struct Put {
    number: u64,
    pub(crate) name: FrameName,
    /// Uncompressed bytes.
    pub(crate) bytes: u64,
    /// Bytes on the disk.
    pub(crate) stored: u64,
    /// Was it written now?
    pub(crate) new: bool,
}

/// A frame that is written but not yet sure to last.
struct Written {
    put: Put,
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Pipeline {
    pub(crate) fn new(store: &Store, run_dir: PathBuf) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, job_queue) = sync_channel::<Job>(cores);
        let (written, sync_queue) = sync_channel::<Written>(SYNCERS);
        let (results_in, results) = channel();
        let job_queue = Arc::new(Mutex::new(job_queue));
        let sync_queue = Arc::new(Mutex::new(sync_queue));
        let mut threads = Vec::new();
        for _ in 0..cores {
            let queue = Arc::clone(&job_queue);
            let worker = Worker {
                store: store.clone(),
                run_dir: run_dir.clone(),
                written: written.clone(),
                results: results_in.clone(),
            };
            threads.push(std::thread::spawn(move || worker.run(&queue)));
        }
        for _ in 0..SYNCERS {
            let queue = Arc::clone(&sync_queue);
            let results = results_in.clone();
            threads.push(std::thread::spawn(move || {
                while let Some(written) = next(&queue) {
                    if results
                        .send(finish(&written).map(|()| written.put))
                        .is_err()
                    {
                        return;
                    }
                }
            }));
        }
        Self {
            jobs: Some(jobs),
            results,
            threads,
            submitted: 0,
            done: Vec::new(),
        }
    }

    /// Keeps a place in the order for a frame that comes later.
    pub(crate) fn reserve(&mut self) -> u64 {
        self.submitted += 1;
        self.submitted - 1
    }

    /// The number that the next frame will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.submitted
    }

    /// Hands over a frame; waits while the queue is full.
    ///
    /// # Errors
    /// Whatever went wrong with an earlier frame.
    pub(crate) fn put(&mut self, number: u64, bytes: Vec<u8>) -> Result<()> {
        debug_assert!(bytes.len() <= frame::MAX_FRAME);
        self.collect(false)?;
        let job = Job { number, bytes };
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        if sent {
            return Ok(());
        }
        self.collect(true)?;
        Err(Error::io("frames", "write", std::io::ErrorKind::BrokenPipe))
    }

    /// Waits for all frames and gives them in order.
    pub(crate) fn finish(mut self) -> Result<Vec<Put>> {
        self.jobs = None;
        self.collect(true)?;
        let put: Option<Vec<Put>> = self.done.iter().copied().collect();
        match put {
            Some(put) if put.len() as u64 == self.submitted => Ok(put),
            _ => Err(Error::io("frames", "write", std::io::ErrorKind::BrokenPipe)),
        }
    }

    fn collect(&mut self, wait: bool) -> Result<()> {
        loop {
            let result = if wait {
                self.results.recv().ok()
            } else {
                self.results.try_recv().ok()
            };
            let Some(result) = result else { return Ok(()) };
            let put = result?;
            let at = usize::try_from(put.number).unwrap_or(usize::MAX);
            if self.done.len() <= at {
                self.done.resize(at + 1, None);
            }
            self.done[at] = Some(put);
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The next item of a shared queue; `None` when it has ended.
fn next<T>(queue: &Mutex<Receiver<T>>) -> Option<T> {
    queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}

struct Worker {
    store: Store,
    run_dir: PathBuf,
    written: SyncSender<Written>,
    results: Sender<Result<Put>>,
}

impl Worker {
    fn run(self, queue: &Mutex<Receiver<Job>>) {
        let mut encoder = Encoder::new(LEVEL);
        while let Some(job) = next(queue) {
            let outcome = self.put(&mut encoder, &job);
            let delivered = match outcome {
                Ok(Stage::Known(put)) => self.results.send(Ok(put)).is_ok(),
                Ok(Stage::Written(written)) => self.written.send(written).is_ok(),
                Err(e) => self.results.send(Err(e)).is_ok(),
            };
            if !delivered {
                return;
            }
        }
    }

    fn put(&self, encoder: &mut Encoder, job: &Job) -> Result<Stage> {
        let name = FrameName::of(&job.bytes);
        let path = self.store.frame_path(name);
        let mut put = Put {
            number: job.number,
            name,
            bytes: job.bytes.len() as u64,
            stored: 0,
            new: false,
        };
        // A frame that is there but damaged is written anew: what is sealed now
        // must verify, and the older backups that share it are healed.
        if let Ok(stored) = fs::read(&path)
            && frame::is_intact(name, &stored)
        {
            put.stored = stored.len() as u64;
            return Ok(Stage::Known(put));
        }
        let stored = encoder.encode(name, &job.bytes)?;
        let temporary = self.run_dir.join(format!("frame-{}", job.number));
        let mut file = disk::create_new(&temporary)?;
        file.write_all(&stored).at("write", &temporary)?;
        put.stored = stored.len() as u64;
        put.new = true;
        Ok(Stage::Written(Written {
            put,
            file,
            temporary,
            path,
        }))
    }
}

enum Stage {
    Known(Put),
    Written(Written),
}

/// Makes a written frame last, then gives it its name.
fn finish(written: &Written) -> Result<()> {
    written.file.sync_data().at("sync", &written.temporary)?;
    if let Some(dir) = written.path.parent()
        && !dir.is_dir()
    {
        disk::make_dir(dir)?;
    }
    disk::rename(&written.temporary, &written.path)
}
