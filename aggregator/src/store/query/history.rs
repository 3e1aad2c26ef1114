//! The counts over time.

use super::Visible;

/// Microseconds per minute.
pub const MICROS_PER_MINUTE: i64 = 60 * 1_000_000;

/// How long the counts of each minute are kept, in minutes: 7 days. Those of each hour are kept forever.
pub const MINUTES_KEPT: i64 = 7 * 24 * 60;

/// The topics with ids up to this one are counted over time: each may add a row for each minute.
pub const TOPICS_KEPT: i64 = if cfg!(test) { 3 } else { 10_000 };

/// Maximum number of buckets of a histogram.
const MAX_BUCKETS: i64 = 120;

/// The lengths of buckets, in minutes: up to 30 days.
const STEPS: [i64; 14] = [
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    2 * 60,
    3 * 60,
    6 * 60,
    12 * 60,
    24 * 60,
    7 * 24 * 60,
    30 * 24 * 60,
];

/// A span of time, divided into buckets of equal length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The beginning of the first bucket, in minutes since 1970.
    first: i64,
    /// The length of a bucket, in minutes.
    step: i64,
    buckets: i64,
}

impl Window {
    /// The buckets that contain the times from `since` up to `until`, in microseconds since 1970, at the time `now`. They have
    /// the shortest length of which there are at most 120, but not less than an hour if the counts of minutes are not kept
    /// that long; `None` if they would be longer than 30 days or `until` is not later than `since`.
    #[must_use]
    pub fn new(since: i64, until: i64, now: i64) -> Option<Self> {
        let is_old = since < now - MINUTES_KEPT * MICROS_PER_MINUTE;
        let shortest = if is_old { 60 } else { 1 };
        let mut steps = STEPS.into_iter().filter(|step| *step >= shortest);
        let all = steps.by_ref().map(|step| {
            let length = step * MICROS_PER_MINUTE;
            let (first, last) = (since.div_euclid(length), (until - 1).div_euclid(length));
            Self {
                first: first * step,
                step,
                buckets: last - first + 1,
            }
        });
        let mut fitting = all.filter(|window| window.buckets <= MAX_BUCKETS);
        (since < until).then(|| fitting.next()).flatten()
    }

    /// The last `minutes` minutes including that of the time `now`, in microseconds since 1970.
    #[must_use]
    pub fn last_minutes(minutes: i64, now: i64) -> Self {
        Self {
            first: now.div_euclid(MICROS_PER_MINUTE) + 1 - minutes,
            step: 1,
            buckets: minutes,
        }
    }

    /// When the first bucket begins, in minutes since 1970.
    #[must_use]
    pub fn first(&self) -> i64 {
        self.first
    }

    /// The length of a bucket, in seconds.
    #[must_use]
    pub fn step_seconds(&self) -> i64 {
        self.step * 60
    }

    /// When the first bucket begins, in microseconds since 1970.
    #[must_use]
    pub fn since(&self) -> i64 {
        self.first * MICROS_PER_MINUTE
    }

    /// When the last bucket ends, in microseconds since 1970.
    #[must_use]
    pub fn until(&self) -> i64 {
        (self.first + self.step * self.buckets) * MICROS_PER_MINUTE
    }

    /// When each bucket begins, and finally when the last one ends, in minutes since 1970.
    pub fn bounds(&self) -> impl Iterator<Item = i64> + use<> {
        let Self {
            first,
            step,
            buckets,
        } = *self;
        (0..=buckets).map(move |bucket| first + step * bucket)
    }
}

/// Selects events to count by the time at which they were applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramQuery {
    /// The topics, without repetition; empty for all topics.
    pub topics: Vec<String>,
    /// If no topics are given, only the events of these.
    pub visible: Visible,
    /// The beginning, in microseconds since 1970.
    pub since: i64,
    /// The end, in microseconds since 1970.
    pub until: i64,
    /// The time of the query, in microseconds since 1970.
    pub now: i64,
}

/// The events of some topics, or of all, by the time at which they were applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// The span of time, in whole buckets.
    pub window: Window,
    /// When the store began to count over time, in microseconds since 1970; `None` if it always has. Buckets that begin
    /// earlier are left out.
    pub counted_since: Option<i64>,
    /// Whether events are left out: of visible topics that are not counted over time, or that there was no time to add up.
    /// Never if topics are given, or all are visible.
    pub is_partial: bool,
    /// In order of time, without gaps.
    pub buckets: Vec<Bucket>,
}

/// Why there is no histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoHistogram {
    /// The span of time is empty or too long.
    WrongSpan,
    /// A given topic is not one of the first [`TOPICS_KEPT`], which are counted over time.
    NotCounted,
}

/// The number of events in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// When it begins, in microseconds since 1970.
    pub at: i64,
    /// Events that were stored.
    pub unique: u64,
    /// Duplicates.
    pub duplicates: u64,
    /// Rejected arrivals; 0 for topics, because a rejected arrival has none.
    pub rejected: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * MICROS_PER_MINUTE;

    #[test]
    fn buckets_have_the_shortest_length_of_which_there_are_few_enough() {
        let now = 20_000 * DAY;
        for (span, seconds) in [
            (1, 60),
            (60 * MICROS_PER_MINUTE, 60),
            (119 * MICROS_PER_MINUTE, 60),
            (2 * 60 * MICROS_PER_MINUTE + 1, 2 * 60),
            (DAY, 15 * 60),
            (7 * DAY, 2 * 3_600),
            (365 * DAY, 7 * 24 * 3_600),
            (9 * 365 * DAY, 30 * 24 * 3_600),
        ] {
            let window = Window::new(now - span, now, now).unwrap();
            assert_eq!(window.step_seconds(), seconds, "{span}");
            assert!(window.since() <= now - span && window.until() >= now);
            assert!(window.bounds().count() <= 121);
        }
        assert_eq!(Window::new(now - 20 * 365 * DAY, now, now), None);
        assert_eq!(Window::new(now, now, now), None);
    }

    #[test]
    fn times_whose_minutes_are_no_longer_kept_have_buckets_of_hours() {
        let now = 20_000 * DAY;
        let window = Window::new(now - 8 * DAY, now - 8 * DAY + 1, now).unwrap();
        assert_eq!(window.step_seconds(), 3_600);
    }

    #[test]
    fn the_last_minutes_end_with_the_present_one() {
        let window = Window::last_minutes(30, 90 * MICROS_PER_MINUTE);
        assert_eq!(window.since(), 61 * MICROS_PER_MINUTE);
        assert_eq!(window.until(), 91 * MICROS_PER_MINUTE);
        assert_eq!(window.bounds().count(), 31);
    }
}
