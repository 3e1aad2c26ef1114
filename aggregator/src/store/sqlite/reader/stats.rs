//! The store's bookkeeping at one commit.

use rusqlite::Transaction;
use tokio::sync::watch;

use crate::store::{ranges::Ranges, sqlite::writer::incarnation::load_applied};

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

pub(super) fn stats(
    read: &Transaction<'_>,
    names: usize,
    missing: &watch::Receiver<u64>,
) -> rusqlite::Result<Stats> {
    let (mut stats, incarnation) = read
        .prepare_cached(
            "SELECT received, unique_processed, duplicate_dropped, rejected, conflicts, \
                    redelivered, topics, incarnation, processed_at, rejected_evicted, \
                    conflicts_evicted \
             FROM counters",
        )?
        .query_row([], |row| {
            let stats = Stats {
                received: row.get(0)?,
                unique_processed: row.get(1)?,
                duplicate_dropped: row.get(2)?,
                rejected: row.get(3)?,
                conflicts: row.get(4)?,
                redelivered: row.get(5)?,
                topics_total: row.get(6)?,
                processed_at: row.get(8)?,
                rejected_evicted: row.get(9)?,
                conflicts_evicted: row.get(10)?,
                ..Stats::default()
            };
            Ok((stats, row.get::<_, Option<i64>>(7)?))
        })?;
    stats.missing = *missing.borrow();
    stats.topics = read
        .prepare_cached("SELECT name FROM topics ORDER BY name LIMIT ?1")?
        .query_map([names], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if let Some(incarnation) = incarnation {
        stats.stream = read
            .prepare_cached("SELECT stream, created FROM incarnations WHERE id = ?1")?
            .query_row([incarnation], |row| Ok(Some((row.get(0)?, row.get(1)?))))?;
        stats.applied = load_applied(read, incarnation)?;
    }
    Ok(stats)
}
