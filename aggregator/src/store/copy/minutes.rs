//! The counts over time, of all topics together and of single ones: a data directory has the sums at the ends of minutes and hours, a database what was
//! counted in each minute.

use crate::store::query::MICROS_PER_MINUTE;

/// The sums at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store) struct Sum {
    /// The end of a minute, in minutes since 1970.
    pub end: i64,
    /// Of a single topic.
    pub unique: u64,
    pub duplicates: u64,
    pub rejected: u64,
}

/// What was counted in a minute. The stored events of all topics are counted by reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Minute {
    /// Its beginning, in minutes since 1970.
    pub at: i64,
    /// Of a single topic.
    pub unique: u64,
    pub duplicates: u64,
    pub rejected: u64,
}

/// What was counted in each minute, from the sums at the ends of hours and minutes and the latest ones, each in order of time. A sum is
/// recorded for each minute in which something was counted, so what was added since the one before was counted in its minute. Where
/// only hours are kept, it is counted in the last minute of the hour.
///
/// `since` is the time in microseconds since 1970 from which the sums are complete; what was counted before is left out.
pub(in crate::store) fn between(
    hours: &[Sum],
    minutes: &[Sum],
    latest: Sum,
    since: i64,
) -> Vec<Minute> {
    let first_minute = minutes.first().map_or(latest.end, |first| first.end);
    let hours = hours.iter().filter(|hour| hour.end < first_minute);
    let sums: Vec<Sum> = hours.chain(minutes).copied().chain([latest]).collect();
    let mut sums = sums.as_slice();
    let mut before = Sum::default();
    if since > 0 {
        // The sums at the beginning of the count; those after it, if they are no longer kept.
        let known = sums
            .iter()
            .take_while(|sum| sum.end * MICROS_PER_MINUTE <= since)
            .count()
            .max(1);
        before = sums[known - 1];
        sums = &sums[known..];
    }
    let mut counted = Vec::new();
    for sum in sums {
        let unique = sum.unique.saturating_sub(before.unique);
        let duplicates = sum.duplicates.saturating_sub(before.duplicates);
        let rejected = sum.rejected.saturating_sub(before.rejected);
        if unique + duplicates + rejected > 0 {
            counted.push(Minute {
                at: sum.end - 1,
                unique,
                duplicates,
                rejected,
            });
        }
        before = *sum;
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(end: i64, duplicates: u64, rejected: u64) -> Sum {
        Sum {
            end,
            unique: 0,
            duplicates,
            rejected,
        }
    }

    fn counted(hours: &[Sum], minutes: &[Sum], latest: Sum, since: i64) -> Vec<(i64, u64, u64)> {
        let counted = between(hours, minutes, latest, since);
        let counts = |one: &Minute| (one.at, one.duplicates, one.rejected);
        counted.iter().map(counts).collect()
    }

    #[test]
    fn what_a_sum_adds_was_counted_in_its_minute() {
        let minutes = [sum(61, 5, 0), sum(70, 5, 2), sum(71, 9, 2)];
        assert_eq!(
            counted(&[sum(60, 4, 0)], &minutes, sum(80, 10, 3), 0),
            [(59, 4, 0), (60, 1, 0), (69, 0, 2), (70, 4, 0), (79, 1, 1)]
        );
        assert_eq!(counted(&[], &[], sum(3, 1, 1), 0), [(2, 1, 1)]);
        assert_eq!(counted(&[], &[], Sum::default(), 0), []);
    }

    #[test]
    fn an_hour_whose_minutes_are_kept_is_not_counted_twice() {
        let hours = [sum(60, 4, 0), sum(120, 9, 0)];
        assert_eq!(
            counted(&hours, &[sum(100, 6, 0), sum(120, 9, 0)], sum(121, 9, 0), 0),
            [(59, 4, 0), (99, 2, 0), (119, 3, 0)]
        );
    }

    #[test]
    fn what_was_counted_before_the_store_counted_over_time_is_left_out() {
        let since = 65 * MICROS_PER_MINUTE;
        let minutes = [sum(61, 5, 0), sum(70, 8, 1)];
        assert_eq!(counted(&[], &minutes, sum(70, 8, 1), since), [(69, 3, 1)]);
        // The minutes are no longer kept: the first hour has what was counted before.
        assert_eq!(
            counted(&[sum(120, 6, 0)], &[], sum(200, 9, 0), since),
            [(199, 3, 0)]
        );
    }
}
