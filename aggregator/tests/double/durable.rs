//! The durable consumer's state on the broker.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::stream::{Stream, rfc3339};

#[derive(Debug, Clone)]
pub struct Durable {
    pub config: Value,
    /// The highest sequence that was delivered.
    delivered: u64,
    /// Delivered or skipped, and not acked as far as the broker received.
    pending: BTreeSet<u64>,
    consumer_sequence: u64,
}

impl Durable {
    /// Creates it from the configuration in a request.
    pub fn new(config: Value, stream: &Stream) -> Self {
        let start = config["opt_start_seq"]
            .as_u64()
            .unwrap_or(1)
            .max(stream.first);
        Self {
            config,
            delivered: start - 1,
            pending: BTreeSet::new(),
            consumer_sequence: 0,
        }
    }

    /// The sequence up to which all are acked.
    fn ack_floor(&self) -> u64 {
        self.pending
            .first()
            .map_or(self.delivered, |first| first - 1)
    }

    /// The messages that were not delivered yet.
    pub fn fresh(&self, stream: &Stream) -> Vec<u64> {
        stream
            .messages
            .range(self.delivered + 1..)
            .map(|(sequence, _)| *sequence)
            .collect()
    }

    /// The messages that were delivered and are not acked.
    pub fn pending(&self, stream: &Stream) -> Vec<u64> {
        let is_there = |sequence: &&u64| stream.messages.contains_key(sequence);
        self.pending.iter().filter(is_there).copied().collect()
    }

    /// Records a delivery and returns its number. Skipped messages count as delivered, and lost in transit.
    pub fn deliver(&mut self, sequence: u64) -> u64 {
        for passed in self.delivered + 1..=sequence {
            self.pending.insert(passed);
        }
        self.pending.insert(sequence);
        self.delivered = self.delivered.max(sequence);
        self.consumer_sequence += 1;
        self.consumer_sequence
    }

    pub fn ack(&mut self, sequence: u64, stream: &Stream) {
        self.pending.remove(&sequence);
        self.pending
            .retain(|pending| stream.messages.contains_key(pending));
    }

    /// Moves back to its position this many messages before the last delivered one. Unacked messages stay unacked.
    pub fn wind_back(&mut self, count: u64) {
        self.move_to(self.delivered.saturating_sub(count));
    }

    /// Does what a server does when its durable is ahead of the stream.
    pub fn lose_tail(&mut self, last: u64) {
        self.move_to(self.delivered.min(last));
    }

    fn move_to(&mut self, delivered: u64) {
        self.delivered = delivered;
        self.pending.retain(|sequence| *sequence <= delivered);
    }

    /// Its state as in `CONSUMER.INFO`.
    pub fn info(&self, name: &str, stream: &Stream, waiting: usize) -> Value {
        let pending = self.pending(stream);
        json!({
            "stream_name": "EVENTS", "name": name, "created": rfc3339(stream.created),
            "config": self.config,
            "delivered": { "consumer_seq": self.consumer_sequence, "stream_seq": self.delivered },
            "ack_floor": { "consumer_seq": 0, "stream_seq": self.ack_floor() },
            "num_ack_pending": pending.len(), "num_redelivered": 0, "num_waiting": waiting,
            "num_pending": self.fresh(stream).len(),
        })
    }
}
