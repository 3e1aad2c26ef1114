//! Reads a store that no process uses, to copy it: what it has recorded, and its rows in chunks.

mod chunks;
mod counted;

use std::path::Path;

use rusqlite::Connection;

use super::{
    FILE,
    file::{connection::connect, schema},
    topics::StoredTopics,
    writer::{
        history::{self, ALL, HOUR, MINUTE},
        incarnation::load_applied,
        state::{Counters, State},
    },
};
use crate::store::{
    StoreError, Witness,
    copy::{
        Left, Marked, Missing, Record, Totals,
        lives::{Life, Lives},
        minutes::{self, Sum},
    },
    query::TOPICS_KEPT,
};

/// A store that is read in one transaction.
pub(in crate::store) struct Export {
    connection: Connection,
    lives: Lives,
    key: crate::store::fingerprint::Key,
    /// When the store began to count over time, in microseconds since 1970; 0 for always.
    counted_since: i64,
}

impl Export {
    /// Reads the record of the store in a directory. The store must have the current schema version.
    pub fn open(directory: &Path) -> Result<(Self, Record), StoreError> {
        let connection = connect(&directory.join(FILE))?;
        // It ends with the connection.
        connection.execute_batch("BEGIN")?;
        schema::check_version(&connection)?;
        let record = record(&connection)?;
        let export = Self {
            connection,
            lives: record.lives.clone(),
            key: record.key,
            counted_since: record.left.counted_since.unwrap_or(0),
        };
        Ok((export, record))
    }
}

fn record(read: &Connection) -> Result<Record, StoreError> {
    let State {
        store_id,
        key,
        counters,
        lives: current,
        last_event,
        // Read below.
        missing: _,
    } = State::load(read)?;
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
    } = counters;
    let totals = Totals {
        received,
        unique: unique_processed,
        duplicates: duplicate_dropped,
        rejected,
        rejected_bytes: rejected_kept.bytes,
        rejected_evicted: rejected_kept.evicted,
        conflicts,
        conflicts_bytes: conflicts_kept.bytes,
        conflicts_evicted: conflicts_kept.evicted,
        redelivered,
        topics: topics.unsigned_abs(),
        processed_at,
    };
    let lives = Lives::of(lives(read)?, current.last().map(|life| life.id));
    let missing = missing(read, &lives)?;
    let (created_at, since): (i64, i64) =
        read.query_row("SELECT created_at, history_since FROM store", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let requeued: (u64, i64) = read.query_row(
        "SELECT count(*), ifnull(sum(requeued_at), 0) FROM rejected WHERE requeued_at IS NOT NULL",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    // All that changes when anything does.
    let all = &lives.all;
    let seen = (rejected_kept.seen, conflicts_kept.seen);
    let state = format!("{totals:?} {last_event} {requeued:?} {all:?} {missing:?} {seen:?}");
    let (repeats, unknown) = read.query_row(
        "SELECT count(*), ifnull(sum(iif(events IS NULL, number, 0)), 0) FROM repeats",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(Record {
        mark: key.row([state.as_bytes()]),
        store_id,
        key,
        created_at,
        totals,
        minutes: counted(read, &totals, since)?,
        seen: (
            marked(read, &lives, REJECTED, seen.0)?,
            marked(read, &lives, CONFLICTS, seen.1)?,
        ),
        lives,
        missing,
        counted_topics: totals.topics.min(TOPICS_KEPT.unsigned_abs()),
        repeats,
        left: Left {
            counted_since: (since > 0).then_some(since),
            repeats: unknown,
        },
    })
}

const REJECTED: &str = "SELECT id, incarnation, stream_sequence, position FROM rejected";
const CONFLICTS: &str = "SELECT id, incarnation, stream_sequence, position FROM conflicts";

/// What is marked as seen of the rows that a statement selects: those with ids up to `seen`.
fn marked(read: &Connection, lives: &Lives, sql: &str, seen: u64) -> Result<Marked, StoreError> {
    let mut statement = read.prepare(sql)?;
    let mut each = |take: &mut dyn FnMut(u64, Place)| -> Result<(), StoreError> {
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (_, message) = lives.message(row.get(1)?, row.get(2)?)?;
            take(row.get(0)?, (message, row.get(3)?));
        }
        Ok(())
    };
    // Read twice, because there may be more rows than there is memory for.
    let (mut next, mut up_to) = (None, None);
    each(&mut |id, place| {
        if id > seen {
            next = Some(next.map_or(place, |next: Place| next.min(place)));
        }
    })?;
    each(&mut |id, place| {
        if id <= seen && next.is_none_or(|next| place < next) {
            up_to = up_to.max(Some(place));
        }
    })?;
    Ok(Marked {
        number: seen,
        up_to,
    })
}

/// The sum of a message's sequence and base, and the position in it.
type Place = (i64, u64);

fn lives(read: &Connection) -> Result<Vec<Life>, StoreError> {
    let mut lives = read
        .prepare(
            "SELECT id, stream, created, epoch, latest_time, begun_at, witness, witness_time, evicted_to \
             FROM incarnations ORDER BY id",
        )?
        .query_map([], |row| {
            Ok(Life {
                id: row.get(0)?,
                stream: row.get(1)?,
                created: row.get(2)?,
                epoch: row.get(3)?,
                latest_time: row.get(4)?,
                begun_at: row.get(5)?,
                witness: Witness {
                    sequence: row.get(6)?,
                    time: row.get(7)?,
                },
                evicted_to: row.get(8)?,
                applied: crate::store::ranges::Ranges::default(),
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for life in &mut lives {
        life.applied = load_applied(read, life.id)?;
    }
    Ok(lives)
}

fn missing(read: &Connection, lives: &Lives) -> Result<Vec<Missing>, StoreError> {
    let mut statement = read.prepare(
        "SELECT incarnation, first, last, noticed_at, acknowledged_at FROM missing ORDER BY incarnation, first",
    )?;
    let mut rows = statement.query([])?;
    let mut missing = Vec::new();
    while let Some(row) = rows.next()? {
        let (first, last) = (row.get(1)?, row.get(2)?);
        let (life, _) = lives.message(row.get(0)?, last)?;
        missing.push(Missing {
            life,
            first,
            last,
            noticed_at: row.get(3)?,
            acknowledged_at: row.get(4)?,
        });
    }
    Ok(missing)
}

/// The duplicates and rejected arrivals of all topics over time.
fn counted(
    read: &Connection,
    totals: &Totals,
    since: i64,
) -> Result<Vec<minutes::Minute>, StoreError> {
    let mut statement = read.prepare(
        "SELECT minute, duplicate_dropped, rejected FROM history WHERE topic_id = ?1 AND step = ?2 ORDER BY minute",
    )?;
    let mut sums = |step: i64| {
        let rows = statement.query_map([ALL, step], |row| {
            Ok(Sum {
                end: row.get(0)?,
                unique: 0,
                duplicates: row.get(1)?,
                rejected: row.get(2)?,
            })
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    let (hours, kept) = (sums(HOUR)?, sums(MINUTE)?);
    let latest = Sum {
        end: history::end(totals.processed_at, MINUTE),
        unique: 0,
        duplicates: totals.duplicates,
        rejected: totals.rejected,
    };
    Ok(minutes::between(&hours, &kept, latest, since))
}

impl Export {
    /// The topics as of the transaction.
    fn topics(&self) -> rusqlite::Result<StoredTopics<'_>> {
        StoredTopics::open(&self.connection)
    }
}
