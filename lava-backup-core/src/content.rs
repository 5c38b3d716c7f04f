//! The content of a member, out of the frames that hold it.

use crate::ahead::Ahead;
use crate::attributes::Extent;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::frame::FrameName;
use crate::store::Store;
use crate::tarstream::stored_size;

/// The frames of a backup, of which one is at hand, decoded and checked.
pub(crate) struct Frames<'f> {
    store: &'f Store,
    names: &'f [FrameName],
    number: Option<u64>,
    bytes: Vec<u8>,
    by_all_cores: bool,
}

/// Of a file with less content than this, few frames would be decoded at once.
const WORTH_ALL_CORES: u64 = 8 << 20;

impl<'f> Frames<'f> {
    pub(crate) fn new(store: &'f Store, names: &'f [FrameName]) -> Self {
        Self {
            store,
            names,
            number: None,
            bytes: Vec::new(),
            by_all_cores: false,
        }
    }

    /// Decodes the frames of a large file by all cores, ahead of their use.
    pub(crate) fn by_all_cores(mut self) -> Self {
        self.by_all_cores = true;
        self
    }

    /// Gives the stored content of a file, run by run.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) if it is not what the
    /// index says; what was given by then is not to be used.
    pub(crate) fn content(
        &mut self,
        entry: &Entry,
        put: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut hasher = blake3::Hasher::new();
        let mut left = stored_size(entry);
        let mut number = entry.frame;
        let mut offset = usize::try_from(entry.offset).unwrap_or(usize::MAX);
        let mut ahead = (self.by_all_cores && left >= WORTH_ALL_CORES).then(|| {
            let names = usize::try_from(number)
                .ok()
                .and_then(|at| self.names.get(at..));
            Ahead::new(self.store, names.unwrap_or_default().to_vec())
        });
        while left > 0 {
            let decoded;
            let bytes = match &mut ahead {
                None => self.frame(number, entry)?,
                Some(ahead) => {
                    decoded = ahead.next().ok_or_else(|| beyond(entry))??;
                    &*decoded
                }
            };
            let bytes = bytes.get(offset..).unwrap_or_default();
            let upto = usize::try_from(left).unwrap_or(usize::MAX);
            let bytes = &bytes[..bytes.len().min(upto)];
            hasher.update(bytes);
            put(bytes)?;
            left -= bytes.len() as u64;
            number = number.saturating_add(1);
            offset = 0;
        }
        if Some(hasher.finalize().to_hex().as_str()) != entry.blake3.as_deref() {
            return Err(Error::damaged(
                entry.path.to_string(),
                "its content is not what the index says",
            ));
        }
        Ok(())
    }

    fn frame(&mut self, number: u64, entry: &Entry) -> Result<&[u8]> {
        if self.number != Some(number) {
            let place = usize::try_from(number).unwrap_or(usize::MAX);
            let name = self.names.get(place).ok_or_else(|| beyond(entry))?;
            self.number = None;
            self.store.read_frame_into(*name, &mut self.bytes)?;
            self.number = Some(number);
        }
        Ok(&self.bytes)
    }
}

fn beyond(entry: &Entry) -> Error {
    let what = "its content lies beyond the last frame";
    Error::damaged(entry.path.to_string(), what)
}

/// Where the stored bytes of a file lie in it, from the first to the last.
pub(crate) struct Spread<'e> {
    extents: std::slice::Iter<'e, Extent>,
    at: u64,
    left: u64,
}

impl<'e> Spread<'e> {
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) if the extents are out
    /// of order or lie beyond the end of the file.
    pub(crate) fn new(entry: &'e Entry) -> Result<Self> {
        let mut end = 0;
        for extent in &entry.extents {
            let upto = extent.offset.checked_add(extent.length);
            match upto.filter(|upto| extent.offset >= end && *upto <= entry.size) {
                Some(upto) => end = upto,
                None => {
                    let what = "has extents out of order, or beyond its end";
                    return Err(Error::damaged(entry.path.to_string(), what));
                }
            }
        }
        Ok(Self {
            extents: entry.extents.iter(),
            at: 0,
            left: match entry.extents.is_empty() {
                true => entry.size,
                false => 0,
            },
        })
    }

    /// Takes from the front of `bytes` what lies together; gives it with its
    /// offset in the file.
    pub(crate) fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Option<(u64, &'b [u8])> {
        while self.left == 0 {
            let extent = self.extents.next()?;
            (self.at, self.left) = (extent.offset, extent.length);
        }
        let upto = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (run, rest) = bytes.split_at(bytes.len().min(upto));
        *bytes = rest;
        if run.is_empty() {
            return None;
        }
        let at = self.at;
        self.at += run.len() as u64;
        self.left -= run.len() as u64;
        Some((at, run))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;
    use crate::writer::{Meta, SealInput};
    use crate::{Class, Time};

    fn sparse(size: u64, extents: &[(u64, u64)]) -> Entry {
        let text = serde_json::json!({
            "path": "config/a", "type": "file", "size": size, "mode": 0o600, "user": "",
            "group": "", "uid": 0, "gid": 0, "mtime": [0, 0], "class": "plain",
            "blake3": "", "extents": extents, "frame": 0, "offset": 512,
        });
        serde_json::from_value(text).unwrap()
    }

    /// What one core decodes stays at hand, what all decode does not.
    #[test]
    fn a_large_file_alone_is_decoded_by_all_cores_and_only_where_that_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(&dir.path().join("store")).unwrap();
        let mut writer = store.create("b1".parse().unwrap()).unwrap();
        let [small, large] = [(8 << 20) - 1, 8 << 20].map(|length| {
            let meta = Meta::private(Class::Plain, Time::default());
            let place = format!("data/{length}").parse().unwrap();
            let mut member = writer.stream(place, meta).unwrap();
            member.write_all(&vec![7; length]).unwrap();
            member.finish().unwrap()
        });
        let id = writer.seal(SealInput::default()).unwrap().seal.id;
        let names = store.backup(&id).unwrap().frames().unwrap();
        let at_hand = |mut frames: Frames<'_>, entry: &Entry| {
            let mut read = 0;
            let mut put = |bytes: &[u8]| {
                read += bytes.len() as u64;
                Ok(())
            };
            frames.content(entry, &mut put).unwrap();
            assert_eq!(read, entry.size);
            frames.number.is_some()
        };
        let one = || Frames::new(&store, &names);
        assert!(at_hand(one(), &small));
        assert!(at_hand(one(), &large));
        assert!(at_hand(one().by_all_cores(), &small));
        assert!(!at_hand(one().by_all_cores(), &large));
    }

    #[test]
    fn stored_bytes_are_spread_over_the_extents() {
        let entry = sparse(100, &[(10, 3), (20, 4)]);
        assert_eq!(stored_size(&entry), 7);
        let mut spread = Spread::new(&entry).unwrap();
        let mut found = Vec::new();
        for mut bytes in [&b"ab"[..], b"cde", b"fg"] {
            while let Some((at, run)) = spread.next(&mut bytes) {
                found.push((at, run.to_vec()));
            }
        }
        let expected = [(10, "ab"), (12, "c"), (20, "de"), (22, "fg")];
        assert_eq!(
            found,
            expected.map(|(at, run)| (at, run.as_bytes().to_vec()))
        );
    }

    #[test]
    fn extents_that_can_not_be_are_refused() {
        for bad in [
            &[(0, 101)][..],
            &[(50, 10), (20, 5)],
            &[(0, 10), (9, 2)],
            &[(u64::MAX, 2)],
        ] {
            assert!(Spread::new(&sparse(100, bad)).is_err(), "{bad:?}");
        }
        assert!(Spread::new(&sparse(100, &[(100, 0)])).is_ok());
    }
}
