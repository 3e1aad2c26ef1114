//! The hash table of recent entries, in memory until it is sealed.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// The index's entry of a stored event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Entry {
    /// The event's own sequence.
    pub sequence: i64,
    /// The digest of its timestamp, source and payload.
    pub content: u64,
}

/// Entries by the fingerprint of their identity: 33 bytes per slot, of which at most seven in eight are used.
pub(in crate::store) type Table = HashMap<u128, Entry, BuildHasherDefault<Uniform>>;

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
