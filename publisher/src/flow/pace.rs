//! The pace: how many events may be sent by now, by the monotonic clock.

use std::{fmt, time::Duration};

use tokio::time::Instant;

/// Events that were due this long ago and could not be sent are sent at once; older ones push the plan back, so that
/// a broker that was away for an hour is not flooded with an hour's events.
const LONGEST_LAG: Duration = Duration::from_secs(1);

/// Shortest wait. At high rates a few events then go together, which saves pieces and wake-ups.
const TICK: Duration = Duration::from_millis(5);

/// Events a second; none is as fast as it goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(Option<f64>);

impl Rate {
    /// Reads a number of events a second, where 0 is no bound.
    ///
    /// # Errors
    /// A sentence for people where it is no such number.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            Ok(0.0) => Ok(Self(None)),
            Ok(rate) if (1e-6..=1e9).contains(&rate) => Ok(Self(Some(rate))),
            _ => Err("it is a number of events a second, or 0".to_owned()),
        }
    }

    /// Reads a number of events a second above 0.
    ///
    /// # Errors
    /// A sentence for people where it is no such number.
    pub fn parse_bounded(text: &str) -> Result<Self, String> {
        let rate = Self::parse(text).ok().filter(|rate| rate.0.is_some());
        rate.ok_or_else(|| "it is a number of events a second, above 0".to_owned())
    }

    /// Whether it goes as fast as it can.
    #[must_use]
    pub fn is_unlimited(self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.unwrap_or_default().fmt(f)
    }
}

/// Keeps a rate.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    /// When the event counted as 0 was, or would have been, due.
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
        // Far below 2^53, where a float still counts by ones. A millionth of an event makes up for what rounding took.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let due = ((now - self.start).as_secs_f64() * rate + 1e-6) as u64 + 1;
        usize::try_from(due.saturating_sub(self.sent)).unwrap_or(usize::MAX)
    }

    /// Takes note of events sent.
    pub fn sent(&mut self, events: usize) {
        self.sent += events as u64;
    }

    /// When to ask for an allowance again.
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
            pace.sent(allowed);
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
        pace.sent(1);
        assert_eq!(pace.allowance(start + Duration::from_secs(1)), 0);
        assert_eq!(pace.next(start), start + Duration::from_secs(2));
    }

    #[test]
    fn after_a_long_stall_at_most_a_second_is_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace::new(rate("100"), start);
        assert_eq!(pace.allowance(start + Duration::from_mins(10)), 101);
    }

    #[test]
    fn zero_is_as_fast_as_it_goes() {
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
