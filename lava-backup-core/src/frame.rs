use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// No frame holds more uncompressed bytes: what a reader must be ready to hold.
pub const MAX_FRAME: usize = 8 << 20;

/// The name of a frame: the BLAKE3 of its uncompressed bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameName([u8; 32]);

impl FrameName {
    /// Names a run of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    pub(crate) fn from_bytes(name: [u8; 32]) -> Self {
        Self(name)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Where the frame lies below `frames/`: `ab/abcdef…`.
    pub fn file(&self) -> String {
        let hex = self.to_string();
        format!("{}/{hex}", &hex[..2])
    }
}

impl fmt::Display for FrameName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for FrameName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for FrameName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Upper case would give one frame two file names.
        let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        match blake3::Hash::from_hex(text) {
            Ok(hash) if lower => Ok(Self(*hash.as_bytes())),
            _ => Err(Error::new(
                ErrorKind::BadName,
                text.chars().take(80).collect::<String>(),
                "is no name of a frame",
            )),
        }
    }
}

/// A zstd decoder skips a frame that begins with this.
const SKIPPABLE: u32 = 0x184D_2A5B;
pub(crate) const TRAILER: usize = 4 + 4 + 32;
/// No stored frame is longer: what does not compress gets little longer.
pub(crate) const MAX_STORED: u64 = MAX_FRAME as u64 + (1 << 20);

/// Ends a run of zstd frames with a digest of their bytes.
///
/// zstd leaves some bits of its own headers free, so a decoder gives the right
/// content from bytes that are not those that were written. The trailer is a
/// skippable frame: every zstd decoder passes over it, and it makes each stored
/// byte count. `content` binds it to what the bytes decode to.
pub(crate) fn trailer(stored: &blake3::Hasher, content: &[u8; 32]) -> [u8; TRAILER] {
    let mut hasher = stored.clone();
    hasher.update(content);
    let mut out = [0; TRAILER];
    out[..4].copy_from_slice(&SKIPPABLE.to_le_bytes());
    out[4..8].copy_from_slice(&32u32.to_le_bytes());
    out[8..].copy_from_slice(hasher.finalize().as_bytes());
    out
}

/// Splits stored bytes into zstd frames and a trailer that fits them.
pub(crate) fn check_trailer<'b>(
    stored: &'b [u8],
    content: &[u8; 32],
) -> Result<&'b [u8], &'static str> {
    let Some(cut) = stored.len().checked_sub(TRAILER) else {
        return Err("is too short for a frame");
    };
    let (zstd, found) = stored.split_at(cut);
    let mut hasher = blake3::Hasher::new();
    hasher.update(zstd);
    if trailer(&hasher, content) == found {
        Ok(zstd)
    } else {
        Err("its stored bytes are not those that were written")
    }
}

/// Compresses frames; one for each thread.
pub(crate) struct Encoder(zstd::bulk::Compressor<'static>);

impl Encoder {
    pub(crate) fn new(level: i32) -> Self {
        let compressor = zstd::bulk::Compressor::new(level);
        Self(compressor.unwrap_or_default())
    }

    /// The stored form of a frame.
    pub(crate) fn encode(&mut self, name: FrameName, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut stored = self
            .0
            .compress(bytes)
            .map_err(|e| Error::io(name.to_string(), "compress frame", e))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&stored);
        stored.extend_from_slice(&trailer(&hasher, &name.0));
        Ok(stored)
    }
}

/// Are these the stored bytes of the frame of that name, unchanged?
///
/// Far cheaper than [`decode`], and as sure for bytes that we wrote.
pub(crate) fn is_intact(name: FrameName, stored: &[u8]) -> bool {
    check_trailer(stored, &name.0).is_ok()
}

/// The uncompressed bytes of a stored frame, checked against its name.
///
/// # Errors
/// [`ErrorKind::Damaged`] at `place` if a single bit differs from what was written.
pub fn decode(place: &Path, name: FrameName, stored: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decode_into(place, name, stored, &mut bytes)?;
    Ok(bytes)
}

thread_local! {
    static DECOMPRESSOR: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::default();
}

/// As [`decode`], into a buffer that may have been used before.
pub(crate) fn decode_into(
    place: &Path,
    name: FrameName,
    stored: &[u8],
    bytes: &mut Vec<u8>,
) -> Result<()> {
    let zstd = check_trailer(stored, &name.0).map_err(|why| Error::damaged(place, why))?;
    // `zstd -dc` alone must be able to read it, in as much memory.
    match window(zstd) {
        Some(window) if window > MAX_FRAME as u64 => {
            let what = format!("has a window of {window} bytes, of at most {MAX_FRAME}");
            return Err(Error::damaged(place, what));
        }
        Some(_) => {}
        None => return Err(Error::damaged(place, "is not one zstd frame")),
    }
    let bound = zstd::bulk::Decompressor::upper_bound(zstd).unwrap_or(MAX_FRAME);
    bytes.clear();
    bytes.reserve_exact(bound.min(MAX_FRAME));
    DECOMPRESSOR
        .with_borrow_mut(|decompressor| decompressor.decompress_to_buffer(zstd, bytes))
        .map_err(|e| Error::damaged(place, format!("does not decompress: {e}")))?;
    if bytes.is_empty() {
        return Err(Error::damaged(place, "holds nothing"));
    }
    if FrameName::of(bytes) != name {
        return Err(Error::damaged(
            place,
            "its content is not what its name says",
        ));
    }
    Ok(())
}

/// Bytes that a decoder must keep for one zstd frame (RFC 8878); `None` if it is
/// not one, needs a dictionary, or has something after it.
fn window(zstd: &[u8]) -> Option<u64> {
    let length = zstd::zstd_safe::find_frame_compressed_size(zstd).ok()?;
    let rest = zstd.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?;
    let (descriptor, rest) = rest.split_first()?;
    let (single_segment, dictionary) = (descriptor & 0x20 != 0, descriptor & 3 != 0);
    if length != zstd.len() || dictionary {
        return None;
    }
    // All of the content, whose length is limited anyway.
    if single_segment {
        return Some(0);
    }
    let (exponent, eighths) = (rest.first()? >> 3, rest.first()? & 7);
    let base = 1u64 << (10 + exponent);
    Some(base + base / 8 * u64::from(eighths))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_frame_comes_back_and_every_changed_bit_is_found() {
        let bytes = b"- {\"dt\": \"2026-11-22\", \"lvl\": \"info\"}\n".repeat(40);
        let name = FrameName::of(&bytes);
        let stored = Encoder::new(3).encode(name, &bytes).unwrap();
        let place = Path::new("frame");
        assert_eq!(decode(place, name, &stored).unwrap(), bytes);
        for at in 0..stored.len() {
            for bit in 0..8 {
                let mut bad = stored.clone();
                bad[at] ^= 1 << bit;
                assert!(decode(place, name, &bad).is_err(), "bit {bit} of byte {at}");
                assert!(!is_intact(name, &bad));
            }
            assert!(decode(place, name, &stored[..at]).is_err());
        }
        let mut longer = stored.clone();
        longer.push(0);
        assert!(decode(place, name, &longer).is_err());
    }

    #[test]
    fn a_frame_under_another_name_is_damage() {
        let stored = Encoder::new(3).encode(FrameName::of(b"a"), b"a").unwrap();
        let error = decode(Path::new("f"), FrameName::of(b"b"), &stored).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
    }

    #[test]
    fn a_name_has_one_spelling() {
        let name = FrameName::of(b"x");
        assert_eq!(name.to_string().parse::<FrameName>().unwrap(), name);
        assert!(
            name.to_string()
                .to_uppercase()
                .parse::<FrameName>()
                .is_err()
        );
        assert!("../../etc/passwd".parse::<FrameName>().is_err());
    }

    /// A zstd frame of one block that holds an `a`, after this part of a header.
    fn zstd_frame(header: &[u8]) -> Vec<u8> {
        [&[0x28, 0xb5, 0x2f, 0xfd], header, &[9, 0, 0, b'a']].concat()
    }

    #[test]
    fn the_window_of_a_zstd_frame_is_that_of_rfc_8878() {
        for (byte, expected) in [
            (0, 1024),
            (7, 1920),
            (8, 2048),
            (8 + 5, 3328),
            (13 * 8, 8 << 20),
            (13 * 8 + 1, 9 << 20),
        ] {
            let frame = zstd_frame(&[0, byte]);
            assert_eq!(window(&frame), Some(expected), "{byte}");
            assert_eq!(window(&[&frame[..], b"more"].concat()), None);
            assert_eq!(window(&[&frame[..], &frame].concat()), None);
        }
        let (single_segment, dictionary) = ([0x20, 1], [1, 0, 1]);
        assert_eq!(window(&zstd_frame(&single_segment)), Some(0));
        assert_eq!(window(&zstd_frame(&dictionary)), None);
        assert_eq!(window(&trailer(&blake3::Hasher::new(), &[0; 32])), None);
    }

    #[test]
    fn a_frame_that_takes_more_memory_than_any_of_ours_is_damage() {
        let name = FrameName::of(b"a");
        let decode_with = |window: u8| {
            let mut stored = zstd_frame(&[0, window]);
            let mut hasher = blake3::Hasher::new();
            hasher.update(&stored);
            stored.extend_from_slice(&trailer(&hasher, name.as_bytes()));
            decode(Path::new("f"), name, &stored)
        };
        assert_eq!(decode_with(13 * 8).unwrap(), b"a");
        for window in [13 * 8 + 1, 14 * 8] {
            let error = decode_with(window).unwrap_err();
            assert!(error.to_string().contains("window"), "{error}");
        }
    }

    #[test]
    fn the_longest_frame_can_be_stored_even_if_it_does_not_compress() {
        let mut bytes = vec![0; MAX_FRAME];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        let name = FrameName::of(&bytes);
        let stored = Encoder::new(3).encode(name, &bytes).unwrap();
        assert!(stored.len() > MAX_FRAME && stored.len() as u64 <= MAX_STORED);
        assert!(is_intact(name, &stored));
        assert!(decode(Path::new("f"), name, &stored).unwrap() == bytes);
    }
}
