//! The wall clock. It is read at the edge; the store receives times as arguments.

use time::{OffsetDateTime, macros::format_description};

/// The first and the last time that RFC 3339 can express in UTC, in microseconds since 1970.
pub const EARLIEST: i64 = -62_167_219_200_000_000;
pub const LATEST: i64 = 253_402_300_799_999_999;

/// The current time in microseconds since 1970. The clock may jump; only times shown to people depend on it.
pub fn now_micros() -> i64 {
    let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
    i64::try_from(nanos / 1_000).unwrap_or(i64::MAX)
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
    #[test]
    fn a_time_is_shown_with_microseconds_in_utc() {
        assert_eq!(super::rfc3339(1_000_001), "1970-01-01T00:00:01.000001Z");
        let [earliest, latest] = [super::EARLIEST, super::LATEST].map(super::rfc3339);
        assert_eq!(earliest, "0000-01-01T00:00:00.000000Z");
        assert_eq!(latest, "9999-12-31T23:59:59.999999Z");
    }
}
