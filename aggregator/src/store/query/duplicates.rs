//! What is known of duplicates.

/// What is known of duplicates since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// All that ever came, of the topic or of all; this is counted exactly and kept.
    pub total: u64,
    /// The latest ones, those first.
    pub recent: Vec<Duplicate>,
    /// The identities that came again most often, those first.
    pub often: Vec<Often>,
}

/// A duplicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Its topic.
    pub topic: String,
    /// Its `event_id`.
    pub event_id: String,
    /// Who sent it.
    pub source: String,
    /// Whether it differs from what is stored.
    pub is_conflict: bool,
    /// The event that was there first.
    pub stored: i64,
    /// The sequence of its message in the stream.
    pub stream_sequence: u64,
    /// Its place in the message, from 0.
    pub position: u64,
    /// When it was counted, in microseconds since 1970.
    pub processed_at: i64,
}

/// An identity and how often it came again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Often {
    /// Its topic.
    pub topic: String,
    /// Its `event_id`.
    pub event_id: String,
    /// The event that has it.
    pub stored: i64,
    /// At least so often.
    pub least: u64,
    /// At most so often.
    pub most: u64,
}
