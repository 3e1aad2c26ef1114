//! Finds the events that repeat the identity of an earlier one, in bounded memory.
//!
//! During the inspection, a fingerprint of each identity is written with the event's number to temporary files,
//! partitioned by the fingerprint's first byte. Each file is then sorted. The result is one bit for each event.

use std::{
    fs::File,
    hash::Hasher,
    io::{self, Read, Seek, Write},
};

use shared::event::Event;
use siphasher::sip128::{Hasher128, SipHasher13};

/// Files, one for each first byte of a fingerprint.
const FILES: usize = 256;

/// Bytes buffered before they are written; the buffers of all files are 16 MiB.
const PART_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes of a record: a fingerprint and a number.
const RECORD_BYTES: usize = 24;

/// The identities seen, as 128-bit hashes under a key of this process: the probability of any collision among 10^9
/// identities is below 10^-20.
pub(super) struct Identities {
    key: [u8; 16],
    parts: Vec<Part>,
    events: u64,
}

#[derive(Default)]
struct Part {
    buffered: Vec<u8>,
    file: Option<File>,
}

/// The numbers, from 0, of the events that repeat an earlier identity.
#[derive(Debug, Default)]
pub(super) struct Repeats(Vec<u64>);

impl Identities {
    pub fn new() -> Self {
        Self {
            key: rand::random(),
            parts: (0..FILES).map(|_| Part::default()).collect(),
            events: 0,
        }
    }

    /// Adds the next event.
    pub fn add(&mut self, event: &Event) -> io::Result<()> {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_usize(event.topic.as_str().len());
        hasher.write(event.topic.as_str().as_bytes());
        hasher.write(event.event_id.as_str().as_bytes());
        let fingerprint = hasher.finish128().as_u128().to_be_bytes();
        let number = self.events.to_be_bytes();
        self.events += 1;
        let part = &mut self.parts[usize::from(fingerprint[0])];
        part.buffered.extend_from_slice(&fingerprint);
        part.buffered.extend_from_slice(&number);
        if part.buffered.len() < PART_BUFFER_BYTES {
            return Ok(());
        }
        let file = match &mut part.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.write_all(&part.buffered)?;
        part.buffered.clear();
        Ok(())
    }

    /// Which of the events repeat an earlier one.
    pub fn repeats(self) -> io::Result<Repeats> {
        let mut repeats = Repeats::default();
        let mut bytes = Vec::new();
        for part in self.parts {
            bytes.clear();
            if let Some(mut file) = part.file {
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
            }
            bytes.extend_from_slice(&part.buffered);
            let mut records: Vec<_> = bytes.chunks_exact(RECORD_BYTES).collect();
            // By fingerprint, then by number: both are big-endian.
            records.sort_unstable();
            for pair in records.windows(2) {
                if pair[0][..16] == pair[1][..16] {
                    let number = pair[1][16..].try_into().unwrap_or_default();
                    repeats.set(u64::from_be_bytes(number));
                }
            }
        }
        Ok(repeats)
    }
}

impl Repeats {
    fn set(&mut self, number: u64) {
        let (word, bit) = word_and_bit(number);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    /// Whether the event of this number repeats an earlier one.
    pub fn contains(&self, number: u64) -> bool {
        let (word, bit) = word_and_bit(number);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

fn word_and_bit(number: u64) -> (usize, u64) {
    let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
    (word, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn event(topic: &str, id: u64) -> Event {
        let json = format!(
            r#"{{"topic":"{topic}","event_id":"{id}","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{}}}}"#
        );
        Event::parse(&Bytes::from(json)).unwrap()
    }

    #[test]
    fn an_identity_is_new_once_whether_it_is_kept_in_memory_or_in_files() {
        // Twice the bytes that are buffered before the files are used.
        let many = 2 * FILES * PART_BUFFER_BYTES / RECORD_BYTES;
        for events in [0, 1, 1_000, many as u64] {
            let mut identities = Identities::new();
            // Every third event repeats one of the first hundred.
            let id = |number: u64| {
                if number % 3 == 2 {
                    number % 100
                } else {
                    number
                }
            };
            let mut seen = std::collections::HashSet::new();
            let mut expected = Vec::new();
            for number in 0..events {
                identities.add(&event("t", id(number))).unwrap();
                expected.push(!seen.insert(id(number)));
            }
            let held: usize = identities
                .parts
                .iter()
                .map(|part| part.buffered.len())
                .sum();
            assert!(held <= FILES * (PART_BUFFER_BYTES + RECORD_BYTES));
            let uses_files = identities.parts.iter().any(|part| part.file.is_some());
            assert_eq!(uses_files, events == many as u64);
            let repeats = identities.repeats().unwrap();
            let found: Vec<_> = (0..events).map(|number| repeats.contains(number)).collect();
            assert!(found == expected, "{events}");
        }
    }

    #[test]
    fn the_same_event_id_under_another_topic_is_another_identity() {
        let mut identities = Identities::new();
        for topic in ["a", "ab", "a"] {
            identities.add(&event(topic, 1)).unwrap();
        }
        let repeats = identities.repeats().unwrap();
        assert_eq!([0, 1, 2].map(|n| repeats.contains(n)), [false, false, true]);
    }
}
