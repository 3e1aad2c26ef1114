//! The store's counters and the sizes of its files.

use std::time::Duration;

use super::Seen;
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
    /// Rejected arrivals that an operator has marked as seen.
    pub rejected_seen: Seen,
    /// Rejected arrivals with ids after those that were requeued.
    pub rejected_requeued: u64,
    /// Duplicates that differ from the stored event.
    pub conflicts: u64,
    /// Conflicts that have been evicted.
    pub conflicts_evicted: u64,
    /// Conflicts that an operator has marked as seen.
    pub conflicts_seen: Seen,
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
    /// The aggregators that share the store and are alive, in the order in which they began; empty if it is not shared.
    pub aggregators: Vec<Alive>,
}

/// An aggregator that is alive, by the clock of the database. Times are in microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alive {
    /// The name of its machine and its process id.
    pub name: String,
    /// When it opened the store.
    pub since: i64,
    /// When it last gave a sign of life.
    pub seen: i64,
    /// Whether it is this one.
    pub is_this: bool,
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
    /// The sizes of the dedup index's filters; `None` while it is being rebuilt.
    pub filters: Option<FilterSizes>,
}

/// The sizes of the dedup index's filters in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FilterSizes {
    /// All of them.
    pub all: u64,
    /// Those that are in memory; the others are read in parts, from the page cache or the disk.
    pub in_memory: u64,
}

/// The disk with the store's files, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Free for the store.
    pub free: u64,
    /// Of the whole file system.
    pub total: u64,
    /// The size of the store's files.
    pub used: u64,
    /// Events stored.
    pub stored: u64,
    /// Of these, the events stored within the last `lately`.
    pub stored_lately: u64,
    /// Duplicates counted within the last `lately`.
    pub duplicates_lately: u64,
    /// The last 24 hours, or the time since the store began to count if that is less.
    pub lately: Duration,
}

impl Disk {
    /// How long the free space lasts if as many events are stored as lately, of the average size of all, and as many duplicates
    /// counted; `None` if that is more than 10 years, or the store has counted for less than an hour: a first burst says nothing about the days to come.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        const MOST: u128 = 10 * 365 * 24 * 60 * 60;
        // What is kept about a duplicate that arrives alone; of many that arrive together it is less. What earlier ones take is counted
        // to the events, so that the time is too short rather than too long.
        const PER_DUPLICATE: u128 = 25;
        if self.lately < Duration::from_hours(1) {
            return None;
        }
        let stored = u128::from(self.stored);
        // free / ((used / stored * stored_lately + PER_DUPLICATE * duplicates_lately) / lately), in an order that loses nothing.
        let growth = u128::from(self.used) * u128::from(self.stored_lately)
            + PER_DUPLICATE * u128::from(self.duplicates_lately) * stored;
        let space = u128::from(self.free) * stored;
        let seconds = (space * u128::from(self.lately.as_secs())).checked_div(growth)?;
        let seconds = u64::try_from(seconds).ok()?;
        (u128::from(seconds) <= MOST).then(|| Duration::from_secs(seconds))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_space_lasts_as_long_as_the_recent_growth_allows() {
        let disk = Disk {
            free: 1_000_000,
            total: 2_000_000,
            used: 10_000,
            stored: 100,
            stored_lately: 10,
            duplicates_lately: 0,
            lately: Duration::from_hours(2),
        };
        // 100 bytes per event, 10 events in two hours.
        assert_eq!(disk.time_left(), Some(Duration::from_hours(2_000)));
        let repeated = Disk {
            stored_lately: 0,
            duplicates_lately: 8,
            ..disk
        };
        // 25 bytes per duplicate, 8 duplicates in two hours.
        assert_eq!(repeated.time_left(), Some(Duration::from_hours(10_000)));
        let both = Disk {
            stored_lately: 10,
            ..repeated
        };
        // 100 bytes per event too.
        assert_eq!(
            both.time_left(),
            Some(Duration::from_secs(2 * 3_600 * 1_000_000 / 1_200))
        );
        let idle = Disk {
            stored_lately: 0,
            ..disk
        };
        assert_eq!(idle.time_left(), None);
        let endless = Disk {
            free: u64::MAX,
            ..disk
        };
        assert_eq!(endless.time_left(), None);
        let young = Disk {
            lately: Duration::from_mins(59),
            ..disk
        };
        assert_eq!(young.time_left(), None);
        let full = Disk { free: 0, ..disk };
        assert_eq!(full.time_left(), Some(Duration::ZERO));
    }
}
