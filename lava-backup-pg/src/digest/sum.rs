/// A sum of hashes, as numbers of 256 bits, modulo 2^256. Least part first.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    low: u128,
    high: u128,
}

impl Sum {
    pub(super) fn add(&mut self, hash: &[u8; 32]) {
        let (low, high) = hash.split_at(16);
        let (low, carry) = self.low.overflowing_add(number(low));
        self.low = low;
        self.high = self
            .high
            .wrapping_add(number(high))
            .wrapping_add(carry.into());
    }

    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.low.to_le_bytes());
        bytes[16..].copy_from_slice(&self.high.to_le_bytes());
        bytes
    }
}

fn number(half: &[u8]) -> u128 {
    let bytes = half.iter().rev();
    bytes.fold(0, |number, byte| number << 8 | u128::from(*byte))
}
