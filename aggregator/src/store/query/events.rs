//! Queries for events, and pages of events.

use shared::event::Timestamp;

use super::Visible;

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its position in the order of storage.
    pub sequence: i64,
    /// As received.
    pub topic: String,
    /// As received.
    pub event_id: String,
    /// As received, or filled in on arrival.
    pub timestamp: String,
    /// Whether the timestamp was filled in on arrival.
    pub timestamp_filled: bool,
    /// As received.
    pub source: String,
    /// The JSON object, byte for byte as received.
    pub payload: String,
    /// When it was stored, in microseconds since 1970; never decreases as the sequence increases.
    pub processed_at: i64,
}

/// An event, found by its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEvent {
    /// The stored event.
    pub event: StoredEvent,
    /// The sequence of its message in the stream.
    pub stream_sequence: u64,
    /// Its position in the message, from 0.
    pub position: u64,
    /// Repeats of its identity: lower and upper bound, which are equal unless there are too many duplicates to count, or some
    /// are from before the store recorded which events were repeated.
    pub again: (u64, u64),
}

/// Selects events and their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// The topics, without repetition; empty for all topics.
    pub topics: Vec<String>,
    /// Stored at or after this time, in microseconds since 1970.
    pub since: Option<i64>,
    /// Stored before this time, in microseconds since 1970.
    pub until: Option<i64>,
    /// The order of the events.
    pub order: Order,
    /// Filters with no index: each candidate row is read and tested.
    pub filter: Filter,
    /// If no topics are given, only those of these topics. All topics that are given must be among them.
    pub visible: Visible,
}

/// The order of events by sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Descending.
    #[default]
    NewestFirst,
    /// Ascending.
    OldestFirst,
}

/// Conditions on the content of an event. All that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The exact id, in any topic.
    pub event_id: Option<String>,
    /// The exact source.
    pub source: Option<String>,
    /// A substring of the payload's JSON text as stored.
    pub contains: Option<String>,
    /// Whether it is found in upper and lower case.
    pub ignore_case: bool,
    /// Values at paths of the payload.
    pub payload: Vec<PayloadValue>,
    /// The event's own timestamp is this time or later.
    pub time_since: Option<Timestamp>,
    /// The event's own timestamp is before this time.
    pub time_until: Option<Timestamp>,
}

/// A value at a path of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadValue {
    /// Member names and array indexes (from 0), separated by dots. A name may itself contain dots: every way to split
    /// the path is tried.
    pub path: String,
    /// A string's text, or a number, `true`, `false` or `null` as written in the JSON.
    pub value: String,
}

/// Which part of the matching events a page covers.
#[derive(Debug, Clone, Copy)]
pub struct PageBounds {
    /// The sequence at which the previous page ended.
    pub from: Option<i64>,
    /// Events up to this sequence are excluded.
    pub after: i64,
    /// Events after this sequence are excluded.
    pub last: i64,
    /// The maximum number of events.
    pub limit: usize,
}

/// A page of events. It has fewer events than requested if reading took too long or the gate closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage<S = Vec<StoredEvent>> {
    /// The sink that received the events.
    pub events: S,
    /// The number of events of the selected topics, or of all that are visible; `None` if they would have to be counted.
    pub total: Option<u64>,
    /// Where the next page continues: the last sequence that was read; `None` if there are no more events.
    pub next: Option<i64>,
    /// When the last event that was read was stored, in microseconds since 1970, if the page ended before its limit because
    /// it had read the maximum number of rows or its time was up; otherwise `None`.
    pub searched_to: Option<i64>,
}
