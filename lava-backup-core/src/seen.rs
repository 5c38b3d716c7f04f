//! How the files of each frame stood when they were read, so that the next run
//! can take a frame over unread if all of them stand as they did.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use crate::entry::{Class, Time};
use crate::error::{Error, Result};
use crate::frame::FrameName;
use crate::path::MemberPath;

/// The format that this version writes and reads.
pub(crate) const SEEN_FORMAT: &str = "lava-backup-seen/1";

/// The document: one text for each frame.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SeenDocument {
    pub(crate) format: String,
    /// The digest of the list of frames that it goes with.
    pub(crate) frames_digest: String,
    /// `BYTES STORED STAND`; the stand is `-` where it is not known.
    pub(crate) frames: Vec<String>,
}

/// What is known of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenFrame {
    /// Uncompressed bytes.
    pub(crate) bytes: u64,
    /// Bytes as stored.
    pub(crate) stored: u64,
    /// How its files stood; nothing if they are to be read anew, and for all
    /// but the first frame of a streamed file.
    pub(crate) stand: Option<Stand>,
}

impl SeenFrame {
    pub(crate) fn to_text(self) -> String {
        let stand = self
            .stand
            .map(|stand| FrameName::from_bytes(stand.0).to_string());
        let stand = stand.unwrap_or_else(|| "-".into());
        format!("{} {} {stand}", self.bytes, self.stored)
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = || Error::damaged("seen.json", format!("has the frame {text:?}"));
        let mut words = text.split(' ');
        let mut number = || words.next().and_then(|w| w.parse().ok()).ok_or_else(bad);
        let (bytes, stored) = (number()?, number()?);
        let stand = match (words.next(), words.next()) {
            (Some("-"), None) => None,
            (Some(stand), None) => Some(Stand(*stand.parse::<FrameName>()?.as_bytes())),
            _ => return Err(bad()),
        };
        Ok(Self {
            bytes,
            stored,
            stand,
        })
    }
}

/// A digest of how files stood: path, size, mtime, ctime, inode, owner, mode,
/// class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stand(pub(crate) [u8; 32]);

impl Stand {
    /// How one file stands. What changes its content, mode, owner, attributes
    /// or names changes its ctime, which nobody can set.
    pub(crate) fn of(path: &MemberPath, stat: &Stat, owner: [&str; 2], class: Class) -> Self {
        let mut all = Vec::with_capacity(path.as_bytes().len() + 160);
        for text in [path.as_bytes(), owner[0].as_bytes(), owner[1].as_bytes()] {
            all.extend_from_slice(&(text.len() as u64).to_le_bytes());
            all.extend_from_slice(text);
        }
        let mtime = Time::modified(stat);
        let ctime = Time::changed(stat);
        let is_dir = stat.st_mode & 0o170_000 == 0o040_000;
        for number in [
            u64::from(stat.st_mode),
            u64::from(stat.st_uid),
            u64::from(stat.st_gid),
            // The size of a directory is its file system's affair.
            if is_dir { 0 } else { stat.st_size as u64 },
            stat.st_ino,
            mtime.seconds as u64,
            u64::from(mtime.nanoseconds),
            ctime.seconds as u64,
            u64::from(ctime.nanoseconds),
            class as u64,
        ] {
            all.extend_from_slice(&number.to_le_bytes());
        }
        Self(*blake3::hash(&all).as_bytes())
    }
}

/// How all files of a frame stand, one after the other.
#[derive(Default)]
pub(crate) struct GroupStand(blake3::Hasher);

impl GroupStand {
    pub(crate) fn add(&mut self, stand: &Stand) {
        self.0.update(&stand.0);
    }

    pub(crate) fn finish(&self) -> Stand {
        Stand(*self.0.finalize().as_bytes())
    }
}

/// Files that changed no more seconds than these before they were read may
/// change once more without a sign. The kernel's clock ticks, some file systems
/// keep whole seconds only, and what is stored into a mapped page shows in the
/// ctime only once the kernel has written the page, which takes 35 seconds
/// unless an admin says otherwise (`vm.dirty_expire_centisecs` and
/// `vm.dirty_writeback_centisecs`; measured on ext4).
pub(crate) const UNSURE: u32 = 60;

/// Can a file that stands so be told from one that changes after `now`, in
/// seconds since 1970?
pub(crate) fn is_sure(stat: &Stat, now: i64, unsure: u32) -> bool {
    Time::changed(stat).seconds.saturating_add(unsure.into()) < now
}

/// Whole seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.map_or(0, |s| i64::try_from(s.as_secs()).unwrap_or(i64::MAX));
    #[cfg(test)]
    let now = now + LATER.get();
    now
}

#[cfg(test)]
thread_local! {
    /// Seconds by which this thread's clock is ahead of that of its files.
    pub(crate) static LATER: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_frame_comes_back_from_its_text_and_nothing_else_does() {
        let known = SeenFrame {
            bytes: 4_194_304,
            stored: 12,
            stand: Some(Stand([7; 32])),
        };
        let unknown = SeenFrame {
            stand: None,
            ..known
        };
        for frame in [known, unknown] {
            assert_eq!(SeenFrame::parse(&frame.to_text()).unwrap(), frame);
        }
        let text = known.to_text();
        for bad in [
            "",
            "x",
            "1 2",
            "1 2 3",
            &format!("{text} 1"),
            &format!("{text}x"),
        ] {
            assert!(SeenFrame::parse(bad).is_err(), "{bad:?}");
        }
    }
}
