/// A sum of hashes, as numbers of 256 bits, modulo 2^256. Least part first.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    low: u128,
    high: u128,
}

impl Sum {
    pub(super) fn add(&mut self, hash: &[u8; 32]) {
        let (halves, _) = hash.as_chunks();
        let [low, high] = [halves[0], halves[1]].map(u128::from_le_bytes);
        let carry;
        (self.low, carry) = self.low.overflowing_add(low);
        self.high = self.high.wrapping_add(high).wrapping_add(carry.into());
    }

    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.low.to_le_bytes());
        bytes[16..].copy_from_slice(&self.high.to_le_bytes());
        bytes
    }
}
