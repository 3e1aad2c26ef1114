//! The digest of a topic: verifies the set of its events without comparing row by row.

use super::fingerprint::{Fingerprint, Key};

/// A sum modulo 2^128 over the events of a topic; their order does not matter. The summands are keyed hashes, so
/// no sender can choose events that cancel out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store) struct Digest(u128);

impl Digest {
    /// Adds one event.
    pub fn add(&mut self, key: &Key, fingerprint: Fingerprint) {
        self.0 = self.0.wrapping_add(key.summand(fingerprint));
    }

    /// The stored form: 16 bytes, little-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// From the stored form.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fingerprints: &[(u128, u64)]) -> Digest {
        let mut digest = Digest::default();
        for &(identity, content) in fingerprints {
            digest.add(&Key([7; 16]), Fingerprint { identity, content });
        }
        digest
    }

    #[test]
    fn order_does_not_matter_and_every_event_does() {
        assert_eq!(digest(&[(1, 1), (2, 2)]), digest(&[(2, 2), (1, 1)]));
        assert_ne!(digest(&[(1, 1)]), digest(&[(1, 2)]));
        assert_ne!(digest(&[(1, 1)]), digest(&[(2, 1)]));
        assert_ne!(digest(&[(1, 1), (1, 1)]), digest(&[]));
    }
}
