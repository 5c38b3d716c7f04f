//! A tar as dpkg reads it, from a stream that may be hostile.

use std::io::{self, Read};

/// The entries of a tar stream, one at a time, each with its content.
///
/// The forms are those that dpkg itself takes: old, POSIX with a prefix, and GNU's long names.
/// What dpkg refuses (extended headers, sparse files) is refused.
pub(crate) struct Tarball<R> {
    reader: R,
    limits: Limits,
    entries: u64,
    names: u64,
    bytes: u64,
    /// Content of the entry at hand that was not read yet, and what fills its last block.
    left: u64,
    padding: u64,
}

/// What a stream may be at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) entries: u64,
    /// Bytes of all names together.
    pub(crate) names: u64,
    /// Bytes of the whole stream.
    pub(crate) bytes: u64,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TarEntry {
    /// As it is written, such as `./usr/bin/`.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: TarKind,
    /// Bytes of content.
    pub(crate) size: u64,
    /// For a hard link, the name of an entry before it that is the same file.
    pub(crate) same_as: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TarKind {
    File,
    Directory,
    /// A link or a device.
    Other,
}

/// Why a stream can't be read.
#[derive(Debug)]
pub(crate) enum TarError {
    /// It ends before its end: whoever writes it may know why.
    Ended,
    Malformed(&'static str),
    TooLarge(&'static str),
    Io(io::Error),
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Ended,
            _ => Self::Io(error),
        }
    }
}

const BLOCK: usize = 512;
/// Longer than any path that Linux takes.
const MOST_NAME: u64 = 64 << 10;

impl<R: Read> Tarball<R> {
    pub(crate) fn new(reader: R, limits: Limits) -> Self {
        Self {
            reader,
            limits,
            entries: 0,
            names: 0,
            bytes: 0,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry, past what is left of the one before; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<TarEntry>, TarError> {
        self.skip()?;
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let mut header = [0; BLOCK];
            self.read_exact(&mut header)?;
            if header.iter().all(|b| *b == 0) {
                return match (long_name, long_link) {
                    (None, None) => Ok(None),
                    _ => Err(TarError::Malformed("a long name has no entry")),
                };
            }
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(TarError::TooLarge("it has too many entries"));
            }
            check_sum(&header)?;
            let size = number(&header[124..136])?;
            self.left = size;
            self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
            match header[156] {
                kind @ (b'L' | b'K') => {
                    let mut text = self.content(MOST_NAME)?;
                    self.skip()?;
                    text.truncate(text.iter().position(|b| *b == 0).unwrap_or(text.len()));
                    match kind {
                        b'L' => long_name = Some(text),
                        _ => long_link = Some(text),
                    }
                }
                letter => {
                    let (kind, has_content) = match letter {
                        0 | b'0' | b'7' => (TarKind::File, true),
                        b'5' => (TarKind::Directory, false),
                        b'1' | b'2' | b'3' | b'4' | b'6' => (TarKind::Other, false),
                        _ => {
                            return Err(TarError::Malformed(
                                "an entry is of a kind that no .deb has",
                            ));
                        }
                    };
                    if !has_content && size > 0 {
                        return Err(TarError::Malformed("what is no file has content"));
                    }
                    let path = long_name.unwrap_or_else(|| name(&header));
                    if path.is_empty() || path.contains(&0) {
                        return Err(TarError::Malformed("an entry has no name"));
                    }
                    self.names += path.len() as u64;
                    if self.names > self.limits.names {
                        return Err(TarError::TooLarge("its names are too long"));
                    }
                    // Old tars have no type for directories.
                    let kind = match kind {
                        TarKind::File if path.ends_with(b"/") && size == 0 => TarKind::Directory,
                        kind => kind,
                    };
                    let link = || long_link.unwrap_or_else(|| text(&header[157..257]));
                    return Ok(Some(TarEntry {
                        path,
                        kind,
                        size,
                        same_as: (letter == b'1').then(link),
                    }));
                }
            }
        }
    }

    /// The content of the entry at hand, if it has at most `limit` bytes.
    pub(crate) fn content(&mut self, limit: u64) -> Result<Vec<u8>, TarError> {
        if self.left > limit {
            return Err(TarError::TooLarge("an entry is larger than is ever needed"));
        }
        // Not made as large as the header says before the bytes are there.
        let mut content = Vec::new();
        self.each(&mut |bytes| content.extend_from_slice(bytes))?;
        Ok(content)
    }

    /// Hands on the content of the entry at hand, piece by piece.
    pub(crate) fn each(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<(), TarError> {
        let mut buffer = [0; 32 << 10];
        while self.left > 0 {
            let length = buffer
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.read_exact(&mut buffer[..length])?;
            self.left -= length as u64;
            take(&buffer[..length]);
        }
        Ok(())
    }

    /// Reads what follows the end, so that whoever writes the stream ends well.
    pub(crate) fn drain(&mut self) -> Result<(), TarError> {
        let mut buffer = [0; 32 << 10];
        loop {
            match self.reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => self.count(read)?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn skip(&mut self) -> Result<(), TarError> {
        self.each(&mut |_| {})?;
        let mut padding = [0; BLOCK];
        let length = usize::try_from(self.padding).unwrap_or_default();
        self.padding = 0;
        self.read_exact(&mut padding[..length])
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        self.count(buffer.len())?;
        Ok(self.reader.read_exact(buffer)?)
    }

    fn count(&mut self, bytes: usize) -> Result<(), TarError> {
        self.bytes += bytes as u64;
        match self.bytes > self.limits.bytes {
            true => Err(TarError::TooLarge("it is larger than any package")),
            false => Ok(()),
        }
    }
}

fn check_sum(header: &[u8; BLOCK]) -> Result<(), TarError> {
    let said = number(&header[148..156])?;
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..156 => u64::from(b' '),
            _ => u64::from(*byte),
        })
        .sum();
    match said == sum {
        true => Ok(()),
        false => Err(TarError::Malformed("a header has a wrong checksum")),
    }
}

/// Octal digits, or for what they can't hold, GNU's binary form.
fn number(field: &[u8]) -> Result<u64, TarError> {
    let wrong = TarError::Malformed("a header has a number that is none");
    if field[0] == 0x80 {
        let mut value = 0_u64;
        for byte in &field[1..] {
            if value >> 56 != 0 {
                return Err(wrong);
            }
            value = value << 8 | u64::from(*byte);
        }
        return Ok(value);
    }
    let is_fill = |b: &u8| matches!(b, b' ' | 0);
    let begin = field
        .iter()
        .position(|b| !is_fill(b))
        .unwrap_or(field.len());
    let digits = &field[begin..];
    let end = digits.iter().position(is_fill).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if !digits.iter().all(|b| matches!(b, b'0'..=b'7')) || !rest.iter().all(is_fill) {
        return Err(wrong);
    }
    // Eleven digits of three bits are no more than 33 bits.
    Ok(digits
        .iter()
        .fold(0, |value, digit| value << 3 | u64::from(digit - b'0')))
}

/// What stands in a field before its end or a zero.
fn text(field: &[u8]) -> Vec<u8> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    field[..end].to_vec()
}

fn name(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(&header[..100]);
    let prefix = match &header[257..263] {
        b"ustar\0" => text(&header[345..500]),
        _ => Vec::new(),
    };
    match prefix.is_empty() {
        true => name,
        false => [prefix.as_slice(), b"/", &name].concat(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        entries: 1000,
        names: 1 << 20,
        bytes: 64 << 20,
    };

    fn tar(form: &str, names: &[String]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("content of {name}")).unwrap();
        }
        let out = Command::new("tar")
            .args(["-c", "--sort=name", "-C"])
            .arg(dir.path())
            .args([&format!("--format={form}"), "./"])
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        out.stdout
    }

    fn read(bytes: &[u8], limits: Limits) -> Result<Vec<(String, Vec<u8>)>, TarError> {
        let mut tar = Tarball::new(bytes, limits);
        let mut entries = Vec::new();
        while let Some(entry) = tar.next()? {
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            entries.push((name, tar.content(1 << 20)?));
        }
        tar.drain()?;
        Ok(entries)
    }

    fn names() -> Vec<String> {
        vec![
            "a".into(),
            format!("d/{}", "n".repeat(120)),
            format!("e/{}/{}", "x".repeat(90), "y".repeat(90)),
        ]
    }

    #[test]
    fn the_forms_of_gnu_tar_that_debs_have_read_the_same() {
        for form in ["gnu", "ustar"] {
            let mut names = names();
            if form == "ustar" {
                // Its names have 100 bytes, its prefixes 155.
                names[1].truncate(100);
            }
            let found = read(&tar(form, &names), LIMITS).unwrap();
            let files: Vec<_> = found.iter().filter(|(n, _)| !n.ends_with('/')).collect();
            assert_eq!(files.len(), names.len(), "{form}");
            for ((path, content), name) in files.iter().zip(&names) {
                assert_eq!(*path, format!("./{name}"));
                assert_eq!(*content, format!("content of {name}").into_bytes());
            }
            assert_eq!(found[0].0, "./");
        }
        let refused = read(&tar("pax", &names()), LIMITS).unwrap_err();
        assert!(matches!(refused, TarError::Malformed(_)), "{refused:?}");
    }

    #[test]
    fn a_hard_link_names_the_entry_that_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let long = "l".repeat(130);
        for (first, second) in [("a", "b"), (&long, "m")] {
            std::fs::write(dir.path().join(first), "x").unwrap();
            std::fs::hard_link(dir.path().join(first), dir.path().join(second)).unwrap();
        }
        std::os::unix::fs::symlink("a", dir.path().join("z")).unwrap();
        let out = Command::new("tar")
            .args(["-c", "--sort=name", "--format=gnu", "-C"])
            .arg(dir.path())
            .arg("./")
            .output()
            .unwrap();
        assert!(out.status.success());
        let mut tar = Tarball::new(out.stdout.as_slice(), LIMITS);
        let mut links = Vec::new();
        while let Some(entry) = tar.next().unwrap() {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            if let Some(first) = &entry.same_as {
                links.push((text(&entry.path), text(first)));
            }
        }
        let link = |to: &str, from: &str| (format!("./{to}"), format!("./{from}"));
        assert_eq!(links, [link("b", "a"), link("m", &long)]);
    }

    #[test]
    fn a_tar_that_ends_early_is_refused_wherever_it_ends() {
        let whole = tar("gnu", &names());
        let end = whole.len() - whole.iter().rev().take_while(|b| **b == 0).count();
        for length in (0..end).step_by(37) {
            let error = read(&whole[..length], LIMITS).unwrap_err();
            assert!(matches!(error, TarError::Ended), "{length}: {error:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_held() {
        let whole = tar("gnu", &names());
        let too_large = |bytes: &[u8], limits| {
            let error = read(bytes, limits).unwrap_err();
            assert!(matches!(error, TarError::TooLarge(_)), "{error:?}");
        };
        too_large(
            &whole,
            Limits {
                entries: 2,
                ..LIMITS
            },
        );
        too_large(&whole, Limits { names: 9, ..LIMITS });
        too_large(
            &whole,
            Limits {
                bytes: 4096,
                ..LIMITS
            },
        );

        // A long name, and a file, that go on for ever.
        for kind in [b'L', b'0'] {
            let mut header = [0; BLOCK];
            header[0] = b'x';
            header[124..135].copy_from_slice(b"77777777777");
            header[156] = kind;
            let sum: u32 = header.iter().map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            let endless = header.as_slice().chain(io::repeat(b'x'));
            let mut tar = Tarball::new(endless, LIMITS);
            let error = match tar.next() {
                Err(error) => error,
                Ok(_) => tar.next().unwrap_err(),
            };
            assert!(matches!(error, TarError::TooLarge(_)), "{error:?}");
        }
    }

    #[test]
    fn a_changed_byte_of_a_header_is_found() {
        let whole = tar("gnu", &names());
        for at in (0..BLOCK).filter(|at| !(148..156).contains(at)) {
            let mut changed = whole.clone();
            changed[at] ^= 4;
            read(&changed, LIMITS).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read(&bytes, LIMITS);
        }
    }
}
