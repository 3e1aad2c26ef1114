//! The writer's cache of topic rows, so that a batch does not read the rows that it changes.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};
use shared::event::Topic;

use super::history::Counts;
use crate::store::sqlite::digest::Digest;

/// A row of `topics`.
#[derive(Debug, Clone)]
pub(in crate::store) struct TopicRow {
    /// Whether it is not in the table yet.
    pub is_new: bool,
    pub id: i64,
    pub received: u64,
    pub unique: u64,
    pub digest: Digest,
    pub first_at: i64,
    /// When its latest event was applied, duplicates included.
    pub last_at: i64,
    /// The sequence of its last event, or 0: where the chain of `previous` begins.
    pub last_sequence: i64,
}

/// Cached rows, as last committed.
#[derive(Debug)]
pub(in crate::store) struct Topics {
    rows: HashMap<Topic, TopicRow>,
    most: usize,
}

impl Topics {
    /// An empty cache of at most `most` rows.
    pub fn new(most: usize) -> Self {
        Self {
            rows: HashMap::new(),
            most,
        }
    }

    /// The row of a topic, from the cache or the table.
    pub fn get(
        &self,
        transaction: &Transaction<'_>,
        topic: &Topic,
    ) -> rusqlite::Result<Option<TopicRow>> {
        if let Some(row) = self.rows.get(topic) {
            return Ok(Some(row.clone()));
        }
        transaction
            .prepare_cached(
                "SELECT id, received, unique_processed, digest, first_at, last_at, last_sequence \
                 FROM topics WHERE name = ?1",
            )?
            .query_row([topic.as_str()], |row| {
                Ok(TopicRow {
                    is_new: false,
                    id: row.get(0)?,
                    received: row.get(1)?,
                    unique: row.get(2)?,
                    digest: Digest::from_bytes(row.get(3)?),
                    first_at: row.get(4)?,
                    last_at: row.get(5)?,
                    last_sequence: row.get(6)?,
                })
            })
            .optional()
    }

    /// Remembers rows that have been committed.
    pub fn remember(&mut self, rows: HashMap<Topic, TopicRow>) {
        self.rows.extend(rows);
        if self.rows.len() > self.most {
            self.rows.clear();
        }
    }
}

impl TopicRow {
    /// Writes the row, in the transaction that changes its events.
    pub fn save(&self, transaction: &Transaction<'_>, topic: &Topic) -> rusqlite::Result<()> {
        let sql = if self.is_new {
            "INSERT INTO topics (id, name, received, unique_processed, duplicate_dropped, digest, \
             first_at, last_at, last_sequence) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        } else {
            "UPDATE topics SET received = ?3, unique_processed = ?4, duplicate_dropped = ?5, \
             digest = ?6, last_at = ?8, last_sequence = ?9 WHERE id = ?1 AND name = ?2 AND first_at = ?7"
        };
        let changed = transaction.prepare_cached(sql)?.execute(params![
            self.id,
            topic.as_str(),
            self.received,
            self.unique,
            self.received - self.unique,
            self.digest.to_bytes(),
            self.first_at,
            self.last_at,
            self.last_sequence,
        ])?;
        if changed == 1 {
            return Ok(());
        }
        Err(rusqlite::Error::StatementChangedRows(changed))
    }

    /// Its counts, for the history.
    pub fn counts(&self) -> Counts {
        Counts {
            topic_id: self.id,
            unique: self.unique,
            duplicates: self.received - self.unique,
            rejected: 0,
        }
    }

    /// The row, marked as stored in the table.
    pub fn saved(mut self) -> Self {
        self.is_new = false;
        self
    }
}
