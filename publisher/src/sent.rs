//! What was sent, by topic, and how long its confirmation took.

use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// Longest latency that is told from longer ones: an hour, in microseconds.
const LONGEST_LATENCY_US: u64 = 3_600_000_000;

/// What is in the stream.
#[derive(Debug)]
pub struct Sent {
    /// For each topic, by its index.
    pub topics: Vec<Tally>,
    /// From sending to the confirmation, in microseconds, for each batch or request.
    pub latency_us: Histogram<u64>,
    /// When the first batch or request was sent.
    pub first_send: Option<Instant>,
    /// When the last confirmation came.
    pub last_confirmed: Option<Instant>,
    /// Events sent without a confirmation: they may be in the stream or not.
    pub unconfirmed: u64,
    /// Whether all of the source is in the stream; else it was stopped, or failed.
    pub complete: bool,
}

/// What is in the stream of one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events.
    pub sent: u64,
    /// Those of them whose identity came for the first time.
    pub unique: u64,
    /// Copies that may be in the stream in addition to `sent`: one of each event for each try of which it is not known
    /// whether it stored the event.
    pub possibly_doubled: u64,
}

impl Sent {
    /// Nothing yet, of so many topics.
    #[must_use]
    pub fn nothing(topics: usize) -> Self {
        Self {
            topics: vec![Tally::default(); topics],
            latency_us: latencies(),
            first_send: None,
            last_confirmed: None,
            unconfirmed: 0,
            complete: false,
        }
    }

    /// Over all topics.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in &self.topics {
            total.add(*tally);
        }
        total
    }

    /// A batch or request with so many events goes out.
    pub fn handed_over(&mut self, events: u64, now: Instant) {
        self.first_send.get_or_insert(now);
        self.unconfirmed += events;
    }

    /// A batch or request with so many events is confirmed; [`Self::add`] says of which topics they are.
    pub fn confirmed(&mut self, events: u64, latency: Duration, now: Instant) {
        self.unconfirmed -= events;
        record(&mut self.latency_us, latency);
        self.last_confirmed = Some(now);
    }

    /// Confirmed events of a topic.
    pub fn add(&mut self, topic: usize, tally: Tally) {
        self.topics[topic].add(tally);
    }
}

impl Tally {
    fn add(&mut self, more: Self) {
        self.sent += more.sent;
        self.unique += more.unique;
        self.possibly_doubled += more.possibly_doubled;
    }
}

/// Of latencies in microseconds, to three digits.
#[must_use]
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_LATENCY_US, 3).expect("the bounds are constant")
}

/// Adds a latency.
pub fn record(latencies: &mut Histogram<u64>, latency: Duration) {
    let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    latencies.saturating_record(us);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_confirmed_is_added_up_by_topic_with_its_latency() {
        let now = Instant::now();
        let tally = |n| Tally {
            sent: 10 * n,
            unique: 7 * n,
            possibly_doubled: n,
        };
        let mut sent = Sent::nothing(2);
        sent.handed_over(35, now);
        for (topic, ms) in [(0, 3), (1, 3), (1, 40)] {
            sent.add(topic, tally(1));
            sent.confirmed(10, Duration::from_millis(ms), now);
        }
        assert_eq!(sent.topics, [tally(1), tally(2)]);
        assert_eq!(sent.total(), tally(3));
        assert_eq!(sent.unconfirmed, 5);
        let half = sent.latency_us.value_at_quantile(0.5);
        let most = sent.latency_us.value_at_quantile(0.99);
        assert_eq!((half / 100, most / 1_000), (30, 40));
    }
}
