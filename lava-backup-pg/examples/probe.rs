//! probe
#![allow(clippy::unwrap_used, clippy::print_stdout)]
use lava_backup_pg::archive::*;
fn main() {
    for f in std::env::args().skip(1) {
        let d = std::fs::read(&f).unwrap();
        let t = std::time::Instant::now();
        let mut r = DumpReader::new();
        let e = d.chunks(65536).try_for_each(|c| r.feed(c, &mut ()));
        match e.and_then(|()| r.finish()) {
            Ok(c) => { for t in &c.tables { println!("ROWS {}.{} {} {} {}", t.table.schema, t.table.name, t.rows, t.bytes, t.digest) } println!("{f}: {} tables {} rows {} seq {} lo {} bytes {} entries {} {:.3?}", c.tables.len(), c.tables.iter().map(|t| t.rows).sum::<u64>(), c.sequences.len(), c.large_objects, c.bytes, c.entries, t.elapsed())},
            Err(e) => println!("{f}: {e}"),
        }
    }
}
