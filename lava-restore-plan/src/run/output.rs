//! What a command prints: shown as it comes, and kept; clean, and not more than there is room for.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::host::Stream;
use super::redact::Cleaner;

/// A line is not longer: the rest of it is left out.
const LINE: usize = 16 << 10;
/// So much is kept from the beginning …
const FIRST: usize = 1 << 20;
/// … and so much from the end, where what went wrong is said.
const LAST: usize = 256 << 10;
/// So many lines say why a command failed (dpkg says whose its lock is, and four lines more) …
const SAID: usize = 8;
/// … and so many characters of each.
const SAID_OF_LINE: usize = 400;

/// What one command prints.
#[derive(Debug)]
pub(crate) struct Output {
    dir: PathBuf,
    name: String,
    file: Option<File>,
    out: Lines,
    err: Lines,
    kept: usize,
    end: VecDeque<String>,
    end_bytes: usize,
    left_out: u64,
    error: Option<io::Error>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The name of the file; `None` if nothing was printed.
    pub(crate) name: Option<String>,
    /// Why not all of it is there.
    pub(crate) lost: Option<String>,
    /// Its last lines: of standard error, if something was printed there.
    pub(crate) said: Vec<String>,
}

#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
    cut: bool,
    cleaner: Cleaner,
    /// The last of them.
    said: VecDeque<String>,
}

impl Output {
    /// For a file of that name in this directory; it is made when there is something to write.
    pub(crate) fn new(dir: &Path, name: String) -> Self {
        Self {
            dir: dir.to_owned(),
            name,
            file: None,
            out: Lines::default(),
            err: Lines::default(),
            kept: 0,
            end: VecDeque::new(),
            end_bytes: 0,
            left_out: 0,
            error: None,
        }
    }

    /// Takes what was printed, and shows each line that is whole.
    pub(crate) fn take(&mut self, stream: Stream, bytes: &[u8], show: &mut dyn FnMut(&str)) {
        for piece in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            let ended = piece.last().is_some_and(|b| matches!(b, b'\n' | b'\r'));
            let text = if ended {
                &piece[..piece.len() - 1]
            } else {
                piece
            };
            let lines = self.lines(stream);
            let room = LINE.saturating_sub(lines.begun.len());
            lines.cut |= text.len() > room;
            lines.begun.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                self.line(stream, show);
            }
        }
    }

    /// Takes the end of it; what is kept lasts when this returns.
    pub(crate) fn finish(mut self, show: &mut dyn FnMut(&str)) -> Kept {
        for stream in [Stream::Out, Stream::Err] {
            self.line(stream, show);
        }
        if self.left_out > 0 {
            self.write(&format!("… {} bytes are left out …\n", self.left_out));
        }
        for line in std::mem::take(&mut self.end) {
            self.write(&line);
        }
        if let Some(Err(error)) = self.file.as_ref().map(File::sync_data) {
            self.error.get_or_insert(error);
        }
        let (out, err) = (self.out.said, self.err.said);
        let said = if err.is_empty() { out } else { err };
        Kept {
            said: said.into(),
            name: self.file.as_ref().map(|_| self.name),
            lost: match (self.error, self.left_out) {
                (Some(error), _) => Some(error.to_string()),
                (None, 0) => None,
                (None, bytes) => Some(format!("{bytes} bytes in its middle are left out")),
            },
        }
    }

    fn lines(&mut self, stream: Stream) -> &mut Lines {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    fn line(&mut self, stream: Stream, show: &mut dyn FnMut(&str)) {
        let lines = self.lines(stream);
        // An empty line is what a carriage return leaves before a newline.
        if lines.begun.is_empty() {
            return;
        }
        let mut line = lines.cleaner.line(&String::from_utf8_lossy(&lines.begun));
        if lines.cut {
            line.push_str(" …");
        }
        lines.begun.clear();
        lines.cut = false;
        let said = line.chars().take(SAID_OF_LINE).collect();
        lines.said.push_back(said);
        if lines.said.len() > SAID {
            lines.said.pop_front();
        }
        show(&line);
        line.push('\n');
        if self.kept + line.len() <= FIRST && self.end.is_empty() {
            self.kept += line.len();
            return self.write(&line);
        }
        self.end_bytes += line.len();
        self.end.push_back(line);
        while self.end_bytes > LAST {
            let Some(oldest) = self.end.pop_front() else {
                break;
            };
            self.end_bytes -= oldest.len();
            self.left_out += oldest.len() as u64;
        }
    }

    /// A file that can't be written must not keep a command from its work.
    fn write(&mut self, text: &str) {
        if self.error.is_some() {
            return;
        }
        let written = self.open().and_then(|file| file.write_all(text.as_bytes()));
        self.error = written.err();
    }

    fn open(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(self.dir.join(&self.name))?;
            self.file = Some(file);
        }
        self.file
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kept(feed: impl FnOnce(&mut Output, &mut dyn FnMut(&str))) -> (Kept, String, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::new(dir.path(), "0001".into());
        let mut shown = Vec::new();
        let mut show = |line: &str| shown.push(line.to_owned());
        feed(&mut output, &mut show);
        let kept = output.finish(&mut show);
        let text = std::fs::read_to_string(dir.path().join("0001")).unwrap_or_default();
        (kept, text, shown)
    }

    #[test]
    fn a_secret_that_comes_in_pieces_is_left_out_all_the_same() {
        let (kept, text, shown) = kept(|output, show| {
            for piece in ["x pass", "word=hun", "ter2\ny\r\nlast"] {
                output.take(Stream::Out, piece.as_bytes(), show);
                output.take(Stream::Err, b"e", show);
            }
        });
        assert_eq!(text, "x password=***\ny\nlast\neee\n");
        assert_eq!(shown, ["x password=***", "y", "last", "eee"]);
        assert!(kept.name.is_some() && kept.lost.is_none());
        // Of what went wrong standard error tells.
        assert_eq!(kept.said, ["eee"]);
    }

    #[test]
    fn what_is_said_of_a_failure_is_the_end_of_it() {
        let (kept, ..) = kept(|output, show| {
            let lines: String = (0..9)
                .map(|n| format!("{n}{}\n", "é".repeat(500)))
                .collect();
            output.take(Stream::Out, lines.as_bytes(), show);
            output.take(Stream::Out, b"E: it is locked", show);
        });
        let begins: Vec<_> = kept.said.iter().map(|line| line.get(..1)).collect();
        let expected = ["2", "3", "4", "5", "6", "7", "8", "E"];
        assert_eq!(begins, expected.map(Some));
        assert_eq!(kept.said[0].chars().count(), 400);
        assert_eq!(kept.said[7], "E: it is locked");
    }

    #[test]
    fn the_first_and_the_last_of_much_are_kept() {
        let (kept, text, _) = kept(|output, show| {
            for number in 0..400_000 {
                output.take(Stream::Out, format!("{number}\n").as_bytes(), show);
            }
            output.take(Stream::Out, &vec![b'x'; 1 << 20], show);
        });
        assert!(text.starts_with("0\n1\n"), "{:.80}", text);
        assert!(text.contains("\n399999\nxxx") && text.ends_with("x …\n"));
        assert!(text.len() < FIRST + LAST + 100, "{}", text.len());
        assert!(kept.lost.unwrap().contains("left out"));
    }

    #[test]
    fn nothing_printed_makes_no_file() {
        let (kept, text, shown) = kept(|output, show| output.take(Stream::Out, b"\n\r\n", show));
        assert!(kept.name.is_none() && text.is_empty() && shown.is_empty());
    }
}
