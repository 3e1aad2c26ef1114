//! The writer's state between transactions, as last committed.

use rusqlite::{Connection, Transaction, params};

use super::{
    history::{self, Counts},
    incarnation::{Incarnation, count_missing, load_lives},
};
use crate::store::{
    Appended, Standing, StoreError, query::Review, sqlite::dedup::fingerprint::Key,
};

/// The writer's state in memory. A transaction changes it; if that fails, it is dropped and read again.
#[derive(Debug)]
pub(in crate::store) struct State {
    pub store_id: String,
    pub key: Key,
    pub counters: Counters,
    /// The lives of the current stream, in the order of their epochs; the last one is current. Empty until
    /// a stream was compared.
    pub lives: Vec<Incarnation>,
    /// The sequence of the last event stored.
    pub last_event: i64,
    /// The number of stream sequences lost before they were applied, and not acknowledged.
    pub missing: u64,
}

/// The counters row.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Counters {
    pub received: u64,
    pub unique_processed: u64,
    pub duplicate_dropped: u64,
    pub rejected: u64,
    pub rejected_kept: Kept,
    pub conflicts: u64,
    pub conflicts_kept: Kept,
    pub redelivered: u64,
    /// Also the id of the latest topic.
    pub topics: i64,
    pub processed_at: i64,
}

/// How much is kept for review of rejected arrivals, or of conflicts.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store) struct Kept {
    /// Rows that were evicted, the oldest first.
    pub evicted: u64,
    /// Bytes of the rows that are kept.
    pub bytes: u64,
    /// Rows up to this id have been seen by an operator.
    pub seen: u64,
}

impl Counters {
    /// The counts of all topics, for the history.
    pub fn history(&self) -> Counts {
        Counts {
            topic_id: history::ALL,
            unique: self.unique_processed,
            duplicates: self.duplicate_dropped,
            rejected: self.rejected,
        }
    }

    /// Marks rows up to an id as seen; `None` if no row has had this id.
    pub fn see(&mut self, rows: Review, upto: u64) -> Option<u64> {
        let (latest, kept) = match rows {
            Review::Rejected => (self.rejected, &mut self.rejected_kept),
            Review::Conflicts => (self.conflicts, &mut self.conflicts_kept),
        };
        // Ids are consecutive.
        if upto > latest {
            return None;
        }
        kept.seen = kept.seen.max(upto);
        Some(kept.seen)
    }

    /// Adds what a batch did.
    pub fn add(&mut self, done: &Appended) {
        self.received += done.arrivals();
        self.unique_processed += done.unique;
        self.duplicate_dropped += done.duplicates;
        self.rejected += done.rejected;
        self.conflicts += done.conflicts;
        self.redelivered += done.redelivered;
    }
}

impl State {
    /// How far the current life is applied; the default before a stream was compared.
    pub fn standing(&self) -> Standing {
        let Some(life) = self.lives.last() else {
            return Standing::default();
        };
        Standing {
            floor: life.applied.floor(),
            witness: (life.witness.sequence > 0).then_some(life.witness),
        }
    }

    /// Reads everything from the store.
    pub fn load(connection: &Connection) -> Result<Self, StoreError> {
        let (store_id, key) =
            connection.query_row("SELECT store_id, hash_key FROM store", [], |row| {
                Ok((row.get(0)?, Key(row.get(1)?)))
            })?;
        let (counters, current) = connection.query_row(
            "SELECT received, unique_processed, duplicate_dropped, rejected, conflicts, redelivered, \
                    topics, processed_at, incarnation, rejected_evicted, rejected_bytes, \
                    conflicts_evicted, conflicts_bytes, rejected_seen, conflicts_seen FROM counters",
            [],
            |row| {
                let counters = Counters {
                    received: row.get(0)?,
                    unique_processed: row.get(1)?,
                    duplicate_dropped: row.get(2)?,
                    rejected: row.get(3)?,
                    rejected_kept: Kept {
                        evicted: row.get(9)?,
                        bytes: row.get(10)?,
                        seen: row.get(13)?,
                    },
                    conflicts: row.get(4)?,
                    conflicts_kept: Kept {
                        evicted: row.get(11)?,
                        bytes: row.get(12)?,
                        seen: row.get(14)?,
                    },
                    redelivered: row.get(5)?,
                    topics: row.get(6)?,
                    processed_at: row.get(7)?,
                };
                Ok((counters, row.get::<_, Option<i64>>(8)?))
            },
        )?;
        let last_event =
            connection.query_row("SELECT ifnull(max(sequence), 0) FROM events", [], |row| {
                row.get(0)
            })?;
        let lives = match current {
            Some(id) => load_lives(connection, "id = ?1", params![id])?,
            None => Vec::new(),
        };
        Ok(Self {
            store_id,
            key,
            counters,
            lives,
            last_event,
            missing: count_missing(connection)?,
        })
    }

    /// Writes the changes, in the same transaction as the rows.
    pub fn save(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let Counters {
            received,
            unique_processed,
            duplicate_dropped,
            rejected,
            rejected_kept,
            conflicts,
            conflicts_kept,
            redelivered,
            topics,
            processed_at,
        } = &self.counters;
        transaction
            .prepare_cached(
                "UPDATE counters SET received = ?1, unique_processed = ?2, duplicate_dropped = ?3, \
                 rejected = ?4, conflicts = ?5, redelivered = ?6, topics = ?7, processed_at = ?8, \
                 incarnation = ?9, rejected_evicted = ?10, rejected_bytes = ?11, \
                 conflicts_evicted = ?12, conflicts_bytes = ?13, rejected_seen = ?14, \
                 conflicts_seen = ?15",
            )?
            .execute(params![
                received,
                unique_processed,
                duplicate_dropped,
                rejected,
                conflicts,
                redelivered,
                topics,
                processed_at,
                self.lives.last().map(|life| life.id),
                rejected_kept.evicted,
                rejected_kept.bytes,
                conflicts_kept.evicted,
                conflicts_kept.bytes,
                rejected_kept.seen,
                conflicts_kept.seen,
            ])?;
        // A batch may end one life and begin another.
        for life in &mut self.lives {
            life.save(transaction)?;
        }
        Ok(())
    }
}
