use std::task::{Poll, ready};

use super::error::{ArchiveError, ArchiveErrorKind};

/// The part of a slice that has not been read, and where in the dump it lies.
pub(super) struct Input<'a> {
    pub(super) rest: &'a [u8],
    pub(super) offset: u64,
}

impl<'a> Input<'a> {
    /// The next `n` bytes, or as many as there are.
    pub(super) fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = rest;
        self.offset += taken.len() as u64;
        taken
    }
}

/// Reads the values that the format is made of, each of which may come in any number of slices.
///
/// `Pending` means that the slice is used up; what came of the value is kept, and the same call
/// with the next slice goes on from there.
#[derive(Debug, Default)]
pub(super) struct Scan {
    partial: Vec<u8>,
    /// Of a string whose length has been read.
    length: Option<usize>,
    /// Where the value being read begins.
    start: u64,
}

impl Scan {
    /// Where the value that was last asked for begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn bytes<const N: usize>(&mut self, input: &mut Input<'_>) -> Poll<[u8; N]> {
        if self.partial.is_empty() && self.length.is_none() {
            self.start = input.offset;
            // A table is a chunk for each row on some versions: mostly all is at hand.
            if let Some((&whole, rest)) = input.rest.split_first_chunk::<N>() {
                input.rest = rest;
                input.offset += N as u64;
                return Poll::Ready(whole);
            }
        }
        let missing = N.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(input.take(missing));
        match <[u8; N]>::try_from(self.partial.as_slice()) {
            Ok(whole) => {
                self.partial.clear();
                Poll::Ready(whole)
            }
            Err(_) => Poll::Pending,
        }
    }

    /// An integer: one byte for the sign, then four, least first.
    pub(super) fn int(&mut self, input: &mut Input<'_>) -> Poll<Result<i32, ArchiveError>> {
        let [sign, magnitude @ ..] = ready!(self.bytes::<5>(input));
        let magnitude = i64::from(u32::from_le_bytes(magnitude));
        let value = match (sign, magnitude) {
            (0, _) => magnitude,
            (1, 1..) => -magnitude,
            _ => {
                let error = ArchiveError::malformed(
                    "the sign of a number",
                    "0, or 1 before a number",
                    sign,
                    self.start,
                );
                return Poll::Ready(Err(error));
            }
        };
        Poll::Ready(i32::try_from(value).map_err(|_| {
            ArchiveError::malformed("a number", "one that fits into 32 bits", value, self.start)
        }))
    }

    /// An integer that counts something.
    pub(super) fn count(
        &mut self,
        input: &mut Input<'_>,
        what: &'static str,
        limit: u64,
    ) -> Poll<Result<usize, ArchiveError>> {
        let value = ready!(self.int(input))?;
        let count = usize::try_from(value)
            .map_err(|_| ArchiveError::malformed(what, "0 or more", value, self.start))?;
        if count as u64 > limit {
            let error = ArchiveError::too_large(what, limit, count as u64, self.start);
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(count))
    }

    /// A string: its length, -1 for none, then its bytes. Memory is taken as bytes come, never
    /// for what a length announces.
    pub(super) fn string(
        &mut self,
        input: &mut Input<'_>,
        what: &'static str,
        limit: usize,
    ) -> Poll<Result<Option<String>, ArchiveError>> {
        let length = match self.length {
            Some(length) => length,
            None => {
                let value = ready!(self.int(input))?;
                if value == -1 {
                    return Poll::Ready(Ok(None));
                }
                let length = usize::try_from(value).map_err(|_| {
                    ArchiveError::malformed(
                        what,
                        "a string of length -1 or more",
                        value,
                        self.start,
                    )
                })?;
                if length > limit {
                    let (limit, found) = (limit as u64, length as u64);
                    let error = ArchiveError::too_large(what, limit, found, self.start);
                    return Poll::Ready(Err(error));
                }
                *self.length.insert(length)
            }
        };
        self.partial
            .extend_from_slice(input.take(length - self.partial.len()));
        if self.partial.len() < length {
            return Poll::Pending;
        }
        self.length = None;
        let text = String::from_utf8(std::mem::take(&mut self.partial));
        Poll::Ready(match text {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(ArchiveError::new(
                ArchiveErrorKind::NotUtf8 { what },
                self.start,
            )),
        })
    }

    /// A string that must be there.
    pub(super) fn text(
        &mut self,
        input: &mut Input<'_>,
        what: &'static str,
        limit: usize,
    ) -> Poll<Result<String, ArchiveError>> {
        Poll::Ready(match ready!(self.string(input, what, limit))? {
            Some(text) => Ok(text),
            None => Err(ArchiveError::malformed(
                what, "a string", "none", self.start,
            )),
        })
    }
}
