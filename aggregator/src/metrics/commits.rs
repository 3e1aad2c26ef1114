//! How long appends take, told by the consumer and looked at once a second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The appends since somebody last looked. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Commits(Arc<Since>);

#[derive(Debug, Default)]
struct Since {
    count: AtomicU64,
    micros: AtomicU64,
    slowest_micros: AtomicU64,
}

/// What was between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Batches that were committed.
    pub count: u64,
    /// How long they took on average.
    pub mean: Duration,
    /// How long the slowest took.
    pub slowest: Duration,
}

impl Commits {
    /// A batch was committed, so long after it was handed to the store.
    pub fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.count.fetch_add(1, Relaxed);
        self.0.micros.fetch_add(micros, Relaxed);
        self.0.slowest_micros.fetch_max(micros, Relaxed);
    }

    /// Those since the last look; none where there were none. One that comes at this moment may be a part of two looks.
    #[must_use]
    pub fn take(&self) -> Option<Taken> {
        let count = self.0.count.swap(0, Relaxed);
        let micros = self.0.micros.swap(0, Relaxed);
        let slowest = self.0.slowest_micros.swap(0, Relaxed);
        let mean = Duration::from_micros(micros.checked_div(count)?);
        Some(Taken {
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
    fn a_look_has_what_came_since_the_last_one() {
        let commits = Commits::default();
        assert_eq!(commits.take(), None);
        commits.add(Duration::from_millis(2));
        commits.add(Duration::from_millis(6));
        let taken = Taken {
            count: 2,
            mean: Duration::from_millis(4),
            slowest: Duration::from_millis(6),
        };
        assert_eq!(commits.take(), Some(taken));
        assert_eq!(commits.take(), None);
    }
}
