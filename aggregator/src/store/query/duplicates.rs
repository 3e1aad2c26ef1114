//! Recent duplicates, and the identities that repeat most.

/// The latest duplicates, and their total since the store was created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// All duplicates ever received, for one topic or for all that are visible. This count is exact and persistent. `None`
    /// if too many topics are visible.
    pub total: Option<u64>,
    /// The lists cover the duplicates counted since this time, in microseconds since 1970; `None` for those since the start of the
    /// process.
    pub since: Option<i64>,
    /// The latest duplicates, newest first.
    pub recent: Vec<Duplicate>,
    /// The identities with the most repeats, in descending order.
    pub often: Vec<RepeatedIdentity>,
}

/// A duplicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Its topic.
    pub topic: String,
    /// Its `event_id`.
    pub event_id: String,
    /// Its `source`.
    pub source: String,
    /// Whether it differs from the stored event.
    pub is_conflict: bool,
    /// The sequence of the stored event.
    pub stored: i64,
    /// The sequence of its message in the stream.
    pub stream_sequence: u64,
    /// Its position in the message, from 0.
    pub position: u64,
    /// When it was counted, in microseconds since 1970.
    pub processed_at: i64,
}

/// An identity and the number of its repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedIdentity {
    /// Its topic.
    pub topic: String,
    /// Its `event_id`.
    pub event_id: String,
    /// The sequence of the stored event with this identity.
    pub stored: i64,
    /// Lower bound on its repeats.
    pub least: u64,
    /// Upper bound on its repeats.
    pub most: u64,
}
