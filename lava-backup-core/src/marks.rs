//! The frames that no backup needed when somebody last looked: what a sweep may
//! remove once they have been so for long enough.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::backend::Content;
use crate::document;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::FrameName;
use crate::layout;
use crate::store::Store;

const MARKS_FORMAT: &str = "lava-backup-marks/1";

/// The document: `NAME SECONDS` for each marked frame.
#[derive(Serialize, Deserialize)]
struct MarksDocument {
    format: String,
    frames: Vec<String>,
}

/// When frames were marked, in seconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    frames: BTreeMap<FrameName, i64>,
    /// Could the marks not be read? Then every frame may have one.
    lost: bool,
}

impl Marks {
    pub(crate) fn load(store: &Store) -> Result<Self> {
        match Self::read(store) {
            Err(e) if e.kind() == ErrorKind::Damaged => Ok(Self {
                lost: true,
                ..Self::default()
            }),
            other => other,
        }
    }

    /// As [`load`](Self::load), for those who are to hear of damage.
    pub(crate) fn read(store: &Store) -> Result<Self> {
        let backend = store.backend();
        let place = backend.place(layout::MARKS);
        let Some(text) = document::load(&**backend, layout::MARKS)? else {
            return Ok(Self::default());
        };
        let (marks, _): (MarksDocument, _) = document::read(&place, &text, MARKS_FORMAT)?;
        let parse = |text: &String| {
            let (name, seconds) = text.split_once(' ')?;
            Some((name.parse().ok()?, seconds.parse().ok()?))
        };
        let frames: Option<BTreeMap<FrameName, i64>> = marks.frames.iter().map(parse).collect();
        match frames {
            Some(frames) => Ok(Self {
                frames,
                lost: false,
            }),
            None => Err(Error::damaged(place, "marks something that is no frame")),
        }
    }

    /// Puts these in the place of those that are there.
    pub(crate) fn save(&self, store: &Store) -> Result<()> {
        let text = |(name, seconds)| format!("{name} {seconds}");
        let marks = MarksDocument {
            format: MARKS_FORMAT.into(),
            frames: self.frames.iter().map(text).collect(),
        };
        let (text, _) = document::write(&marks)?;
        let content = Content::Bytes(text.into_bytes());
        store.backend().put(layout::MARKS, content)
    }

    /// Is this frame marked, or could it be?
    pub(crate) fn holds(&self, name: FrameName) -> bool {
        self.lost || self.frames.contains_key(&name)
    }

    /// When this frame was marked.
    pub(crate) fn since(&self, name: FrameName) -> Option<i64> {
        self.frames.get(&name).copied()
    }

    pub(crate) fn mark(&mut self, name: FrameName, seconds: i64) {
        self.frames.insert(name, seconds);
    }
}
