//! Fingerprints: the 192 bits by which a store recognizes an event.
//!
//! Both hashes are `SipHash` with 128 bits under the store's random key, so no sender can choose events that
//! collide. A first byte separates the uses of the key, and lengths separate neighbouring fields. The content, which
//! is most of the bytes, uses the variant 1-3, which takes half the time of 2-4.

use shared::event::Event;
use siphasher::sip128::{SipHasher13, SipHasher24};

/// The fields of an event, in the order in which they are hashed.
pub(in crate::store) struct Fields<'a> {
    pub topic: &'a str,
    pub event_id: &'a str,
    /// Empty if it was filled in on arrival, so that it is not compared.
    pub timestamp: &'a str,
    pub source: &'a str,
    /// UTF-8.
    pub payload: &'a [u8],
}

impl<'a> From<&'a Event> for Fields<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            topic: event.topic.as_str(),
            event_id: event.event_id.as_str(),
            timestamp: if event.timestamp.is_filled() {
                ""
            } else {
                event.timestamp.as_str()
            },
            source: event.source.as_str(),
            payload: event.payload.as_bytes(),
        }
    }
}

/// The key of all hashes of a store; it is created with the store and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Key(pub [u8; 16]);

/// The hashes of an event's identity and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Fingerprint {
    /// Of topic and `event_id`: 128 bits, so that two identities do not collide by chance.
    pub identity: u128,
    /// Of timestamp, source and payload: equal for a duplicate that is identical byte for byte.
    pub content: u64,
}

impl Key {
    pub fn identity(&self, topic: &str, event_id: &str) -> u128 {
        let text = framed(1, [topic.as_bytes(), event_id.as_bytes()]);
        SipHasher24::new_with_key(&self.0).hash(&text).as_u128()
    }

    pub fn fingerprint(&self, fields: &Fields<'_>) -> Fingerprint {
        let (timestamp, source) = (fields.timestamp.as_bytes(), fields.source.as_bytes());
        let text = framed(2, [timestamp, source, fields.payload]);
        let content = SipHasher13::new_with_key(&self.0).hash(&text);
        Fingerprint {
            identity: self.identity(fields.topic, fields.event_id),
            content: content.h1,
        }
    }

    /// The hash of all columns of a row, to compare it with its copy.
    pub fn row<const N: usize>(&self, columns: [&[u8]; N]) -> u128 {
        let text = framed(4, columns);
        SipHasher24::new_with_key(&self.0).hash(&text).as_u128()
    }

    /// The summand of an event in its topic's digest.
    pub fn summand(&self, fingerprint: Fingerprint) -> u128 {
        // As `framed` does it, but without an allocation.
        let mut text = [0; 1 + 8 + 8 + 16 + 8];
        text[0] = 3;
        text[1..9].copy_from_slice(&16_u64.to_le_bytes());
        text[9..17].copy_from_slice(&8_u64.to_le_bytes());
        text[17..33].copy_from_slice(&fingerprint.identity.to_le_bytes());
        text[33..].copy_from_slice(&fingerprint.content.to_le_bytes());
        SipHasher24::new_with_key(&self.0).hash(&text).as_u128()
    }
}

/// The purpose, the lengths and the fields in one buffer: hashing them separately takes twice as long.
fn framed<const N: usize>(purpose: u8, fields: [&[u8]; N]) -> Vec<u8> {
    let bytes: usize = fields.iter().map(|field| 8 + field.len()).sum();
    let mut text = Vec::with_capacity(1 + bytes);
    text.push(purpose);
    for field in fields {
        text.extend_from_slice(&(field.len() as u64).to_le_bytes());
    }
    for field in fields {
        text.extend_from_slice(field);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 16]);

    fn fields(all: [&str; 5]) -> Fields<'_> {
        let [topic, event_id, timestamp, source, payload] = all;
        Fields {
            topic,
            event_id,
            timestamp,
            source,
            payload: payload.as_bytes(),
        }
    }

    #[test]
    fn identity_and_content_depend_on_each_of_their_fields_and_on_no_other() {
        let base = ["t", "1", "2026-01-31T12:00:00Z", "s", "{}"];
        let fingerprint = KEY.fingerprint(&fields(base));
        for (changed, is_identity) in [(0, true), (1, true), (2, false), (3, false), (4, false)] {
            let mut other = base;
            other[changed] = "x";
            let other = KEY.fingerprint(&fields(other));
            assert_eq!(
                other.identity != fingerprint.identity,
                is_identity,
                "{changed}"
            );
            assert_eq!(
                other.content != fingerprint.content,
                !is_identity,
                "{changed}"
            );
        }
    }

    #[test]
    fn a_summand_is_the_hash_of_both_parts_of_a_fingerprint() {
        let (identity, content) = (u128::MAX / 3, u64::MAX / 5);
        let text = framed(3, [&identity.to_le_bytes(), &content.to_le_bytes()]);
        let expected = SipHasher24::new_with_key(&KEY.0).hash(&text).as_u128();
        let fingerprint = Fingerprint { identity, content };
        assert_eq!(KEY.summand(fingerprint), expected);
    }

    #[test]
    fn an_identity_depends_on_field_boundaries_and_on_the_key() {
        assert_ne!(KEY.identity("ab", "c"), KEY.identity("a", "bc"));
        assert_ne!(KEY.identity("a", "b"), Key([8; 16]).identity("a", "b"));
    }
}
