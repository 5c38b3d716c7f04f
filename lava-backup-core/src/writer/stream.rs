use std::io::{self, Write};

use super::{BackupWriter, Meta, new_entry};
use crate::attributes::Extent;
use crate::cut::ContentCutter;
use crate::entry::{Class, Entry, Kind};
use crate::error::Result;
use crate::seen::{GroupStand, Stand};
use crate::tarstream;

/// A regular file that is written as a stream; see [`BackupWriter::stream`].
///
/// Not finished, it is not in the backup, and the backup can't be sealed.
pub struct StreamMember<'w> {
    writer: &'w mut BackupWriter,
    entry: Entry,
    header: u64,
    hasher: blake3::Hasher,
    cutter: ContentCutter,
    /// Bytes written.
    stored: u64,
    stand: Option<Stand>,
}

impl<'w> StreamMember<'w> {
    /// Begins a member that may come next, at the begin of a frame.
    pub(super) fn begin(writer: &'w mut BackupWriter, entry: Entry, stand: Option<Stand>) -> Self {
        Self {
            header: writer.pipeline.reserve(),
            entry,
            hasher: blake3::Hasher::new(),
            cutter: ContentCutter::new(),
            stored: 0,
            stand,
            writer,
        }
    }
}

impl StreamMember<'_> {
    /// Says that a part begins here: a good place to cut. Of a part that grew until
    /// the next backup, only a small share near its end is stored anew.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) from the store.
    pub fn begin_part(&mut self) -> Result<()> {
        let pipeline = &mut self.writer.pipeline;
        self.cutter.begin_part(|bytes| {
            let number = pipeline.reserve();
            pipeline.put(number, bytes)
        })
    }

    fn flush_frames(&mut self) -> Result<()> {
        let pipeline = &mut self.writer.pipeline;
        self.cutter.flush(|bytes| {
            let number = pipeline.reserve();
            pipeline.put(number, bytes)
        })
    }

    /// Sets the class, where only the reading of the content has shown it.
    pub fn set_class(&mut self, class: Class) {
        self.entry.class = class;
    }

    /// Sets what is known of the file only when it was read: its metadata, how
    /// it stood if that is sure, and, if what was written is not all of it,
    /// where that lies.
    pub(crate) fn set_read(&mut self, meta: Meta, stand: Option<Stand>, sparse: Option<Sparse>) {
        let path = self.entry.path.clone();
        self.entry = new_entry(path, Kind::File, meta);
        self.stand = stand;
        if let Some(sparse) = sparse {
            self.entry.size = sparse.size;
            self.entry.extents = sparse.extents;
        }
    }

    /// Begins anew: what was written so far is not in the backup.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) from the store.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.writer.pipeline.rewind(self.header + 1)?;
        self.cutter = ContentCutter::new();
        self.hasher = blake3::Hasher::new();
        self.stored = 0;
        Ok(())
    }

    /// Ends the member.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) from the store.
    pub fn finish(mut self) -> Result<Entry> {
        let padding = [0; tarstream::BLOCK as usize];
        let pipeline = &mut self.writer.pipeline;
        self.cutter
            .push(&padding[..tarstream::padding(self.stored)], |bytes| {
                let number = pipeline.reserve();
                pipeline.put(number, bytes)
            })?;
        self.flush_frames()?;
        self.entry.blake3 = Some(self.hasher.finalize().to_hex().to_string());
        if self.entry.extents.is_empty() {
            self.entry.size = self.stored;
        }
        let header = tarstream::header(&self.entry);
        // The headers have a frame of their own; the content begins the next.
        (self.entry.frame, self.entry.offset) = match self.stored {
            0 => (self.header, header.len() as u64),
            _ => (self.header + 1, 0),
        };
        self.writer.pipeline.put(self.header, header)?;
        if let Some(stand) = self.stand {
            let mut group = GroupStand::default();
            group.add(&stand);
            self.writer.stands.insert(self.header, group.finish());
        }
        self.writer.note(&self.entry)?;
        Ok(self.entry)
    }
}

/// A file of which only some runs hold data.
pub(crate) struct Sparse {
    /// Bytes, holes counted.
    pub(crate) size: u64,
    pub(crate) extents: Vec<Extent>,
}

impl Write for StreamMember<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.stored += bytes.len() as u64;
        let pipeline = &mut self.writer.pipeline;
        self.cutter
            .push(bytes, |frame| {
                let number = pipeline.reserve();
                pipeline.put(number, frame)
            })
            .map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
