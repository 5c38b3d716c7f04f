//! The stream as entries: what rebuilds an index from frames, and what checks a
//! backup that arrives through a pipe.

use super::parse::{Measure, parse};
use super::{BLOCK, END, header, padding, stored_size};
use crate::entry::{Entry, Kind};
use crate::error::{Error, Result};
use crate::order::Order;
use crate::path::OWN;

/// Takes the frames of a backup, uncompressed and in order, and gives out the
/// entries that their index has, each when its content has passed.
///
/// It keeps the headers of one member and the names of the sections that have
/// ended, and no content. Only what [`header`] writes passes.
pub(crate) struct Scan {
    state: State,
    /// Headers of the member at hand, and where they began.
    head: Vec<u8>,
    began: Place,
    /// Where the frames given so far end.
    here: Place,
    order: Order,
    /// Is it not a backup's stream, but that of an exported file's metadata?
    metadata: bool,
}

/// The number of a frame, and uncompressed bytes of it.
#[derive(Clone, Copy, Default)]
struct Place {
    frame: u64,
    offset: usize,
}

enum State {
    Head(Measure),
    Content {
        entry: Box<Entry>,
        hasher: Box<blake3::Hasher>,
        left: u64,
    },
    /// Zeros that are still to come after a content.
    Padding(usize),
    /// Zeros that are still to come at the end of the stream.
    End(usize),
}

impl Scan {
    /// Before the first frame.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Head(Measure::new()),
            head: Vec::new(),
            began: Place::default(),
            here: Place::default(),
            order: Order::default(),
            metadata: false,
        }
    }

    /// Of the metadata of an exported file, which has no end of its own: the
    /// files below `lava-backup/`.
    pub(crate) fn of_metadata() -> Self {
        Self {
            metadata: true,
            ..Self::new()
        }
    }

    /// Takes the next frame, and gives the entries whose contents end in it.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) with the frame and the
    /// byte in it at which the stream is not as we write it; and what `each`
    /// returns.
    pub(crate) fn frame(
        &mut self,
        number: u64,
        bytes: &[u8],
        each: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        self.here = Place {
            frame: number,
            offset: 0,
        };
        while self.here.offset < bytes.len() {
            let rest = &bytes[self.here.offset..];
            match &mut self.state {
                State::Head(measure) => {
                    if self.head.is_empty() {
                        self.began = self.here;
                    }
                    let missing = measure.missing(&self.head);
                    let missing = missing.map_err(|why| self.began.bad_head(&why))?;
                    let taken = missing.min(rest.len());
                    self.head.extend_from_slice(&rest[..taken]);
                    self.here.offset += taken;
                    self.end_of_head(bytes.len(), each)?;
                }
                State::Content { hasher, left, .. } => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    hasher.update(&rest[..taken]);
                    *left -= taken as u64;
                    self.here.offset += taken;
                    self.end_of_content(each)?;
                }
                State::Padding(left) => {
                    let taken = (*left).min(rest.len());
                    self.here.zeros(&rest[..taken])?;
                    *left -= taken;
                    self.here.offset += taken;
                    if *left == 0 {
                        self.state = State::Head(Measure::new());
                    }
                }
                State::End(left) => {
                    let taken = (*left).min(rest.len());
                    if taken == 0 {
                        let what = format!("{} bytes follow the end of the stream", rest.len());
                        return Err(self.here.damaged(&what));
                    }
                    self.here.zeros(&rest[..taken])?;
                    *left -= taken;
                    self.here.offset += taken;
                }
            }
        }
        Ok(())
    }

    /// Does the next byte begin a member?
    pub(crate) fn is_between_members(&self) -> bool {
        matches!(self.state, State::Head(_)) && self.head.is_empty()
    }

    /// Says that no more frames come.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) if the stream has not
    /// ended.
    pub(crate) fn finish(self) -> Result<()> {
        let lacks = match &self.state {
            State::End(0) => return Ok(()),
            State::End(left) => format!("{left} bytes of the end of the stream"),
            State::Padding(left) => format!("{left} bytes of padding"),
            State::Content { entry, left, .. } => {
                format!("{left} bytes of the content of {}", entry.path)
            }
            State::Head(_) if self.head.is_empty() => "the end of the stream".into(),
            State::Head(_) => "the rest of a tar header".into(),
        };
        Err(self
            .here
            .damaged(&format!("the frames end, without {lacks}")))
    }

    /// Goes on to the content if the headers at hand are whole.
    fn end_of_head(
        &mut self,
        frame_length: usize,
        each: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        let State::Head(measure) = &mut self.state else {
            return Ok(());
        };
        let ends = !self.metadata && self.head.len() == BLOCK as usize;
        if ends && self.head.iter().all(|b| *b == 0) {
            self.head.clear();
            self.state = State::End(END.len() - BLOCK as usize);
            return Ok(());
        }
        let began = self.began;
        let missing = measure.missing(&self.head);
        if missing.map_err(|why| began.bad_head(&why))? > 0 {
            return Ok(());
        }
        let mut entry = parse(&self.head).map_err(|why| began.bad_head(&why))?;
        let ours = header(&entry);
        if ours != self.head {
            return Err(began.not_ours(&self.head, &ours));
        }
        self.head.clear();

        let stored = stored_size(&entry);
        // Content that begins with a frame is said to be in that frame.
        let next = stored > 0 && self.here.offset == frame_length;
        entry.frame = self.here.frame.saturating_add(u64::from(next));
        entry.offset = if next { 0 } else { self.here.offset as u64 };
        let hasher = Box::new(blake3::Hasher::new());
        if entry.kind == Kind::File {
            // Of nothing, until the content has passed.
            entry.blake3 = Some(hasher.finalize().to_hex().to_string());
        }
        let wrong = match self.metadata {
            true if entry.is_whole_file() && entry.path.section() == OWN => None,
            true => Some("is no file of the metadata"),
            false => entry.contradiction(),
        };
        let wrong = wrong.map(str::to_owned);
        let wrong = wrong.or_else(|| self.order.next(&entry.path, entry.kind).err());
        if let Some(wrong) = wrong {
            return Err(began.damaged(&format!("the member {} {wrong}", entry.path)));
        }
        self.state = State::Content {
            entry: Box::new(entry),
            hasher,
            left: stored,
        };
        self.end_of_content(each)
    }

    /// Gives the entry if its content has passed.
    fn end_of_content(&mut self, each: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        let State::Content {
            entry,
            hasher,
            left: 0,
        } = &mut self.state
        else {
            return Ok(());
        };
        if entry.kind == Kind::File {
            entry.blake3 = Some(hasher.finalize().to_hex().to_string());
        }
        let entry = entry.as_ref().clone();
        self.state = match padding(stored_size(&entry)) {
            0 => State::Head(Measure::new()),
            zeros => State::Padding(zeros),
        };
        each(entry)
    }
}

impl Place {
    fn damaged(self, what: &str) -> Error {
        let Self { frame, offset } = self;
        Error::damaged(
            format!("frame {frame}"),
            format!("at byte {offset}, {what}"),
        )
    }

    fn bad_head(self, why: &str) -> Error {
        self.damaged(&format!("a tar header {why}"))
    }

    /// The headers that began here are not those that we write.
    fn not_ours(self, found: &[u8], ours: &[u8]) -> Error {
        let same = found.iter().zip(ours).take_while(|(f, o)| f == o).count();
        let byte = |bytes: &[u8]| match bytes.get(same) {
            Some(byte) => format!("{byte:#04x}"),
            None => "nothing".into(),
        };
        self.damaged(&format!(
            "a tar header has {} where we write {}, {same} bytes on",
            byte(found),
            byte(ours),
        ))
    }

    /// Refuses what is no zero, from here on.
    fn zeros(self, bytes: &[u8]) -> Result<()> {
        match bytes.iter().position(|b| *b != 0) {
            None => Ok(()),
            Some(at) => {
                let offset = self.offset + at;
                let found = bytes[at];
                let here = Self { offset, ..self };
                Err(here.damaged(&format!("{found:#04x} stands where only zeros belong")))
            }
        }
    }
}
