//! The pace: how many events are due by the monotonic clock.

use std::{fmt, time::Duration};

use indicatif::HumanFloatCount;
use shared::command_line::split_unit;
use tokio::time::Instant;

/// Overdue events are sent immediately up to this lag; beyond it the schedule is moved back, so that a broker that was
/// down for an hour is not flooded with an hour's events.
const LONGEST_LAG: Duration = Duration::from_secs(1);

/// Minimum wait. At high rates several events are then sent together, which saves messages and wake-ups.
const TICK: Duration = Duration::from_millis(5);

/// Events per second; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(Option<f64>);

impl Rate {
    /// Parses a number of events per second; 0 is unlimited.
    ///
    /// # Errors
    /// A message for the user if it is not such a number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        match number.parse::<f64>().map(|number| number * f64::from(unit)) {
            Ok(0.0) => Ok(Self(None)),
            Ok(rate) if (1e-6..=1e9).contains(&rate) => Ok(Self(Some(rate))),
            _ => Err(
                "must be a number of events per second, such as 500, 0.5 or 20k; 0 is unlimited"
                    .to_owned(),
            ),
        }
    }

    /// Parses a number of events per second above 0.
    ///
    /// # Errors
    /// A message for the user if it is not such a number.
    pub fn parse_bounded(text: &str) -> Result<Self, String> {
        let rate = Self::parse(text).ok().filter(|rate| rate.0.is_some());
        rate.ok_or_else(|| {
            "must be a number of events per second above 0, such as 500, 0.5 or 20k".to_owned()
        })
    }

    /// Whether there is no limit.
    #[must_use]
    pub fn is_unlimited(self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As many decimals as the lowest rate has.
        write!(f, "{:.6}", HumanFloatCount(self.0.unwrap_or_default()))
    }
}

/// Schedules events at a rate.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    /// When event number 0 was due, or would have been.
    start: Instant,
    /// Events sent since `start`.
    sent: u64,
}

impl Pace {
    /// The first event is due now.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            start: now,
            sent: 0,
        }
    }

    /// How many events may be sent now.
    pub fn allowance(&mut self, now: Instant) -> usize {
        let Some(rate) = self.rate.0 else {
            return usize::MAX;
        };
        let lag = now.saturating_duration_since(self.due(rate));
        self.start += lag.saturating_sub(LONGEST_LAG);
        // Far below 2^53, up to which a float represents every integer. A millionth of an event compensates for rounding.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let due = ((now - self.start).as_secs_f64() * rate + 1e-6) as u64 + 1;
        usize::try_from(due.saturating_sub(self.sent)).unwrap_or(usize::MAX)
    }

    /// Records sent events.
    pub fn record(&mut self, events: usize) {
        self.sent += events as u64;
    }

    /// When to call [`Self::allowance`] again.
    #[must_use]
    pub fn next(&self, now: Instant) -> Instant {
        match self.rate.0 {
            None => now,
            Some(rate) => self.due(rate).max(now + TICK),
        }
    }

    /// When the next event is due.
    fn due(&self, rate: f64) -> Instant {
        #[expect(clippy::cast_precision_loss)]
        let seconds = self.sent as f64 / rate;
        self.start + Duration::from_secs_f64(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        Rate::parse(text).unwrap()
    }

    #[test]
    fn over_a_minute_exactly_the_rate_is_sent() {
        let start = Instant::now();
        let mut pace = Pace::new(rate("200"), start);
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_mins(1) {
            let allowed = pace.allowance(now);
            pace.record(allowed);
            sent += allowed;
            now = pace.next(now);
        }
        assert_eq!(sent, 200 * 60);
    }

    #[test]
    fn a_slow_rate_waits_for_each_event() {
        let start = Instant::now();
        let mut pace = Pace::new(rate("0.5"), start);
        assert_eq!(pace.allowance(start), 1);
        pace.record(1);
        assert_eq!(pace.allowance(start + Duration::from_secs(1)), 0);
        assert_eq!(pace.next(start), start + Duration::from_secs(2));
    }

    #[test]
    fn after_a_long_stall_at_most_one_second_is_caught_up() {
        let start = Instant::now();
        let mut pace = Pace::new(rate("100"), start);
        assert_eq!(pace.allowance(start + Duration::from_mins(10)), 101);
    }

    #[test]
    fn zero_is_unlimited() {
        assert!(rate("0").is_unlimited());
        assert_eq!(
            Pace::new(rate("0"), Instant::now()).allowance(Instant::now()),
            usize::MAX
        );
        assert!(Rate::parse("-1").is_err());
        assert!(Rate::parse_bounded("0").is_err());
        assert!(Rate::parse("NaN").is_err());
    }
}
