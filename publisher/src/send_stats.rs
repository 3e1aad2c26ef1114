//! Counts per topic of what was sent, and the latencies of the confirmations.

use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// Highest latency recorded, in microseconds: an hour. Longer ones count as this.
const LONGEST_LATENCY_US: u64 = 3_600_000_000;

/// What was sent to the stream.
#[derive(Debug)]
pub struct SendStats {
    /// For each topic, by its index.
    pub topics: Vec<Tally>,
    /// Microseconds from sending to confirmation of each batch or request.
    pub latency_us: Histogram<u64>,
    /// When the first batch or request was sent.
    pub first_send: Option<Instant>,
    /// When the last confirmation arrived.
    pub last_confirmed: Option<Instant>,
    /// Events without a confirmation: they may or may not be in the stream.
    pub unconfirmed: u64,
    /// Whether everything from the source is in the stream; otherwise the flow was stopped or failed.
    pub complete: bool,
}

/// Counts of confirmed events of one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Confirmed events.
    pub sent: u64,
    /// Distinct identities among them.
    pub unique: u64,
    /// Copies that may be in the stream in addition to `sent`: one of each event for each attempt of unknown outcome.
    pub possibly_doubled: u64,
}

impl SendStats {
    /// Nothing sent yet, for this many topics.
    #[must_use]
    pub fn new(topics: usize) -> Self {
        Self {
            topics: vec![Tally::default(); topics],
            latency_us: latencies(),
            first_send: None,
            last_confirmed: None,
            unconfirmed: 0,
            complete: false,
        }
    }

    /// The sum over all topics.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in &self.topics {
            total.add(*tally);
        }
        total
    }

    /// Records that a batch or request with this many events is sent.
    pub fn record_send(&mut self, events: u64, now: Instant) {
        self.first_send.get_or_insert(now);
        self.unconfirmed += events;
    }

    /// Records that a batch or request with this many events is confirmed; [`Self::add`] adds them to their topics.
    pub fn record_confirmation(&mut self, events: u64, latency: Duration, now: Instant) {
        self.unconfirmed -= events;
        record(&mut self.latency_us, latency);
        self.last_confirmed = Some(now);
    }

    /// Adds confirmed events of a topic.
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

/// An empty histogram of latencies in microseconds, with three significant digits.
#[must_use]
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_LATENCY_US, 3).expect("the bounds are constant")
}

/// Records a latency.
pub fn record(latencies: &mut Histogram<u64>, latency: Duration) {
    let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    latencies.saturating_record(us);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmed_events_are_added_up_by_topic_with_their_latency() {
        let now = Instant::now();
        let tally = |n| Tally {
            sent: 10 * n,
            unique: 7 * n,
            possibly_doubled: n,
        };
        let mut sent = SendStats::new(2);
        sent.record_send(35, now);
        for (topic, ms) in [(0, 3), (1, 3), (1, 40)] {
            sent.add(topic, tally(1));
            sent.record_confirmation(10, Duration::from_millis(ms), now);
        }
        assert_eq!(sent.topics, [tally(1), tally(2)]);
        assert_eq!(sent.total(), tally(3));
        assert_eq!(sent.unconfirmed, 5);
        let half = sent.latency_us.value_at_quantile(0.5);
        let most = sent.latency_us.value_at_quantile(0.99);
        assert_eq!((half / 100, most / 1_000), (30, 40));
    }
}
