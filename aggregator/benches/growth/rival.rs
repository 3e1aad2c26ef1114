//! The rivals: the store's rows in SQLite, with a unique index or without dedup.
//!
//! Both do slightly less than the store, which favours them: no digests (the column holds zeros), no comparison
//! of a duplicate with the stored event, no table of rejected events.

use std::{collections::HashMap, path::Path};

use aggregator::store::FILE;
use rusqlite::{
    Connection, OptionalExtension, Statement, Transaction, TransactionBehavior, params,
    types::{ToSqlOutput, ValueRef},
};
use shared::event::{Event, Topic};

use crate::feed::Batch;

/// The pragmas of `aggregator::store`, except that the page cache is 64 MiB instead of 16, for the unique index.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                       PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -65536";

const INSERT: &str = "INSERT INTO events (sequence, topic_id, previous, event_id, timestamp, source, payload, \
                      processed_at, incarnation, stream_sequence, position) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9, ?10)";

/// How a rival detects duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedup {
    /// The traffic marks them.
    None,
    /// A unique index of the identities.
    UniqueIndex,
}

/// A database and its connection.
#[derive(Debug)]
pub struct Rival {
    connection: Connection,
    dedup: Dedup,
    insert: String,
    last_sequence: i64,
}

/// A row of `topics`, and what the transaction adds to it.
struct TopicRow {
    id: i64,
    received: u64,
    unique: u64,
    last_sequence: i64,
}

impl Rival {
    /// Creates the database in `directory`.
    pub fn new(directory: &Path, dedup: Dedup) -> rusqlite::Result<Self> {
        let connection = Connection::open(directory.join(FILE))?;
        connection.execute_batch(PRAGMAS)?;
        connection.execute_batch(include_str!("rival.sql"))?;
        let mut insert = INSERT.to_owned();
        if dedup == Dedup::UniqueIndex {
            connection
                .execute_batch("CREATE UNIQUE INDEX identities ON events (topic_id, event_id)")?;
            insert.push_str(" ON CONFLICT (topic_id, event_id) DO NOTHING");
        }
        Ok(Self {
            connection,
            dedup,
            insert,
            last_sequence: 0,
        })
    }

    /// Appends a batch in one transaction, which is on disk when this returns.
    pub fn append(&mut self, batch: &Batch, now: i64) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut topics = HashMap::new();
        // Once per batch, as the store does.
        let mut statement = transaction.prepare_cached(&self.insert)?;
        for (delivery, repeats) in batch.deliveries.iter().zip(&batch.repeats) {
            for (position, (arrival, repeats)) in delivery.arrivals.iter().zip(repeats).enumerate()
            {
                let event = arrival
                    .as_ref()
                    .expect("the traffic consists of valid events");
                let topic = topic_row(&transaction, &mut topics, &event.topic, now)?;
                topic.received += 1;
                if self.dedup == Dedup::None && *repeats {
                    continue;
                }
                let sequence = self.last_sequence + 1;
                let place = (sequence, delivery.sequence, position);
                if insert(&mut statement, event, topic, place, now)? {
                    topic.unique += 1;
                    topic.last_sequence = sequence;
                    self.last_sequence = sequence;
                }
            }
        }
        drop(statement);
        let last = batch.deliveries.last().expect("a batch has a message");
        save(&transaction, &topics, (last.sequence, last.time), now)?;
        transaction.commit()
    }

    /// The counters and the number of rows: unique events, duplicates, rows.
    pub fn counts(&self) -> rusqlite::Result<(u64, u64, u64)> {
        self.connection.query_row(
            "SELECT unique_processed, duplicate_dropped, (SELECT count(*) FROM events) FROM counters",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
    }
}

fn insert(
    statement: &mut Statement<'_>,
    event: &Event,
    topic: &TopicRow,
    (sequence, stream_sequence, position): (i64, u64, usize),
    now: i64,
) -> rusqlite::Result<bool> {
    let inserted = statement.execute(params![
        sequence,
        topic.id,
        topic.last_sequence,
        event.event_id.as_str(),
        event.timestamp.as_str(),
        event.source.as_str(),
        ToSqlOutput::Borrowed(ValueRef::Text(event.payload.as_bytes())),
        now,
        stream_sequence,
        position,
    ])?;
    Ok(inserted == 1)
}

/// The topic's row, created if it does not exist; it is written once, at the end of the batch.
fn topic_row<'a, 'b>(
    transaction: &Transaction<'_>,
    topics: &'a mut HashMap<&'b Topic, TopicRow>,
    topic: &'b Topic,
    now: i64,
) -> rusqlite::Result<&'a mut TopicRow> {
    use std::collections::hash_map::Entry;
    let entry = match topics.entry(topic) {
        Entry::Occupied(entry) => return Ok(entry.into_mut()),
        Entry::Vacant(entry) => entry,
    };
    let stored = transaction
        .prepare_cached("SELECT id, last_sequence FROM topics WHERE name = ?1")?
        .query_row([topic.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (id, last_sequence) = if let Some(stored) = stored {
        stored
    } else {
        transaction
            .prepare_cached(
                "INSERT INTO topics VALUES (NULL, ?1, 0, 0, 0, zeroblob(16), 0, ?2, ?2)",
            )?
            .execute(params![topic.as_str(), now])?;
        (transaction.last_insert_rowid(), 0)
    };
    Ok(entry.insert(TopicRow {
        id,
        received: 0,
        unique: 0,
        last_sequence,
    }))
}

fn save(
    transaction: &Transaction<'_>,
    topics: &HashMap<&Topic, TopicRow>,
    (stream_sequence, time): (u64, i64),
    now: i64,
) -> rusqlite::Result<()> {
    let (mut received, mut unique) = (0, 0);
    for row in topics.values() {
        received += row.received;
        unique += row.unique;
        transaction
            .prepare_cached(
                "UPDATE topics SET received = received + ?2, \
                 unique_processed = unique_processed + ?3, \
                 duplicate_dropped = duplicate_dropped + ?4, last_sequence = ?5, last_at = ?6 \
                 WHERE id = ?1",
            )?
            .execute(params![
                row.id,
                row.received,
                row.unique,
                row.received - row.unique,
                row.last_sequence,
                now,
            ])?;
    }
    transaction
        .prepare_cached(
            "UPDATE counters SET received = received + ?1, unique_processed = unique_processed + ?2, \
             duplicate_dropped = duplicate_dropped + ?3, processed_at = ?4",
        )?
        .execute(params![received, unique, received - unique, now])?;
    transaction
        .prepare_cached("UPDATE incarnations SET latest_time = ?1")?
        .execute([time])?;
    transaction
        .prepare_cached("UPDATE applied SET last = ?1")?
        .execute([stream_sequence])?;
    Ok(())
}
