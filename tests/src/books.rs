//! The aggregator's books: its counters, in total and per topic.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The counters of `/stats`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Stats {
    /// Events received.
    pub received: u64,
    /// Of those, events stored.
    pub unique_processed: u64,
    /// Of those, duplicates of stored events.
    pub duplicate_dropped: u64,
    /// Of those, arrivals that could not be stored.
    pub rejected: u64,
    /// Whether the service reports that the three add up to the first.
    pub consistent: bool,
    /// Rejected arrivals that are no longer kept.
    pub rejected_evicted: u64,
    /// Duplicates whose content differs from the stored event.
    pub conflicts: u64,
    /// Conflicts that are no longer kept.
    pub conflicts_evicted: u64,
    /// Deliveries of messages that had already been applied.
    pub redelivered: u64,
    /// Messages in the stream that are not applied; none while the number is unknown.
    pub pending: Option<u64>,
    /// Sequences that the stream lost before they were applied.
    pub missing: u64,
    /// How often messages were pulled again because nothing was applied.
    pub stalls: u64,
    /// Names of topics.
    pub topics: Vec<String>,
    /// Number of topics.
    pub topics_total: u64,
    /// Uptime of the process.
    pub uptime_seconds: u64,
    /// When the process started.
    pub started_at: String,
}

/// The counts of one topic in `/topics`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TopicCounts {
    /// Its name.
    pub topic: String,
    /// Events received.
    pub received: u64,
    /// Of those, events stored.
    pub unique_processed: u64,
    /// Of those, duplicates of stored events.
    pub duplicate_dropped: u64,
    /// When its first event was applied.
    pub first_at: String,
    /// When its latest event was applied.
    pub last_at: String,
}

/// All counts at one time, while no event is in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    /// In total.
    pub stats: Stats,
    /// Per topic.
    pub topics: BTreeMap<String, TopicCounts>,
}

impl Books {
    /// Received, unique and duplicate events.
    pub fn counts(&self) -> [u64; 3] {
        let stats = &self.stats;
        [
            stats.received,
            stats.unique_processed,
            stats.duplicate_dropped,
        ]
    }

    /// Received, unique and duplicate events of one topic.
    pub fn of(&self, topic: &str) -> [u64; 3] {
        let counts = self.topics.get(topic);
        let counts = counts.unwrap_or_else(|| panic!("there is no topic {topic:?}"));
        counts.counts()
    }

    /// The invariants: every arrival is counted as stored, duplicate or rejected, and the topics add up to the total.
    pub(crate) fn check(&self) {
        let stats = &self.stats;
        assert_eq!(
            stats.received,
            stats.unique_processed + stats.duplicate_dropped + stats.rejected,
            "the books do not balance: {stats:?}"
        );
        assert!(stats.conflicts <= stats.duplicate_dropped, "{stats:?}");
        assert_eq!(stats.missing, 0, "nothing was lost: {stats:?}");
        let mut sums = [0; 3];
        for counts in self.topics.values() {
            let [received, unique, duplicates] = counts.counts();
            assert_eq!(received, unique + duplicates, "{counts:?}");
            assert!(counts.first_at <= counts.last_at, "{counts:?}");
            sums[0] += received;
            sums[1] += unique;
            sums[2] += duplicates;
        }
        assert_eq!(
            sums,
            [
                stats.received - stats.rejected,
                stats.unique_processed,
                stats.duplicate_dropped
            ],
            "the topics do not add up to {stats:?}"
        );
        assert_eq!(stats.topics_total, self.topics.len() as u64);
        let names = self.topics.keys().take(stats.topics.len());
        assert!(names.eq(&stats.topics), "{:?}", stats.topics);
    }
}

impl TopicCounts {
    fn counts(&self) -> [u64; 3] {
        [self.received, self.unique_processed, self.duplicate_dropped]
    }
}
