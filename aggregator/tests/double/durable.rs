//! The durable consumer as the broker remembers it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::stream::{Stream, rfc3339};

#[derive(Debug, Clone)]
pub struct Durable {
    pub config: Value,
    /// The highest sequence that was delivered.
    delivered: u64,
    /// Delivered, or passed over, and not acked as far as the broker heard.
    pending: BTreeSet<u64>,
    consumer_sequence: u64,
}

impl Durable {
    /// As a request to create it asks.
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

    /// All up to here are acked.
    fn ack_floor(&self) -> u64 {
        self.pending
            .first()
            .map_or(self.delivered, |first| first - 1)
    }

    /// What has not been delivered.
    pub fn fresh(&self, stream: &Stream) -> Vec<u64> {
        stream
            .messages
            .range(self.delivered + 1..)
            .map(|(sequence, _)| *sequence)
            .collect()
    }

    /// What was delivered and has no ack.
    pub fn pending(&self, stream: &Stream) -> Vec<u64> {
        let is_there = |sequence: &&u64| stream.messages.contains_key(sequence);
        self.pending.iter().filter(is_there).copied().collect()
    }

    /// Notes a delivery and tells what its number is. What it passes over counts as delivered, and lost on its way.
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

    /// Stands again where it stood so many messages before the last one delivered. What is not acked stays so.
    pub fn wind_back(&mut self, count: u64) {
        self.stand(self.delivered.saturating_sub(count));
    }

    /// What a server does when it finds its durable ahead of the stream.
    pub fn lose_tail(&mut self, last: u64) {
        self.stand(self.delivered.min(last));
    }

    fn stand(&mut self, delivered: u64) {
        self.delivered = delivered;
        self.pending.retain(|sequence| *sequence <= delivered);
    }

    /// As `CONSUMER.INFO` tells it.
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
