#![allow(clippy::unwrap_used)]

use std::os::unix::fs::FileExt;

use super::*;

/// Zeros that are written, data, and a hole up to the end.
fn zeros_data_and_hole() -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&[0; 200_000], 0).unwrap();
    file.write_all_at(b"data", 200_000).unwrap();
    file.set_len(9 << 20).unwrap();
    file
}

#[test]
fn zeros_are_a_hole_whether_or_not_they_are_written_and_nothing_else_is() {
    let mut file = zeros_data_and_hole();
    for (from, to, expected) in [
        (0, 200_000, true),
        (0, 200_001, false),
        (70_000, 199_999, true),
        (70_000, 210_000, false),
        (199_999, 200_000, true),
        (200_003, 200_004, false),
        (200_004, 9 << 20, true),
        (1 << 20, 2 << 20, true),
        (200_000, 200_000, true),
    ] {
        let found = is_hole(&mut file, from, to).unwrap();
        assert_eq!(found, expected, "{from} to {to}");
    }
}
