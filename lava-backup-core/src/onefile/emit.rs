use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::Metadata;
use crate::backend::{Content, Spooled};
use crate::error::{At, Error, Result};
use crate::frame::FrameName;
use crate::piece::{self, Holds};
use crate::pipeline::Sink;
use crate::scratch;

/// Frames that wait for an earlier one are kept in memory up to so many bytes,
/// and beyond that in a file without a name.
const HELD: usize = 32 << 20;

/// Writes frames to one file in their order.
///
/// The header of a streamed file is known only after its content, so its frames
/// wait.
pub(crate) struct Emitter {
    place: PathBuf,
    scratch: PathBuf,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    next: u64,
    waiting: BTreeMap<u64, (FrameName, Waiting)>,
    held: usize,
    spilled: Option<File>,
    spilled_bytes: u64,
    /// The number of the frame that ends the stream, when it is known.
    end: Option<u64>,
    last: Option<(FrameName, Vec<u8>)>,
}

enum Waiting {
    Held(Vec<u8>),
    Spilled { offset: u64, length: usize },
}

impl Emitter {
    pub(crate) fn new(place: PathBuf, scratch: PathBuf, out: Box<dyn Write + Send>) -> Self {
        Self {
            place,
            scratch,
            state: Mutex::new(State {
                out,
                next: 0,
                waiting: BTreeMap::new(),
                held: 0,
                spilled: None,
                spilled_bytes: 0,
                end: None,
                last: None,
            }),
        }
    }

    /// Says which frame ends the stream: what is said of the backup comes
    /// before it.
    pub(crate) fn keep_back(&self, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.end = Some(number);
    }

    /// Writes the files of the backup before the last frame, and then that.
    pub(crate) fn finish(&self, files: Vec<(&str, Content)>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let mut metadata = Metadata::new(&mut state.out);
        for (name, content) in files {
            match content {
                Content::Bytes(bytes) => {
                    metadata.member(name, bytes.len() as u64, &mut bytes.as_slice())?;
                }
                Content::Spooled(spooled) => {
                    let mut file = open(&spooled)?;
                    let length = file.metadata().at("read", spooled.path())?.len();
                    metadata.member(name, length, &mut file)?;
                }
            }
        }
        metadata.finish()?;
        if let Some((name, stored)) = state.last.take() {
            piece::write(&mut state.out, Holds::Content, name, &stored).at("write", &self.place)?;
        }
        state.out.flush().at("write", &self.place)
    }

    fn hold(&self, state: &mut State, stored: Vec<u8>) -> Result<Waiting> {
        if state.held + stored.len() <= HELD {
            state.held += stored.len();
            return Ok(Waiting::Held(stored));
        }
        if state.waiting.is_empty() {
            state.spilled_bytes = 0;
        }
        let file = match &state.spilled {
            Some(file) => file,
            None => state.spilled.insert(scratch::unnamed(&self.scratch)?),
        };
        let offset = state.spilled_bytes;
        file.write_all_at(&stored, offset)
            .at("write to a file without a name in", &self.scratch)?;
        state.spilled_bytes += stored.len() as u64;
        Ok(Waiting::Spilled {
            offset,
            length: stored.len(),
        })
    }

    fn unhold(&self, state: &mut State, waiting: Waiting) -> Result<Vec<u8>> {
        match waiting {
            Waiting::Held(stored) => {
                state.held -= stored.len();
                Ok(stored)
            }
            Waiting::Spilled { offset, length } => {
                let mut stored = vec![0; length];
                let gone = || Error::io(&self.scratch, "read", std::io::ErrorKind::NotFound);
                let file = state.spilled.as_ref().ok_or_else(gone)?;
                file.read_exact_at(&mut stored, offset)
                    .at("read a file without a name in", &self.scratch)?;
                Ok(stored)
            }
        }
    }
}

fn open(spooled: &Spooled) -> Result<File> {
    File::open(spooled.path()).at("read", spooled.path())
}

impl Sink for Emitter {
    fn known(&self, _name: FrameName) -> Option<u64> {
        None
    }

    fn put(&self, number: u64, name: FrameName, stored: Vec<u8>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if number != state.next {
            let waiting = self.hold(state, stored)?;
            state.waiting.insert(number, (name, waiting));
            return Ok(());
        }
        let mut at_hand = Some((name, stored));
        while let Some((name, stored)) = at_hand {
            if state.end == Some(state.next) {
                state.last = Some((name, stored));
                return Ok(());
            }
            piece::write(&mut state.out, Holds::Content, name, &stored).at("write", &self.place)?;
            state.next += 1;
            let next = state.next;
            at_hand = match state.waiting.remove(&next) {
                Some((name, waiting)) => Some((name, self.unhold(state, waiting)?)),
                None => None,
            };
        }
        Ok(())
    }

    fn rewind(&self, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, waiting) in state.waiting.split_off(&number).into_values() {
            if let Waiting::Held(stored) = waiting {
                state.held -= stored.len();
            }
        }
    }
}
