//! The tar stream as what comes through a pipe reads it: whatever passes is what other tars read.
#![no_main]

#[path = "../../lava-backup-core/tests/forge/mod.rs"]
mod hand;
#[path = "forge/sample.rs"]
mod sample;

use std::path::Path;
use std::sync::OnceLock;

use hand::{CONTENT, Laid, METADATA, fix_checksum, piece};
use lava_backup_core::verify_stream;
use libfuzzer_sys::fuzz_target;
use sample::{Bytes, forgery, members};

/// The sample's metadata, and its stream.
fn forged() -> &'static (Vec<u8>, Vec<u8>) {
    static FORGE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    FORGE.get_or_init(|| {
        let stream = Laid::of(&members()).frames.concat();
        (piece(METADATA, &forgery().metadata()), stream)
    })
}

fuzz_target!(|data: &[u8]| {
    let (metadata, sound) = forged();
    let mut bytes = Bytes(data);
    let how = bytes.byte();
    let mut cuts: Vec<usize> = (0..how >> 4).map(|_| bytes.number()).collect();
    let mut stream = match how % 4 {
        0 => bytes.0.to_vec(),
        _ => {
            let mut stream = sound.clone();
            for _ in 0..how % 4 {
                bytes.damage(&mut stream);
            }
            stream
        }
    };
    // Else hardly anything would come past the checksums.
    for block in stream
        .chunks_exact_mut(512)
        .filter(|b| b[257..262] == *b"ustar")
    {
        fix_checksum(block);
    }
    cuts.retain(|cut| *cut < stream.len());
    cuts.extend([0, stream.len()]);
    cuts.sort();
    let mut file = metadata.clone();
    for cut in cuts.windows(2).filter(|cut| cut[0] < cut[1]) {
        file.extend(piece(CONTENT, &stream[cut[0]..cut[1]]));
    }
    let text = match verify_stream(Path::new("pipe"), file.as_slice()) {
        Ok(_) => {
            assert_eq!(stream, *sound);
            return;
        }
        Err(e) => e.to_string(),
    };
    // It says where, and no terminal minds it.
    assert!(!text.chars().any(|c| c.is_control()), "{text:?}");
    if text.contains("frame ") {
        assert!(text.contains("at byte "), "{text}");
    }
});
