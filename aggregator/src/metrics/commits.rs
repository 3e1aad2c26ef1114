//! The duration of appends, recorded by the consumer and read once a second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The appends since the last reading. Cheap to clone; clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Commits(Arc<Totals>);

#[derive(Debug, Default)]
struct Totals {
    count: AtomicU64,
    micros: AtomicU64,
    slowest_micros: AtomicU64,
}

/// The appends between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitTimes {
    /// Committed batches.
    pub count: u64,
    /// Their mean duration.
    pub mean: Duration,
    /// The duration of the slowest.
    pub slowest: Duration,
}

impl Commits {
    /// Records a batch that was committed this long after it was handed to the store.
    pub fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.count.fetch_add(1, Relaxed);
        self.0.micros.fetch_add(micros, Relaxed);
        self.0.slowest_micros.fetch_max(micros, Relaxed);
    }

    /// Returns and resets the appends since the last reading, if there were any. One recorded concurrently may be split between
    /// two readings.
    #[must_use]
    pub fn take(&self) -> Option<CommitTimes> {
        let count = self.0.count.swap(0, Relaxed);
        let micros = self.0.micros.swap(0, Relaxed);
        let slowest = self.0.slowest_micros.swap(0, Relaxed);
        let mean = Duration::from_micros(micros.checked_div(count)?);
        Some(CommitTimes {
            count,
            mean,
            slowest: Duration::from_micros(slowest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_covers_the_appends_since_the_last_one() {
        let commits = Commits::default();
        assert_eq!(commits.take(), None);
        commits.add(Duration::from_millis(2));
        commits.add(Duration::from_millis(6));
        let times = CommitTimes {
            count: 2,
            mean: Duration::from_millis(4),
            slowest: Duration::from_millis(6),
        };
        assert_eq!(commits.take(), Some(times));
        assert_eq!(commits.take(), None);
    }
}
