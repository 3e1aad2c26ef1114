//! The counts over time, from the rows of `history`.

use rusqlite::{OptionalExtension, Transaction};
use shared::event::Topic;

use crate::store::{
    query::{Bucket, Histogram, MICROS_PER_MINUTE, Window},
    sqlite::writer::history::{ALL, HOUR, MINUTE},
};

/// Counts at one time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub unique: u64,
    pub duplicates: u64,
    pub rejected: u64,
}

/// The history of a topic or of all topics.
pub(super) struct History<'a> {
    read: &'a Transaction<'a>,
    topic_id: i64,
    /// As of the last commit.
    pub current: Counts,
    /// When they last changed, in microseconds since 1970.
    changed_at: i64,
}

impl<'a> History<'a> {
    /// That of all topics together.
    pub fn of_all(read: &'a Transaction<'a>) -> rusqlite::Result<Self> {
        let sql =
            "SELECT unique_processed, duplicate_dropped, rejected, processed_at FROM counters";
        let (current, changed_at) = read.prepare_cached(sql)?.query_row([], |row| {
            let counts = Counts {
                unique: row.get(0)?,
                duplicates: row.get(1)?,
                rejected: row.get(2)?,
            };
            Ok((counts, row.get(3)?))
        })?;
        Ok(Self {
            read,
            topic_id: ALL,
            current,
            changed_at,
        })
    }

    /// That of a topic; `None` if it has no events.
    pub fn of_topic(read: &'a Transaction<'a>, name: &str) -> rusqlite::Result<Option<Self>> {
        let sql =
            "SELECT id, unique_processed, duplicate_dropped, last_at FROM topics WHERE name = ?1";
        read.prepare_cached(sql)?
            .query_row([name], |row| {
                Ok(Self {
                    read,
                    topic_id: row.get(0)?,
                    current: Counts {
                        unique: row.get(1)?,
                        duplicates: row.get(2)?,
                        rejected: 0,
                    },
                    changed_at: row.get(3)?,
                })
            })
            .optional()
    }

    /// The counts at the end of a minute, given in minutes since 1970. Only at the end of an hour if minutes are no longer kept.
    pub fn at(&self, minute: i64) -> rusqlite::Result<Counts> {
        if self.changed_at < minute * MICROS_PER_MINUTE {
            return Ok(self.current);
        }
        let mut latest = self.read.prepare_cached(
            "SELECT unique_processed, duplicate_dropped, rejected FROM history \
             WHERE topic_id = ?1 AND step = ?2 AND minute <= ?3 ORDER BY minute DESC LIMIT 1",
        )?;
        // Rows of minutes are deleted from the oldest on, so if there is one, it is at least as late as that of the hour.
        for step in [MINUTE, HOUR] {
            let found = latest.query_row([self.topic_id, step, minute], |row| {
                Ok(Counts {
                    unique: row.get(0)?,
                    duplicates: row.get(1)?,
                    rejected: row.get(2)?,
                })
            });
            if let Some(counts) = found.optional()? {
                return Ok(counts);
            }
        }
        Ok(Counts::default())
    }

    /// The counts in each bucket of a window.
    fn buckets(&self, window: Window) -> rusqlite::Result<Vec<Bucket>> {
        let mut buckets = Vec::new();
        let mut before: Option<(i64, Counts)> = None;
        for minute in window.bounds() {
            let counts = self.at(minute)?;
            if let Some((start, before)) = before {
                buckets.push(Bucket {
                    at: start * MICROS_PER_MINUTE,
                    unique: counts.unique.saturating_sub(before.unique),
                    duplicates: counts.duplicates.saturating_sub(before.duplicates),
                    rejected: counts.rejected.saturating_sub(before.rejected),
                });
            }
            before = Some((minute, counts));
        }
        Ok(buckets)
    }
}

/// When the history begins, in microseconds since 1970; `None` if it is complete.
pub(super) fn since(read: &Transaction<'_>) -> rusqlite::Result<Option<i64>> {
    read.prepare_cached("SELECT history_since FROM store")?
        .query_row([], |row| {
            Ok(Some(row.get(0)?).filter(|since: &i64| *since > 0))
        })
}

/// The histogram of a topic, or of all topics.
pub(super) fn histogram(
    read: &Transaction<'_>,
    topic: Option<&Topic>,
    window: Window,
) -> rusqlite::Result<Histogram> {
    let history = match topic {
        None => Some(History::of_all(read)?),
        Some(topic) => History::of_topic(read, topic.as_str())?,
    };
    let mut buckets = match history {
        Some(history) => history.buckets(window)?,
        None => empty(window),
    };
    let counted_since = since(read)?;
    buckets.retain(|bucket| counted_since.is_none_or(|since| since <= bucket.at));
    Ok(Histogram {
        topic: topic.cloned(),
        counted_since,
        buckets,
    })
}

fn empty(window: Window) -> Vec<Bucket> {
    let mut starts: Vec<_> = window.bounds().collect();
    starts.pop();
    let bucket = |start| Bucket {
        at: start * MICROS_PER_MINUTE,
        unique: 0,
        duplicates: 0,
        rejected: 0,
    };
    starts.into_iter().map(bucket).collect()
}

/// The events of a topic received in each minute of a window.
pub(super) fn received(
    read: &Transaction<'_>,
    topic: &str,
    window: Window,
) -> rusqlite::Result<Vec<u64>> {
    let none = || vec![0; window.bounds().count() - 1];
    let Some(history) = History::of_topic(read, topic)? else {
        return Ok(none());
    };
    // Most topics of a long list.
    if history.changed_at < window.since() {
        return Ok(none());
    }
    let buckets = history.buckets(window)?;
    Ok(buckets
        .iter()
        .map(|bucket| bucket.unique + bucket.duplicates)
        .collect())
}
