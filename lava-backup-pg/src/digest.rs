//! A digest of a table's rows that does not depend on their order.
//!
//! A newer server fills pages in another order while it loads a dump, so the same table comes back
//! with the same rows in other places. What proves a restore is therefore a digest of the
//! *multiset* of rows: the order never matters, the number of times a row occurs does.
//!
//! There are two, which a [`TableDigest`] tells apart:
//!
//! * **Keyed**: each row is hashed by BLAKE3 with a [`DigestKey`], and the hashes, as numbers of 256
//!   bits, are added modulo 2^256 (MSet-Add-Hash of Clarke, Devadas, van Dijk, Gassend and Suh, 2003).
//!   The key is drawn anew for each dump and stands in the digest. Made by [`dump`](crate::dump);
//!   digests of two dumps can't be compared with each other.
//! * **Unkeyed**: LtHash (Bellare and Micciancio's AdHash over lattices, with the parameters of Lewi,
//!   Kim, Maykov and Weis, 2019). Each row is expanded by BLAKE3 to 2048 bytes, taken as 1024 lanes
//!   of 16 bits, and the lanes of all rows are added, each modulo 2^16; the digest is the BLAKE3 of
//!   the number of rows and the lanes. Ten times as slow (measured) for the short rows that most
//!   tables have. Equal tables have equal digests, whoever made them; seals of the first versions
//!   have it.
//!
//! # What a row is
//!
//! A line of `COPY` text, without its newline, of the columns in the dump's order, read under the
//! same settings there and back: ISO dates in UTC, `postgres` intervals, all digits of a float,
//! `hex` for bytes, an empty search path, UTF-8 (raw bytes where the database knows no encoding).
//! Every built-in type that a column can have has the same text on PostgreSQL 13, 15 and 17: their
//! values in `tests/odd/majors.rs` are dumped on each of them. Text that depends on more than those
//! settings is another where that is another: `money` (`lc_monetary`), `regrole` and its like (names
//! of the server), types of extensions (their version). A table that has such a column and is
//! restored elsewhere may be told to differ; it is never told to be the same when it is not.
//!
//! # Why two different tables don't meet
//!
//! *Who does not know the key* can't do better than to choose two tables and hope. If they differ,
//! there is a row that one has d times more often than the other, 0 < d < 2^64. Whatever the other
//! rows add up to, d times this row's hash must be one certain number. The hash is uniform among
//! 2^256, or BLAKE3 with a secret key could be told from a random function; so that happens with a
//! chance of at most 2^64 in 2^256.
//!
//! Nobody who chooses rows knows it. Users of a lab choose rows of its database, but those of a dump
//! are fixed by its snapshot, and the key is drawn after that was taken. What the server makes of the
//! dump when it is restored may depend on code in the database; no server is ever told the key, and
//! the rows are summed up where the key is, by us.
//!
//! *Who knows the key*, because he can read the seal, can find rows whose hashes add up to what he
//! wants: a sum of 256 bits falls to Wagner's generalised birthday attack, in some
//! 2^(256/(1 + log2 k)) steps where k rows may be chosen. The dump itself is out of his reach, for
//! the names of its frames fix every byte of it. But if he may also write to a database, he can
//! change it so that [`compare`](crate::compare) finds it equal to that backup's. To read
//! the store is the right of whoever owns it, so this takes the lab's own administrator, who could as
//! well replace the program. Without a key (1024 lanes of 16 bits) the same question is a
//! short-integer problem in a lattice, for which the best known attack is above 2^200, however many
//! rows: whoever needs that reads the dump without one.
//!
//! XOR in place of the sum would drop every row that occurs twice.
//!
//! ```
//! use lava_backup_pg::digest::{DigestKey, TableHasher};
//!
//! let key = DigestKey::random()?;
//! let mut dumped = TableHasher::keyed(&key);
//! dumped.add_row(b"1\tone");
//! dumped.add_row(b"2\ttwo");
//! let written = dumped.digest().to_string();
//!
//! let mut restored = TableHasher::like(&written.parse()?);
//! restored.add_row(b"2\ttwo");
//! restored.add_row(b"1\tone");
//! assert_eq!(restored.digest().to_string(), written);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod keyed;
mod lanes;
mod sum;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::io;

use keyed::Keyed;
use lanes::Lanes;
pub use text::ParseDigestError;

/// The digest of a table: stands for its rows and how often each occurs.
///
/// Shown and serialised as `keyed256:`, the key, `:`, the sum; or as `lthash16:` and the digest. Each
/// of these is 64 lower-case hexadecimal digits; a sum is written least byte first. Digests that are
/// equal are of equal rows; of keyed ones that are not equal that says something only if their key is
/// the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableDigest(Kind);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Keyed { key: DigestKey, sum: [u8; 32] },
    Unkeyed([u8; 32]),
}

/// What the rows of a dump are hashed with: 256 bits that nobody knows while the rows can still be
/// chosen. They are no secret afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DigestKey([u8; 32]);

impl TableDigest {
    /// The key that the rows were hashed with, if with one.
    #[must_use]
    pub fn key(&self) -> Option<DigestKey> {
        match self.0 {
            Kind::Keyed { key, .. } => Some(key),
            Kind::Unkeyed(_) => None,
        }
    }
}

impl DigestKey {
    /// One that was never used.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut key = [0; 32];
        let mut missing = &mut key[..];
        while !missing.is_empty() {
            let given =
                rustix::rand::getrandom(&mut *missing, rustix::rand::GetRandomFlags::empty())?;
            missing = &mut missing[given..];
        }
        Ok(Self(key))
    }
}

impl From<[u8; 32]> for DigestKey {
    fn from(key: [u8; 32]) -> Self {
        Self(key)
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

/// Adds up the rows of one table. At most 200 KiB, whatever the table's size.
#[derive(Clone)]
pub struct TableHasher {
    adder: Adder,
    rows: u64,
}

#[derive(Clone)]
enum Adder {
    Keyed(Keyed),
    Unkeyed(Lanes),
}

/// Hashes one row of a table in as many pieces as it comes in. About 2 KiB, whatever the row's size.
#[derive(Clone)]
pub struct RowHasher(blake3::Hasher);

impl RowHasher {
    /// Takes the next bytes of the row. How a row is cut into pieces makes no difference.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }
}

impl fmt::Debug for RowHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowHasher").finish_non_exhaustive()
    }
}

impl TableHasher {
    /// A table with no rows, for a digest without a key.
    #[must_use]
    pub fn unkeyed() -> Self {
        Self {
            adder: Adder::Unkeyed(Lanes::default()),
            rows: 0,
        }
    }

    /// A table with no rows, for a digest with this key.
    #[must_use]
    pub fn keyed(key: &DigestKey) -> Self {
        Self {
            adder: Adder::Keyed(Keyed::new(&key.0)),
            rows: 0,
        }
    }

    /// A table with no rows, for a digest that can be compared with this one.
    #[must_use]
    pub fn like(digest: &TableDigest) -> Self {
        digest
            .key()
            .map_or_else(Self::unkeyed, |key| Self::keyed(&key))
    }

    /// Adds a row that is at hand as a whole: a line of COPY text without its newline.
    pub fn add_row(&mut self, row: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        match &mut self.adder {
            Adder::Keyed(rows) => rows.add_row(row),
            Adder::Unkeyed(lanes) => lanes.add(Lanes::row().update(row)),
        }
    }

    /// Begins a row that comes in pieces.
    #[must_use]
    pub fn begin_row(&self) -> RowHasher {
        RowHasher(match &self.adder {
            Adder::Keyed(rows) => blake3::Hasher::new_keyed(rows.key()),
            Adder::Unkeyed(_) => Lanes::row(),
        })
    }

    /// Adds a row that this table [began](Self::begin_row) and that has ended.
    pub fn end_row(&mut self, row: &RowHasher) {
        self.rows = self.rows.wrapping_add(1);
        match &mut self.adder {
            Adder::Keyed(rows) => rows.add(row.0.finalize().as_bytes()),
            Adder::Unkeyed(lanes) => lanes.add(&row.0),
        }
    }

    /// Adds all rows of another part of the same table. Of a digest that can't be
    /// compared with this one's there is no such part.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.rows = self.rows.wrapping_add(other.rows);
        match (&mut self.adder, &other.adder) {
            (Adder::Keyed(rows), Adder::Keyed(more)) => rows.add(&more.sum()),
            (Adder::Unkeyed(lanes), Adder::Unkeyed(more)) => lanes.merge(more),
            _ => debug_assert!(false, "parts of one table are digested alike"),
        }
    }

    /// How many rows were added.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest of the rows added so far.
    #[must_use]
    pub fn digest(&self) -> TableDigest {
        TableDigest(match &self.adder {
            Adder::Keyed(rows) => Kind::Keyed {
                key: DigestKey(*rows.key()),
                sum: rows.sum(),
            },
            Adder::Unkeyed(lanes) => Kind::Unkeyed(lanes.digest(self.rows)),
        })
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
