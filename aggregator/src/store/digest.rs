//! The digest of a topic: proves, without a row by row comparison, that the right events are there.

use std::hash::Hasher;

use shared::event::Event;
use siphasher::sip128::{Hasher128, SipHasher24};

/// A sum modulo 2^128 over the events of a topic, so their order does not matter. The summands are
/// SipHash-2-4-128 under a key of the store's own, so nobody who sends events can choose ones that cancel out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Adds one event.
    pub fn add(&mut self, key: &[u8; 16], event: &Event) {
        let mut hasher = SipHasher24::new_with_key(key);
        for field in [
            event.topic.as_str(),
            event.event_id.as_str(),
            event.timestamp.as_str(),
            event.source.as_str(),
            event.payload.as_str(),
        ] {
            // With the lengths, no two events give the same bytes.
            hasher.write(&(field.len() as u64).to_le_bytes());
            hasher.write(field.as_bytes());
        }
        self.0 = self.0.wrapping_add(hasher.finish128().as_u128());
    }

    /// As it is stored: 16 bytes, little-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// From what is stored.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn digest(events: &[(&str, &str)]) -> Digest {
        let mut digest = Digest::default();
        for (id, source) in events {
            let json = format!(
                r#"{{"topic":"t","event_id":"{id}","timestamp":"2026-01-31T12:00:00Z","source":"{source}","payload":{{}}}}"#
            );
            digest.add(&[7; 16], &Event::parse(&Bytes::from(json)).unwrap());
        }
        digest
    }

    #[test]
    fn order_does_not_matter_and_every_field_does() {
        assert_eq!(
            digest(&[("1", "a"), ("2", "b")]),
            digest(&[("2", "b"), ("1", "a")])
        );
        assert_ne!(digest(&[("1", "a")]), digest(&[("1", "b")]));
        assert_ne!(digest(&[("1a", "b")]), digest(&[("1", "ab")]));
        assert_ne!(digest(&[("1", "a"), ("1", "a")]), digest(&[]));
    }
}
