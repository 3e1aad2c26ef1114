//! The store's counters and the sizes of its files.

use crate::store::ranges::Ranges;

/// The store's counters as of one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events received: `unique_processed + duplicate_dropped + rejected`.
    pub received: u64,
    /// Events stored.
    pub unique_processed: u64,
    /// Events whose identity was stored already.
    pub duplicate_dropped: u64,
    /// Arrivals that could not be stored as events.
    pub rejected: u64,
    /// Rejected arrivals that have been evicted.
    pub rejected_evicted: u64,
    /// Duplicates that differ from the stored event.
    pub conflicts: u64,
    /// Conflicts that have been evicted.
    pub conflicts_evicted: u64,
    /// Deliveries of messages that had already been applied.
    pub redelivered: u64,
    /// When the latest event was applied, in microseconds since 1970. Never decreases, even if the clock is set back.
    pub processed_at: i64,
    /// The number of topics.
    pub topics_total: u64,
    /// Topic names, sorted.
    pub topics: Vec<String>,
    /// Stream sequences lost before they were applied and not acknowledged.
    pub missing: u64,
    /// The current stream's name and creation time in nanoseconds since 1970; `None` before the first connection to it.
    pub stream: Option<(String, i64)>,
    /// Applied sequences of the current stream.
    pub applied: Ranges,
}

impl Stats {
    /// Whether every event received was counted as exactly one of unique, duplicate and rejected.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.received == self.unique_processed + self.duplicate_dropped + self.rejected
    }
}

/// The store's counters and the sizes of its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The counters, without topic names.
    pub stats: Stats,
    /// Tables of the dedup index written to disk.
    pub seals: u64,
    /// The sizes of its files.
    pub sizes: Sizes,
}

/// Sizes of files in bytes; `None` if a size cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The database.
    pub database: Option<u64>,
    /// Its WAL.
    pub wal: Option<u64>,
    /// The dedup index.
    pub index: Option<u64>,
}
