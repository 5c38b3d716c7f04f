use std::io::{self, Write};

use lava_backup_core::StreamMember;
use lava_backup_pg::DumpSink;
use lava_backup_pg::archive::TableInfo;

use crate::progress::Progress;
use crate::text;

/// Puts the dump into the backup, and says how far it is.
pub(super) struct Sink<'s> {
    member: StreamMember<'s>,
    progress: &'s Progress,
    bytes: u64,
    /// Tables begun, of how many, and the last.
    tables: usize,
    of_tables: usize,
    table: String,
    /// Bytes when it was last said.
    told: u64,
}

/// A large table takes long.
const TELL_EVERY: u64 = 1 << 20;

impl<'s> Sink<'s> {
    pub(super) fn new(
        mut member: StreamMember<'s>,
        progress: &'s Progress,
        of_tables: usize,
    ) -> lava_backup_core::Result<Self> {
        // The table of contents, which holds the values of sequences.
        member.begin_part()?;
        Ok(Self {
            member,
            progress,
            bytes: 0,
            tables: 0,
            of_tables,
            table: String::new(),
            told: 0,
        })
    }

    /// The dump is whole.
    pub(super) fn finish(self) -> lava_backup_core::Result<()> {
        self.member.finish().map(drop)
    }

    fn tell(&mut self) {
        self.told = self.bytes;
        self.progress.say(format!(
            "dumping the database: {}, table {} of {}: {}",
            text::bytes(self.bytes),
            self.tables,
            self.of_tables.max(self.tables),
            self.table,
        ));
    }
}

impl DumpSink for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if self.bytes - self.told >= TELL_EVERY {
            self.tell();
        }
        self.member.write_all(bytes)
    }

    fn table_begins(&mut self, table: &TableInfo) -> io::Result<()> {
        self.tables += 1;
        self.table = format!("{}.{}", table.schema, table.name);
        self.tell();
        self.member.begin_part().map_err(io::Error::other)
    }
}
