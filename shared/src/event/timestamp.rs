//! RFC 3339 timestamps, parsed by the grammar of section 5.6.
//!
//! The parser of the crate `time` accepts any byte between date and time and keeps nine digits of the fraction. This parser
//! accepts only `T` and `t`, as the grammar does, and compares all digits.

use compact_str::CompactString;
use time::{Date, Month, OffsetDateTime, UtcDateTime, format_description::well_known::Rfc3339};

use super::{Code, MAX_NAME_BYTES, rules::Rules};

/// An RFC 3339 time with an offset, kept as received or filled in on arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    pub(super) text: CompactString,
    is_filled: bool,
}

impl Timestamp {
    /// Checks the text and keeps it. RFC 3339 does not limit the digits of the fraction; here the whole text has at most
    /// [`MAX_NAME_BYTES`].
    ///
    /// A leap second, `:60`, is accepted at the end of any month in UTC, as the specification of UTC permits.
    ///
    /// # Errors
    /// [`Code::NotRfc3339`] or [`Code::TooLong`], with a human-readable message.
    pub fn new(text: &str) -> Result<Self, (Code, String)> {
        Self::with_rules(text, Rules::Current)
    }

    pub(super) fn with_rules(text: &str, rules: Rules) -> Result<Self, (Code, String)> {
        Instant::with_rules(text, rules)?;
        Ok(Self {
            text: text.into(),
            is_filled: false,
        })
    }

    /// The timestamp of an event without one: the time at which the stream stored its message, in nanoseconds since 1970.
    ///
    /// # Panics
    /// Never: 64 bits of nanoseconds cover the years 1677 to 2262, which RFC 3339 can express.
    #[must_use]
    pub fn of_arrival(nanoseconds: i64) -> Self {
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into());
        let text = time.expect("64 bits of nanoseconds end in 2262");
        let text = text.format(&Rfc3339).expect("the year has four digits");
        Self {
            text: text.into(),
            is_filled: true,
        }
    }

    /// The text as received or as filled in.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it was filled in on arrival; it is then not part of the event's content.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.is_filled
    }
}

/// The instant that a timestamp denotes: equal for `…:42.58Z` and `…:42.5800000+00:00`, and exact for any number of
/// digits in the fraction.
///
/// A leap second is a separate instant: later than all of second 59, earlier than the next minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant<'a> {
    /// Since 1970-01-01T00:00Z.
    minutes: i64,
    /// 0 to 60.
    second: u8,
    /// Digits without trailing zeros: their lexicographic order is the order of the fractions.
    fraction: &'a [u8],
}

impl<'a> Instant<'a> {
    /// Parses a text of at most [`MAX_NAME_BYTES`].
    ///
    /// # Errors
    /// As [`Timestamp::new`].
    pub fn parse(text: &'a str) -> Result<Self, (Code, String)> {
        Self::with_rules(text, Rules::Current)
    }

    fn with_rules(text: &'a str, rules: Rules) -> Result<Self, (Code, String)> {
        if text.len() > MAX_NAME_BYTES {
            let bytes = text.len();
            let message = format!("has {bytes} bytes; at most {MAX_NAME_BYTES} are accepted");
            return Err((Code::TooLong, message));
        }
        match read(text.as_bytes()) {
            Some((separator, instant))
                if rules == Rules::Earlier || matches!(separator, b'T' | b't') =>
            {
                Ok(instant)
            }
            _ => Err((
                Code::NotRfc3339,
                "must be an RFC 3339 time with an offset, as in 2026-01-31T12:00:00Z".to_owned(),
            )),
        }
    }

    /// The instant of a stored text; `None` if it is not a time. Earlier versions accepted any ASCII character between date and time.
    #[must_use]
    pub fn of_stored(text: &'a [u8]) -> Option<Self> {
        read(text).map(|(_, instant)| instant)
    }

    /// Microseconds since 1970, rounded up. A leap second maps to the first microsecond of the next minute, because this
    /// scale has no leap seconds.
    #[must_use]
    pub fn microseconds(&self) -> i64 {
        let seconds = self.minutes * 60 + i64::from(self.second);
        if self.second == 60 {
            return seconds * 1_000_000;
        }
        let digits = self.fraction.iter().chain(std::iter::repeat(&b'0'));
        let digits = digits.take(6).map(|digit| i64::from(digit - b'0'));
        let fraction = digits.fold(0, |number, digit| number * 10 + digit);
        seconds * 1_000_000 + fraction + i64::from(self.fraction.len() > 6)
    }
}

/// The byte between date and time, and the instant.
fn read(text: &[u8]) -> Option<(u8, Instant<'_>)> {
    let (head, mut rest) = text.split_first_chunk::<19>()?;
    let &[
        y0,
        y1,
        y2,
        y3,
        b'-',
        m0,
        m1,
        b'-',
        d0,
        d1,
        separator,
        h0,
        h1,
        b':',
        n0,
        n1,
        b':',
        s0,
        s1,
    ] = head
    else {
        return None;
    };
    if !separator.is_ascii() {
        return None;
    }
    let year = i32::from(number(y0, y1)?) * 100 + i32::from(number(y2, y3)?);
    let month = Month::try_from(number(m0, m1)?).ok()?;
    let date = Date::from_calendar_date(year, month, number(d0, d1)?).ok()?;
    let second = number(s0, s1).filter(|second| *second <= 60)?;
    let mut fraction: &[u8] = &[];
    if let [b'.', digits @ ..] = rest {
        let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        (fraction, rest) = digits.split_at(end);
        if fraction.is_empty() {
            return None;
        }
        while let [shorter @ .., b'0'] = fraction {
            fraction = shorter;
        }
    }
    let offset = match *rest {
        [b'Z' | b'z'] => 0,
        [b'+', h0, h1, b':', m0, m1] => minute_of_day(h0, h1, m0, m1)?,
        [b'-', h0, h1, b':', m0, m1] => -minute_of_day(h0, h1, m0, m1)?,
        _ => return None,
    };
    let days = i64::from(date.to_julian_day() - UtcDateTime::UNIX_EPOCH.date().to_julian_day());
    let minutes = days * DAY + minute_of_day(h0, h1, n0, n1)? - offset;
    if second == 60 && !ends_month(minutes) {
        return None;
    }
    let instant = Instant {
        minutes,
        second,
        fraction,
    };
    Some((separator, instant))
}

/// Minutes of a day.
const DAY: i64 = 24 * 60;

fn number(tens: u8, ones: u8) -> Option<u8> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
}

fn minute_of_day(h0: u8, h1: u8, m0: u8, m1: u8) -> Option<i64> {
    let hour = number(h0, h1).filter(|hour| *hour < 24)?;
    let minute = number(m0, m1).filter(|minute| *minute < 60)?;
    Some(i64::from(hour) * 60 + i64::from(minute))
}

/// Whether a minute since 1970 is the last one of a month.
fn ends_month(minutes: i64) -> bool {
    let last = OffsetDateTime::from_unix_timestamp(minutes * 60);
    minutes.rem_euclid(DAY) == DAY - 1
        && last.is_ok_and(|last| last.day() == last.month().length(last.year()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> Option<Code> {
        Timestamp::new(text).err().map(|(code, _)| code)
    }

    #[test]
    fn a_timestamp_follows_the_grammar_of_rfc_3339() {
        for right in [
            "2026-01-31T12:00:00Z",
            "2026-01-31t12:00:00z",
            "2026-01-31T12:00:00.123456789-23:59",
            "2023-05-13T22:09:38.000-04:00",
            "2026-01-31T12:00:00-00:00",
            "2026-01-31T12:00:00+23:59",
            "2026-01-31T12:00:00.1Z",
            "2026-01-31T12:00:00.000000000000000000000000000001Z",
            "0000-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59.9-23:59",
            "2024-02-29T00:00:00Z",
            "2000-02-29T00:00:00Z",
            "1985-04-12T23:20:50.52Z",
            "1990-12-31T23:59:60Z",
            "1990-12-31T15:59:60-08:00",
            "1937-01-01T12:00:27.87+00:20",
            "2026-01-31T23:59:60.5Z",
            "1969-12-31T23:59:60Z",
        ] {
            assert_eq!(code(right), None, "{right}");
        }
        for wrong in [
            "",
            "2026-01-31",
            "12:00:00Z",
            // The byte between date and time.
            "2026-01-31x12:00:00Z",
            "2026-01-31 12:00:00Z",
            "2026-01-31\u{0}12:00:00Z",
            "2026-01-31712:00:00Z",
            "2026-01-31_12:00:00Z",
            "2026-01-31\t12:00:00Z",
            "2026-01-31\n12:00:00Z",
            "2026-01-31\u{e4}12:00:00Z",
            "2026-01-31TT12:00:00Z",
            "2026-01-3112:00:00Z",
            // The offset.
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00 Z",
            "2026-01-31T12:00:00ZZ",
            "2026-01-31T12:00:00Z+00:00",
            "2026-01-31T12:00:00+0000",
            "2026-01-31T12:00:00+00",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00+00:60",
            "2026-01-31T12:00:00+1:00",
            "2026-01-31T12:00:00+00:00:00",
            "2026-01-31T12:00:00\u{2212}01:00",
            "2026-01-31T12:00:00 01:00",
            "2026-01-31T12:00:00[UTC]",
            // The fraction.
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00,5Z",
            "2026-01-31T12:00:00.5",
            "2026-01-31T12:00:00.5.5Z",
            "2026-01-31T12:00:00.-5Z",
            "2026-01-31T12:00:00.5eZ",
            // Numbers out of range, and dates that do not exist.
            "2026-00-31T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-01-00T12:00:00Z",
            "2026-01-32T12:00:00Z",
            "2026-04-31T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "1900-02-29T12:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:60:00Z",
            "2026-01-31T12:00:61Z",
            // Impossible leap seconds.
            "2026-01-31T12:00:60Z",
            "2026-01-30T23:59:60Z",
            "2026-01-31T23:59:60+01:00",
            // Too few digits, too many, and characters that are not ASCII digits.
            "26-01-31T12:00:00Z",
            "12026-01-31T12:00:00Z",
            "+2026-01-31T12:00:00Z",
            "-026-01-31T12:00:00Z",
            "2026-1-31T12:00:00Z",
            "2026-01-31T1:00:00Z",
            "2026-01-31T12:00Z",
            "2026-01-31T120000Z",
            "20260131T12:00:00Z",
            "2026/01/31T12:00:00Z",
            "2026-W05-6T12:00:00Z",
            "\u{ff12}026-01-31T12:00:00Z",
            " 2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00Z ",
            "2026-01-31T12:00:00Z\u{0}",
            "1769860800",
        ] {
            assert_eq!(code(wrong), Some(Code::NotRfc3339), "{wrong:?}");
        }
        let long = |digits: usize| format!("2026-01-31T12:00:00.{}Z", "0".repeat(digits));
        assert_eq!(code(&long(MAX_NAME_BYTES - 21)), None);
        assert_eq!(code(&long(MAX_NAME_BYTES - 20)), Some(Code::TooLong));
    }

    fn instant(text: &str) -> Instant<'_> {
        Instant::parse(text).unwrap()
    }

    #[test]
    fn equal_instants_compare_equal_in_any_notation() {
        for same in [
            [
                "2026-01-31T12:00:42.58Z",
                "2026-01-31t12:00:42.5800000+00:00",
            ],
            ["2026-01-31T12:00:42Z", "2026-01-31T12:00:42.000-00:00"],
            [
                "2026-01-01T00:30:00+01:00",
                "2025-12-31T20:00:00.0000000000000-03:30",
            ],
            ["1990-12-31T23:59:60Z", "1991-01-01T00:59:60.0+01:00"],
            ["0000-01-01T00:00:00+00:01", "0000-01-01T23:58:00+23:59"],
        ] {
            assert_eq!(instant(same[0]), instant(same[1]), "{same:?}");
        }
        for ascending in [
            [
                "2026-01-31T12:00:42.123456789012Z",
                "2026-01-31T12:00:42.123456789013Z",
            ],
            ["2026-01-31T12:00:42.5Z", "2026-01-31T12:00:42.51Z"],
            ["2026-01-31T12:00:42.05Z", "2026-01-31T12:00:42.5Z"],
            ["1990-12-31T23:59:59.999Z", "1990-12-31T23:59:60Z"],
            ["1990-12-31T23:59:60.9Z", "1991-01-01T00:00:00Z"],
            ["2026-01-31T12:00:00+01:00", "2026-01-31T12:00:00Z"],
        ] {
            assert!(
                instant(ascending[0]) < instant(ascending[1]),
                "{ascending:?}"
            );
        }
    }

    #[test]
    fn a_fraction_of_a_microsecond_is_rounded_up() {
        let micros = |text: &str| instant(text).microseconds();
        assert_eq!(micros("1970-01-01T00:00:00.0000005Z"), 1);
        assert_eq!(micros("1970-01-01T00:00:00.000001Z"), 1);
        assert_eq!(micros("1970-01-01T00:00:00.0000010000000001Z"), 2);
        assert_eq!(micros("1970-01-01T00:00:01.5Z"), 1_500_000);
        assert_eq!(micros("1969-12-31T23:59:59.9999999Z"), 0);
        let midnight = micros("1991-01-01T00:00:00Z");
        assert_eq!(micros("1990-12-31T23:59:60.7Z"), midnight);
        assert_eq!(micros("1990-12-31T23:59:59.9Z"), midnight - 100_000);
    }

    #[test]
    fn timestamps_stored_by_earlier_versions_have_instants_too() {
        let stored = Instant::of_stored(b"2026-01-31 12:00:00Z");
        assert_eq!(stored, Some(instant("2026-01-31T12:00:00Z")));
        assert_eq!(Instant::of_stored(b"yesterday"), None);
    }

    proptest! {
        /// The crate `time` is the model: except for the separator it follows the grammar.
        #[test]
        fn acceptance_and_instants_agree_with_another_parser(
            text in "[0-9]{2}[0-9]{2}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,9})?(Z|z|[+-][0-2][0-9]:[0-6][0-9]|)",
        ) {
            let model = OffsetDateTime::parse(&text, &Rfc3339);
            let parsed = Instant::parse(&text);
            prop_assert_eq!(parsed.is_ok(), model.is_ok(), "{}", text);
            if let (Ok(instant), Ok(model)) = (parsed, model) && instant.second < 60 {
                let nanoseconds = model.unix_timestamp_nanos();
                let micros = nanoseconds.div_euclid(1_000) + i128::from(nanoseconds % 1_000 != 0);
                prop_assert_eq!(i128::from(instant.microseconds()), micros);
            }
        }
    }
}
