//! What a host has room for, and which locales it has.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lava_backup_core::Root;
use lava_restore_plan::facts::Room;

/// Where Debian keeps PostgreSQL's clusters.
const CLUSTERS: &str = "/var/lib/postgresql";

/// How much room there is where a restore writes most; a place of which nobody can tell is left
/// out.
pub(super) fn room(root: &Root, media_root: &Path) -> Vec<Room> {
    let of = |path: &Path| {
        let relative = path.strip_prefix("/").ok()?;
        let whole = root.path().join(relative);
        let there = whole.ancestors().find(|place| place.is_dir())?;
        let there = there.canonicalize().ok()?;
        let room = rustix::fs::statvfs(&there).ok()?;
        Some(Room {
            path: path.to_string_lossy().into_owned(),
            mount: mount(&there, root.path())?.to_string_lossy().into_owned(),
            free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
        })
    };
    [Path::new(CLUSTERS), media_root]
        .into_iter()
        .filter_map(of)
        .collect()
}

/// The highest directory on the same file system, as the host below the root names it.
fn mount(there: &Path, root: &Path) -> Option<PathBuf> {
    let root = root.canonicalize().ok()?;
    let device = |path: &Path| path.metadata().ok().map(|meta| meta.dev());
    let own = device(there)?;
    let mut highest = there;
    for place in there
        .ancestors()
        .take_while(|place| place.starts_with(&root))
    {
        if device(place) != Some(own) {
            break;
        }
        highest = place;
    }
    let below = highest.strip_prefix(&root).unwrap_or(highest);
    Some(Path::new("/").join(below))
}

/// The locales of the C library: those that are a directory of their own, those in its archive, and
/// those that are always there. `None` if the archive can't be read.
pub(super) fn locales(root: &Root) -> Option<Vec<String>> {
    const DIRECTORY: &str = "/usr/lib/locale";
    /// A complete archive of all of Debian's locales has 220 MB, most of it behind the names.
    const MOST: u64 = 512 << 20;
    let mut found = vec!["C".to_owned(), "POSIX".to_owned()];
    let directory = root.path().join(DIRECTORY.trim_start_matches('/'));
    let names = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for name in names {
        if name.path().join("LC_COLLATE").is_file()
            && let Some(name) = name.file_name().to_str()
        {
            found.push(name.to_owned());
        }
    }
    let archive = Path::new(DIRECTORY).join(OsStr::new("locale-archive"));
    if root.resolve(&archive).is_ok() {
        let bytes = root.read(&archive, MOST).ok()?;
        found.extend(archived(&bytes)?);
    }
    found.sort();
    found.dedup();
    Some(found)
}

/// The names in a locale archive of glibc: its head says where they are, and each ends with a zero.
fn archived(bytes: &[u8]) -> Option<Vec<String>> {
    const MAGIC: u32 = 0xde02_0109;
    let word = |at: usize| {
        let bytes = bytes.get(4 * at..4 * at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    // magic, serial, then of the names' hashes: offset, used, size; then the names: offset, used.
    if word(0)? != MAGIC {
        return None;
    }
    let (offset, used) = (word(5)? as usize, word(6)? as usize);
    let names = bytes.get(offset..offset.checked_add(used)?)?;
    let names = names.split(|b| *b == 0).filter(|name| !name.is_empty());
    Some(
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_locales_of_this_host_are_those_that_locale_names() {
        let said = std::process::Command::new("locale")
            .arg("-a")
            .output()
            .unwrap();
        let mut said: Vec<String> = String::from_utf8_lossy(&said.stdout)
            .lines()
            .map(str::to_owned)
            .collect();
        said.sort();
        let mut found = locales(&Root::open(Path::new("/")).unwrap()).unwrap();
        // `locale` names aliases too, and writes the same codeset as it was asked for.
        found.retain(|name| said.contains(name));
        said.retain(|name| name.contains('.') || ["C", "POSIX"].contains(&name.as_str()));
        assert_eq!(found, said);
    }

    #[test]
    fn a_damaged_archive_has_no_names() {
        assert_eq!(archived(&[]), None);
        assert_eq!(archived(&[0; 64]), None);
        let mut far = vec![0_u8; 64];
        far[..4].copy_from_slice(&0xde02_0109_u32.to_ne_bytes());
        far[20..28].fill(0xff);
        assert_eq!(archived(&far), None);
    }

    #[test]
    fn room_is_told_of_the_file_system_that_a_place_will_be_on() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib")).unwrap();
        let rooms = room(&Root::open(dir.path()).unwrap(), Path::new("/srv/media"));
        assert_eq!(rooms.len(), 2);
        assert!(
            rooms
                .iter()
                .all(|room| room.mount == "/" && room.free_bytes > 0),
            "{rooms:?}"
        );
    }
}
