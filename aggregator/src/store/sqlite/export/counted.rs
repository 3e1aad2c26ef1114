//! The counts of topics over time, and which events were repeated, in chunks.

use rusqlite::{OptionalExtension, params};

use super::Export;
use crate::store::{
    StoreError,
    copy::{
        ChunkLimits,
        minutes::{self, Minute, Sum},
        rows::{OverTimeRow, RepeatsRow},
    },
    query::TOPICS_KEPT,
    sqlite::{
        repeats::{self, Repeats},
        topics::TopicState,
        writer::history::{self, HOUR, MINUTE},
    },
};

const SUMS: &str = "SELECT minute, unique_processed, duplicate_dropped FROM history WHERE topic_id = ?1 AND step = ?2 ORDER BY minute";

/// A topic that is missing, which only damage explains, is NULL and cannot be read as text.
const EVENT: &str = "SELECT e.incarnation, e.stream_sequence, e.position, t.name FROM events e LEFT JOIN topics t ON t.id = e.topic_id \
     WHERE e.sequence = ?1";

const STORED_AT: &str = "SELECT processed_at FROM events WHERE sequence = ?1";

impl Export {
    /// The topics that are counted, each with all of its minutes.
    pub(super) fn over_time(
        &self,
        limits: ChunkLimits,
        last: &mut i64,
    ) -> Result<Vec<OverTimeRow>, StoreError> {
        let (mut rows, mut minutes) = (Vec::new(), 0);
        self.topics()?.after(*last, |topic, name| {
            if topic.id > TOPICS_KEPT {
                return Ok(false);
            }
            let row = OverTimeRow {
                number: topic.id,
                topic: name.to_owned(),
                minutes: self.minutes(topic)?,
            };
            minutes += row.minutes.len();
            rows.push(row);
            *last = topic.id;
            Ok(rows.len() + minutes < limits.rows)
        })?;
        Ok(rows)
    }

    fn minutes(&self, topic: &TopicState) -> rusqlite::Result<Vec<Minute>> {
        let mut statement = self.connection.prepare_cached(SUMS)?;
        let mut sums = |step: i64| {
            let rows = statement.query_map([topic.id, step], |row| {
                Ok(Sum {
                    end: row.get(0)?,
                    unique: row.get(1)?,
                    duplicates: row.get(2)?,
                    rejected: 0,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let (hours, kept) = (sums(HOUR)?, sums(MINUTE)?);
        let latest = Sum {
            end: history::end(topic.last_at, MINUTE),
            unique: topic.unique,
            duplicates: topic.duplicates,
            rejected: 0,
        };
        let since = self.counted_since;
        // Nothing of it was counted since the count began.
        if since > 0 && latest.end * crate::store::query::MICROS_PER_MINUTE <= since {
            return Ok(Vec::new());
        }
        // One that came after the count began is counted from its first event on.
        let since = if topic.first_at >= since { 0 } else { since };
        Ok(minutes::between(&hours, &kept, latest, since))
    }

    /// The rows of repeated events, of which a chunk has a bounded number.
    pub(super) fn repeats(
        &self,
        limits: ChunkLimits,
        last: &mut i64,
    ) -> Result<Vec<RepeatsRow>, StoreError> {
        let (mut found, mut events) = (Vec::new(), 0);
        repeats::oldest_first(&self.connection, *last, |row| {
            *last = row.id;
            events += row.number;
            found.push(row);
            found.len() < limits.rows && events < limits.rows as u64
        })?;
        found.iter().map(|row| self.repeats_row(row)).collect()
    }

    fn repeats_row(&self, row: &Repeats) -> Result<RepeatsRow, StoreError> {
        let mut stored_at = self.connection.prepare_cached(STORED_AT)?;
        let stored_at = stored_at.query_row([row.reach], |row| row.get(0));
        let events = match row.events() {
            None => None,
            Some(sequences) => {
                let mut events = Vec::new();
                for sequence in sequences {
                    events.push(self.repeated(sequence)?);
                }
                events.sort_unstable();
                Some(events)
            }
        };
        Ok(RepeatsRow {
            id: row.id,
            processed_at: stored_at.optional()?.unwrap_or(0),
            number: row.number,
            events,
        })
    }

    /// The topic of an event, the sum of its message's sequence and base, and its position.
    fn repeated(&self, sequence: i64) -> Result<(String, i64, u64), StoreError> {
        let mut statement = self.connection.prepare_cached(EVENT)?;
        let (incarnation, stream_sequence, position, topic) = statement
            .query_row(params![sequence], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        let (_, message) = self.lives.message(incarnation, stream_sequence)?;
        Ok((topic, message, position))
    }
}
