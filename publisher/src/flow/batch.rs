//! Batches: events that are published in one message.

use bytes::Bytes;
use shared::publish::{MESSAGE_BYTES, Subjects};

use super::Sample;

/// Maximum bytes in open batches. With very many topics, batches of one topic are closed before they are full.
const MAX_OPEN_BYTES: usize = 4 * 1024 * 1024;

/// Events that are published in one message.
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
}

/// The open batches: one for each topic, or one for all.
#[derive(Debug)]
pub(super) struct Batches {
    max_events: usize,
    subjects: Subjects,
    open: Vec<Batch>,
    /// The open batches that got their first event since the last flush. Some may have been closed since.
    started: Vec<usize>,
    bytes: usize,
    closed: Vec<Batch>,
}

impl Batches {
    pub fn new(topics: usize, max_events: usize, subjects: Subjects) -> Self {
        let open = match subjects {
            Subjects::Mixed => 1,
            Subjects::Topic => topics,
        };
        Self {
            max_events,
            subjects,
            open: (0..open).map(|_| Batch::default()).collect(),
            started: Vec::new(),
            bytes: 0,
            closed: Vec::new(),
        }
    }

    pub fn add(&mut self, sample: Sample) {
        let Sample {
            topic,
            json,
            is_new,
        } = sample;
        let bytes = json.len();
        let index = match self.subjects {
            Subjects::Mixed => 0,
            Subjects::Topic => topic,
        };
        let open = &self.open[index];
        if !open.events.is_empty() && open.bytes + bytes > MESSAGE_BYTES {
            self.close(index);
        }
        let open = &mut self.open[index];
        if open.events.is_empty() {
            self.started.push(index);
            open.events.reserve_exact(self.max_events.min(128));
        }
        open.events.push(json);
        open.kinds.push((topic, is_new));
        open.bytes += bytes;
        self.bytes += bytes;
        if open.events.len() >= self.max_events {
            self.close(index);
        }
        if self.bytes > MAX_OPEN_BYTES {
            self.flush();
        }
    }

    /// Closes all batches, full or not.
    pub fn flush(&mut self) {
        for index in std::mem::take(&mut self.started) {
            self.close(index);
        }
    }

    /// Removes and returns the closed batches.
    pub fn take_closed(&mut self) -> impl Iterator<Item = Batch> + '_ {
        self.closed.drain(..)
    }

    fn close(&mut self, index: usize) {
        let batch = std::mem::take(&mut self.open[index]);
        if !batch.events.is_empty() {
            self.bytes -= batch.bytes;
            self.closed.push(batch);
        }
    }
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

    /// The topic, the number of events, their bytes, and how many are new.
    fn shapes(batches: &mut Batches) -> Vec<(Option<usize>, usize, usize, usize)> {
        let shape = |b: Batch| {
            let new = b.kinds.iter().filter(|(_, is_new)| *is_new).count();
            (b.topic(), b.events.len(), b.bytes, new)
        };
        batches.take_closed().map(shape).collect()
    }

    #[test]
    fn a_batch_is_closed_when_it_is_full_or_flushed() {
        let mut batches = Batches::new(2, 2, Subjects::Topic);
        for topic in [0, 1, 0, 0] {
            batches.add(sample(topic, 3));
        }
        assert_eq!(shapes(&mut batches), [(Some(0), 2, 6, 2)]);
        batches.flush();
        let mut rest = shapes(&mut batches);
        rest.sort_unstable();
        assert_eq!(rest, [(Some(0), 1, 3, 1), (Some(1), 1, 3, 0)]);
        batches.flush();
        assert_eq!(shapes(&mut batches), []);
    }

    #[test]
    fn events_of_all_topics_share_a_batch() {
        let mut batches = Batches::new(3, 3, Subjects::Mixed);
        for topic in [2, 0, 1, 1] {
            batches.add(sample(topic, 3));
        }
        assert_eq!(shapes(&mut batches), [(None, 3, 9, 1)]);
        batches.flush();
        assert_eq!(shapes(&mut batches), [(Some(1), 1, 3, 0)]);
    }

    #[test]
    fn a_batch_fits_a_message_unless_it_is_a_single_event() {
        let mut batches = Batches::new(1, 100, Subjects::Topic);
        for bytes in [MESSAGE_BYTES, 1, MESSAGE_BYTES - 1, 2 * MESSAGE_BYTES] {
            batches.add(sample(0, bytes));
        }
        batches.flush();
        let sizes: Vec<_> = shapes(&mut batches)
            .into_iter()
            .map(|s| (s.1, s.2))
            .collect();
        assert_eq!(
            sizes,
            [
                (1, MESSAGE_BYTES),
                (2, MESSAGE_BYTES),
                (1, 2 * MESSAGE_BYTES)
            ]
        );
    }

    #[test]
    fn with_very_many_topics_open_batches_stay_bounded() {
        let mut batches = Batches::new(100, 1_000, Subjects::Topic);
        let mut closed = 0;
        for i in 0..1_000 {
            batches.add(sample(i % 100, 10_000));
            assert!(batches.bytes <= MAX_OPEN_BYTES);
            closed += batches.take_closed().map(|b| b.events.len()).sum::<usize>();
        }
        batches.flush();
        closed += batches.take_closed().map(|b| b.events.len()).sum::<usize>();
        assert_eq!(closed, 1_000);
    }
}
