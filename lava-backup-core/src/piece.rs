//! Pieces: compressed runs one after another in one file, each after a prelude
//! that says how long it is and what it decodes to.
//!
//! A prelude is a skippable frame, so `zstd -dc` passes over it; who reads may
//! hop from prelude to prelude and decode one piece without the others.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::backend::Blob;
use crate::error::{At, Error, Result};
use crate::frame::{self, FrameName, MAX_STORED};

/// Bytes of a prelude: magic, length of the rest, length of the stored form, name.
pub(crate) const PRELUDE: usize = 4 + 4 + 8 + 32;
/// With what a reference begins.
pub(crate) const REFERENCE: u32 = 0x184D_2A5E;
/// What the second field of a prelude says: bytes after it.
const REST: u32 = 8 + 32;

/// What a piece holds; the magic number of its prelude says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// What its file is for: frames of a backup, blocks of an index.
    Content,
    /// What is said about the content of an exported file.
    Metadata,
    /// Nothing: it names a frame of the store, and says a number about it.
    Reference,
}

impl Holds {
    fn magic(self) -> u32 {
        match self {
            Self::Content => 0x184D_2A5C,
            Self::Metadata => 0x184D_2A5D,
            Self::Reference => REFERENCE,
        }
    }
}

/// What a prelude says, and where what it speaks of lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prelude {
    /// What the piece holds.
    pub(crate) holds: Holds,
    /// The digest of the uncompressed bytes.
    pub(crate) name: FrameName,
    /// Bytes of the file before the stored form.
    pub(crate) offset: u64,
    /// Bytes of the stored form: at most [`MAX_STORED`]. Of a reference, which
    /// has none, the number.
    pub(crate) length: u64,
}

impl Prelude {
    /// Reads the prelude that begins at byte `at` of `place`.
    fn parse(place: &Path, at: u64, bytes: &[u8; PRELUDE]) -> Result<Self> {
        let bad = |what: String| Err(Error::damaged(place, format!("at byte {at}: {what}")));
        let (magic, rest) = (word(bytes, 0), word(bytes, 4));
        let kinds = [Holds::Content, Holds::Metadata, Holds::Reference];
        let Some(holds) = kinds.into_iter().find(|k| k.magic() == magic) else {
            return bad(format!(
                "expected a piece, which begins with {:#010x} to {:#010x}, and found {magic:#010x}",
                kinds[0].magic(),
                kinds[2].magic()
            ));
        };
        if rest != REST {
            return bad(format!("expected a prelude of {REST} bytes, found {rest}"));
        }
        let length = u64::from(word(bytes, 8)) | u64::from(word(bytes, 12)) << 32;
        let least = frame::TRAILER as u64 + 1;
        if holds != Holds::Reference && !(least..=MAX_STORED).contains(&length) {
            return bad(format!(
                "expected a piece of {least} to {MAX_STORED} bytes, found {length}"
            ));
        }
        let mut name = [0; 32];
        name.copy_from_slice(&bytes[PRELUDE - 32..]);
        Ok(Self {
            holds,
            name: FrameName::from_bytes(name),
            offset: at + PRELUDE as u64,
            length,
        })
    }

    /// The byte of the file after the piece.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.stored_length()
    }

    fn stored_length(&self) -> u64 {
        match self.holds {
            Holds::Reference => 0,
            Holds::Content | Holds::Metadata => self.length,
        }
    }

    /// Reads the stored form, which is not checked yet.
    pub(crate) fn stored(&self, place: &Path, file: &dyn Blob) -> Result<Vec<u8>> {
        let mut stored = vec![0; usize::try_from(self.length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut stored, self.offset)
            .map_err(|e| ended(place, self.offset, self.length, e))?;
        Ok(stored)
    }

    /// The uncompressed bytes of a stored form, checked against the name.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) if a bit differs from
    /// what was written.
    pub(crate) fn decode(&self, place: &Path, stored: &[u8]) -> Result<Vec<u8>> {
        frame::decode(place, self.name, stored).map_err(|e| {
            let at = self.offset;
            Error::new(e.kind(), place, format!("at byte {at}: {}", e.what()))
        })
    }
}

fn word(bytes: &[u8; PRELUDE], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// What went wrong while `length` bytes from `at` were read.
fn ended(place: &Path, at: u64, length: u64, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::damaged(
            place,
            format!("at byte {at}: expected {length} more bytes, and it ends before"),
        ),
        _ => Error::io(place, "read", error),
    }
}

/// Writes one piece: the prelude, and the stored form of the bytes of that name.
pub(crate) fn write(
    out: &mut dyn Write,
    holds: Holds,
    name: FrameName,
    stored: &[u8],
) -> io::Result<()> {
    out.write_all(&prelude(holds, name, stored.len() as u64))?;
    out.write_all(stored)
}

/// Writes a reference to a frame, with a number about it.
pub(crate) fn refer(out: &mut dyn Write, name: FrameName, number: u64) -> io::Result<()> {
    out.write_all(&prelude(Holds::Reference, name, number))
}

fn prelude(holds: Holds, name: FrameName, number: u64) -> [u8; PRELUDE] {
    let mut prelude = [0; PRELUDE];
    prelude[..4].copy_from_slice(&holds.magic().to_le_bytes());
    prelude[4..8].copy_from_slice(&REST.to_le_bytes());
    prelude[8..16].copy_from_slice(&number.to_le_bytes());
    prelude[16..].copy_from_slice(name.as_bytes());
    prelude
}

/// The preludes of a file, in order, found without reading what lies between.
///
/// They fill the file to its last byte.
///
/// # Errors
/// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) if anything else lies in
/// it, or if there are more than `limit`.
pub(crate) fn survey(place: &Path, file: &dyn Blob, limit: usize) -> Result<Vec<Prelude>> {
    let length = file.len();
    let mut found: Vec<Prelude> = Vec::new();
    let mut at = 0;
    while at < length {
        if found.len() == limit {
            return Err(Error::damaged(
                place,
                format!("at byte {at}: expected its end after {limit} pieces, and it goes on"),
            ));
        }
        let mut bytes = [0; PRELUDE];
        file.read_exact_at(&mut bytes, at)
            .map_err(|e| ended(place, at, PRELUDE as u64, e))?;
        let prelude = Prelude::parse(place, at, &bytes)?;
        at = prelude.end();
        if at > length {
            let eof = io::ErrorKind::UnexpectedEof.into();
            return Err(ended(place, prelude.offset, prelude.length, eof));
        }
        found.push(prelude);
    }
    Ok(found)
}

/// Reads pieces one after another from what can't be read at a place: preludes
/// and stored forms, the latter not checked yet.
pub(crate) struct Pieces<R> {
    place: PathBuf,
    input: R,
    at: u64,
    failed: bool,
}

impl<R: Read> Pieces<R> {
    pub(crate) fn new(place: PathBuf, input: R) -> Self {
        Self {
            place,
            input,
            at: 0,
            failed: false,
        }
    }

    fn piece(&mut self) -> Result<Option<(Prelude, Vec<u8>)>> {
        let mut bytes = Vec::with_capacity(PRELUDE);
        self.read(PRELUDE as u64, &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let bytes = bytes.as_slice().try_into().map_err(|_| {
            let eof = io::ErrorKind::UnexpectedEof.into();
            ended(&self.place, self.at, PRELUDE as u64, eof)
        })?;
        let prelude = Prelude::parse(&self.place, self.at, bytes)?;
        let mut stored = Vec::new();
        self.read(prelude.stored_length(), &mut stored)?;
        if stored.len() as u64 != prelude.stored_length() {
            let eof = io::ErrorKind::UnexpectedEof.into();
            return Err(ended(&self.place, prelude.offset, prelude.length, eof));
        }
        self.at = prelude.end();
        Ok(Some((prelude, stored)))
    }

    /// Reads so many bytes, or up to the end.
    fn read(&mut self, length: u64, into: &mut Vec<u8>) -> Result<()> {
        let mut limited = Read::by_ref(&mut self.input).take(length);
        limited.read_to_end(into).at("read", &self.place)?;
        Ok(())
    }
}

impl<R: Read> Iterator for Pieces<R> {
    type Item = Result<(Prelude, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let piece = self.piece();
        self.failed = piece.is_err();
        piece.transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::ErrorKind;
    use crate::frame::Encoder;

    impl Blob for Vec<u8> {
        fn len(&self) -> u64 {
            self.len() as u64
        }

        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            let rest = self.get(usize::try_from(offset).unwrap()..);
            rest.unwrap_or_default().read_exact(buffer)
        }
    }

    const TEXTS: [(Holds, &[u8]); 3] = [
        (Holds::Metadata, b"about"),
        (Holds::Content, b"one"),
        (Holds::Content, b"two"),
    ];

    fn written() -> Vec<u8> {
        let mut out = Vec::new();
        for (holds, text) in TEXTS {
            let name = FrameName::of(text);
            let stored = Encoder::new(3).encode(name, text).unwrap();
            write(&mut out, holds, name, &stored).unwrap();
        }
        out
    }

    fn hop(bytes: &Vec<u8>) -> Result<Vec<(Holds, Vec<u8>)>> {
        let place = Path::new("p");
        let texts = survey(place, bytes, 9)?.into_iter().map(|prelude| {
            let stored = prelude.stored(place, bytes)?;
            Ok((prelude.holds, prelude.decode(place, &stored)?))
        });
        texts.collect()
    }

    fn read_on(bytes: &[u8]) -> Result<Vec<(Holds, Vec<u8>)>> {
        let place = Path::new("p");
        let pieces = Pieces::new(place.to_owned(), bytes);
        let texts = pieces.map(|piece| {
            let (prelude, stored) = piece?;
            Ok((prelude.holds, prelude.decode(place, &stored)?))
        });
        texts.collect()
    }

    #[test]
    fn pieces_come_back_in_order_and_zstd_sees_their_content_alone() {
        let bytes = written();
        let expected: Vec<_> = TEXTS.map(|(h, t)| (h, t.to_vec())).into();
        assert_eq!(hop(&bytes).unwrap(), expected);
        assert_eq!(read_on(&bytes).unwrap(), expected);
        assert_eq!(zstd::decode_all(&bytes[..]).unwrap(), b"aboutonetwo");
        let piece = read_on(&bytes[..PRELUDE + 14]);
        assert_eq!(piece.unwrap_err().kind(), ErrorKind::Damaged);
        assert_eq!(hop(&Vec::new()).unwrap(), []);
    }

    #[test]
    fn every_changed_bit_and_every_cut_of_pieces_is_found() {
        let bytes = written();
        let whole = hop(&bytes).unwrap();
        let pieces = survey(Path::new("p"), &bytes, 9).unwrap();
        let begins: Vec<_> = pieces.iter().map(|p| p.offset as usize - PRELUDE).collect();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // What a piece holds has no digest: who reads knows which must come.
            let holds = bit % 8 == 0 && begins.contains(&(bit / 8));
            for found in [hop(&bad), read_on(&bad)] {
                match found {
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Damaged, "bit {bit}"),
                    Ok(found) => assert!(holds && found != whole, "bit {bit}"),
                }
            }
        }
        for at in 1..bytes.len() {
            if begins.contains(&at) {
                continue;
            }
            let cut = bytes[..at].to_vec();
            assert_eq!(hop(&cut).unwrap_err().kind(), ErrorKind::Damaged, "{at}");
            let error = read_on(&cut).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{at}");
        }
    }

    #[test]
    fn a_length_that_no_piece_has_is_refused_before_anything_is_read() {
        for length in [0, 40, MAX_STORED + 1, 1 << 40, u64::MAX] {
            let mut bad = written();
            bad[8..16].copy_from_slice(&length.to_le_bytes());
            for error in [hop(&bad).unwrap_err(), read_on(&bad).unwrap_err()] {
                let text = error.to_string();
                assert!(text.starts_with("p: at byte 0: expected a piece of 41"));
                assert!(text.ends_with(&format!("found {length}")), "{text}");
            }
        }
    }

    #[test]
    fn more_pieces_than_the_limit_are_refused() {
        assert!(survey(Path::new("p"), &written(), 2).is_err());
        assert!(survey(Path::new("p"), &written(), 3).is_ok());
    }
}
