//! Archives a directory, and proves every byte of what was stored.
//!
//!     cargo run -p lava-backup-core --example archive -- DIR STORE

use std::error::Error;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lava_backup_core::{Capture, Choice, Class, Depth, MemberPath, Root, SealInput, Store, verify};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(dir), Some(place)) = (args.next(), args.next()) else {
        return Err("usage: archive DIR STORE".into());
    };
    let store = if place.exists() {
        Store::open(&place)?
    } else {
        Store::init(&place)?
    };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut writer = store.create(seconds.to_string().parse()?)?;

    // Seen from the root of the host, whose files know the names of owners.
    let root = Root::open(Path::new("/"))?;
    let start = MemberPath::new(&dir.canonicalize()?.as_os_str().as_bytes()[1..])?;
    let choose = |_: &MemberPath| Choice::Take(Class::Plain);
    Capture::new(&root, &choose, &mut |_| ()).section(&mut writer, "files", &[start])?;
    let sealed = writer.seal(SealInput::default())?;

    let backup = store.backup(&sealed.seal.id)?;
    let report = verify(&backup, Depth::Full)?;
    let (id, damage) = (backup.id(), report.damage.len());
    writeln!(
        std::io::stdout(),
        "{id}: {} entries, {damage} damaged",
        report.entries
    )?;
    Ok(())
}
