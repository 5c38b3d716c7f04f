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

/// The largest file of a list, compressed or not. All of sid has 60 MB.
const MOST_FILE: u64 = 1 << 30;
/// How much memory an xz file may ask for: `xz -9` asks for 65 MB.
const MOST_XZ_KIB: u32 = 80 << 10;
/// zstd's own limit for what is decompressed without a question asked.
const MOST_ZSTD_WINDOW_LOG: u32 = 27;

/// Opens a regular file inside the root and decompresses it by the end of its name, as it is
/// read; `None` when nothing is there.
///
/// # Errors
/// As [`Root::open_file`]. What is no such file is told by the reading.
pub(crate) fn open(root: &Root, inside: &Path) -> Result<Option<Box<dyn Read + Send>>> {
    let Some(file) = root.open_file(inside, MOST_FILE)? else {
        return Ok(None);
    };
    let io_error = |e| Error::io(format!("read {}", root.describe(inside)), e);
    let extension = inside
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    Ok(Some(match extension {
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
    }))
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
