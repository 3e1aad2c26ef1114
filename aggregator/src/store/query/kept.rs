//! What is kept for people to look at.

use super::StoredEvent;

/// An arrival that could not be stored as an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its number, which no other one gets.
    pub id: i64,
    /// Why, for programs.
    pub reason: String,
    /// Why, for people.
    pub detail: String,
    /// The subject that its message came on.
    pub subject: String,
    /// The message's sequence in the stream.
    pub stream_sequence: u64,
    /// Its place in the message, from 0.
    pub position: u64,
    /// When it was counted, in microseconds since 1970.
    pub processed_at: i64,
    /// When it was last sent again.
    pub requeued_at: Option<i64>,
    /// Its bytes as they came.
    pub body: Vec<u8>,
}

/// A duplicate that is not what was stored, beside what was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Its number, which no other one gets.
    pub id: i64,
    /// The event that was there first.
    pub stored: StoredEvent,
    /// As it came.
    pub timestamp: String,
    /// Whether arrival filled it in.
    pub timestamp_filled: bool,
    /// As it came.
    pub source: String,
    /// The JSON object, byte for byte as it came.
    pub payload: String,
    /// The subject that its message came on.
    pub subject: String,
    /// The message's sequence in the stream.
    pub stream_sequence: u64,
    /// Its place in the message, from 0.
    pub position: u64,
    /// When it was counted, in microseconds since 1970.
    pub processed_at: i64,
}

/// A page of them, the latest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPage<S> {
    /// What took the rows.
    pub rows: S,
    /// How many there ever were.
    pub total: u64,
    /// How many of them are not kept any more.
    pub evicted: u64,
    /// The last row shown, where there are more: those before it are on the next page.
    pub next: Option<i64>,
}

/// Stream sequences that were gone before they could be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The stream's name.
    pub stream: String,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// When they were found to be gone, in microseconds since 1970.
    pub noticed_at: i64,
    /// When a person took note.
    pub acknowledged_at: Option<i64>,
}
