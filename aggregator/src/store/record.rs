//! What a store has recorded, for `aggregator doctor`.

use serde::Serialize;

use super::query::Stats;
use crate::clock;

/// The record of a store, without its topics.
#[derive(Debug, Serialize)]
pub struct Record {
    /// The store's id, which the durable names too.
    pub store_id: String,
    /// Events received.
    pub received: u64,
    /// Events stored.
    pub unique_processed: u64,
    /// Duplicates dropped.
    pub duplicate_dropped: u64,
    /// Arrivals rejected.
    pub rejected: u64,
    /// Conflicts.
    pub conflicts: u64,
    /// Messages delivered again after they were applied.
    pub redelivered: u64,
    /// Whether `received = unique_processed + duplicate_dropped + rejected`.
    pub consistent: bool,
    /// Topics that have events.
    pub topics: u64,
    /// Stream sequences lost before they were applied, and not acknowledged.
    pub missing: u64,
    /// The stream that it last consumed; `None` before the first.
    pub stream: Option<String>,
    /// The stream sequence up to which everything is applied.
    pub applied_floor: u64,
    /// The last time of processing, in RFC 3339; `None` if nothing was processed.
    pub processed_at: Option<String>,
}

impl Record {
    /// The record of the store with this id.
    pub(in crate::store) fn of(store_id: String, stats: &Stats) -> Self {
        Self {
            store_id,
            received: stats.received,
            unique_processed: stats.unique_processed,
            duplicate_dropped: stats.duplicate_dropped,
            rejected: stats.rejected,
            conflicts: stats.conflicts,
            redelivered: stats.redelivered,
            consistent: stats.is_consistent(),
            topics: stats.topics_total,
            missing: stats.missing,
            stream: stats.stream.as_ref().map(|(name, _)| name.clone()),
            applied_floor: stats.applied.floor(),
            processed_at: (stats.processed_at > 0).then(|| clock::rfc3339(stats.processed_at)),
        }
    }
}
