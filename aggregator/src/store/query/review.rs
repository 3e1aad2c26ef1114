//! Rejected arrivals, conflicts and missing sequences, kept for review.

use shared::{
    event::{EventId, Topic},
    message::Reason,
};

use super::{StoredEvent, Visible};

/// The rows kept for review that an operator marks as seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Review {
    /// Rejected arrivals.
    Rejected,
    /// Conflicts.
    Conflicts,
}

/// What is marked as seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Rows with ids up to this one; 0 for none.
    pub up_to: u64,
    /// How many these are, with those that have been evicted.
    pub number: u64,
}

impl Seen {
    /// Rows whose ids are consecutive from 1.
    pub(in crate::store) fn dense(up_to: u64) -> Self {
        Self {
            up_to,
            number: up_to,
        }
    }
}

/// Selects rejected arrivals or conflicts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReviewQuery {
    /// The topic of the stored event, or that of a rejected arrival: by its subject, or by its
    /// body if it was published on the subject of all topics.
    pub topic: Option<Topic>,
    /// Only those of these topics, as for `topic`.
    pub visible: Visible,
    /// The `event_id` of the stored event; rejected arrivals have none and ignore it.
    pub event_id: Option<EventId>,
    /// The reason; conflicts have none and ignore it.
    pub reason: Option<Reason>,
    /// Counted at or after this time, in microseconds since 1970.
    pub since: Option<i64>,
    /// Counted before this time, in microseconds since 1970.
    pub until: Option<i64>,
    /// With an id less than this: that at which the previous page ended.
    pub before: Option<i64>,
}

/// An arrival that could not be stored as an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its id, which is never reused.
    pub id: i64,
    /// The reason as a code for programs.
    pub reason: String,
    /// The reason, as human-readable text.
    pub detail: String,
    /// The subject of its message.
    pub subject: String,
    /// The message's sequence in the stream.
    pub stream_sequence: u64,
    /// Its position in the message, from 0.
    pub position: u64,
    /// When it was counted, in microseconds since 1970.
    pub processed_at: i64,
    /// When it was last requeued, in microseconds since 1970.
    pub requeued_at: Option<i64>,
    /// Its bytes as received.
    pub body: Vec<u8>,
    /// The name of its sender's token, if its message says it.
    pub sent_by: Option<String>,
}

/// A duplicate whose content differs from the stored event, together with that event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Its id, which is never reused.
    pub id: i64,
    /// The stored event.
    pub stored: StoredEvent,
    /// As received, or filled in on arrival.
    pub timestamp: String,
    /// Whether the timestamp was filled in on arrival.
    pub timestamp_filled: bool,
    /// As received.
    pub source: String,
    /// The JSON object, byte for byte as received.
    pub payload: String,
    /// The subject of its message.
    pub subject: String,
    /// The message's sequence in the stream.
    pub stream_sequence: u64,
    /// Its position in the message, from 0.
    pub position: u64,
    /// When it was counted, in microseconds since 1970.
    pub processed_at: i64,
    /// The name of its sender's token, if its message says it.
    pub sent_by: Option<String>,
}

/// A page of rejected arrivals or conflicts, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewPage<S> {
    /// The sink that received the rows.
    pub rows: S,
    /// How many were ever recorded; `None` if not all topics are visible, since they are not counted by topic.
    pub total: Option<u64>,
    /// How many of them have been evicted; `None` likewise.
    pub evicted: Option<u64>,
    /// The id of the last row on this page if more rows precede it; the next page continues before it.
    pub next: Option<i64>,
}

/// A range of stream sequences lost before they were applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The stream's name.
    pub stream: String,
    /// The first sequence.
    pub first: u64,
    /// The last sequence.
    pub last: u64,
    /// When the loss was detected, in microseconds since 1970.
    pub noticed_at: i64,
    /// When an operator acknowledged it, in microseconds since 1970.
    pub acknowledged_at: Option<i64>,
}
