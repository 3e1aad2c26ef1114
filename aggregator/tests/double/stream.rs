//! The stream: its messages, and the outcome of every message that it ever confirmed.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::message::Message;

/// The time between two messages.
const TICK: i64 = 1_000_000;

/// The record of one message.
#[derive(Debug)]
pub struct Record {
    pub message: Message,
    pub sequence: u64,
    /// In nanoseconds since 1970. No two messages have the same.
    pub time: i64,
    /// Whether the stream still has it.
    pub is_there: bool,
    /// Deliveries that may still be applied: not acked, in a session that is not over.
    pub in_flight: u32,
    /// The link of the latest delivery.
    pub link: u64,
    /// When it was first delivered, counted in deliveries and acks.
    pub delivered: Option<u64>,
    /// Since when it is known to be applied, counted likewise.
    pub applied: Option<u64>,
}

/// The stream and its past.
#[derive(Debug)]
pub struct Stream {
    /// Its configuration; `None` before it is created.
    pub config: Option<Value>,
    pub created: i64,
    pub first: u64,
    pub last: u64,
    /// Its messages, as indices into `records`.
    pub messages: BTreeMap<u64, usize>,
    pub records: Vec<Record>,
    clock: i64,
}

impl Stream {
    pub fn new() -> Self {
        let created = 1_790_000_000_000_000_000;
        Self {
            config: None,
            created,
            first: 1,
            last: 0,
            messages: BTreeMap::new(),
            records: Vec::new(),
            clock: created,
        }
    }

    pub fn publish(&mut self, message: Message) {
        self.clock += TICK;
        self.last += 1;
        self.messages.insert(self.last, self.records.len());
        self.records.push(Record {
            message,
            sequence: self.last,
            time: self.clock,
            is_there: true,
            in_flight: 0,
            link: 0,
            delivered: None,
            applied: None,
        });
    }

    /// The message of a sequence number.
    pub fn get(&self, sequence: u64) -> Option<&Record> {
        self.messages.get(&sequence).map(|at| &self.records[*at])
    }

    /// The message of a time, whether the stream still has it or not.
    pub fn at(&mut self, time: i64) -> Option<&mut Record> {
        let found = self
            .records
            .binary_search_by_key(&time, |record| record.time);
        found.ok().map(|at| &mut self.records[at])
    }

    /// Forgets the last `count` sequence numbers, which will be reused.
    pub fn lose_tail(&mut self, count: u64) {
        self.last = self.last.saturating_sub(count).max(self.first - 1);
        let lost = self.messages.split_off(&(self.last + 1));
        self.mark_gone(lost);
    }

    /// Removes the messages before `sequence`.
    pub fn purge(&mut self, sequence: u64) -> u64 {
        let sequence = sequence.min(self.last + 1);
        let kept = self.messages.split_off(&sequence);
        let gone = std::mem::replace(&mut self.messages, kept);
        self.first = self
            .messages
            .keys()
            .next()
            .copied()
            .unwrap_or(self.last + 1);
        let count = gone.len() as u64;
        self.mark_gone(gone);
        count
    }

    /// Replaces the stream by another one of the same name.
    pub fn replace(&mut self) {
        let gone = std::mem::take(&mut self.messages);
        self.mark_gone(gone);
        self.clock += TICK;
        self.created = self.clock;
        (self.first, self.last, self.config) = (1, 0, None);
    }

    fn mark_gone(&mut self, gone: BTreeMap<u64, usize>) {
        for at in gone.into_values() {
            self.records[at].is_there = false;
        }
    }

    /// Its state as in `STREAM.INFO`.
    pub fn info(&self) -> Option<Value> {
        let absent =
            (self.first..=self.last).filter(|sequence| !self.messages.contains_key(sequence));
        let deleted: Vec<_> = absent.collect();
        let bytes: usize = self
            .messages
            .values()
            .map(|at| 40 + self.records[*at].message.body().len())
            .sum();
        let time = |sequence| {
            rfc3339(
                self.get(sequence)
                    .map_or(self.created, |record| record.time),
            )
        };
        Some(json!({
            "config": self.config.as_ref()?,
            "created": rfc3339(self.created),
            "state": {
                "messages": self.messages.len(), "bytes": bytes,
                "first_seq": self.first, "first_ts": time(self.first),
                "last_seq": self.last, "last_ts": time(self.last),
                "num_subjects": 1, "consumer_count": 1, "num_deleted": deleted.len(), "deleted": deleted,
            },
        }))
    }
}

/// Formats a time in nanoseconds since 1970 as the broker does.
pub fn rfc3339(nanoseconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into())
        .expect("a time of this century");
    time.format(&Rfc3339).expect("a time that can be formatted")
}
