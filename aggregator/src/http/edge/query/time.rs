//! Times in query strings: RFC 3339, or relative to the time of the request.

use shared::event::{Code, Instant, Timestamp};

use super::Query;
use crate::{clock, http::edge::problem::Problem};

/// The pattern of a relative time, for the OpenAPI document.
pub const RELATIVE: &str = "^-[0-9]{1,9}[smhd]$";

/// Microseconds per second.
const SECOND: i64 = 1_000_000;

impl Query {
    /// A time, in microseconds since 1970, rounded up: RFC 3339, or relative to `now`.
    ///
    /// # Errors
    /// 422 if it is neither.
    pub fn time(&self, name: &str, now: i64) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        if let Some(time) = relative(text, now) {
            return Ok(Some(time));
        }
        let instant = Instant::parse(text).map_err(|refused| not_a_time(name, refused))?;
        Ok(Some(instant.microseconds()))
    }

    /// Like [`Self::time`], but with all digits, as the time of an event.
    ///
    /// # Errors
    /// As [`Self::time`].
    pub fn event_time(&self, name: &str, now: i64) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let relative = relative(text, now).map(clock::rfc3339);
        let time = Timestamp::new(relative.as_deref().unwrap_or(text));
        time.map(Some).map_err(|refused| not_a_time(name, refused))
    }

    /// Whether one of these parameters is a relative time.
    #[must_use]
    pub fn is_relative(&self, names: &[&str]) -> bool {
        let mut times = names.iter().filter_map(|name| self.text(name));
        times.any(|text| relative(text, 0).is_some())
    }
}

/// Checks that a range ends after its beginning, which the parameter `since` names. Any range with one end is valid.
///
/// # Errors
/// 422 if it does not.
pub fn check_range<T: PartialOrd>(
    (since, from): (&str, Option<T>),
    (until, to): (&str, Option<T>),
) -> Result<(), Problem> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => {
            let message = format!("must be earlier than {until}");
            Err(Problem::invalid_query(since, Code::OutOfRange, message))
        }
        _ => Ok(()),
    }
}

/// The time that is a number of seconds, minutes, hours or days before `now`, such as `-15m`; `None` if the text is not a
/// relative time. Not before the year 0, where RFC 3339 begins.
fn relative(text: &str, now: i64) -> Option<i64> {
    let text = text.strip_prefix('-')?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let is_number = (1..=9).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    let number: i64 = number.parse().ok().filter(|_| is_number)?;
    let ago = number.saturating_mul(seconds * SECOND);
    Some(now.saturating_sub(ago).max(clock::EARLIEST))
}

fn not_a_time(name: &str, (code, message): (Code, String)) -> Problem {
    let hint = ", or a time before now in s, m, h or d, as in -30s, -15m, -2h or -7d";
    let hint = if code == Code::NotRfc3339 { hint } else { "" };
    Problem::invalid_query(name, code, message + hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_time_is_before_now() {
        let now = 10 * 24 * 60 * 60 * SECOND;
        for (text, seconds) in [
            ("-0s", 0),
            ("-30s", 30),
            ("-15m", 900),
            ("-2h", 7_200),
            ("-7d", 604_800),
        ] {
            assert_eq!(relative(text, now), Some(now - seconds * SECOND), "{text}");
        }
        let earliest = relative("-999999999d", now).unwrap();
        assert_eq!(clock::rfc3339(earliest), "0000-01-01T00:00:00.000000Z");
        for wrong in [
            "",
            "-",
            "-h",
            "1h",
            "-1",
            "-1w",
            "-1.5h",
            "--1h",
            "-+1h",
            "-1ä",
            "-1000000000s",
        ] {
            assert_eq!(relative(wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_a_time_is_refused_with_both_notations() {
        let query = Query::parse(Some("since=1h"), &["since"]).unwrap();
        let problem = query.time("since", 0).unwrap_err();
        assert_eq!(
            problem.detail(),
            "the query parameter since must be an RFC 3339 time with an offset, as in 2026-01-31T12:00:00Z, or a time before \
             now in s, m, h or d, as in -30s, -15m, -2h or -7d"
        );
        assert!(query.event_time("since", 0).is_err());
    }
}
