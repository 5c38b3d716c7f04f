const LANES: usize = 1024;
const ROW_CONTEXT: &str = "lava-backup-pg 2026 row of a table, COPY text, LtHash16 lanes";
const TABLE_CONTEXT: &str = "lava-backup-pg 2026 table digest, row count and LtHash16 lanes";

/// LtHash: 1024 sums modulo 2^16.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Lanes(Box<[u16; LANES]>);

impl Default for Lanes {
    fn default() -> Self {
        Self(Box::new([0; LANES]))
    }
}

impl Lanes {
    /// To hash a row with.
    pub(super) fn row() -> blake3::Hasher {
        blake3::Hasher::new_derive_key(ROW_CONTEXT)
    }

    pub(super) fn add(&mut self, row: &blake3::Hasher) {
        let mut expanded = [0; LANES * 2];
        row.finalize_xof().fill(&mut expanded);
        for (lane, bytes) in self.0.iter_mut().zip(expanded.chunks_exact(2)) {
            *lane = lane.wrapping_add(u16::from_le_bytes([bytes[0], bytes[1]]));
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (lane, more) in self.0.iter_mut().zip(other.0.iter()) {
            *lane = lane.wrapping_add(*more);
        }
    }

    /// Lanes that wrapped 2^16 times would be back where they began, so the number of rows counts.
    pub(super) fn digest(&self, rows: u64) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(TABLE_CONTEXT);
        hasher.update(&rows.to_le_bytes());
        let mut lanes = [0; LANES * 2];
        for (bytes, lane) in lanes.chunks_exact_mut(2).zip(self.0.iter()) {
            bytes.copy_from_slice(&lane.to_le_bytes());
        }
        hasher.update(&lanes);
        *hasher.finalize().as_bytes()
    }
}
