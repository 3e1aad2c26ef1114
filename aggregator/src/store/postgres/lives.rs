//! The lives of a stream, shared by all aggregators: which one is current, how far it is applied, and when a new one begins.
//!
//! # Why a life is closed
//!
//! An append first locks the row of counters of its writer, which it changes anyway, and holds that lock until its end; then it inserts
//! into `applied` and reads the lives. A new life begins under the locks of all these rows. So an append either ends before the new
//! life begins, or sees it and starts over. Therefore no message of an earlier life is applied later, the highest sequence of the earlier
//! life is known when the base of the new one is chosen, and places of earlier lives never change any more.
//!
//! The rows of an aggregator's writers exist before its first append. They are added under the lock of the row of the store, which
//! a new life takes first: what is added before is among the rows that it locks, and what is added later belongs to writers that
//! read the lives after its end.
//!
//! These are locks of rows that no two writers share, so no append waits for another one, and each database that has `FOR UPDATE` has
//! them; a lock of the table `applied` is not a statement of `CockroachDB`, and one of `YugabyteDB` only with a setting.

mod fold;
mod meet;

use std::sync::Arc;

use deadpool_postgres::Client;
use tokio_postgres::Row;
use tracing::warn;

pub(super) use self::{
    fold::fold,
    meet::{applied, meet},
};
use super::{
    connect::{Pool, Transaction},
    error::DatabaseError,
    place,
};
use crate::store::{Delivery, Looked, Standing, StoreError, Witness, ranges::Ranges};

/// One life of the stream.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub id: i64,
    /// The place of a message is made of this + its sequence.
    pub base: i64,
    /// All sequences up to this one are applied, or missing for good.
    pub floor: i64,
    /// The latest time among the messages up to the floor.
    pub latest_time: i64,
    /// Rejected arrivals of messages up to this sequence may be evicted.
    pub evicted_to: i64,
    /// The last applied message up to the floor; or of the store that this one was copied from, if that is above the floor: its message
    /// has no row in `applied`.
    witness: Witness,
    /// Sequences above the floor that were applied, or missing for good, in the store of another engine that this one was copied
    /// from. That engine does not keep the times of messages, so they have no rows in `applied`.
    pub copied: Ranges,
}

/// The lives of one stream, in the order of their epochs; the last one is current.
#[derive(Debug, Clone, Default)]
pub(super) struct Lives {
    /// The stream's name and creation time.
    pub stream: Option<(Arc<str>, i64)>,
    pub all: Vec<Life>,
    /// The id of the newest life of any stream.
    pub newest: i64,
    /// The applied message with the highest sequence in the current life.
    pub highest: Option<Witness>,
}

const LIVES: &str = "SELECT id, base, floor, latest_time, evicted_to, witness, witness_time, \
     (SELECT max(id) FROM incarnations), copied FROM incarnations WHERE stream = $1 AND created = $2 ORDER BY epoch";

/// The lives of a stream, in an append: after its insert into `applied`.
pub(super) const LIVES_OF_STREAM: &str = LIVES;

/// Locks the row of a writer, in an append: before anything else. It has the last batch that the writer committed.
pub(super) const LOCK_WRITER: &str =
    "SELECT last_batch FROM counters WHERE writer = $1::int4 FOR UPDATE";

/// Locks what writers are added under.
const LOCK_WRITERS: &str = "SELECT 1 FROM store FOR UPDATE";

pub(super) fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Ranges in their stored form: the first and the last sequence of each, one after the other; NULL for none.
pub(super) fn ranges_of(stored: Option<Vec<i64>>) -> Ranges {
    let mut ranges = Ranges::default();
    for range in stored.unwrap_or_default().chunks_exact(2) {
        ranges.insert(unsigned(range[0]), unsigned(range[1]));
    }
    ranges
}

/// The stored form of the ranges above a floor.
pub(super) fn stored_form(ranges: &Ranges, floor: i64) -> Option<Vec<i64>> {
    let above = ranges.iter().filter(|(_, last)| signed(*last) > floor);
    let stored: Vec<i64> = above
        .flat_map(|(first, last)| [signed(first), signed(last)])
        .collect();
    (!stored.is_empty()).then_some(stored)
}

impl Life {
    fn of(row: &Row) -> Self {
        Self {
            id: row.get(0),
            base: row.get(1),
            floor: row.get(2),
            latest_time: row.get(3),
            evicted_to: row.get(4),
            witness: Witness {
                sequence: unsigned(row.get(5)),
                time: row.get(6),
            },
            copied: ranges_of(row.get(8)),
        }
    }

    /// Whether a sequence is settled without a row in `applied`: up to the floor, or in the store that this one was copied from.
    pub fn has_settled(&self, sequence: u64) -> bool {
        signed(sequence) <= self.floor || self.copied.contains(sequence)
    }

    /// Whether a delivery of a settled sequence may be a redelivery: its events must then also be found in the store.
    /// A time later than all applied times belongs to another message: the broker reused the sequence.
    pub fn may_have_folded(&self, delivery: &Delivery) -> bool {
        self.has_settled(delivery.sequence) && delivery.time <= self.latest_time
    }
}

impl Lives {
    /// From the rows of [`LIVES_OF_STREAM`].
    pub fn of_rows(stream: (Arc<str>, i64), rows: &[Row]) -> Self {
        Self {
            stream: Some(stream),
            newest: rows.first().map_or(0, |row| row.get(7)),
            all: rows.iter().map(Life::of).collect(),
            highest: None,
        }
    }

    /// Reads the lives of a stream.
    pub async fn load(client: &Client, stream: (Arc<str>, i64)) -> Result<Self, DatabaseError> {
        let statement = client.prepare_cached(LIVES).await?;
        let rows = client.query(&statement, &[&&*stream.0, &stream.1]).await?;
        let mut lives = Self::of_rows(stream, &rows);
        let Some(current) = lives.all.last() else {
            return Ok(lives);
        };
        let statement = client
            .prepare_cached(
                "SELECT sequence, time FROM applied WHERE incarnation = $1 ORDER BY sequence DESC LIMIT 1",
            )
            .await?;
        let row = client.query_opt(&statement, &[&current.id]).await?;
        let applied = row.map(|row| Witness {
            sequence: unsigned(row.get(0)),
            time: row.get(1),
        });
        let folded = current.witness;
        lives.highest = [applied, Some(folded).filter(|folded| folded.sequence > 0)]
            .into_iter()
            .flatten()
            .max_by_key(|witness| witness.sequence);
        Ok(lives)
    }

    /// Reads the lives of the stream that was compared last.
    pub async fn latest(pool: &Pool) -> Result<Self, StoreError> {
        let client = pool.get().await?;
        let row = client
            .query_opt(
                "SELECT stream, created FROM incarnations ORDER BY id DESC LIMIT 1",
                &[],
            )
            .await?;
        let Some(row) = row else {
            return Ok(Self::default());
        };
        let name: String = row.get(0);
        Ok(Self::load(&client, (name.into(), row.get(1))).await?)
    }

    pub fn current(&self) -> Option<&Life> {
        self.all.last()
    }

    /// How far the current life is applied.
    pub fn standing(&self) -> Standing {
        self.current()
            .map_or_else(Standing::default, |life| Standing {
                floor: unsigned(life.floor),
                witness: self.highest,
            })
    }

    /// What a session compares the stream with that it observes next.
    pub fn looked(&self) -> Looked {
        Looked {
            incarnation: self.current().map_or(0, |life| life.id),
            highest: self.highest.map_or(0, |witness| witness.sequence),
        }
    }

    /// The last place that no event can precede any more.
    pub fn frontier(&self) -> i64 {
        self.current()
            .map_or(0, |life| place::last_of(life.base + life.floor))
    }
}

/// Adds the rows of writers, before their first append.
pub(super) async fn admit(pool: &Pool, writers: &[i32]) -> Result<(), StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let client = transaction.client();
    client.execute(LOCK_WRITERS, &[]).await?;
    client
        .execute(
            "INSERT INTO counters (writer) SELECT w FROM unnest($1::int4[]) AS a (w) ON CONFLICT DO NOTHING",
            &[&writers],
        )
        .await?;
    Ok(transaction.commit().await?)
}

/// Waits for the appends in flight, and keeps others from beginning until the end of the transaction: see the top of this module.
async fn exclude_appends(client: &Client) -> Result<(), DatabaseError> {
    client.execute(LOCK_WRITERS, &[]).await?;
    let writers = client.query("SELECT writer FROM counters ORDER BY writer", &[]);
    let lock = client.prepare_cached(LOCK_WRITER).await?;
    // One by one: Citus locks rows of one shard at a time only.
    for row in writers.await? {
        client.execute(&lock, &[&row.get::<_, i32>(0)]).await?;
    }
    Ok(())
}

/// Begins a life of a stream, unless its current one is no longer `of` (0 for none): then another aggregator was faster.
pub(super) async fn begin(
    pool: &Pool,
    (stream, created): (&str, i64),
    of: i64,
    now: i64,
) -> Result<(), StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let client = transaction.client();
    exclude_appends(client).await?;
    let current = client
        .query_opt(
            "SELECT id, epoch FROM incarnations WHERE stream = $1 AND created = $2 ORDER BY epoch DESC LIMIT 1",
            &[&stream, &created],
        )
        .await?;
    let (id, epoch) = current.map_or((0, 0), |row| (row.get::<_, i64>(0), row.get::<_, i64>(1)));
    if id != of {
        transaction.roll_back().await?;
        return Ok(());
    }
    let previous = client
        .query_opt(
            "SELECT id, base, greatest(floor, witness, (SELECT max(sequence) FROM unnest(copied) AS c (sequence))) \
              FROM incarnations ORDER BY id DESC LIMIT 1",
            &[],
        )
        .await?;
    let (next, base) = match previous {
        None => (1, 0),
        Some(row) => {
            let (id, base, mut highest): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            // One table each: Citus does not join those that are distributed in different ways.
            for sql in [
                "SELECT max(sequence) FROM applied WHERE incarnation = $1",
                "SELECT max(last) FROM passed WHERE incarnation = $1",
            ] {
                let last: Option<i64> = client.query_one(sql, &[&id]).await?.get(0);
                highest = highest.max(last.unwrap_or(0));
            }
            (id + 1, base + highest + 1)
        }
    };
    client
        .execute(
            "INSERT INTO incarnations (id, stream, created, epoch, base, begun_at) VALUES ($1, $2, $3, $4, $5, $6)",
            &[&next, &stream, &created, &(epoch + 1), &base, &now],
        )
        .await?;
    transaction.commit().await?;
    if epoch > 0 {
        warn!(
            stream.name = stream,
            epoch = epoch + 1,
            "the broker reused sequence numbers; a new epoch begins"
        );
    }
    Ok(())
}
