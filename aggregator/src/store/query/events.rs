//! Events: which are asked for, and pages of them.

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the order of storing.
    pub sequence: i64,
    /// As it came.
    pub topic: String,
    /// As it came.
    pub event_id: String,
    /// As it came, or as arrival filled it in.
    pub timestamp: String,
    /// Whether arrival filled it in.
    pub timestamp_filled: bool,
    /// As it came.
    pub source: String,
    /// The JSON object, byte for byte as it came.
    pub payload: String,
    /// When it was stored, in microseconds since 1970; never decreases with the sequence.
    pub processed_at: i64,
}

/// An event, found by its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEvent {
    /// As it is stored.
    pub event: StoredEvent,
    /// The sequence of its message in the stream.
    pub stream_sequence: u64,
    /// Its place in the message, from 0.
    pub position: u64,
    /// How often its identity came again since the start: at least, and at most.
    pub again: (u64, u64),
}

/// Which events, and in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Of these topics, each named once; of all where none is named.
    pub topics: Vec<String>,
    /// Stored then or later, in microseconds since 1970.
    pub since: Option<i64>,
    /// Stored earlier than that.
    pub until: Option<i64>,
    /// The order of their sequences.
    pub order: Order,
    /// What has to be read to be known.
    pub filter: Filter,
}

/// The order of the events' sequences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Descending.
    #[default]
    NewestFirst,
    /// Ascending.
    OldestFirst,
}

/// What the source and the payload have to be. Each that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The source, exactly.
    pub source: Option<String>,
    /// Text in the payload, as its JSON is written.
    pub contains: Option<String>,
    /// Values in the payload.
    pub payload: Vec<PayloadValue>,
}

/// A value at a path of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadValue {
    /// Names of members, and numbers of elements from 0, with dots between them. A name may have dots itself: every way
    /// to read the path is tried.
    pub path: String,
    /// A string's text, or a number, `true`, `false` or `null` as it is written.
    pub value: String,
}

/// How much of the events a page takes.
#[derive(Debug, Clone, Copy)]
pub struct PageBounds {
    /// The page before ended at this sequence.
    pub from: Option<i64>,
    /// No event after this sequence.
    pub last: i64,
    /// Most events.
    pub limit: usize,
}

/// A page of events. Where it took long or the store wanted no reads for a moment, it has fewer than were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage<S = Vec<StoredEvent>> {
    /// What took the events.
    pub events: S,
    /// How many there are in all, of the topics or of all; none where that would have to be counted.
    pub total: Option<u64>,
    /// Where the next page goes on: the last sequence that was looked at, where there are more.
    pub next: Option<i64>,
}
