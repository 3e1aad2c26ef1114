//! The wall clock. It is read at the edge; the store receives times as arguments.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use time::{OffsetDateTime, macros::format_description};

/// The first and the last time that RFC 3339 can express in UTC, in microseconds since 1970.
pub const EARLIEST: i64 = -62_167_219_200_000_000;
pub const LATEST: i64 = 253_402_300_799_999_999;

/// The current time in microseconds since 1970. The clock may jump; only times shown to people depend on it.
pub fn now_micros() -> i64 {
    let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
    i64::try_from(nanos / 1_000).unwrap_or(i64::MAX)
}

/// The clock by which a store's times are: this machine's, or that of the database which several aggregators share, so that none of
/// their own clocks matters. Cheap to clone; clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Mutex<Option<Reading>>>>);

/// What the database's clock showed, and when that was on the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Reading {
    time: i64,
    at: Instant,
}

/// An answer that takes longer does not say exactly enough when the clock was read.
const LONGEST_READING: Duration = Duration::from_secs(1);

impl Clock {
    /// That of a database. Until it is read for the first time, this machine's.
    #[must_use]
    pub fn of_database() -> Self {
        Self(Some(Arc::default()))
    }

    /// The database's clock showed this time, in microseconds since 1970, when it answered what was asked at a moment.
    pub fn read(&self, time: i64, asked: Instant) {
        let took = asked.elapsed();
        let Some(latest) = &self.0 else { return };
        let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.is_none() || took <= LONGEST_READING {
            let at = asked + took / 2;
            *latest = Some(Reading { time, at });
        }
    }

    /// The current time in microseconds since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.of_store().unwrap_or_else(now_micros)
    }

    /// How far this machine's clock is ahead of that of the database, in microseconds; negative if it is behind. `None` if the times
    /// are this machine's.
    #[must_use]
    pub fn ahead(&self) -> Option<i64> {
        Some(now_micros().saturating_sub(self.of_store()?))
    }

    fn of_store(&self) -> Option<i64> {
        let latest = self.0.as_ref()?;
        let latest = *latest.lock().unwrap_or_else(PoisonError::into_inner);
        let Reading { time, at } = latest?;
        let since = i64::try_from(at.elapsed().as_micros()).unwrap_or(i64::MAX);
        Some(time.saturating_add(since))
    }
}

/// Formats microseconds since 1970 as RFC 3339 in UTC, such as `2026-01-31T12:00:00.123456Z`.
pub fn rfc3339(micros: i64) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| "9999-12-31T23:59:59.999999Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_read_goes_on_from_there() {
        let machine = Clock::default();
        machine.read(1_000, Instant::now());
        assert!(machine.now() >= now_micros() - 1_000_000);
        assert_eq!(machine.ahead(), None);

        let clock = Clock::of_database();
        assert_eq!(clock.ahead(), None, "it was not read yet");
        clock.read(1_000, Instant::now());
        let first = clock.clone().now();
        assert!(first >= 1_000, "{first}");
        assert!(clock.now() >= first);
        assert!(clock.ahead() > Some(1_000_000_000));
        // It took too long to be exact, and a reading exists.
        clock.read(0, Instant::now().checked_sub(LONGEST_READING * 2).unwrap());
        assert!(clock.now() >= first);
    }

    #[test]
    fn a_time_is_shown_with_microseconds_in_utc() {
        assert_eq!(rfc3339(1_000_001), "1970-01-01T00:00:01.000001Z");
        let [earliest, latest] = [EARLIEST, LATEST].map(rfc3339);
        assert_eq!(earliest, "0000-01-01T00:00:00.000000Z");
        assert_eq!(latest, "9999-12-31T23:59:59.999999Z");
    }
}
