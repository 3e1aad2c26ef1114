//! The entries of the index, and the hash table of recent ones, in memory until it is sealed.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// Bytes of an encoded content digest.
const CONTENT: usize = 6;

/// The index's entry of a stored event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Entry {
    /// The event's own sequence.
    pub sequence: i64,
    /// The last 48 bits of the digest of its timestamp, source and payload. A conflict is mistaken for an identical duplicate
    /// if they agree by chance: once in 280,000,000,000,000 conflicts. The event is dropped in either case.
    content: u64,
}

/// Entries by the fingerprint of their identity: 33 bytes per slot, of which at most seven in eight are used.
pub(in crate::store) type Table = HashMap<u128, Entry, BuildHasherDefault<Uniform>>;

/// Parts into which a table is divided to be sorted.
const PARTS: u32 = 8;

impl Entry {
    /// The entry of the event with this sequence, whose content has this digest.
    pub fn new(sequence: i64, content: u64) -> Self {
        let content = content & ((1 << (8 * CONTENT)) - 1);
        Self { sequence, content }
    }

    /// Whether its event's content has this digest.
    pub fn has_content(self, content: u64) -> bool {
        self.content == Self::new(self.sequence, content).content
    }

    /// The content digest, then the sequence without its leading zero bytes.
    pub(super) fn encode(self, buffer: &mut [u8; CONTENT + 8]) -> &[u8] {
        let sequence = self.sequence.to_be_bytes();
        let zeros = sequence.iter().take_while(|byte| **byte == 0).count();
        let bytes = CONTENT + sequence.len() - zeros;
        buffer[..CONTENT].copy_from_slice(&self.content.to_be_bytes()[8 - CONTENT..]);
        buffer[CONTENT..bytes].copy_from_slice(&sequence[zeros..]);
        &buffer[..bytes]
    }

    /// Decodes an entry, also one of an earlier version: a sequence and a whole digest, of eight bytes each.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8]| {
            let mut number = [0; 8];
            number[8usize.checked_sub(bytes.len())?..].copy_from_slice(bytes);
            Some(u64::from_be_bytes(number))
        };
        let (content, sequence) = match bytes.len() {
            16 => (&bytes[8..], &bytes[..8]),
            _ => bytes.split_at_checked(CONTENT)?,
        };
        let sequence = i64::try_from(number(sequence)?).ok()?;
        Some(Self::new(sequence, number(content)?))
    }
}

/// The entries of a table in the order of their fingerprints. They are sorted one part at a time, in an eighth of the memory.
pub(super) fn sorted(table: &Table) -> impl Iterator<Item = (u128, Entry)> {
    (0..PARTS).flat_map(|part| {
        let is_in_part =
            |identity: u128| identity >> (u128::BITS - PARTS.ilog2()) == u128::from(part);
        let entries = table.iter().filter(|(identity, _)| is_in_part(**identity));
        let mut entries: Vec<_> = entries
            .map(|(identity, entry)| (*identity, *entry))
            .collect();
        entries.sort_unstable_by_key(|(identity, _)| *identity);
        entries
    })
}

/// Fingerprints are uniform already, so a part of one is its own hash.
#[derive(Default)]
pub(in crate::store) struct Uniform(u64);

impl Hasher for Uniform {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // A u128 arrives as its 16 bytes; either half serves.
        for (index, byte) in bytes.iter().take(8).enumerate() {
            self.0 |= u64::from(*byte) << (8 * index);
        }
    }

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = u64::try_from(fingerprint & u128::from(u64::MAX)).expect("it is masked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_decoded_as_it_was_encoded() {
        for sequence in [1, 255, 256, 4_294_967_296, i64::MAX] {
            for content in [0, 1, u64::MAX] {
                let entry = Entry::new(sequence, content);
                let mut buffer = [0; 14];
                assert_eq!(Entry::decode(entry.encode(&mut buffer)), Some(entry));
            }
        }
        let large = Entry::new(200_000_000, u64::MAX);
        assert_eq!(large.encode(&mut [0; 14]).len(), 10);
    }

    #[test]
    fn an_entry_of_an_earlier_version_is_decoded() {
        let (sequence, content) = (7_i64, u64::MAX - 1);
        let encoded = [sequence.to_be_bytes(), content.to_be_bytes()].concat();
        let entry = Entry::decode(&encoded);
        assert_eq!(entry, Some(Entry::new(sequence, content)));
    }

    #[test]
    fn damaged_entries_are_refused() {
        for length in [0, 5, 15, 17] {
            assert_eq!(Entry::decode(&vec![1; length]), None, "{length}");
        }
        // A negative sequence.
        assert_eq!(Entry::decode(&[0xff; 16]), None);
        assert_eq!(Entry::decode(&[0xff; 14]), None);
    }

    #[test]
    fn a_table_is_sorted_as_a_whole() {
        let random = |n: u128| n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let identities = (0..1_000).map(random).chain([0, u128::MAX]);
        let table: Table = identities.map(|id| (id, Entry::new(1, 0))).collect();
        let mut expected: Vec<u128> = table.keys().copied().collect();
        expected.sort_unstable();
        let found: Vec<u128> = sorted(&table).map(|(identity, _)| identity).collect();
        assert_eq!(found, expected);
    }
}
