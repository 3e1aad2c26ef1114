//! Batches: events that are submitted to the publishing client together, and confirmed as a whole or not at all.

use std::collections::{HashMap, hash_map::Entry};

use bytes::Bytes;
use shared::{
    publish::{CHUNK_BYTES, MAX_UNCONFIRMED_BYTES, Subjects},
    stream::LARGEST_MESSAGE,
};

use super::Sample;

/// How many bytes are read from the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes that are read before they are split into batches.
    pub read: usize,
    /// Unconfirmed bytes up to which events are read.
    pub unconfirmed: usize,
}

impl Limits {
    pub fn of(subjects: Subjects) -> Self {
        match subjects {
            // Enough for the messages that keep the broker busy, and as many that are filled meanwhile. More would only
            // wait longer.
            Subjects::Mixed => Self {
                read: 1,
                unconfirmed: 8 * LARGEST_MESSAGE,
            },
            // With many topics, the more events there are, the more of them share a batch and a message.
            Subjects::Topic => Self {
                read: 4 * LARGEST_MESSAGE,
                unconfirmed: MAX_UNCONFIRMED_BYTES,
            },
        }
    }
}

/// Events that share a message, which may hold other batches too.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The JSON of each.
    pub events: Vec<Bytes>,
    pub bytes: usize,
    /// For each event, the index of its topic, and whether its identity was not sent before.
    pub kinds: Vec<(usize, bool)>,
}

impl Batch {
    /// The index of the topic of all events; `None` if they have several.
    pub fn topic(&self) -> Option<usize> {
        let (first, _) = *self.kinds.first()?;
        let is_one = self.kinds.iter().all(|(topic, _)| *topic == first);
        is_one.then_some(first)
    }

    fn add(&mut self, sample: Sample) {
        let Sample {
            topic,
            json,
            is_new,
        } = sample;
        self.bytes += json.len();
        self.events.push(json);
        self.kinds.push((topic, is_new));
    }
}

/// Splits events into batches of at most `max_events` and [`CHUNK_BYTES`], unless a single event is larger.
pub(super) fn split(samples: Vec<Sample>, max_events: usize, subjects: Subjects) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    // The last batch of each topic, or with `None` of all.
    let mut open: HashMap<Option<usize>, usize> = HashMap::new();
    for sample in samples {
        let lane = match subjects {
            Subjects::Mixed => None,
            Subjects::Topic => Some(sample.topic),
        };
        let has_room = |batch: &Batch| {
            batch.events.len() < max_events && batch.bytes + sample.json.len() <= CHUNK_BYTES
        };
        let index = match open.entry(lane) {
            Entry::Occupied(entry) if has_room(&batches[*entry.get()]) => *entry.get(),
            entry => {
                batches.push(Batch::default());
                *entry.insert_entry(batches.len() - 1).get()
            }
        };
        batches[index].add(sample);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(topic: usize, bytes: usize) -> Sample {
        Sample {
            topic,
            json: Bytes::from(vec![b'x'; bytes]),
            is_new: topic == 0,
        }
    }

    /// Of each batch the topic, the number of events, their bytes, and how many are new.
    fn shapes(batches: Vec<Batch>) -> Vec<(Option<usize>, usize, usize, usize)> {
        let shape = |b: Batch| {
            let new = b.kinds.iter().filter(|(_, is_new)| *is_new).count();
            (b.topic(), b.events.len(), b.bytes, new)
        };
        batches.into_iter().map(shape).collect()
    }

    #[test]
    fn events_of_all_topics_share_a_batch_unless_each_topic_has_its_own() {
        let samples = || [0, 1, 0, 0, 1].map(|topic| sample(topic, 3)).into();
        assert_eq!(
            shapes(split(samples(), 3, Subjects::Mixed)),
            [(None, 3, 9, 2), (None, 2, 6, 1)]
        );
        assert_eq!(
            shapes(split(samples(), 2, Subjects::Topic)),
            [(Some(0), 2, 6, 2), (Some(1), 2, 6, 0), (Some(0), 1, 3, 1)]
        );
    }

    #[test]
    fn a_batch_is_limited_in_bytes_unless_it_is_a_single_event() {
        for subjects in [Subjects::Mixed, Subjects::Topic] {
            let sizes = [CHUNK_BYTES, 1, CHUNK_BYTES - 1, 2 * CHUNK_BYTES];
            let samples = sizes.map(|bytes| sample(0, bytes));
            let batches = split(samples.into(), 100, subjects);
            let sizes: Vec<_> = batches.iter().map(|b| (b.events.len(), b.bytes)).collect();
            assert_eq!(
                sizes,
                [(1, CHUNK_BYTES), (2, CHUNK_BYTES), (1, 2 * CHUNK_BYTES)]
            );
        }
    }
}
