//! The bookkeeping, and how large the store is.

use crate::store::ranges::Ranges;

/// The store's bookkeeping at one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events that came: `unique_processed + duplicate_dropped + rejected`.
    pub received: u64,
    /// Events stored.
    pub unique_processed: u64,
    /// Events whose identity was stored already.
    pub duplicate_dropped: u64,
    /// Arrivals that could not be stored as events.
    pub rejected: u64,
    /// Those of them whose body is not kept any more.
    pub rejected_evicted: u64,
    /// Duplicates that differ from what is stored.
    pub conflicts: u64,
    /// Those of them that are not kept any more.
    pub conflicts_evicted: u64,
    /// Deliveries of messages that were applied before.
    pub redelivered: u64,
    /// When the latest event was applied, in microseconds since 1970: the clock, or what it was before it went back.
    pub processed_at: i64,
    /// Topics in all.
    pub topics_total: u64,
    /// Names of topics, by name.
    pub topics: Vec<String>,
    /// Stream sequences lost before they were applied, which nobody acknowledged.
    pub missing: u64,
    /// The current stream's name and creation time in nanoseconds since 1970, once it was met.
    pub stream: Option<(String, i64)>,
    /// Applied sequences of the current stream.
    pub applied: Ranges,
}

impl Stats {
    /// Whether every arrival was counted as one of the three.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.received == self.unique_processed + self.duplicate_dropped + self.rejected
    }
}

/// What the store counts, and how large it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The bookkeeping, without names of topics.
    pub stats: Stats,
    /// Tables of the dedup index that were handed to disk.
    pub seals: u64,
    /// Of its files.
    pub sizes: Sizes,
}

/// Sizes of files, in bytes; none where one cannot be asked for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The database.
    pub database: Option<u64>,
    /// Its WAL.
    pub wal: Option<u64>,
    /// The dedup index.
    pub index: Option<u64>,
}
