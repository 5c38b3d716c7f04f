//! Files as apt keeps them, compressed in one of its ways.

use std::{
    io::{self, BufReader, Read},
    path::Path,
};

use crate::{Error, ErrorKind, Result, Root};

/// The ends of names that apt gives to lists, the plain one first, and apt's own choice for
/// containers (`Acquire::GzipIndexes`) second.
pub(crate) const EXTENSIONS: [&str; 5] = ["", ".lz4", ".gz", ".xz", ".zst"];

/// The compressions of apt that are not read here.
pub(crate) const UNREAD_EXTENSIONS: [&str; 2] = [".bz2", ".lzma"];

/// How much memory an xz file may ask for: `xz -9` asks for 65 MB.
const MOST_XZ_KIB: u32 = 80 << 10;
/// zstd's own limit for what is decompressed without a question asked.
const MOST_ZSTD_WINDOW_LOG: u32 = 27;

/// Opens a regular file inside the root and decompresses it by the end of its name, as it is
/// read; `None` when nothing is there.
///
/// # Errors
/// As [`Root::open_file`]. What is no such file is told by the reading, as is one that has more
/// than `limit` bytes once it is decompressed: a small file can hold more than anybody can read.
pub(crate) fn open(root: &Root, inside: &Path, limit: u64) -> Result<Option<impl Read + Send>> {
    let Some(file) = root.open_file(inside, limit)? else {
        return Ok(None);
    };
    let io_error = |e| Error::io(format!("read {}", root.describe(inside)), e);
    let extension = inside
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    let reader: Box<dyn Read + Send> = match extension {
        "gz" => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file))),
        "lz4" => Box::new(lz4_flex::frame::FrameDecoder::new(BufReader::new(file))),
        "xz" => Box::new(lzma_rust2::XzReader::new_mem_limit(
            BufReader::new(file),
            true,
            MOST_XZ_KIB,
        )),
        "zst" => {
            let mut decoder = zstd::Decoder::new(file).map_err(io_error)?;
            decoder
                .window_log_max(MOST_ZSTD_WINDOW_LOG)
                .map_err(io_error)?;
            Box::new(decoder)
        }
        "bz2" | "lzma" => {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!("read {}", root.describe(inside)),
                "it is compressed in a way that is not read here",
            ));
        }
        _ => Box::new(file),
    };
    Ok(Some(Limited {
        reader,
        left: limit,
    }))
}

/// A reader that fails where it goes on for longer than it may.
struct Limited<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            let why = "it holds more than any list does";
            io::Error::new(io::ErrorKind::FileTooLarge, why)
        })?;
        Ok(read)
    }
}

/// Reads until the buffer is full or the end; how much that was.
pub(crate) fn fill(reader: &mut impl Read, mut buffer: &mut [u8]) -> io::Result<usize> {
    let whole = buffer.len();
    while !buffer.is_empty() {
        match reader.read(buffer) {
            Ok(0) => break,
            Ok(read) => buffer = &mut buffer[read..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(whole - buffer.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn what_unpacks_to_more_than_it_may_is_refused_in_every_compression() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for inside in ["var/lib/dpkg", "etc"] {
            fs::create_dir_all(at(inside)).unwrap();
        }
        fs::write(at("var/lib/dpkg/status"), "").unwrap();
        fs::write(at("etc/os-release"), "ID=debian\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        fs::write(at("list"), vec![b'x'; 100_000]).unwrap();
        for (program, extension) in [
            ("lz4", "lz4"),
            ("gzip", "gz"),
            ("xz", "xz"),
            ("zstd", "zst"),
        ] {
            let name = format!("list.{extension}");
            let output = Command::new(program)
                .arg("-c")
                .arg(at("list"))
                .output()
                .unwrap();
            assert!(output.status.success() && output.stdout.len() < 10_000);
            fs::write(at(&name), output.stdout).unwrap();
            let read = |limit| {
                let mut bytes = Vec::new();
                let mut reader = open(&root, Path::new(&name), limit).unwrap().unwrap();
                reader.read_to_end(&mut bytes).map(|_| bytes.len())
            };
            assert_eq!(read(100_000).unwrap(), 100_000, "{extension}");
            let error = read(99_999).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{extension}");
        }
    }
}
