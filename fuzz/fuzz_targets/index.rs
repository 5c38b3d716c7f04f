//! The index: whatever its lines say, no reader panics, and entries come in order.
#![no_main]

mod forge;

use std::fs;
use std::sync::OnceLock;

use forge::{Forge, ID, document};
use lava_backup_core::{Depth, Entry, Kind, Store, verify};
use libfuzzer_sys::fuzz_target;

fn forged() -> &'static Forge {
    static FORGE: OnceLock<Forge> = OnceLock::new();
    // The third is missing.
    FORGE.get_or_init(|| Forge::new(&[&[b'a'; 2048], &[0; 1536], &[b'c'; 700]]))
}

/// Takes whatever it is given, and counts it.
struct Count(u64);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let forge = forged();
    let text = [b"{\"format\":\"lava-backup-index/1\"}\n", data].concat();
    // The lines in three blocks, wherever these end.
    let cuts = [text.len() / 3, text.len() / 3 * 2].map(|at| {
        let end = text[at..].iter().position(|b| *b == b'\n');
        end.map_or(text.len(), |end| at + end + 1)
    });
    let blocks = [&text[..cuts[0]], &text[cuts[0]..cuts[1]], &text[cuts[1]..]];
    let blocks: Vec<&[u8]> = blocks.into_iter().filter(|b| !b.is_empty()).collect();
    let digest = forge.index(&blocks);
    let lines = data.iter().filter(|b| **b == b'\n').count();
    let seal = document(&forge.seal(&digest, lines));
    fs::write(forge.backup().join("backup.json"), seal).unwrap();

    let store = Store::open(forge.path()).unwrap();
    let backup = store.backup(&ID.parse().unwrap()).unwrap();
    let frames = backup.frames().unwrap();
    let mut last: Option<Entry> = None;
    for entry in backup.index().unwrap() {
        let Ok(entry) = entry else { break };
        if let Some(last) = &last {
            assert!((last.frame, last.offset) <= (entry.frame, entry.offset));
            assert!(last.path.section() != entry.path.section() || last.path < entry.path);
        }
        // A hole may be of any length, and takes as long to write.
        let mut content = Count(0);
        if entry.extents.is_empty() || entry.size < 1 << 20 {
            let read = backup.read(&frames, &entry, &mut content);
            if read.is_ok() {
                assert!(entry.kind == Kind::File && content.0 == entry.size);
            }
            let holes = if entry.extents.is_empty() {
                0
            } else {
                entry.size
            };
            assert!(content.0 <= 2048 + 1536 + 700 + holes);
        }
        last = Some(entry);
    }
    // A full look starts threads, which takes far longer than what an unsound index leaves to see.
    let whole = backup.index().unwrap().all(|entry| entry.is_ok());
    // What is looked for is found in a sound index; nothing else is, in any.
    if let Some(last) = &last {
        let found = backup.entry(&last.path);
        assert!(found.map_or(!whole, |found| found.path == last.path));
        let below = backup.entries_below(&last.path).into_iter().flatten();
        let mut below = below.map_while(Result::ok);
        assert!(below.all(|entry| entry.path.is_within(&last.path)));
    }
    for depth in [Depth::Quick, Depth::Full]
        .into_iter()
        .take(1 + usize::from(whole))
    {
        let report = verify(&backup, depth).unwrap();
        assert!(!report.damage.is_empty(), "a frame is missing");
    }
});
