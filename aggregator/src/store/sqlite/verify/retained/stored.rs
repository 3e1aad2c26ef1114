//! The stored event with the identity of an arrival.

use rusqlite::Row;
use shared::event::{Content, Event};

use super::column;
use crate::store::sqlite::verify::{Verification, VerifyError, fingerprints::Sorted};

/// A row of `events`. Its text columns are read as bytes, because they may have been edited by hand to another type.
pub(super) struct StoredRow {
    pub sequence: i64,
    pub topic_id: i64,
    pub incarnation: i64,
    pub stream_sequence: u64,
    pub position: u64,
    timestamp: Vec<u8>,
    is_filled: bool,
    source: Vec<u8>,
    payload: Vec<u8>,
}

const SELECT: &str = "SELECT topic_id, event_id, timestamp, source, payload, incarnation, \
     stream_sequence, position, timestamp_filled FROM events WHERE sequence = ?1";

impl StoredRow {
    /// The stored events with the identity of this one: at most one, in a consistent store.
    pub fn find(
        verification: &mut Verification,
        sorted: &Sorted,
        event: &Event,
    ) -> Result<Vec<Self>, VerifyError> {
        let Verification {
            connection,
            snapshot,
            topics,
            ..
        } = verification;
        let (topic, event_id) = (event.topic.as_str(), event.event_id.as_str());
        let mut statement = connection.prepare_cached(SELECT)?;
        let mut stored = Vec::with_capacity(1);
        for record in sorted.find(snapshot.key.identity(topic, event_id))? {
            let mut rows = statement.query([record.sequence])?;
            let Some(row) = rows.next()? else {
                continue;
            };
            // Another identity may have the same fingerprint.
            if topics.get(row.get(0)?)?.name() == Some(topic)
                && column(row, 1)? == event_id.as_bytes()
            {
                stored.push(Self::read(record.sequence, row)?);
            }
        }
        Ok(stored)
    }

    fn read(sequence: i64, row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            sequence,
            topic_id: row.get(0)?,
            timestamp: column(row, 2)?,
            is_filled: row.get(8)?,
            source: column(row, 3)?,
            payload: column(row, 4)?,
            incarnation: row.get(5)?,
            stream_sequence: row.get(6)?,
            position: row.get(7)?,
        })
    }

    /// The first field that differs from the event's.
    pub fn differing(&self, event: &Event) -> Option<&'static str> {
        event.differing(&Content {
            timestamp: (!self.is_filled).then_some(&self.timestamp),
            source: &self.source,
            payload: &self.payload,
        })
    }

    /// Whether the timestamp or the payload differs from the event's in its bytes.
    pub fn is_reworded(&self, event: &Event) -> bool {
        let is_filled = self.is_filled || event.timestamp.is_filled();
        !is_filled && self.timestamp != event.timestamp.as_str().as_bytes()
            || self.payload != event.payload.as_bytes()
    }

    /// As [`Self::differing`], for the event from which the row was made: its timestamp must be the same text, also if it was
    /// filled in.
    pub fn differing_own(&self, event: &Event) -> Option<&'static str> {
        let is_time = self.is_filled == event.timestamp.is_filled()
            && self.timestamp == event.timestamp.as_str().as_bytes();
        self.differing(event).or((!is_time).then_some("timestamp"))
    }
}
