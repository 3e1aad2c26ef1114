//! The history of the counts: rows with the counts at the ends of minutes and hours.
//!
//! Nothing is written when a minute ends. The first change after it writes the counts from before the change, in its own
//! transaction: at most once a minute for each topic, and for all of them together.

use rusqlite::{Transaction, params};

use crate::store::{
    query::{MICROS_PER_MINUTE, MINUTES_KEPT},
    sqlite::topics::TopicState,
};

/// The id in place of a topic's for the counts of all topics.
pub(in crate::store) const ALL: i64 = 0;

/// The lengths of a period, in minutes, as the rows have them.
pub(in crate::store) const MINUTE: i64 = 1;
pub(in crate::store) const HOUR: i64 = 60;

/// The counts of a topic or of all.
pub(in crate::store) struct Counts {
    pub topic_id: i64,
    pub unique: u64,
    pub duplicates: u64,
    pub rejected: u64,
}

impl Counts {
    /// Those of a topic.
    pub fn of(topic: &TopicState) -> Self {
        Self {
            topic_id: topic.id,
            unique: topic.unique,
            duplicates: topic.duplicates,
            rejected: 0,
        }
    }
}

/// The end of the period of a time in microseconds since 1970, in minutes since 1970.
pub(in crate::store) fn end(at: i64, step: i64) -> i64 {
    (at.div_euclid(step * MICROS_PER_MINUTE) + 1) * step
}

/// Whether a minute has ended between two times, so that counts that last changed at the first have to be recorded.
pub(super) fn has_ended(last_at: i64, now: i64) -> bool {
    now >= end(last_at, MINUTE) * MICROS_PER_MINUTE
}

/// Records counts that have not changed since `last_at` and are about to change at `now`, if a minute or an hour has ended
/// between the two.
pub(super) fn record(
    transaction: &Transaction<'_>,
    counts: &Counts,
    (last_at, now): (i64, i64),
) -> rusqlite::Result<()> {
    let Counts {
        topic_id,
        unique,
        duplicates,
        rejected,
    } = counts;
    for step in [MINUTE, HOUR] {
        let end = end(last_at, step);
        if now < end * MICROS_PER_MINUTE {
            return Ok(());
        }
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO history (topic_id, step, minute, unique_processed, \
                 duplicate_dropped, rejected) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![topic_id, step, end, unique, duplicates, rejected])?;
    }
    // Once an hour is often enough.
    transaction
        .prepare_cached("DELETE FROM history WHERE topic_id = ?1 AND step = ?2 AND minute < ?3")?
        .execute(params![
            topic_id,
            MINUTE,
            end(now, HOUR) - HOUR - MINUTES_KEPT
        ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_ends_after_each_time_in_it() {
        for (at, step, minutes) in [
            (0, MINUTE, 1),
            (MICROS_PER_MINUTE - 1, MINUTE, 1),
            (MICROS_PER_MINUTE, MINUTE, 2),
            (MICROS_PER_MINUTE, HOUR, 60),
            (-1, MINUTE, 0),
            (-1, HOUR, 0),
        ] {
            assert_eq!(end(at, step), minutes, "{at} {step}");
        }
    }
}
