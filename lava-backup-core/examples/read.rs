//! Writes one file of a backup to standard output, checked on the way.
//!
//!     cargo run -p lava-backup-core --example read -- STORE BACKUP MEMBER

use std::error::Error;
use std::path::Path;

use lava_backup_core::Store;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [store, backup, member] = &args[..] else {
        return Err("usage: read STORE BACKUP MEMBER".into());
    };
    let store = Store::open(Path::new(store))?;
    let backup = store.backup(&store.find(backup)?)?;
    let entry = backup.entry(&member.parse()?)?;
    backup.read(&backup.frames()?, &entry, &mut std::io::stdout())?;
    Ok(())
}
