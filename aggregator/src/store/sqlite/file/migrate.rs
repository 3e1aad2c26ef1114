//! Migrates a store from an earlier schema version to the current one.
//!
//! Version 1 enforced identities with `UNIQUE (topic_id, event_id)`, which SQLite cannot drop from a table. So the
//! rows are copied into a new table, in order, one chunk per transaction. Copied chunks are on disk, so a kill costs
//! only the chunk in progress. The last transaction replaces the old table by the new one, and only it changes
//! the version: until then the store has version 1. The migration needs as much additional disk space as the file has; the
//! pages of the old table are reused for later events.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tracing::info;

use crate::store::{
    StoreError,
    opening::Opening,
    query::{MICROS_PER_MINUTE, TOPICS_KEPT},
    sqlite::{
        dedup::fingerprint::{Fields, Key},
        sorted_runs::{Entries, writer::RunWriter},
        topics::{NAMES, STATES, TopicState, chain, digest::Digest, push_name},
        writer::{
            history,
            kept::{CONFLICT_BYTES, REJECTED_BYTES},
        },
    },
};

/// Rows copied in one transaction. Its WAL is 5 GB if all events have the maximum size.
const CHUNK: i64 = 10_000;

/// Topics copied at once.
const CHUNK_TOPICS: usize = 10_000;

/// Rows copied between two log messages about the progress.
const LOG_EVERY: i64 = 500_000;

const BEGIN: &str = "
CREATE TABLE IF NOT EXISTS copied_events (
    sequence        INTEGER PRIMARY KEY,
    topic_id        INTEGER NOT NULL,
    previous        INTEGER NOT NULL,
    event_id        TEXT NOT NULL,
    timestamp       TEXT NOT NULL,
    source          TEXT NOT NULL,
    payload         TEXT NOT NULL,
    processed_at    INTEGER NOT NULL,
    incarnation     INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    position        INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS copied_topics (
    id            INTEGER PRIMARY KEY,
    digest        BLOB NOT NULL,
    last_sequence INTEGER NOT NULL
);";

const END: &str = "
ALTER TABLE store RENAME COLUMN digest_key TO hash_key;
ALTER TABLE topics ADD COLUMN last_sequence INTEGER NOT NULL DEFAULT 0;
UPDATE topics SET digest = zeroblob(16);
UPDATE topics SET digest = c.digest, last_sequence = c.last_sequence FROM copied_topics c WHERE c.id = topics.id;
DROP TABLE copied_topics;
DROP TABLE events;
ALTER TABLE copied_events RENAME TO events;
CREATE TABLE seals (
    id    BLOB PRIMARY KEY,
    reach INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = 2;";

/// Additions of version 3: rejected arrivals and conflicts are bounded, and a stream is recognized by the last message
/// applied.
const VERSION_3: &str = "
ALTER TABLE counters ADD COLUMN rejected_evicted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN rejected_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN conflicts_evicted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN conflicts_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incarnations ADD COLUMN witness INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incarnations ADD COLUMN witness_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incarnations ADD COLUMN evicted_to INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rejected ADD COLUMN requeued_at INTEGER;
PRAGMA user_version = 3;";

/// Additions of version 4: timestamps filled in on arrival, and marks along the chains of topics.
const VERSION_4: &str = "
ALTER TABLE events ADD COLUMN timestamp_filled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conflicts ADD COLUMN timestamp_filled INTEGER NOT NULL DEFAULT 0;
CREATE TABLE marks (
    topic_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    ordinal  INTEGER NOT NULL,
    PRIMARY KEY (topic_id, sequence)
) WITHOUT ROWID;
PRAGMA user_version = 4;";

/// Additions of version 5: the counts at the ends of minutes and hours, and what has been seen of the rows kept for review.
const VERSION_5: &str = "
ALTER TABLE store ADD COLUMN history_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN rejected_seen INTEGER NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN conflicts_seen INTEGER NOT NULL DEFAULT 0;
CREATE TABLE history (
    topic_id          INTEGER NOT NULL,
    step              INTEGER NOT NULL,
    minute            INTEGER NOT NULL,
    unique_processed  INTEGER NOT NULL,
    duplicate_dropped INTEGER NOT NULL,
    rejected          INTEGER NOT NULL,
    PRIMARY KEY (topic_id, step, minute)
) WITHOUT ROWID;
PRAGMA user_version = 5;";

/// Changes of version 6: the states of topics are in sorted runs. The history is kept for fewer topics.
const VERSION_6: &str = "
CREATE TABLE topic_states (
    run     INTEGER NOT NULL,
    first   BLOB NOT NULL,
    entries BLOB NOT NULL,
    PRIMARY KEY (run, first)
) WITHOUT ROWID;
CREATE TABLE topic_names (
    run     INTEGER NOT NULL,
    first   BLOB NOT NULL,
    entries BLOB NOT NULL,
    PRIMARY KEY (run, first)
) WITHOUT ROWID;
CREATE TABLE runs (
    tree    TEXT NOT NULL,
    run     INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    PRIMARY KEY (tree, run)
) WITHOUT ROWID;
ALTER TABLE topics RENAME TO old_topics;
CREATE TABLE topics (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);
INSERT INTO topics SELECT id, name FROM old_topics ORDER BY id;
CREATE INDEX rejected_requeued ON rejected (id) WHERE requeued_at IS NOT NULL;";

/// Changes of version 7: the senders of rejected arrivals and conflicts.
pub(in crate::store) const VERSION_7: &str = "
ALTER TABLE conflicts ADD COLUMN sent_by TEXT;
ALTER TABLE rejected ADD COLUMN sent_by TEXT;
PRAGMA user_version = 7;";

/// Additions of version 8: which events were repeated, which is not known of the duplicates until then.
pub(in crate::store) const VERSION_8: &str = "
CREATE TABLE repeats (
    id     INTEGER PRIMARY KEY,
    reach  INTEGER NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    number INTEGER NOT NULL,
    events BLOB
);
INSERT INTO repeats (reach, first, last, number)
    SELECT last, 1, last, duplicate_dropped FROM counters, (SELECT ifnull(max(sequence), 0) AS last FROM events)
    WHERE duplicate_dropped > 0;
PRAGMA user_version = 8;";

/// Migrates a store of version 5 to version 6, in the caller's transaction.
pub(in crate::store) fn from_version_5(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(VERSION_6)?;
    let mut states = RunWriter::load(transaction, STATES)?;
    let mut entries = Entries::default();
    let sql = "SELECT id, unique_processed, duplicate_dropped, digest, first_at, last_at, \
               last_sequence FROM old_topics ORDER BY id";
    let mut select = transaction.prepare(sql)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let state = TopicState {
            id: row.get(0)?,
            unique: row.get(1)?,
            duplicates: row.get(2)?,
            digest: Digest::from_bytes(row.get(3)?),
            first_at: row.get(4)?,
            last_at: row.get(5)?,
            last_sequence: row.get(6)?,
        };
        state.push(&mut entries);
        if entries.len() == CHUNK_TOPICS {
            states.append(transaction, &std::mem::take(&mut entries))?;
        }
    }
    states.append(transaction, &std::mem::take(&mut entries))?;
    let mut names = RunWriter::load(transaction, NAMES)?;
    let mut select = transaction.prepare("SELECT name, id FROM old_topics ORDER BY name")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        push_name(&mut entries, row.get_ref(0)?.as_str()?, row.get(1)?);
        if entries.len() == CHUNK_TOPICS {
            names.append(transaction, &std::mem::take(&mut entries))?;
        }
    }
    names.append(transaction, &entries)?;
    drop(rows);
    drop(select);
    transaction.execute("DELETE FROM history WHERE topic_id > ?1", [TOPICS_KEPT])?;
    transaction.execute_batch("DROP TABLE old_topics; PRAGMA user_version = 6;")
}

/// Migrates a store of version 4 to version 5, in the caller's transaction. The history begins after the present minute.
pub(in crate::store) fn from_version_4(
    transaction: &Transaction<'_>,
    now: i64,
) -> rusqlite::Result<()> {
    transaction.execute_batch(VERSION_5)?;
    let latest: i64 =
        transaction.query_row("SELECT processed_at FROM counters", [], |row| row.get(0))?;
    let since = history::end(now.max(latest), history::MINUTE) * MICROS_PER_MINUTE;
    transaction.execute("UPDATE store SET history_since = ?1", [since])?;
    Ok(())
}

/// Migrates a store of version 3 to version 4, in the caller's transaction: reads the events once.
pub(in crate::store) fn from_version_3(
    transaction: &Transaction<'_>,
    opening: &Opening,
) -> rusqlite::Result<()> {
    transaction.execute_batch(VERSION_4)?;
    let sql = "SELECT ifnull(max(sequence), 0) FROM events";
    let end: i64 = transaction.query_row(sql, [], |row| row.get(0))?;
    let mut ordinals: HashMap<i64, u64> = HashMap::new();
    let mut select =
        transaction.prepare("SELECT sequence, topic_id FROM events ORDER BY sequence")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (sequence, topic_id) = (row.get(0)?, row.get(1)?);
        if sequence % CHUNK == 1 {
            let step = "the store is being migrated from schema version 3 to 4";
            opening.events(step, sequence - 1, end);
        }
        let ordinal = ordinals.entry(topic_id).or_default();
        *ordinal += 1;
        chain::mark(transaction, topic_id, sequence, *ordinal)?;
    }
    Ok(())
}

/// Migrates a store of version 2 to version 3, in the caller's transaction.
pub(in crate::store) fn from_version_2(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(VERSION_3)?;
    let sums = format!(
        "UPDATE counters SET \
         rejected_bytes = (SELECT ifnull(sum({REJECTED_BYTES}), 0) FROM rejected), \
         conflicts_bytes = (SELECT ifnull(sum({CONFLICT_BYTES}), 0) FROM conflicts)"
    );
    transaction.execute(&sums, [])?;
    Ok(())
}

/// Migrates a store of version 1 to version 2, from the beginning or from where an earlier attempt was interrupted.
pub(in crate::store) fn from_version_1(
    connection: &mut Connection,
    opening: &Opening,
) -> Result<(), StoreError> {
    let last = "SELECT ifnull(max(sequence), 0) FROM ";
    let end: i64 = connection.query_row(&format!("{last} events"), [], |row| row.get(0))?;
    begin(connection)?;
    let resumed = connection.query_row(&format!("{last} copied_events"), [], |row| row.get(0))?;
    info!(
        events = end,
        copied = resumed,
        "migrating the store from schema version 1 to 2"
    );
    let (mut copied, mut logged): (i64, i64) = (resumed, resumed);
    while copied < end {
        let step = "the store is being migrated from schema version 1 to 2";
        opening.events(step, copied, end);
        copied = copy(connection, copied, CHUNK)?;
        if copied - logged >= LOG_EVERY {
            logged = copied;
            info!(events = end, copied, "migrating the store");
        }
    }
    info!("replacing the old events by the copied ones");
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {END} COMMIT;"))?;
    info!(events = end, "migrated the store to schema version 2");
    Ok(())
}

/// Creates the tables that rows are copied into, if they do not exist yet.
pub(in crate::store) fn begin(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {BEGIN} COMMIT;"))
}

/// Copies the next rows after the sequence `after`, at most `rows`; returns the last one copied.
pub(in crate::store) fn copy(
    connection: &mut Connection,
    after: i64,
    rows: i64,
) -> Result<i64, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let key = transaction.query_row("SELECT digest_key FROM store", [], |row| row.get(0))?;
    let key = Key(key);
    let mut last = after;
    {
        let mut topics: HashMap<i64, (Digest, i64)> = HashMap::new();
        let mut select = transaction.prepare_cached(
            "SELECT e.sequence, e.topic_id, t.name, e.event_id, e.timestamp, e.source, e.payload \
             FROM events e LEFT JOIN topics t ON t.id = e.topic_id \
             WHERE e.sequence > ?1 ORDER BY e.sequence LIMIT ?2",
        )?;
        let mut insert = transaction.prepare_cached(
            "INSERT INTO copied_events SELECT sequence, topic_id, ?2, event_id, timestamp, source, \
             payload, processed_at, incarnation, stream_sequence, position \
             FROM events WHERE sequence = ?1",
        )?;
        let mut stored = transaction
            .prepare_cached("SELECT digest, last_sequence FROM copied_topics WHERE id = ?1")?;
        let mut rows = select.query(params![after, rows])?;
        while let Some(row) = rows.next()? {
            let (sequence, topic_id) = (row.get(0)?, row.get(1)?);
            // The old table is dropped at the end, so no row may be left out here.
            if sequence != last + 1 {
                return Err(StoreError::Foreign(format!(
                    "event {} is missing",
                    last + 1
                )));
            }
            let (digest, previous) = match topics.entry(topic_id) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    let stored = stored
                        .query_row([topic_id], |row| {
                            Ok((Digest::from_bytes(row.get(0)?), row.get(1)?))
                        })
                        .optional()?;
                    entry.insert(stored.unwrap_or_default())
                }
            };
            digest.add(&key, key.fingerprint(&Fields::of_row(row, 2)?));
            insert.execute(params![sequence, *previous])?;
            *previous = sequence;
            last = sequence;
        }
        let mut save = transaction.prepare_cached(
            "INSERT OR REPLACE INTO copied_topics (id, digest, last_sequence) VALUES (?1, ?2, ?3)",
        )?;
        for (id, (digest, last_sequence)) in &topics {
            save.execute(params![id, digest.to_bytes(), last_sequence])?;
        }
    }
    transaction.commit()?;
    Ok(last)
}
