use std::io::{self, Read, Write};

use super::PIECE;
use crate::entry::{Class, Kind, Time};
use crate::error::{At, Error, Result};
use crate::frame::{Encoder, FrameName};
use crate::path::{MemberPath, OWN};
use crate::piece::{self, Holds};
use crate::tarstream;
use crate::writer::{Meta, new_entry};

/// Writes the members of metadata, in pieces.
pub(crate) struct Metadata<'o> {
    out: &'o mut dyn Write,
    waiting: Vec<u8>,
    encoder: Encoder,
}

impl<'o> Metadata<'o> {
    pub(crate) fn new(out: &'o mut dyn Write) -> Self {
        Self {
            out,
            waiting: Vec::new(),
            encoder: Encoder::new(3),
        }
    }

    /// Adds one file of the backup, of this many bytes; in the order of names.
    pub(crate) fn member(&mut self, file: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        let path = MemberPath::new([OWN, b"/", file.as_bytes()].concat())?;
        let place = path.to_string();
        let mut entry = new_entry(
            path,
            Kind::File,
            Meta::private(Class::Plain, Time::default()),
        );
        entry.size = size;
        self.waiting.extend_from_slice(&tarstream::header(&entry));
        let copied = io::copy(&mut content.take(size), self).at("write", &place)?;
        if copied != size {
            return Err(Error::damaged(place, "ends before it should"));
        }
        let padding = self.waiting.len() + tarstream::padding(size);
        self.waiting.resize(padding, 0);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        self.end_piece().at("write", "the metadata")
    }

    fn end_piece(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let name = FrameName::of(&self.waiting);
        let stored = self.encoder.encode(name, &self.waiting);
        let stored = stored.map_err(io::Error::other)?;
        self.waiting.clear();
        piece::write(self.out, Holds::Metadata, name, &stored)
    }
}

impl Write for Metadata<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE.saturating_sub(self.waiting.len()));
        self.waiting.extend_from_slice(&bytes[..taken]);
        if self.waiting.len() >= PIECE {
            self.end_piece()?;
        }
        // A header may have filled the piece.
        match taken {
            0 if !bytes.is_empty() => self.write(bytes),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
