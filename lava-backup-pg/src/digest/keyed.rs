use blake3::IncrementCounter;
use blake3::platform::{self, MAX_SIMD_DEGREE, Platform};

use super::sum::Sum;

/// Bytes of which BLAKE3 takes in one step.
const BLOCK: usize = 64;

/// Longer rows are hashed at once each: BLAKE3 works on several of their parts side by side.
const LONGEST: usize = 1024;

// Of BLAKE3's flags those of an input that is one chunk.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;
const KEYED_HASH: u8 = 1 << 4;

/// The sum of the keyed hashes of rows.
///
/// Each block of a row is hashed after the one before it, so a row of a few hundred bytes leaves
/// most of the processor idle. Rows of as many blocks wait for one another, and all of their blocks
/// but the last are hashed side by side. The hashes are those of `blake3::keyed_hash`.
#[derive(Clone)]
pub(super) struct Keyed {
    key: [u8; 32],
    sum: Sum,
    /// By how many blocks come before a row's last: one, two, and so on.
    waiting: Vec<Alike>,
}

/// Rows of as many blocks.
#[derive(Clone)]
struct Alike {
    hash_heads: HashHeads,
    /// Of each row all blocks but the last.
    heads: Vec<u8>,
    lasts: Vec<Last>,
}

/// The last block of a row: 1 to 64 bytes of it, and zeros.
#[derive(Clone)]
struct Last {
    block: [u8; BLOCK],
    length: u8,
}

impl Keyed {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self {
            key: *key,
            sum: Sum::default(),
            waiting: HASH_HEADS.map(Alike::hashed_by).into(),
        }
    }

    pub(super) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    pub(super) fn add_row(&mut self, row: &[u8]) {
        let before_last = row.len().saturating_sub(1) / BLOCK;
        let alike = before_last.checked_sub(1);
        match alike.and_then(|at| self.waiting.get_mut(at)) {
            None => self.add(blake3::keyed_hash(&self.key, row).as_bytes()),
            Some(alike) => {
                alike.push(row.split_at(before_last * BLOCK));
                if alike.lasts.len() == MAX_SIMD_DEGREE {
                    alike.add_to(&mut self.sum, &self.key);
                }
            }
        }
    }

    pub(super) fn add(&mut self, hash: &[u8; 32]) {
        self.sum.add(hash);
    }

    /// The sum of all rows, those that wait too.
    pub(super) fn sum(&self) -> [u8; 32] {
        let mut sum = self.sum;
        for alike in &self.waiting {
            alike.clone().add_to(&mut sum, &self.key);
        }
        sum.to_bytes()
    }
}

impl Alike {
    fn hashed_by(hash_heads: HashHeads) -> Self {
        Self {
            hash_heads,
            heads: Vec::new(),
            lasts: Vec::new(),
        }
    }

    fn push(&mut self, (head, last): (&[u8], &[u8])) {
        self.heads.extend_from_slice(head);
        let mut block = [0; BLOCK];
        block[..last.len()].copy_from_slice(last);
        let length = last.len() as u8;
        self.lasts.push(Last { block, length });
    }

    /// Hashes all of them; none wait then.
    fn add_to(&mut self, sum: &mut Sum, key: &[u8; 32]) {
        let platform = Platform::detect();
        let mut states = [0; 32 * MAX_SIMD_DEGREE];
        (self.hash_heads)(platform, key, &self.heads, &mut states);
        let (states, _) = states.as_chunks();
        for (state, last) in states.iter().zip(&self.lasts) {
            let mut state = platform::words_from_le_bytes_32(state);
            let flags = KEYED_HASH | CHUNK_END | ROOT;
            platform.compress_in_place(&mut state, &last.block, last.length, 0, flags);
            sum.add(&platform::le_bytes_from_words_32(&state));
        }
        self.heads.clear();
        self.lasts.clear();
    }
}

type HashHeads = fn(Platform, &[u8; 32], &[u8], &mut States);

/// What BLAKE3 has come to in each row.
type States = [u8; 32 * MAX_SIMD_DEGREE];

/// By how many blocks: one, two, and so on.
#[rustfmt::skip]
const HASH_HEADS: [HashHeads; LONGEST / BLOCK - 1] = [
    hash_heads::<64>, hash_heads::<128>, hash_heads::<192>, hash_heads::<256>, hash_heads::<320>,
    hash_heads::<384>, hash_heads::<448>, hash_heads::<512>, hash_heads::<576>, hash_heads::<640>,
    hash_heads::<704>, hash_heads::<768>, hash_heads::<832>, hash_heads::<896>, hash_heads::<960>,
];

/// Goes as far as the first `N` bytes of each row.
fn hash_heads<const N: usize>(
    platform: Platform,
    key: &[u8; 32],
    heads: &[u8],
    states: &mut States,
) {
    let (heads, _) = heads.as_chunks::<N>();
    let heads: Vec<_> = heads.iter().collect();
    let key = platform::words_from_le_bytes_32(key);
    let fixed = IncrementCounter::No;
    platform.hash_many(&heads, &key, 0, fixed, KEYED_HASH, CHUNK_START, 0, states);
}
