//! A sparse bit set of event sequences: one bit for each, and no memory for ranges without any.

use std::collections::BTreeMap;

/// Words of 64 sequences.
#[derive(Debug, Default)]
pub(in super::super) struct Bits(BTreeMap<i64, u64>);

impl Bits {
    pub fn set(&mut self, sequence: i64) {
        let (word, bit) = locate(sequence);
        *self.0.entry(word).or_default() |= bit;
    }

    pub fn clear(&mut self, sequence: i64) {
        let (word, bit) = locate(sequence);
        if let Some(bits) = self.0.get_mut(&word) {
            *bits &= !bit;
        }
    }

    /// The sequences in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        self.0.iter().flat_map(|(word, bits)| {
            let set = (0..64).filter(move |bit| bits >> bit & 1 == 1);
            set.map(move |bit| word * 64 + bit)
        })
    }
}

fn locate(sequence: i64) -> (i64, u64) {
    (sequence.div_euclid(64), 1 << sequence.rem_euclid(64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_bits_are_iterated_in_order_without_cleared_ones() {
        let mut bits = Bits::default();
        for sequence in [700, 1, 63, 64, 65, -3, 0, i64::MAX] {
            bits.set(sequence);
        }
        bits.clear(64);
        bits.clear(9_000);
        let set: Vec<_> = bits.iter().collect();
        assert_eq!(set, [-3, 0, 1, 63, 65, 700, i64::MAX]);
    }
}
