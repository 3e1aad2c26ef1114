//! The counts over time, from the rows of `history`.

use rusqlite::{OptionalExtension, Transaction, params};

use crate::store::{
    query::{
        Bucket, Histogram, HistogramQuery, MICROS_PER_MINUTE, NoHistogram, TOPICS_KEPT, Window,
    },
    sqlite::{
        gate::Inside,
        topics::{StoredTopics, TopicState},
        writer::history::{ALL, HOUR, MINUTE},
    },
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
    pub changed_at: i64,
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
        let topic = StoredTopics::open(read)?.named(name)?;
        Ok(topic.map(|topic| Self::of_state(read, &topic)))
    }

    /// That of a topic in this state.
    fn of_state(read: &'a Transaction<'a>, topic: &TopicState) -> Self {
        Self {
            read,
            topic_id: topic.id,
            current: Counts {
                unique: topic.unique,
                duplicates: topic.duplicates,
                rejected: 0,
            },
            changed_at: topic.last_at,
        }
    }

    /// Whether its counts over time are kept.
    fn is_counted(&self) -> bool {
        self.topic_id <= TOPICS_KEPT
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

    /// The events received by each bound of a window of minutes, read at once.
    fn totals(&self, window: Window) -> rusqlite::Result<Vec<(i64, u64)>> {
        let mut recorded = self.read.prepare_cached(
            "SELECT minute, unique_processed + duplicate_dropped FROM history \
             WHERE topic_id = ?1 AND step = ?2 AND minute >= ?3 ORDER BY minute",
        )?;
        let mut recorded = recorded
            .query_map(params![self.topic_id, MINUTE, window.first()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?))
            })?
            .peekable();
        let first = self.at(window.first())?;
        let mut total = first.unique + first.duplicates;
        let mut totals = Vec::new();
        for bound in window.bounds() {
            while let Some(row) = recorded.next_if(|row| match row {
                Ok((minute, _)) => *minute <= bound,
                Err(_) => true,
            }) {
                total = row?.1;
            }
            if self.changed_at < bound * MICROS_PER_MINUTE {
                total = self.current.unique + self.current.duplicates;
            }
            totals.push((bound, total));
        }
        Ok(totals)
    }

    /// Adds the counts to those in each bucket of a window.
    fn add_to(&self, buckets: &mut [Bucket], window: Window) -> rusqlite::Result<()> {
        let mut before = self.at(window.first())?;
        for (bucket, end) in buckets.iter_mut().zip(window.bounds().skip(1)) {
            let counts = self.at(end)?;
            bucket.unique += counts.unique.saturating_sub(before.unique);
            bucket.duplicates += counts.duplicates.saturating_sub(before.duplicates);
            bucket.rejected += counts.rejected.saturating_sub(before.rejected);
            before = counts;
        }
        Ok(())
    }
}

/// When the history begins, in microseconds since 1970; `None` if it is complete.
pub(super) fn since(read: &Transaction<'_>) -> rusqlite::Result<Option<i64>> {
    read.prepare_cached("SELECT history_since FROM store")?
        .query_row([], |row| {
            Ok(Some(row.get(0)?).filter(|since: &i64| *since > 0))
        })
}

/// The histogram that a query selects.
pub(super) fn histogram(
    read: &Transaction<'_>,
    query: &HistogramQuery,
    inside: &Inside,
) -> rusqlite::Result<Result<Histogram, NoHistogram>> {
    let all = History::of_all(read)?;
    // Rows are deleted by the time of the latest event, which is later than now if the clock was set back.
    let now = query.now.max(all.changed_at);
    let Some(window) = Window::new(query.since, query.until, now) else {
        return Ok(Err(NoHistogram::WrongSpan));
    };
    let mut buckets = empty(window);
    let mut is_partial = false;
    match query.visible.patterns() {
        _ if !query.topics.is_empty() => {
            for topic in &query.topics {
                let Some(history) = History::of_topic(read, topic)? else {
                    continue;
                };
                if !history.is_counted() {
                    return Ok(Err(NoHistogram::NotCounted));
                }
                history.add_to(&mut buckets, window)?;
            }
        }
        None => all.add_to(&mut buckets, window)?,
        Some(patterns) => {
            let topics = StoredTopics::open(read)?;
            topics.spanned(patterns, "", |named| {
                if !inside.has_time() {
                    is_partial = true;
                    return Ok(false);
                }
                if named.is_visible
                    && let Some(topic) = topics.state(named.id)?
                {
                    let history = History::of_state(read, &topic);
                    if history.is_counted() {
                        history.add_to(&mut buckets, window)?;
                    } else {
                        is_partial = true;
                    }
                }
                Ok(true)
            })?;
        }
    }
    let counted_since = since(read)?;
    buckets.retain(|bucket| counted_since.is_none_or(|since| since <= bucket.at));
    Ok(Ok(Histogram {
        window,
        counted_since,
        is_partial,
        buckets,
    }))
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

/// The events of a topic received in each minute of a window; 0 for minutes before the history begins. Empty if the topic is not
/// counted over time.
pub(super) fn received(
    read: &Transaction<'_>,
    topic: &str,
    window: Window,
) -> rusqlite::Result<Vec<u64>> {
    let minutes = window.bounds().count() - 1;
    let Some(history) = History::of_topic(read, topic)? else {
        return Ok(vec![0; minutes]);
    };
    if !history.is_counted() {
        return Ok(Vec::new());
    }
    // Most topics of a long list.
    if history.changed_at < window.since() {
        return Ok(vec![0; minutes]);
    }
    let counted_since = since(read)?;
    let mut received = Vec::with_capacity(minutes);
    let mut before: Option<(i64, u64)> = None;
    for (minute, total) in history.totals(window)? {
        if let Some((start, before)) = before {
            let is_counted = counted_since.is_none_or(|since| since <= start * MICROS_PER_MINUTE);
            received.push(if is_counted {
                total.saturating_sub(before)
            } else {
                0
            });
        }
        before = Some((minute, total));
    }
    Ok(received)
}
