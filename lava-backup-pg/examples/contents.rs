//! Dumps a database into nothing, at full speed, and tells what was in it.
//!
//!     contents postgres://ROLE:PASSWORD@HOST:PORT/DATABASE
#![allow(clippy::print_stdout)]

use std::io;

use lava_backup_pg::archive::TableInfo;
use lava_backup_pg::{Address, DumpSink, Pace, Snapshot, dump};

struct Nothing;

impl DumpSink for Nothing {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn table_begins(&mut self, _: &TableInfo) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("name a database")?;
    let mut snapshot = Snapshot::take(&Address::parse(&url)?)?;
    let contents = dump(&mut snapshot, Pace::Unlimited, &mut Nothing)?.contents;
    for table in &contents.tables {
        let (rows, digest) = (table.rows, &table.digest);
        println!(
            "{rows:>12} {digest} {}.{}",
            table.table.schema, table.table.name
        );
    }
    Ok(())
}
