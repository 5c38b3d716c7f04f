//! Frames read and checked ahead of their use, on all cores, given in order.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::error::Result;
use crate::frame::FrameName;
use crate::store::Store;

/// An iterator over the decoded frames of a list.
pub(crate) struct Ahead {
    names: std::vec::IntoIter<FrameName>,
    jobs: Option<SyncSender<Job>>,
    coming: VecDeque<Receiver<Result<Vec<u8>>>>,
    depth: usize,
    threads: Vec<JoinHandle<()>>,
}

/// A frame to read, and where the answer is awaited.
type Job = (FrameName, SyncSender<Result<Vec<u8>>>);

impl Ahead {
    pub(crate) fn new(store: &Store, names: Vec<FrameName>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let depth = 2 * cores;
        let (jobs, queue) = sync_channel::<Job>(depth);
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..cores)
            .map(|_| {
                let queue = Arc::clone(&queue);
                let store = store.clone();
                std::thread::spawn(move || {
                    loop {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((name, answer)) = job else { return };
                        // Nobody waits for it any more if the reader has stopped.
                        let _ = answer.send(store.read_frame(name));
                    }
                })
            })
            .collect();
        Self {
            names: names.into_iter(),
            jobs: Some(jobs),
            coming: VecDeque::new(),
            depth,
            threads,
        }
    }
}

impl Iterator for Ahead {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.coming.len() < self.depth {
            let Some(name) = self.names.next() else { break };
            let (answer, coming) = sync_channel(1);
            let sent = self.jobs.as_ref().map(|jobs| jobs.send((name, answer)));
            debug_assert!(matches!(sent, Some(Ok(()))));
            self.coming.push_back(coming);
        }
        self.coming.pop_front()?.recv().ok()
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.jobs = None;
        self.coming.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
