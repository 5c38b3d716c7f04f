//! A digest of a table's rows that does not depend on their order.
//!
//! A newer server fills pages in another order while it loads a dump, so the same table comes back
//! with the same rows in other places. What proves a restore is therefore a digest of the
//! *multiset* of rows: the order never matters, the number of times a row occurs does.
//!
//! It is LtHash (Bellare and Micciancio's AdHash over lattices, with the parameters of Lewi, Kim,
//! Maykov and Weis, 2019): each row is expanded by BLAKE3 to 2048 bytes, taken as 1024 lanes of 16
//! bits, and the lanes of all rows are added, each modulo 2^16. The number of rows is counted
//! beside it. The digest is the BLAKE3 of both.
//!
//! # What a row is
//!
//! A line of `COPY` text, without its newline, of the columns in the dump's order, read under the
//! same settings there and back: ISO dates in UTC, `postgres` intervals, all digits of a float,
//! `hex` for bytes, an empty search path, UTF-8 (raw bytes where the database knows no encoding).
//! LAVA's types have the same text on PostgreSQL 13, 15 and 17 (measured). So have, from 15 to 15,
//! all that `tests/odd/values.rs` has. Text that depends on more than those settings is another
//! where that is another: `money` (`lc_monetary`), `regrole` and its like (names of the server),
//! types of extensions (their version). A table that has such a column and is restored elsewhere
//! may be told to differ; it is never told to be the same when it is not.
//!
//! # Why not add or XOR 256-bit hashes
//!
//! XOR drops every row that occurs twice. Worse, Wagner's generalised birthday attack finds other
//! rows whose hashes combine to a wanted 256-bit value, for XOR and for addition alike, with about
//! 2^(256/(1+log2 k)) work when k rows may be chosen: thousands of free rows, as any job log
//! offers, bring that near 2^20. With 1024 lanes of 16 bits the same question is a short-integer
//! problem in a lattice, for which the best known attack is above 2^200, however many rows.
//!
//! ```
//! use lava_backup_pg::digest::TableHasher;
//!
//! let mut dumped = TableHasher::new();
//! dumped.add_row(b"1\tone");
//! dumped.add_row(b"2\ttwo");
//! let mut restored = TableHasher::new();
//! restored.add_row(b"2\ttwo");
//! restored.add_row(b"1\tone");
//! assert_eq!(dumped.digest(), restored.digest());
//! assert!(dumped.digest().to_string().starts_with("lthash16:"));
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const LANES: usize = 1024;
const ROW_CONTEXT: &str = "lava-backup-pg 2026 row of a table, COPY text, LtHash16 lanes";
const TABLE_CONTEXT: &str = "lava-backup-pg 2026 table digest, row count and LtHash16 lanes";
const PREFIX: &str = "lthash16:";

/// The digest of a table: 256 bits that stand for its rows and how often each occurs.
///
/// Shown and serialised as `lthash16:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableDigest([u8; 32]);

/// Adds up the rows of one table. About 2 KiB, whatever the table's size.
#[derive(Clone)]
pub struct TableHasher {
    lanes: Box<[u16; LANES]>,
    rows: u64,
}

/// Hashes one row, in as many pieces as it comes in. About 2 KiB, whatever the row's size.
#[derive(Clone)]
pub struct RowHasher(blake3::Hasher);

impl RowHasher {
    /// A row of which nothing has been seen.
    #[must_use]
    pub fn new() -> Self {
        Self(blake3::Hasher::new_derive_key(ROW_CONTEXT))
    }

    /// Takes the next bytes of the row. How a row is cut into pieces makes no difference.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Forgets what was taken, to begin another row.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl Default for RowHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RowHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowHasher").finish_non_exhaustive()
    }
}

impl TableHasher {
    /// A table with no rows.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lanes: Box::new([0; LANES]),
            rows: 0,
        }
    }

    /// Adds a row that was hashed in pieces.
    pub fn add(&mut self, row: &RowHasher) {
        let mut expanded = [0; LANES * 2];
        row.0.finalize_xof().fill(&mut expanded);
        for (lane, bytes) in self.lanes.iter_mut().zip(expanded.chunks_exact(2)) {
            *lane = lane.wrapping_add(u16::from_le_bytes([bytes[0], bytes[1]]));
        }
        self.rows = self.rows.wrapping_add(1);
    }

    /// Adds a row that is at hand as a whole: a line of COPY text without its newline.
    pub fn add_row(&mut self, row: &[u8]) {
        let mut hasher = RowHasher::new();
        hasher.update(row);
        self.add(&hasher);
    }

    /// Adds all rows of another part of the same table.
    pub fn merge(&mut self, other: &Self) {
        for (lane, more) in self.lanes.iter_mut().zip(other.lanes.iter()) {
            *lane = lane.wrapping_add(*more);
        }
        self.rows = self.rows.wrapping_add(other.rows);
    }

    /// How many rows were added.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest of the rows added so far.
    #[must_use]
    pub fn digest(&self) -> TableDigest {
        let mut hasher = blake3::Hasher::new_derive_key(TABLE_CONTEXT);
        hasher.update(&self.rows.to_le_bytes());
        let mut lanes = [0; LANES * 2];
        for (bytes, lane) in lanes.chunks_exact_mut(2).zip(self.lanes.iter()) {
            bytes.copy_from_slice(&lane.to_le_bytes());
        }
        hasher.update(&lanes);
        TableDigest(*hasher.finalize().as_bytes())
    }
}

impl Default for TableHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TableHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableHasher")
            .field("rows", &self.rows)
            .field("digest", &self.digest())
            .finish()
    }
}

impl TableDigest {
    /// The 256 bits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for TableDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl fmt::Debug for TableDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a [`TableDigest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read a table digest: not `lthash16:` and 64 lower-case hexadecimal digits")]
pub struct ParseDigestError(());

impl FromStr for TableDigest {
    type Err = ParseDigestError;

    /// # Errors
    ///
    /// When the text differs in any way from what `Display` writes: there is one spelling, so that
    /// texts can be compared.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix(PREFIX).ok_or(ParseDigestError(()))?;
        if hex.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ParseDigestError(()));
        }
        let hash = blake3::Hash::from_hex(hex).map_err(|_| ParseDigestError(()))?;
        Ok(Self(*hash.as_bytes()))
    }
}

impl Serialize for TableDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TableDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn table<R: AsRef<[u8]>>(rows: impl IntoIterator<Item = R>) -> TableHasher {
        let mut table = TableHasher::new();
        for row in rows {
            table.add_row(row.as_ref());
        }
        table
    }

    #[test]
    fn a_row_twice_is_not_a_row_once() {
        let once = table(["a"]).digest();
        let twice = table(["a", "a"]).digest();
        let thrice = table(["a", "a", "a"]).digest();
        assert_ne!(once, twice);
        assert_ne!(once, thrice);
        assert_ne!(twice, table(["b", "b"]).digest());
    }

    #[test]
    fn an_empty_row_is_not_no_row() {
        assert_ne!(table([""]).digest(), table::<&str>([]).digest());
    }

    #[test]
    fn bytes_swapped_between_rows_show() {
        assert_ne!(
            table(["1\tred", "2\tblue"]).digest(),
            table(["1\tblue", "2\tred"]).digest()
        );
        assert_ne!(table(["ab", "c"]).digest(), table(["a", "bc"]).digest());
    }

    /// Lanes that wrapped 2^16 times would otherwise be back where they began.
    #[test]
    fn the_count_is_part_of_the_digest() {
        let mut many = table(["a"]);
        for _ in 0..16 {
            let same = many.clone();
            many.merge(&same);
        }
        assert_eq!(many.rows(), 1 << 16);
        assert_eq!(many.lanes, TableHasher::new().lanes);
        assert_ne!(many.digest(), TableHasher::new().digest());
    }

    /// Digests stand in seals that are read for ever.
    #[test]
    fn the_digest_of_known_rows_never_changes() {
        assert_eq!(
            table(["1\tone", "2\t\\N"]).digest().to_string(),
            "lthash16:21f24b7cb14b4bdf41c037fdd41573920eb70a379b0956d34819e8c8b345d9e1"
        );
    }

    #[test]
    fn only_the_written_form_is_read_back() {
        let digest = table(["a"]).digest();
        let text = digest.to_string();
        assert_eq!(text.parse::<TableDigest>().unwrap(), digest);
        for wrong in [
            text.to_uppercase(),
            text.replace("lthash16:", "LTHASH16:"),
            text[PREFIX.len()..].to_owned(),
            format!("{text}0"),
            text[..text.len() - 1].to_owned(),
            format!("{PREFIX}{}", text[PREFIX.len()..].to_uppercase()),
        ] {
            assert!(wrong.parse::<TableDigest>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn order_never_matters(
            (rows, shuffled) in prop::collection::vec(any::<Vec<u8>>(), 0..20)
                .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))
        ) {
            prop_assert_eq!(table(&rows).digest(), table(&shuffled).digest());
        }

        #[test]
        fn parts_merged_are_the_whole(
            rows in prop::collection::vec(any::<Vec<u8>>(), 0..20),
            at in any::<prop::sample::Index>(),
        ) {
            let (left, right) = rows.split_at(at.index(rows.len() + 1));
            let mut merged = table(left);
            merged.merge(&table(right));
            prop_assert_eq!(merged.rows(), rows.len() as u64);
            prop_assert_eq!(merged.digest(), table(&rows).digest());
        }

        #[test]
        fn pieces_of_a_row_are_the_row(row in any::<Vec<u8>>(), at in any::<prop::sample::Index>()) {
            let (left, right) = row.split_at(at.index(row.len() + 1));
            let mut pieces = RowHasher::new();
            pieces.update(b"another row");
            pieces.reset();
            pieces.update(left);
            pieces.update(right);
            let mut by_pieces = TableHasher::new();
            by_pieces.add(&pieces);
            prop_assert_eq!(by_pieces.digest(), table([&row]).digest());
        }

        #[test]
        fn one_changed_byte_shows(
            mut rows in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..30), 1..10),
            row in any::<prop::sample::Index>(),
            byte in any::<prop::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let before = table(&rows).digest();
            let row = row.get(&rows).clone();
            let position = rows.iter().position(|r| *r == row).unwrap();
            let byte = byte.index(row.len());
            rows[position][byte] ^= flip;
            prop_assert_ne!(before, table(&rows).digest());
        }
    }
}
