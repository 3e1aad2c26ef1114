//! The rows in chunks: each continues after the last row of the one before, and has a bounded number of rows and bytes.

use rusqlite::{Row, params};

use super::Export;
use crate::store::{
    StoreError,
    copy::{
        Chunk, ChunkLimits,
        rows::{ConflictRow, EventRow, Origin, Part, RejectedRow, Rows, TopicRow},
    },
};

/// A topic that is missing, which only damage explains, is NULL and cannot be read as text.
const EVENTS: &str = "SELECT e.sequence, e.incarnation, e.stream_sequence, e.position, t.name, e.event_id, e.timestamp, \
     e.timestamp_filled, e.source, e.payload, e.processed_at \
     FROM events e LEFT JOIN topics t ON t.id = e.topic_id WHERE e.sequence > ?1 ORDER BY e.sequence LIMIT ?2";

const REJECTED: &str = "SELECT id, incarnation, stream_sequence, position, reason, detail, subject, processed_at, requeued_at, body, sent_by \
     FROM rejected WHERE id > ?1 ORDER BY id LIMIT ?2";

const CONFLICTS: &str = "SELECT c.id, c.incarnation, c.stream_sequence, c.position, t.name, e.event_id, c.timestamp, c.timestamp_filled, \
     c.source, c.payload, c.subject, c.processed_at, c.sent_by \
     FROM conflicts c LEFT JOIN events e ON e.sequence = c.stored_sequence LEFT JOIN topics t ON t.id = e.topic_id \
     WHERE c.id > ?1 ORDER BY c.id LIMIT ?2";

impl Export {
    /// The rows of a part after the one with the number `after`; `None` if there are no more.
    pub fn chunk(
        &self,
        part: Part,
        after: i64,
        limits: ChunkLimits,
    ) -> Result<Option<Chunk>, StoreError> {
        let mut last = after;
        let rows = match part {
            Part::Events => {
                let read = |row: &Row<'_>| self.event(row);
                Rows::Events(self.read(EVENTS, limits, &mut last, read)?)
            }
            Part::Topics => Rows::Topics(self.topic_rows(limits, &mut last)?),
            Part::Rejected => {
                let read = |row: &Row<'_>| self.rejected(row);
                Rows::Rejected(self.read(REJECTED, limits, &mut last, read)?)
            }
            Part::Conflicts => {
                let read = |row: &Row<'_>| self.conflict(row);
                Rows::Conflicts(self.read(CONFLICTS, limits, &mut last, read)?)
            }
            Part::OverTime => Rows::OverTime(self.over_time(limits, &mut last)?),
            Part::Repeats => Rows::Repeats(self.repeats(limits, &mut last)?),
        };
        Ok((last != after).then_some(Chunk { rows, after, last }))
    }

    /// Reads rows, whose first column is their number. `read` also returns how many bytes a row has.
    fn read<T>(
        &self,
        sql: &str,
        limits: ChunkLimits,
        last: &mut i64,
        read: impl Fn(&Row<'_>) -> Result<(T, usize), StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![*last, limits.rows])?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while bytes < limits.bytes
            && let Some(row) = rows.next()?
        {
            let (one, size) = read(row)?;
            found.push(one);
            bytes += size;
            *last = row.get(0)?;
        }
        Ok(found)
    }

    /// Where an arrival is in the stream, from the second column on.
    fn origin(&self, row: &Row<'_>) -> Result<Origin, StoreError> {
        let sequence = row.get(2)?;
        let (life, message) = self.lives.message(row.get(1)?, sequence)?;
        Ok(Origin {
            life,
            sequence,
            message,
            position: row.get(3)?,
        })
    }

    fn event(&self, row: &Row<'_>) -> Result<(EventRow, usize), StoreError> {
        let origin = self.origin(row)?;
        let event = EventRow {
            message: origin.message,
            position: origin.position,
            topic: row.get(4)?,
            event_id: row.get(5)?,
            timestamp: row.get(6)?,
            timestamp_filled: row.get(7)?,
            source: row.get(8)?,
            payload: row.get(9)?,
            processed_at: row.get(10)?,
        };
        let bytes = event.topic.len() + event.event_id.len() + event.source.len();
        let bytes = bytes + event.payload.len();
        Ok((event, bytes))
    }

    fn topic_rows(&self, limits: ChunkLimits, last: &mut i64) -> Result<Vec<TopicRow>, StoreError> {
        let mut rows = Vec::new();
        self.topics()?.after(*last, |topic, name| {
            rows.push(TopicRow {
                name: name.to_owned(),
                unique: topic.unique,
                duplicates: topic.duplicates,
                digest: u128::from_le_bytes(topic.digest.to_bytes()),
                first_at: topic.first_at,
                last_at: topic.last_at,
            });
            *last = topic.id;
            Ok(rows.len() < limits.rows)
        })?;
        Ok(rows)
    }

    fn rejected(&self, row: &Row<'_>) -> Result<(RejectedRow, usize), StoreError> {
        let rejected = RejectedRow {
            origin: self.origin(row)?,
            reason: row.get(4)?,
            detail: row.get(5)?,
            subject: row.get(6)?,
            processed_at: row.get(7)?,
            requeued_at: row.get(8)?,
            body: row.get(9)?,
            sent_by: row.get(10)?,
        };
        let bytes = rejected.body.len() + rejected.detail.len() + rejected.subject.len();
        Ok((rejected, bytes))
    }

    fn conflict(&self, row: &Row<'_>) -> Result<(ConflictRow, usize), StoreError> {
        let (topic, event_id): (String, String) = (row.get(4)?, row.get(5)?);
        let conflict = ConflictRow {
            origin: self.origin(row)?,
            identity: self.key.identity(&topic, &event_id),
            timestamp: row.get(6)?,
            timestamp_filled: row.get(7)?,
            source: row.get(8)?,
            payload: row.get(9)?,
            subject: row.get(10)?,
            processed_at: row.get(11)?,
            sent_by: row.get(12)?,
        };
        let bytes = conflict.payload.len() + conflict.source.len() + conflict.subject.len();
        Ok((conflict, bytes))
    }
}
