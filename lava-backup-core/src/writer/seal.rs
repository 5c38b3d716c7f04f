use std::collections::BTreeMap;

use serde_json::Value;

use super::{BackupWriter, Destination};
use crate::backend::Content;
use crate::document;
use crate::error::Result;
use crate::layout;
use crate::pipeline::Put;
use crate::seal::{Archive, Outcome, Problem, SEAL_FORMAT, Seal};
use crate::seen::{SEEN_FORMAT, SeenDocument, SeenFrame, Stand};
use crate::tarstream;

/// What the caller says about a backup that it seals.
#[derive(Clone, Debug, Default)]
pub struct SealInput {
    /// The program, with its version.
    pub tool: String,
    /// The host that was backed up.
    pub host: String,
    /// The instant that it shows, RFC 3339 in UTC.
    pub taken: String,
    /// Now, RFC 3339 in UTC.
    pub sealed: String,
    /// The caller's documents.
    pub documents: BTreeMap<String, Value>,
}

/// A sealed backup, and what it cost.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The seal.
    pub seal: Seal,
    /// Its digest: worth noting where the store's writer can't change it.
    pub digest: String,
    /// Frames that the store did not hold before.
    pub new_frames: u64,
    /// Their bytes on the disk.
    pub new_bytes: u64,
    /// Entries that were taken over with their frames, unread.
    pub unread: u64,
}

impl BackupWriter {
    /// Seals the backup: from here on it exists.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io); then there is no backup.
    pub fn seal(mut self, input: SealInput) -> Result<Sealed> {
        self.cut()?;
        let last = self.pipeline.reserve();
        if let Destination::File(emitter) = &self.destination {
            emitter.keep_back(last);
        }
        self.pipeline.put(last, tarstream::END.to_vec())?;
        let put = self.pipeline.finish()?;

        let list = frame_list(&put);
        let frames_digest = blake3::hash(list.as_bytes()).to_hex().to_string();
        let seen = seen(&put, &self.stands, &frames_digest)?;
        let (entries, index_digest, index) = self.index.finish()?;
        let index = index.finish()?;

        let (more, degrades) = self.more_problems;
        if more > 0 {
            self.problems.push(Problem {
                code: "problems.more".into(),
                path: None,
                message: format!("{more} more problems are not listed"),
                degrades,
            });
        }
        let degraded = self.problems.iter().any(|p| p.degrades);
        let store = match &self.destination {
            Destination::Store { store, .. } => store.id(),
            Destination::File(_) => "",
        };
        let seal = Seal {
            format: SEAL_FORMAT.into(),
            requires: Vec::new(),
            id: self.id.clone(),
            store: store.to_owned(),
            tool: input.tool,
            host: input.host,
            taken: input.taken,
            sealed: input.sealed,
            outcome: if degraded {
                Outcome::Degraded
            } else {
                Outcome::Complete
            },
            problems: self.problems,
            sections: self.sections,
            archive: Archive {
                frames: put.len() as u64,
                bytes: put.iter().map(|p| p.bytes).sum(),
                stored: put.iter().map(|p| p.stored).sum(),
                frames_digest,
                entries,
                index_digest,
            },
            documents: input.documents,
        };
        let (text, digest) = document::write(&seal)?;
        let list = Content::Bytes(list.into_bytes());
        let index = Content::Spooled(index);
        let text = Content::Bytes(text.into_bytes());
        match &self.destination {
            Destination::Store { store, .. } => {
                store.backend().settle()?;
                let files = vec![
                    (layout::FRAME_LIST, list),
                    (layout::INDEX, index),
                    (layout::SEEN, Content::Bytes(seen.into_bytes())),
                    (layout::SEAL, text),
                ];
                store.backend().publish(&layout::backup(&self.id), files)?;
            }
            Destination::File(emitter) => emitter.finish(vec![
                (layout::SEAL, text),
                (layout::FRAME_LIST, list),
                (layout::INDEX, index),
            ])?,
        }

        let new = put.iter().filter(|p| p.new);
        Ok(Sealed {
            seal,
            digest,
            new_frames: new.clone().count() as u64,
            new_bytes: new.map(|p| p.stored).sum(),
            unread: self.unread,
        })
    }
}

/// The file `frames`.
fn frame_list(put: &[Put]) -> String {
    let mut list = String::with_capacity(put.len() * 68);
    for frame in put {
        list.push_str(&frame.name.file());
        list.push('\n');
    }
    list
}

/// The text of the document that lets the next run take frames over.
fn seen(put: &[Put], stands: &BTreeMap<u64, Stand>, frames_digest: &str) -> Result<String> {
    let frames = put.iter().zip(0..).map(|(put, number)| {
        let seen = SeenFrame {
            bytes: put.bytes,
            stored: put.stored,
            stand: stands.get(&number).copied(),
        };
        seen.to_text()
    });
    let seen = SeenDocument {
        format: SEEN_FORMAT.into(),
        frames_digest: frames_digest.to_owned(),
        frames: frames.collect(),
    };
    Ok(document::write(&seen)?.0)
}
