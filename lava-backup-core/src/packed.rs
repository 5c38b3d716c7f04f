//! Packed files whose end is not written yet.
//!
//! LAVA packs a log into `output.yaml.xz`, which it opens empty and fills when
//! it has packed all of it: between two writes the file stands still, and only
//! its content tells that it is none yet.

use std::ffi::CStr;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What an xz file begins with, before two bytes of flags.
const BEGIN: [u8; 6] = *b"\xfd7zXZ\0";
/// What it ends with, after the same flags.
const END: [u8; 2] = *b"YZ";
/// The shortest xz file: two headers of 12 bytes, an index of 8.
const SHORTEST: u64 = 32;

/// Is this file, of so many bytes, an xz file by its name and not by its
/// content?
pub(crate) fn is_unfinished(name: &CStr, file: &File, size: u64) -> bool {
    name.to_bytes().ends_with(b".xz") && !is_xz(file, size)
}

fn is_xz(file: &File, size: u64) -> bool {
    let (mut head, mut tail) = ([0; 8], [0; 4]);
    size >= SHORTEST
        && size.is_multiple_of(4)
        && file.read_exact_at(&mut head, 0).is_ok()
        && file.read_exact_at(&mut tail, size - 4).is_ok()
        && head[..6] == BEGIN
        && tail == [head[6], head[7], END[0], END[1]]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn unfinished(name: &CStr, bytes: &[u8]) -> bool {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        is_unfinished(name, &file, bytes.len() as u64)
    }

    #[test]
    fn what_xz_wrote_is_finished_and_no_beginning_of_it_is() {
        for (check, text) in [("crc32", ""), ("crc64", "log\n"), ("sha256", "a log\n")] {
            let mut xz = Command::new("xz")
                .args(["-zc", "-C", check])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut input = xz.stdin.take().unwrap();
            input.write_all(text.as_bytes()).unwrap();
            drop(input);
            let packed = xz.wait_with_output().unwrap().stdout;
            assert!(!unfinished(c"output.yaml.xz", &packed));
            for end in 0..packed.len() {
                assert!(unfinished(c"output.yaml.xz", &packed[..end]), "{end}");
                assert!(!unfinished(c"output.yaml", &packed[..end]), "{end}");
            }
        }
    }
}
