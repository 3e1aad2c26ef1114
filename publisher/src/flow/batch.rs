//! Batches: events of one topic that are published in one message.

use bytes::Bytes;
use shared::publish::MESSAGE_BYTES;

use super::Sample;

/// Maximum bytes in open batches of all topics. With very many topics, batches are closed before they are full.
const MAX_OPEN_BYTES: usize = 4 * 1024 * 1024;

/// Events of one topic.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The topic's index.
    pub topic: usize,
    /// The JSON of each.
    pub events: Vec<Bytes>,
    pub bytes: usize,
    /// Events whose identity was not sent before.
    pub new: u64,
}

/// The open batch of each topic.
#[derive(Debug)]
pub(super) struct Batches {
    max_events: usize,
    open: Vec<Batch>,
    /// Topics whose batch got its first event since the last flush. It may include topics whose batch was closed since.
    started: Vec<usize>,
    bytes: usize,
    closed: Vec<Batch>,
}

impl Batches {
    pub fn new(topics: usize, max_events: usize) -> Self {
        let open = |topic| Batch {
            topic,
            ..Batch::default()
        };
        Self {
            max_events,
            open: (0..topics).map(open).collect(),
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
        let open = &self.open[topic];
        if !open.events.is_empty() && open.bytes + bytes > MESSAGE_BYTES {
            self.close(topic);
        }
        let open = &mut self.open[topic];
        if open.events.is_empty() {
            self.started.push(topic);
            open.events.reserve_exact(self.max_events.min(128));
        }
        open.events.push(json);
        open.bytes += bytes;
        open.new += u64::from(is_new);
        self.bytes += bytes;
        if open.events.len() >= self.max_events {
            self.close(topic);
        }
        if self.bytes > MAX_OPEN_BYTES {
            self.flush();
        }
    }

    /// Closes all batches, full or not.
    pub fn flush(&mut self) {
        for topic in std::mem::take(&mut self.started) {
            self.close(topic);
        }
    }

    /// Removes and returns the closed batches.
    pub fn take_closed(&mut self) -> impl Iterator<Item = Batch> + '_ {
        self.closed.drain(..)
    }

    fn close(&mut self, topic: usize) {
        let empty = Batch {
            topic,
            ..Batch::default()
        };
        let batch = std::mem::replace(&mut self.open[topic], empty);
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

    fn shapes(batches: &mut Batches) -> Vec<(usize, usize, usize, u64)> {
        let shape = |b: Batch| (b.topic, b.events.len(), b.bytes, b.new);
        batches.take_closed().map(shape).collect()
    }

    #[test]
    fn a_batch_is_closed_when_it_is_full_or_flushed() {
        let mut batches = Batches::new(2, 2);
        for topic in [0, 1, 0, 0] {
            batches.add(sample(topic, 3));
        }
        assert_eq!(shapes(&mut batches), [(0, 2, 6, 2)]);
        batches.flush();
        let mut rest = shapes(&mut batches);
        rest.sort_unstable();
        assert_eq!(rest, [(0, 1, 3, 1), (1, 1, 3, 0)]);
        batches.flush();
        assert_eq!(shapes(&mut batches), []);
    }

    #[test]
    fn a_batch_fits_a_message_unless_it_is_a_single_event() {
        let mut batches = Batches::new(1, 100);
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
        let mut batches = Batches::new(100, 1_000);
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
