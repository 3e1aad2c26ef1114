//! A set of events by their sequence: a bit for each.

/// Sequences below 1 are in no set.
#[derive(Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub fn set(&mut self, sequence: i64) {
        let Some((word, bit)) = place(sequence) else {
            return;
        };
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    pub fn clear(&mut self, sequence: i64) {
        if let Some((word, bit)) = place(sequence)
            && let Some(word) = self.0.get_mut(word)
        {
            *word &= !bit;
        }
    }

    /// In rising order.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        let words = self.0.iter().enumerate().filter(|(_, bits)| **bits != 0);
        words.flat_map(|(word, bits)| {
            let set = (0..64).filter(move |bit| bits >> bit & 1 == 1);
            set.filter_map(move |bit| i64::try_from(word * 64 + bit).ok())
        })
    }
}

fn place(sequence: i64) -> Option<(usize, u64)> {
    let place = usize::try_from(sequence).ok().filter(|place| *place > 0)?;
    Some((place / 64, 1 << (place % 64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_and_not_cleared_is_there_in_order() {
        let mut bits = Bits::default();
        for sequence in [700, 1, 63, 64, 65, -3, 0] {
            bits.set(sequence);
        }
        bits.clear(64);
        bits.clear(9_000);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [1, 63, 65, 700]);
    }
}
