//! How an index comes into being.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{BLOCK, HEADER, MAX_LINE, digest_of_reference};
use crate::entry::Entry;
use crate::error::{At, Error, ErrorKind, Result};
use crate::frame::{Encoder, FrameName};
use crate::piece::{self, Holds};
use crate::pipeline::Sink;

#[cfg(test)]
mod tests;

/// A block that lies in a frame ends after an entry whose path says so, when it
/// has so many bytes: so one more file changes one block.
const SHORT: usize = 64 << 10;

/// Where the blocks go.
pub(crate) enum Form {
    /// Into the index itself.
    Inline,
    /// Into frames, which backups share.
    Frames(Arc<dyn Sink>),
}

/// Entries that are handed over together.
const BATCH: usize = 256;
/// Batches that wait for the thread that writes them.
const WAITING: usize = 4;
const LEVEL: i32 = 3;

/// Writes the index of one backup, on a thread of its own.
pub(crate) struct IndexWriter<W> {
    place: PathBuf,
    batch: Vec<Entry>,
    entries: u64,
    batches: Option<SyncSender<Vec<Entry>>>,
    thread: Option<JoinHandle<Result<Written<W>>>>,
}

/// The file, not yet synced, and the digest of the names of its blocks.
struct Written<W> {
    file: W,
    digest: String,
}

impl<W: Write + Send + 'static> IndexWriter<W> {
    pub(crate) fn new(place: PathBuf, file: W, form: Form) -> Result<Self> {
        let (batches, queue) = sync_channel::<Vec<Entry>>(WAITING);
        let blocks = BlockWriter {
            place: place.clone(),
            out: BufWriter::new(file),
            form,
            encoder: Encoder::new(LEVEL),
            text: HEADER.as_bytes().to_vec(),
            base: None,
            section: Vec::new(),
            names: blake3::Hasher::new(),
            putters: None,
        };
        let thread = std::thread::Builder::new()
            .spawn(move || blocks.write_all(&queue))
            .at("start a thread for", &place)?;
        Ok(Self {
            place,
            batch: Vec::with_capacity(BATCH),
            entries: 0,
            batches: Some(batches),
            thread: Some(thread),
        })
    }

    /// Adds an entry, which comes after those before it.
    ///
    /// # Errors
    /// Of an entry before it: [`ErrorKind::Io`], or [`ErrorKind::Refused`] if no
    /// line can hold it.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<()> {
        self.batch.push(entry.clone());
        self.entries += 1;
        match self.batch.len() {
            BATCH => self.hand_over(),
            _ => Ok(()),
        }
    }

    fn hand_over(&mut self) -> Result<()> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        let sent = self.batches.as_ref().is_some_and(|b| b.send(batch).is_ok());
        // The thread ends before the queue only for an error.
        match sent {
            true => Ok(()),
            false => self.join().map(drop),
        }
    }

    fn join(&mut self) -> Result<Written<W>> {
        self.batches = None;
        let done = self.thread.take().and_then(|thread| thread.join().ok());
        let lost = || Error::io(&self.place, "write", std::io::ErrorKind::BrokenPipe);
        done.ok_or_else(lost)?
    }

    /// Ends the index; gives its entries, its digest, and its file, not yet synced.
    pub(crate) fn finish(mut self) -> Result<(u64, String, W)> {
        self.hand_over()?;
        let written = self.join()?;
        Ok((self.entries, written.digest, written.file))
    }
}

impl<W> Drop for IndexWriter<W> {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Makes lines of entries, blocks of lines, and puts these where they go.
struct BlockWriter<W: Write> {
    place: PathBuf,
    out: BufWriter<W>,
    form: Form,
    encoder: Encoder,
    /// The block at hand.
    text: Vec<u8>,
    /// The number of the frame from which those in the block at hand count.
    base: Option<u64>,
    section: Vec<u8>,
    names: blake3::Hasher,
    putters: Option<Putters>,
}

impl<W: Write> BlockWriter<W> {
    fn write_all(mut self, queue: &Receiver<Vec<Entry>>) -> Result<Written<W>> {
        while let Ok(batch) = queue.recv() {
            for entry in batch {
                self.entry(entry)?;
            }
        }
        if !self.text.is_empty() {
            self.end_block()?;
        }
        if let Some(putters) = self.putters {
            putters.finish()?;
        }
        let file = self.out.into_inner().map_err(|e| e.into_error());
        Ok(Written {
            file: file.at("write", &self.place)?,
            digest: self.names.finalize().to_hex().to_string(),
        })
    }

    fn entry(&mut self, mut entry: Entry) -> Result<()> {
        let in_frames = matches!(self.form, Form::Frames(_));
        if in_frames {
            if self.section != entry.path.section() {
                self.section = entry.path.section().to_vec();
                if self.base.is_some() {
                    self.end_block()?;
                }
            }
            entry.frame -= *self.base.get_or_insert(entry.frame);
        }
        let begin = self.text.len();
        serde_json::to_writer(&mut self.text, &entry)
            .map_err(|e| Error::io(&self.place, "encode", std::io::Error::from(e)))?;
        self.text.push(b'\n');
        let length = self.text.len() - begin;
        if length > MAX_LINE {
            let what = format!(
                "its line in the index would have {length} bytes, and {MAX_LINE} is the limit"
            );
            let path = entry.path.to_string();
            return Err(Error::new(ErrorKind::Refused, path, what));
        }
        let short = self.text.len() < SHORT;
        let chosen = || blake3::hash(entry.path.as_bytes()).as_bytes()[1].is_multiple_of(128);
        if self.text.len() >= BLOCK || (in_frames && !short && chosen()) {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<()> {
        let base = self.base.take().unwrap_or(0);
        let name = FrameName::of(&self.text);
        let written = match &self.form {
            Form::Inline => {
                self.names.update(name.as_bytes());
                let stored = self.encoder.encode(name, &self.text)?;
                piece::write(&mut self.out, Holds::Content, name, &stored)
            }
            Form::Frames(sink) => {
                self.names.update(&digest_of_reference(name, base));
                if sink.known(name).is_none() {
                    let stored = self.encoder.encode(name, &self.text)?;
                    let putters = self.putters.get_or_insert_with(|| Putters::new(sink));
                    if !putters.put(name, stored) {
                        // They end before the queue only for an error.
                        return self.putters.take().map_or(Ok(()), Putters::finish);
                    }
                }
                piece::refer(&mut self.out, name, base)
            }
        };
        self.text.clear();
        written.at("write", &self.place)
    }
}

/// Puts blocks into frames, a few at a time: a sync waits for the disk.
struct Putters {
    queue: SyncSender<(FrameName, Vec<u8>)>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Putters {
    const THREADS: usize = 3;

    fn new(sink: &Arc<dyn Sink>) -> Self {
        let (queue, blocks) = sync_channel::<(FrameName, Vec<u8>)>(Self::THREADS);
        let blocks = Arc::new(Mutex::new(blocks));
        let threads = (0..Self::THREADS).map(|_| {
            let (sink, blocks) = (Arc::clone(sink), Arc::clone(&blocks));
            std::thread::spawn(move || {
                loop {
                    let block = blocks.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((name, stored)) = block else {
                        return Ok(());
                    };
                    sink.put(0, name, stored)?;
                }
            })
        });
        Self {
            threads: threads.collect(),
            queue,
        }
    }

    /// Hands a block over; `false` if nobody takes it any more.
    fn put(&self, name: FrameName, stored: Vec<u8>) -> bool {
        self.queue.send((name, stored)).is_ok()
    }

    /// Waits for all of them.
    fn finish(mut self) -> Result<()> {
        let lost = || Error::io("frames", "write", std::io::ErrorKind::BrokenPipe);
        let ended: Vec<_> = self.join();
        ended
            .into_iter()
            .try_for_each(|end| end.unwrap_or_else(|| Err(lost())))
    }

    /// Ends the queue, and waits; nothing for a thread that has panicked.
    fn join(&mut self) -> Vec<Option<Result<()>>> {
        let (nobody, _) = sync_channel(0);
        drop(std::mem::replace(&mut self.queue, nobody));
        self.threads.drain(..).map(|t| t.join().ok()).collect()
    }
}

impl Drop for Putters {
    /// They end before the directory that they write in is removed.
    fn drop(&mut self) {
        self.join();
    }
}
