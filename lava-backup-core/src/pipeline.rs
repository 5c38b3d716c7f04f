//! Hash, known?, compress, put: on all cores, through bounded queues.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::frame::{self, Encoder, FrameName};

/// The level that `zstd` itself takes: the peers' measure.
const LEVEL: i32 = 3;
/// A sync waits for the disk, not for a core, so a few run beside the work.
const PUTTERS: usize = 3;

/// Where frames go.
pub(crate) trait Sink: Send + Sync {
    /// The length of a frame as stored, if it is there and intact.
    ///
    /// One that is there but damaged is written anew: what is sealed now must
    /// verify, and the older backups that share it are healed.
    fn known(&self, name: FrameName) -> Option<u64>;

    /// Puts a frame, the `number`th of the backup.
    fn put(&self, number: u64, name: FrameName, stored: Vec<u8>) -> Result<()>;

    /// Forgets the frames from this number on, which come once more.
    fn rewind(&self, number: u64);
}

/// Puts frames, out of order, and gives their names in order.
pub(crate) struct Pipeline {
    jobs: Option<SyncSender<Job>>,
    results: Receiver<Result<(u64, Put)>>,
    threads: Vec<JoinHandle<()>>,
    submitted: u64,
    /// Handed over, with no answer yet.
    outstanding: u64,
    done: Vec<Option<Put>>,
    sink: Arc<dyn Sink>,
}

struct Job {
    number: u64,
    bytes: Vec<u8>,
}

/// A frame that was put, or was there.
#[derive(Clone, Copy)]
pub(crate) struct Put {
    pub(crate) name: FrameName,
    /// Uncompressed bytes.
    pub(crate) bytes: u64,
    /// Bytes as stored.
    pub(crate) stored: u64,
    /// Was it written now?
    pub(crate) new: bool,
}

impl Pipeline {
    pub(crate) fn new(sink: Arc<dyn Sink>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, job_queue) = sync_channel::<Job>(cores);
        let (encoded, put_queue) = sync_channel::<Encoded>(PUTTERS);
        let (results_in, results) = channel();
        let job_queue = Arc::new(Mutex::new(job_queue));
        let put_queue = Arc::new(Mutex::new(put_queue));
        let mut threads = Vec::new();
        for _ in 0..cores {
            let queue = Arc::clone(&job_queue);
            let worker = Worker {
                sink: Arc::clone(&sink),
                encoded: encoded.clone(),
                results: results_in.clone(),
            };
            threads.push(std::thread::spawn(move || worker.run(&queue)));
        }
        for _ in 0..PUTTERS {
            let queue = Arc::clone(&put_queue);
            let results = results_in.clone();
            let sink = Arc::clone(&sink);
            threads.push(std::thread::spawn(move || {
                while let Some(Encoded {
                    number,
                    put,
                    stored,
                }) = next(&queue)
                {
                    let done = sink.put(number, put.name, stored);
                    if results.send(done.map(|()| (number, put))).is_err() {
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
            outstanding: 0,
            done: Vec::new(),
            sink,
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
            self.outstanding += 1;
            return Ok(());
        }
        self.collect(true)?;
        Err(Error::io("frames", "write", std::io::ErrorKind::BrokenPipe))
    }

    /// Takes a frame that is there, next in the order.
    pub(crate) fn take_over(&mut self, put: Put) {
        let number = self.reserve();
        self.note(number, put);
    }

    /// Takes back all frames from this number on, which was reserved.
    ///
    /// # Errors
    /// Whatever went wrong with an earlier frame.
    pub(crate) fn rewind(&mut self, number: u64) -> Result<()> {
        while self.outstanding > 0 {
            let Ok(result) = self.results.recv() else {
                break;
            };
            self.outstanding -= 1;
            let (number, put) = result?;
            self.note(number, put);
        }
        self.done
            .truncate(usize::try_from(number).unwrap_or(usize::MAX));
        self.submitted = number;
        self.sink.rewind(number);
        Ok(())
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
            self.outstanding = self.outstanding.saturating_sub(1);
            let (number, put) = result?;
            self.note(number, put);
        }
    }

    fn note(&mut self, number: u64, put: Put) {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        if self.done.len() <= at {
            self.done.resize(at + 1, None);
        }
        self.done[at] = Some(put);
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

/// A frame that is compressed and not put yet.
struct Encoded {
    number: u64,
    put: Put,
    stored: Vec<u8>,
}

struct Worker {
    sink: Arc<dyn Sink>,
    encoded: SyncSender<Encoded>,
    results: Sender<Result<(u64, Put)>>,
}

impl Worker {
    fn run(self, queue: &Mutex<Receiver<Job>>) {
        let mut encoder = Encoder::new(LEVEL);
        while let Some(Job { number, bytes }) = next(queue) {
            let mut put = Put {
                name: FrameName::of(&bytes),
                bytes: bytes.len() as u64,
                stored: 0,
                new: false,
            };
            let delivered = if let Some(stored) = self.sink.known(put.name) {
                put.stored = stored;
                self.results.send(Ok((number, put))).is_ok()
            } else {
                match encoder.encode(put.name, &bytes) {
                    Ok(stored) => {
                        put.stored = stored.len() as u64;
                        put.new = true;
                        let encoded = Encoded {
                            number,
                            put,
                            stored,
                        };
                        self.encoded.send(encoded).is_ok()
                    }
                    Err(e) => self.results.send(Err(e)).is_ok(),
                }
            };
            if !delivered {
                return;
            }
        }
    }
}
