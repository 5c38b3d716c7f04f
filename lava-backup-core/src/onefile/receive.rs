use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{Gathered, decode};
use crate::backend::{Content, Lock};
use crate::document;
use crate::error::{At, Error, ErrorKind, Result};
use crate::evidence::{EVIDENCE_FORMAT, Evidence};
use crate::frame::FrameName;
use crate::layout;
use crate::piece::{Holds, Pieces};
use crate::pipeline::Sink;
use crate::rebuild::Rebuild;
use crate::seal::Seal;
use crate::store::Store;
use crate::writer::StoreSink;

/// A backup that came through a pipe, every byte of it checked.
#[derive(Clone, Debug)]
pub struct Received {
    /// The seal.
    pub seal: Seal,
    /// The digest of the seal.
    pub digest: String,
}

/// What [`import`] did.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The backup.
    pub received: Received,
    /// Was it there already? Then frames that were missing or damaged are healed.
    pub known: bool,
    /// Frames that were written.
    pub new_frames: u64,
    /// Their bytes as stored.
    pub new_bytes: u64,
}

/// Checks every byte of a backup that comes as one file through a pipe. Holds a
/// frame at a time; lists go through a file without a name in `$TMPDIR`.
///
/// # Errors
/// [`ErrorKind::Damaged`] at the first byte that is not what was written;
/// [`ErrorKind::TooNew`]; [`ErrorKind::Io`].
pub fn verify_stream(place: &Path, input: impl Read) -> Result<Received> {
    receive(place, input, &mut |_, _| Ok(())).map(|(received, ..)| received)
}

/// Puts a backup that is one file into a store. Nothing of it is a backup
/// before every byte of it was checked; its seal stays as it is.
///
/// # Errors
/// As [`verify_stream`]; [`ErrorKind::Exists`] if another backup has its id.
pub fn import(store: &Store, place: &Path, input: impl Read) -> Result<Imported> {
    let backend = store.backend();
    backend.sweep()?;
    let _lock = backend.lock(Lock::Shared)?;
    let sink = StoreSink::new(store)?;
    let (mut new_frames, mut new_bytes) = (0, 0);
    let mut put = |name, stored: Vec<u8>| {
        if sink.known(name).is_some() {
            return Ok(());
        }
        new_frames += 1;
        new_bytes += stored.len() as u64;
        sink.put(0, name, stored)
    };
    let (received, metadata, blocks) = receive(place, input, &mut put)?;
    for name in blocks {
        if let Some(block) = metadata.block(name)? {
            let mut stored = Vec::new();
            let mut block = super::BlobReader::new(&block);
            block.read_to_end(&mut stored).at("read", place)?;
            put(name, stored)?;
        }
    }
    backend.settle()?;
    let known = publish(store, &received, &metadata)?;
    Ok(Imported {
        received,
        known,
        new_frames,
        new_bytes,
    })
}

/// Makes the backup be there; `true` if it was.
fn publish(store: &Store, received: &Received, metadata: &Gathered) -> Result<bool> {
    let backend = store.backend();
    let id = &received.seal.id;
    match store.backup(id) {
        Ok(there) if there.digest() == received.digest => return Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Ok(_) | Err(_) => {
            let place = backend.place(&layout::backup(id));
            return Err(Error::new(
                ErrorKind::Exists,
                place,
                "is another backup of the same id",
            ));
        }
    }
    let mut files = Vec::new();
    for name in metadata.members.keys() {
        let record = name.starts_with(layout::EVIDENCE);
        if record || name == layout::FRAME_LIST {
            files.push((
                name.as_str(),
                Content::Bytes(metadata.read(name, document::LIMIT)?),
            ));
        }
    }
    let mut spool = backend.spool()?;
    if let Some(index) = metadata.blob(layout::INDEX)? {
        io::copy(&mut super::BlobReader::new(&index), &mut spool)
            .at("write", backend.place(layout::INDEX))?;
    }
    files.push((layout::INDEX, Content::Spooled(spool.finish()?)));
    let seal = metadata.read(layout::SEAL, document::LIMIT)?;
    files.push((layout::SEAL, Content::Bytes(seal)));
    backend.publish(&layout::backup(id), files)?;
    Ok(false)
}

/// Reads all of it, gives each frame to `put` when it was checked, and gives
/// what is known of it at the end: its metadata, and the frames in which the
/// blocks of its index lie.
fn receive(
    place: &Path,
    input: impl Read,
    put: &mut dyn FnMut(FrameName, Vec<u8>) -> Result<()>,
) -> Result<(Received, Gathered, Vec<FrameName>)> {
    let mut metadata = Gathered::new(place)?;
    let mut rebuild = None;
    let mut names = Vec::new();
    for piece in Pieces::new(place.to_owned(), input) {
        let (prelude, stored) = piece?;
        match prelude.holds {
            Holds::Metadata => {
                metadata.piece(names.len(), &decode(place, &prelude, &stored)?)?;
            }
            Holds::Reference => return Err(super::reference(place, &prelude)),
            Holds::Content => {
                // What is sealed at its end has its index inline.
                let rebuild = match &mut rebuild {
                    Some(rebuild) => rebuild,
                    none => {
                        let form = metadata.index_form()?;
                        none.insert(Rebuild::new(place.to_owned(), io::sink(), form)?)
                    }
                };
                rebuild.frame(&decode(place, &prelude, &stored)?)?;
                names.push(prelude.name);
                put(prelude.name, stored)?;
            }
        }
    }
    let (seal, digest) = metadata.seal()?;
    metadata.check_frames(&seal, &names)?;
    let nothing = || Error::damaged(place, "holds no frame");
    rebuild.ok_or_else(nothing)?.finish(&seal)?;
    let blocks = metadata.check_index(&seal)?;
    check_evidence(place, &metadata, &seal, &digest)?;
    Ok((Received { seal, digest }, metadata, blocks))
}

/// Nothing but the files of a backup, and evidence that is its own.
fn check_evidence(place: &Path, metadata: &Gathered, seal: &Seal, digest: &str) -> Result<()> {
    for name in metadata.members.keys() {
        let key = layout::of_backup(&seal.id, name);
        let block = name.starts_with(super::BLOCKS);
        if !block && layout::name(&key) == layout::Named::Foreign {
            return Err(Error::damaged(
                place,
                format!("holds {name}, which is no part of it"),
            ));
        }
        if name.starts_with(layout::EVIDENCE) {
            let text = metadata.read(name, document::LIMIT)?;
            let (evidence, _): (Evidence, _) =
                document::read(&place.join(name), &text, EVIDENCE_FORMAT)?;
            if evidence.backup != seal.id || evidence.seal != *digest {
                let what = "is evidence of another backup";
                return Err(Error::damaged(place.join(name), what));
            }
        }
    }
    Ok(())
}

/// All that comes through a pipe, in a file without a name.
///
/// # Errors
/// [`ErrorKind::Io`].
pub(crate) fn spool(place: &Path, input: &mut dyn Read) -> Result<File> {
    let mut file = crate::scratch::unnamed(&super::scratch_dir())?;
    io::copy(input, &mut file).at("read", place)?;
    Ok(file)
}
