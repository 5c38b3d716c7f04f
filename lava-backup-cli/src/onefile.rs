//! Backups that are one file: out of a store, and into one.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use lava_backup_core::{Imported, NewFile, Store};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::{ExportArgs, ImportArgs};
use crate::exit::{CouldNot, Exit, Failure};
use crate::{clock, named, text};

/// Where a backup in one file goes.
pub(crate) enum Output {
    /// A file that has its name when it is whole.
    New(NewFile, PathBuf),
    /// Standard output.
    Stdout(File),
}

impl Output {
    /// Where `--to` leads. With `--json`, standard output is the answer's.
    pub(crate) fn to(path: &Path, json: bool) -> Result<Self, Failure> {
        if path.as_os_str() != "-" {
            let doing = format!("make the file {}", path.display());
            let new = NewFile::create(path).could_not(doing)?;
            return Ok(Self::New(new, path.to_owned()));
        }
        let out = io::stdout();
        let wrong = match (json, out.is_terminal()) {
            (true, _) => "--json is to be printed there",
            (_, true) => "it is a terminal",
            _ => return Ok(Self::Stdout(out.as_fd().try_clone_to_owned()?.into())),
        };
        let what = format!("could not write a backup to standard output: {wrong}");
        Err(Failure::new(Exit::Usage, what).hint("name a file: --to FILE"))
    }

    /// Its name, for messages.
    pub(crate) fn place(&self) -> &Path {
        match self {
            Self::New(_, path) => path,
            Self::Stdout(_) => Path::new("standard output"),
        }
    }

    /// What to write to.
    pub(crate) fn writer(&self) -> Result<File, Failure> {
        match self {
            Self::New(new, _) => Ok(new.writer()?),
            Self::Stdout(out) => Ok(out.try_clone()?),
        }
    }

    /// Makes what was written last, and be there.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let doing = format!("write {}", self.place().display());
        match self {
            Self::New(new, _) => new.finish().could_not(doing),
            // A pipe has nothing to sync.
            Self::Stdout(out) => match rustix::fs::fsync(&out) {
                Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::ROFS) | Ok(()) => Ok(()),
                Err(e) => Err(io::Error::from(e)).could_not(doing),
            },
        }
    }

    /// An answer that leaves standard output to the backup.
    pub(crate) fn beside(&self, answer: Answer) -> Answer {
        match self {
            Self::New(..) => answer,
            Self::Stdout(_) => answer.aside(),
        }
    }
}

/// A backup that was written to one file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Exported {
    /// Its id.
    pub(crate) backup: String,
    /// The digest of its seal.
    pub(crate) digest: String,
    /// The file.
    pub(crate) file: String,
    /// Bytes of the file.
    pub(crate) bytes: u64,
}

pub(crate) fn export(args: &ExportArgs, json: bool) -> Result<Answer, Failure> {
    let out = Output::to(&args.to, json)?;
    let backup = named::open(&args.store, &args.backup)?;
    let mut counted = Counted {
        out: out.writer()?,
        bytes: 0,
    };
    let (id, place) = (backup.id(), out.place().display());
    lava_backup_core::export(&backup, &mut counted)
        .could_not(format!("export the backup {id} to {place}"))?;
    let exported = Exported {
        backup: backup.id().to_string(),
        digest: backup.digest().to_owned(),
        file: out.place().to_string_lossy().into_owned(),
        bytes: counted.bytes,
    };
    let mut said = format!("backup   {}\n", exported.backup);
    let bytes = text::bytes(exported.bytes);
    said += &format!("file     {}, {bytes}\n", exported.file);
    said += &format!("seal     {}\n", exported.digest);
    let answer = out.beside(Answer::new(Exit::Done, &exported, said));
    out.finish()?;
    Ok(answer)
}

/// Counts what is written.
struct Counted {
    out: File,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A backup that was put into a store.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Taken {
    /// The store.
    pub(crate) store: String,
    /// The backup's id.
    pub(crate) backup: String,
    /// The digest of its seal.
    pub(crate) digest: String,
    /// The host.
    pub(crate) host: String,
    /// Was it there already? Then only frames that were missing or damaged
    /// were written.
    pub(crate) known: bool,
    /// Frames that were written.
    pub(crate) new_frames: u64,
    /// Their bytes on the disk.
    pub(crate) new_bytes: u64,
    /// Milliseconds it took.
    pub(crate) milliseconds: u64,
}

pub(crate) fn import(args: &ImportArgs) -> Result<Answer, Failure> {
    let began = clock::now();
    let store = Store::open(&args.store.store).could_not("open the store")?;
    let imported = if args.file.as_os_str() == "-" {
        let place = Path::new(named::STDIN);
        lava_backup_core::import(&store, place, named::stdin()?)
    } else {
        let doing = format!("open {}", args.file.display());
        let file = File::open(&args.file).could_not(doing)?;
        lava_backup_core::import(&store, &args.file, file)
    };
    let imported = imported.could_not("import the backup")?;
    let Imported { received, .. } = &imported;
    let taken = Taken {
        store: store.path().to_string_lossy().into_owned(),
        backup: received.seal.id.to_string(),
        digest: received.digest.clone(),
        host: received.seal.host.clone(),
        known: imported.known,
        new_frames: imported.new_frames,
        new_bytes: imported.new_bytes,
        milliseconds: began.elapsed(),
    };
    let mut said = format!("backup   {}\n", taken.backup);
    if taken.known {
        said += match taken.new_frames {
            0 => "note     it was in the store already\n",
            _ => "note     it was in the store already, and lacked frames\n",
        };
    }
    said += &format!(
        "stored   {} in {}, in {}\n",
        text::bytes(taken.new_bytes),
        text::count(taken.new_frames, "new frame"),
        text::duration(taken.milliseconds)
    );
    said += &format!("seal     {}\n", taken.digest);
    Ok(Answer::new(Exit::Done, &taken, said))
}
