//! How an index comes into being.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::{BLOCK, HEADER, MAX_LINE, digest_of_reference};
use crate::entry::Entry;
use crate::error::{At, Error, ErrorKind, Result};
use crate::frame::{Encoder, FrameName};
use crate::path::MemberPath;
use crate::piece::{self, Holds};
use crate::pipeline::Sink;

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

/// Blocks that wait for the thread that compresses them.
const WAITING: usize = 2;
const LEVEL: i32 = 3;

/// Writes the index of one backup; a thread compresses it.
pub(crate) struct IndexWriter<W> {
    place: PathBuf,
    text: Vec<u8>,
    entries: u64,
    /// Do blocks lie in frames?
    in_frames: bool,
    /// The number of the frame from which those in the block at hand count.
    base: Option<u64>,
    section: Vec<u8>,
    blocks: Option<SyncSender<(u64, Vec<u8>)>>,
    thread: Option<JoinHandle<Result<Written<W>>>>,
}

/// The file, not yet synced, and the digest of the names of its blocks.
struct Written<W> {
    file: W,
    digest: String,
}

impl<W: Write + Send + 'static> IndexWriter<W> {
    pub(crate) fn new(place: PathBuf, file: W, form: Form) -> Result<Self> {
        let (blocks, queue) = sync_channel(WAITING);
        let at = place.clone();
        let in_frames = matches!(form, Form::Frames(_));
        let thread = std::thread::Builder::new()
            .spawn(move || write_blocks(at, file, &form, &queue))
            .at("start a thread for", &place)?;
        Ok(Self {
            place,
            text: HEADER.as_bytes().to_vec(),
            entries: 0,
            in_frames,
            base: None,
            section: Vec::new(),
            blocks: Some(blocks),
            thread: Some(thread),
        })
    }

    /// Adds an entry, which comes after those before it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], of an earlier block too; [`ErrorKind::Refused`] for an
    /// entry that no line can hold.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<()> {
        if self.in_frames && self.section != entry.path.section() {
            self.section = entry.path.section().to_vec();
            if self.base.is_some() {
                self.end_block()?;
            }
        }
        let begin = self.text.len();
        let written = match self.in_frames {
            true => {
                let base = *self.base.get_or_insert(entry.frame);
                let mut entry = entry.clone();
                entry.frame -= base;
                serde_json::to_writer(&mut self.text, &entry)
            }
            false => serde_json::to_writer(&mut self.text, entry),
        };
        written.map_err(|e| Error::io(&self.place, "encode", std::io::Error::from(e)))?;
        self.text.push(b'\n');
        let length = self.text.len() - begin;
        if length > MAX_LINE {
            self.text.truncate(begin);
            return Err(Error::new(
                ErrorKind::Refused,
                entry.path.to_string(),
                format!(
                    "its line in the index would have {length} bytes, and {MAX_LINE} is the limit"
                ),
            ));
        }
        self.entries += 1;
        if self.text.len() >= BLOCK || (self.in_frames && self.ends_after(&entry.path)) {
            self.end_block()?;
        }
        Ok(())
    }

    fn ends_after(&self, path: &MemberPath) -> bool {
        self.text.len() >= SHORT && blake3::hash(path.as_bytes()).as_bytes()[1] % 128 == 0
    }

    fn end_block(&mut self) -> Result<()> {
        let room = Vec::with_capacity(self.text.len());
        let text = std::mem::replace(&mut self.text, room);
        let block = (self.base.take().unwrap_or(0), text);
        let sent = self.blocks.as_ref().is_some_and(|b| b.send(block).is_ok());
        // The thread ends before the queue only for an error.
        if sent {
            Ok(())
        } else {
            self.join().map(|_| ())
        }
    }

    fn join(&mut self) -> Result<Written<W>> {
        self.blocks = None;
        let done = self.thread.take().and_then(|thread| thread.join().ok());
        let lost = || Error::io(&self.place, "write", std::io::ErrorKind::BrokenPipe);
        done.ok_or_else(lost)?
    }

    /// Ends the index; gives its entries, its digest, and its file, not yet synced.
    pub(crate) fn finish(mut self) -> Result<(u64, String, W)> {
        if !self.text.is_empty() {
            self.end_block()?;
        }
        let written = self.join()?;
        Ok((self.entries, written.digest, written.file))
    }
}

impl<W> Drop for IndexWriter<W> {
    fn drop(&mut self) {
        self.blocks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_blocks<W: Write>(
    place: PathBuf,
    file: W,
    form: &Form,
    queue: &Receiver<(u64, Vec<u8>)>,
) -> Result<Written<W>> {
    let mut out = BufWriter::new(file);
    let mut encoder = Encoder::new(LEVEL);
    let mut names = blake3::Hasher::new();
    while let Ok((base, text)) = queue.recv() {
        let name = FrameName::of(&text);
        let written = match form {
            Form::Inline => {
                names.update(name.as_bytes());
                let stored = encoder.encode(name, &text)?;
                piece::write(&mut out, Holds::Content, name, &stored)
            }
            Form::Frames(sink) => {
                names.update(&digest_of_reference(name, base));
                if sink.known(name).is_none() {
                    sink.put(0, name, encoder.encode(name, &text)?)?;
                }
                piece::refer(&mut out, name, base)
            }
        };
        written.at("write", &place)?;
    }
    let file = out
        .into_inner()
        .map_err(|e| e.into_error())
        .at("write", &place)?;
    Ok(Written {
        file,
        digest: names.finalize().to_hex().to_string(),
    })
}
