//! The topics as the writer knows them, so that a batch does not read the rows that it changes.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};
use shared::event::Topic;

use super::digest::Digest;

/// Topics that are remembered. With names as long as they may be, that is 20 MiB.
const REMEMBERED: usize = 50_000;

/// A row of `topics`.
#[derive(Debug, Clone)]
pub(super) struct TopicRow {
    pub id: i64,
    pub received: u64,
    pub unique: u64,
    pub digest: Digest,
    pub first_at: i64,
    /// The sequence of its last event, or 0: where the chain of `previous` begins.
    pub last_sequence: i64,
}

/// Rows as they were last committed.
#[derive(Debug, Default)]
pub(super) struct Topics(HashMap<Topic, TopicRow>);

impl Topics {
    /// The row of a topic, remembered or read.
    pub fn get(
        &self,
        transaction: &Transaction<'_>,
        topic: &Topic,
    ) -> rusqlite::Result<Option<TopicRow>> {
        if let Some(row) = self.0.get(topic) {
            return Ok(Some(row.clone()));
        }
        transaction
            .prepare_cached(
                "SELECT id, received, unique_processed, digest, first_at, last_sequence \
                 FROM topics WHERE name = ?1",
            )?
            .query_row([topic.as_str()], |row| {
                Ok(TopicRow {
                    id: row.get(0)?,
                    received: row.get(1)?,
                    unique: row.get(2)?,
                    digest: Digest::from_bytes(row.get(3)?),
                    first_at: row.get(4)?,
                    last_sequence: row.get(5)?,
                })
            })
            .optional()
    }

    /// Remembers rows that have been committed.
    pub fn remember(&mut self, rows: HashMap<Topic, TopicRow>) {
        if self.0.len() + rows.len() > REMEMBERED {
            self.0.clear();
        }
        self.0.extend(rows);
    }
}

impl TopicRow {
    /// Writes the row, in the transaction that changes its events.
    pub fn save(
        &self,
        transaction: &Transaction<'_>,
        topic: &Topic,
        last_at: i64,
    ) -> rusqlite::Result<()> {
        transaction
            .prepare_cached(
                "INSERT INTO topics (id, name, received, unique_processed, duplicate_dropped, \
                 digest, first_at, last_at, last_sequence) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
                 ON CONFLICT (id) DO UPDATE SET received = ?3, unique_processed = ?4, \
                 duplicate_dropped = ?5, digest = ?6, last_at = ?8, last_sequence = ?9",
            )?
            .execute(params![
                self.id,
                topic.as_str(),
                self.received,
                self.unique,
                self.received - self.unique,
                self.digest.to_bytes(),
                self.first_at,
                last_at,
                self.last_sequence,
            ])?;
        Ok(())
    }
}
