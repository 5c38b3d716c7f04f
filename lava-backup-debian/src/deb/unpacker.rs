//! `dpkg-deb`, which knows every compression that a .deb may have.

use std::{
    io::Read,
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    thread::JoinHandle,
};

use super::tarball::TarError;
use crate::{Error, ErrorKind, Result};

/// One part of a .deb as it is decompressed; ended when dropped.
pub(crate) struct Unpacker {
    child: Child,
    stream: ChildStdout,
    said: Option<JoinHandle<String>>,
    what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Control,
    Data,
}

/// Bytes of memory that a decompression may take. `xz -9` needs 65 MB, and a header can ask for
/// more than any machine has.
const MOST_MEMORY: u64 = 1 << 30;

impl Unpacker {
    /// Begins to decompress a part of the file at an absolute path.
    pub(crate) fn start(path: &Path, part: Part) -> Result<Self> {
        let (option, noun) = match part {
            Part::Control => ("--ctrl-tarfile", "control members"),
            Part::Data => ("--fsys-tarfile", "files"),
        };
        let what = format!("read the {noun} of {}", path.display());
        let missing = |e: std::io::Error| {
            let why = format!("could not run prlimit and dpkg-deb: {e}");
            Error::new(ErrorKind::Tool, &what, why)
        };
        let mut child = Command::new("prlimit")
            .arg(format!("--as={MOST_MEMORY}"))
            .args(["--", "dpkg-deb", option])
            .arg(path)
            .env("LC_ALL", "C")
            .env("DPKG_DEB_THREADS_MAX", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(missing)?;
        let (stream, errors) = (child.stdout.take(), child.stderr.take());
        let (Some(stream), Some(errors)) = (stream, errors) else {
            return Err(Error::new(ErrorKind::Tool, what, "dpkg-deb has no output"));
        };
        Ok(Self {
            said: Some(std::thread::spawn(move || listen(errors))),
            child,
            stream,
            what,
        })
    }

    pub(crate) fn stream(&mut self) -> &mut dyn Read {
        &mut self.stream
    }

    /// After the whole stream was read: did it end well?
    pub(crate) fn end(&mut self) -> Result<()> {
        let status = self
            .child
            .wait()
            .map_err(|e| Error::io(self.what.clone(), e))?;
        match status.success() {
            true => Ok(()),
            false => {
                let said = self.said();
                Err(Error::new(ErrorKind::Malformed, &self.what, said))
            }
        }
    }

    /// What was wrong with the stream; where it ended too early, in the words of dpkg-deb.
    pub(crate) fn explain(mut self, what: String, error: TarError) -> Error {
        match error {
            TarError::Malformed(why) => Error::new(ErrorKind::Malformed, what, why),
            TarError::TooLarge(why) => Error::new(ErrorKind::TooLarge, what, why),
            TarError::Io(error) => Error::io(what, error),
            TarError::Ended => match self.end() {
                Err(error) => error,
                Ok(()) => Error::new(ErrorKind::Malformed, what, "it ends in the middle"),
            },
        }
    }

    fn said(&mut self) -> String {
        let said = self.said.take().and_then(|said| said.join().ok());
        match said.unwrap_or_default().trim() {
            "" => "dpkg-deb can't unpack it".into(),
            said => said.replace('\n', " "),
        }
    }
}

impl Drop for Unpacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The beginning of what it says; the rest is read, so that it does not wait for us.
fn listen(mut errors: ChildStderr) -> String {
    let mut text = Vec::new();
    let _ = errors.by_ref().take(2048).read_to_end(&mut text);
    let _ = std::io::copy(&mut errors, &mut std::io::sink());
    String::from_utf8_lossy(&text).into_owned()
}
