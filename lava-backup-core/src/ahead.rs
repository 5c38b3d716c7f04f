//! Work done ahead of the use of its results, on several threads, given in order.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::error::Result;
use crate::frame::FrameName;
use crate::store::Store;

/// Threads that wait for the disk while others have work for a core.
const WAITING: usize = 2;

/// An iterator over what is made of each item of a list: here, over the decoded
/// frames of a list of names.
pub(crate) struct Ahead<I = FrameName, T = Result<Decoded>> {
    items: std::vec::IntoIter<I>,
    jobs: Option<SyncSender<Job<I, T>>>,
    coming: VecDeque<Receiver<T>>,
    depth: usize,
    threads: Vec<JoinHandle<()>>,
}

/// An item, and where what is made of it is awaited.
type Job<I, T> = (I, SyncSender<T>);

/// The bytes of a frame. Their buffer is used again for another: to get
/// memory anew for each took a tenth of the time of a verification.
pub(crate) struct Decoded {
    bytes: Vec<u8>,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Deref for Decoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(bytes);
    }
}

impl Ahead {
    /// Reads and checks frames on all cores, and waits for the disk beside that.
    pub(crate) fn new(store: &Store, names: Vec<FrameName>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores + WAITING;
        let store = store.clone();
        let spare = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
        Self::of(names, threads, move |name| {
            let used = spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut decoded = Decoded {
                bytes: used.unwrap_or_default(),
                spare: Arc::clone(&spare),
            };
            store.read_frame_into(name, &mut decoded.bytes)?;
            Ok(decoded)
        })
    }
}

impl<I: Send + 'static, T: Send + 'static> Ahead<I, T> {
    /// Works on that many threads; so many results wait for their use at most.
    pub(crate) fn of(
        items: Vec<I>,
        threads: usize,
        work: impl Fn(I) -> T + Send + Sync + 'static,
    ) -> Self {
        let depth = threads + 2;
        let (jobs, queue) = sync_channel::<Job<I, T>>(depth);
        let shared = Arc::new((Mutex::new(queue), work));
        let threads = (0..threads)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let (queue, work) = &*shared;
                    loop {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((item, answer)) = job else { return };
                        // Nobody waits for it any more if the reader has stopped.
                        let _ = answer.send(work(item));
                    }
                })
            })
            .collect();
        Self {
            items: items.into_iter(),
            jobs: Some(jobs),
            coming: VecDeque::new(),
            depth,
            threads,
        }
    }
}

impl<I, T> Iterator for Ahead<I, T> {
    type Item = T;

    fn next(&mut self) -> Option<Self::Item> {
        while self.coming.len() < self.depth {
            let Some(item) = self.items.next() else { break };
            let (answer, coming) = sync_channel(1);
            let sent = self.jobs.as_ref().map(|jobs| jobs.send((item, answer)));
            debug_assert!(matches!(sent, Some(Ok(()))));
            self.coming.push_back(coming);
        }
        self.coming.pop_front()?.recv().ok()
    }
}

impl<I, T> Drop for Ahead<I, T> {
    fn drop(&mut self) {
        self.jobs = None;
        self.coming.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
