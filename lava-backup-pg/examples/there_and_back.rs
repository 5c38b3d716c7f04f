//! Dumps a database into a file, says what is in it, and restores it as `…_copy`:
//!
//!     cargo run --example there_and_back -- /var/run/postgresql lavaserver
//!
//! It comes as the role `postgres`, which Debian's server lets in from that user alone: as
//! root, build it and run it by `runuser -u postgres -- target/debug/examples/there_and_back`.

use std::error::Error;
use std::fs::File;
use std::io::{self, Seek, Write};

use lava_backup_pg::archive::TableInfo;
use lava_backup_pg::{
    Address, DumpSink, Pace, Programs, Restore, Snapshot, Superuser, dump, restore,
};

struct ToFile(File);

impl DumpSink for ToFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn table_begins(&mut self, _: &TableInfo) -> io::Result<()> {
        Ok(())
    }
}

/// What the example is about; `admin` may make databases on the same server.
pub fn there_and_back(
    address: &Address,
    admin: &Superuser,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let mut snapshot = Snapshot::take(address)?;
    let mut file = ToFile(tempfile::tempfile()?);
    let contents = dump(&mut snapshot, Pace::Unlimited, &mut file)?.contents;
    for table in &contents.tables {
        writeln!(out, "{:>8} rows  {}", table.rows, table.table.name)?;
    }
    let mut copy = Restore::of(snapshot.facts(), &contents, "the_copy");
    copy.database += "_copy";
    let mut feed = |load: &mut dyn Write| {
        file.0.rewind()?;
        io::copy(&mut file.0, load).map(drop)
    };
    let restored = restore(admin, &copy, &mut feed, &mut |_| ())?;
    let equal = restored.comparison.equal;
    writeln!(out, "{equal} tables of {} are the same", copy.database)?;
    Ok(())
}

#[allow(dead_code, reason = "a test calls the part above")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || {
        arguments
            .next()
            .ok_or("give a socket's directory and a name")
    };
    let (host, database) = (next()?, next()?);
    let address = Address::parse(&format!("host={host} dbname={database} user=postgres"))?;
    let major = Snapshot::take(&address)?.facts().major;
    let admin = Superuser::new(Programs::find(major)?, None, &host, address.port);
    there_and_back(&address, &admin, &mut io::stdout())
}
