//! Incarnations: the lives of a stream. A sequence number belongs to one of them.
//!
//! A sequence number alone does not identify a message. A broker that lost its tail assigns the same numbers
//! again, with the stream's creation time unchanged; the store then begins a new epoch. Numbers of earlier epochs
//! remain distinguishable by the JetStream time that every delivery carries.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tracing::warn;

use crate::store::{
    Delivery, ObservedStream, StoreError, Witness,
    ranges::{Ranges, Tracked},
};

/// One life of the stream.
#[derive(Debug, Clone)]
pub(in crate::store) struct Incarnation {
    pub id: i64,
    pub stream: String,
    pub created: i64,
    pub epoch: i64,
    pub latest_time: i64,
    pub witness: Witness,
    /// Rejected arrivals of messages up to this sequence may be evicted, so missing rows prove nothing.
    pub evicted_to: u64,
    pub applied: Tracked,
    /// Whether the latest time and the witness are written.
    pub is_written: bool,
}

/// Whether a delivery was applied before, by its sequence and time; its events must then also be found in
/// the store. An applied sequence with a time later than all applied times of its life belongs
/// to another message: the broker reused it.
pub(in crate::store) fn was_applied(lives: &[Incarnation], delivery: &Delivery) -> bool {
    lives
        .iter()
        .any(|life| life.applied.contains(delivery.sequence) && delivery.time <= life.latest_time)
}

impl Incarnation {
    /// Creates a life in the store; it is current once it is the last of the state's lives.
    pub fn begin(
        transaction: &Transaction<'_>,
        stream: &str,
        created: i64,
        epoch: i64,
        now: i64,
    ) -> Result<Self, StoreError> {
        transaction.execute(
            "INSERT INTO incarnations (stream, created, epoch, latest_time, begun_at) \
             VALUES (?1, ?2, ?3, 0, ?4)",
            params![stream, created, epoch, now],
        )?;
        Ok(Self {
            id: transaction.last_insert_rowid(),
            stream: stream.to_owned(),
            created,
            epoch,
            latest_time: 0,
            witness: Witness::default(),
            evicted_to: 0,
            applied: Tracked::default(),
            is_written: false,
        })
    }

    /// Begins the next epoch of this stream.
    pub fn next_epoch(&self, transaction: &Transaction<'_>, now: i64) -> Result<Self, StoreError> {
        warn!(
            stream.name = self.stream,
            epoch = self.epoch + 1,
            "the broker reused sequence numbers; a new epoch begins"
        );
        Self::begin(transaction, &self.stream, self.created, self.epoch + 1, now)
    }

    /// Marks a delivery as applied.
    pub fn apply(&mut self, delivery: &Delivery) {
        self.applied.insert(delivery.sequence, delivery.sequence);
        self.is_written = false;
        self.latest_time = self.latest_time.max(delivery.time);
        if delivery.sequence >= self.witness.sequence {
            self.witness = Witness {
                sequence: delivery.sequence,
                time: delivery.time,
            };
        }
    }

    /// Writes the changes since the last save.
    pub fn save(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if !self.is_written {
            transaction
                .prepare_cached(
                    "UPDATE incarnations SET latest_time = ?2, witness = ?3, witness_time = ?4 WHERE id = ?1",
                )?
                .execute(params![
                    self.id,
                    self.latest_time,
                    self.witness.sequence,
                    self.witness.time,
                ])?;
            self.is_written = true;
        }
        let mut insert = transaction.prepare_cached(
            "INSERT OR REPLACE INTO applied (incarnation, first, last) VALUES (?1, ?2, ?3)",
        )?;
        let mut delete = transaction
            .prepare_cached("DELETE FROM applied WHERE incarnation = ?1 AND first = ?2")?;
        for (first, last) in self.applied.take_changed() {
            match last {
                Some(last) => insert.execute(params![self.id, first, last])?,
                None => delete.execute(params![self.id, first])?,
            };
        }
        Ok(())
    }
}

/// Compares the stream with the store, and begins a new life if it is another stream or lost its tail.
/// Changes `lives`, and returns how many sequences are newly missing; the caller commits.
pub(in crate::store) fn meet(
    transaction: &Transaction<'_>,
    lives: &mut Vec<Incarnation>,
    met: &ObservedStream,
    now: i64,
) -> Result<u64, StoreError> {
    let stream = &met.stream;
    *lives = load_lives(
        transaction,
        "stream = ?1 AND created = ?2",
        params![stream.name, stream.created],
    )?;
    let life = match lives.last() {
        None => Some(Incarnation::begin(
            transaction,
            &stream.name,
            stream.created,
            1,
            now,
        )?),
        // The broker lost its tail: coming messages will have sequences that were applied, or already have them.
        Some(current) if met.is_other || stream.last < current.applied.highest() => {
            Some(current.next_epoch(transaction, now)?)
        }
        Some(_) => None,
    };
    lives.extend(life);
    note_missing(transaction, lives, met, now)
}

/// Records the sequences that the stream no longer has and that were never applied, and lets the floor pass them. Returns how
/// many there were.
fn note_missing(
    transaction: &Transaction<'_>,
    lives: &mut [Incarnation],
    met: &ObservedStream,
    now: i64,
) -> Result<u64, StoreError> {
    let Some((current, earlier)) = lives.split_last_mut() else {
        return Ok(0);
    };
    let mut insert = transaction.prepare_cached(
        "INSERT INTO missing (incarnation, first, last, noticed_at) VALUES (?1, ?2, ?3, ?4)",
    )?;
    // Sequences that an earlier epoch applied are not missing.
    let mut known = Ranges::default();
    for (first, last) in earlier.iter().flat_map(|life| life.applied.iter()) {
        known.insert(first, last);
    }
    // These were never assigned.
    current.applied.insert(1, met.begins.saturating_sub(1));
    let trimmed = (1, met.stream.first.saturating_sub(1));
    let (mut missing, mut ranges, mut ends) = (0, 0_u64, (u64::MAX, 0));
    for (first, last) in std::iter::once(trimmed).chain(met.deleted.iter()) {
        let gaps = current.applied.gaps(first, last);
        for (first, last) in gaps.flat_map(|(first, last)| known.gaps(first, last)) {
            insert.execute(params![current.id, first, last, now])?;
            missing += last - first + 1;
            ranges += 1;
            ends = (ends.0.min(first), ends.1.max(last));
        }
        current.applied.insert(first, last);
    }
    if missing > 0 {
        warn!(
            stream.name = met.stream.name,
            missing,
            ranges,
            first = ends.0,
            last = ends.1,
            "the stream lost messages that were never applied; GET /missing lists them"
        );
    }
    Ok(missing)
}

/// Counts the missing sequences that were not acknowledged. It reads every range, so the count is kept in memory.
pub(in crate::store) fn count_missing(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT ifnull(sum(last - first + 1), 0) FROM missing WHERE acknowledged_at IS NULL";
    connection
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))
}

/// Marks all missing sequences as acknowledged.
pub(in crate::store) fn acknowledge_missing(
    transaction: &Transaction<'_>,
    now: i64,
) -> Result<(), StoreError> {
    let sql = "UPDATE missing SET acknowledged_at = ?1 WHERE acknowledged_at IS NULL";
    transaction.execute(sql, [now])?;
    Ok(())
}

/// The lives of the stream of the matching life, in the order of their epochs.
pub(in crate::store) fn load_lives(
    connection: &Connection,
    matching: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<Vec<Incarnation>, StoreError> {
    let stream: Option<(String, i64)> = connection
        .query_row(
            &format!("SELECT stream, created FROM incarnations WHERE {matching} LIMIT 1"),
            values,
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((stream, created)) = stream else {
        return Ok(Vec::new());
    };
    let mut lives = connection
        .prepare_cached(
            "SELECT id, epoch, latest_time, witness, witness_time, evicted_to FROM incarnations \
             WHERE stream = ?1 AND created = ?2 ORDER BY epoch",
        )?
        .query_map(params![stream, created], |row| {
            Ok(Incarnation {
                id: row.get(0)?,
                stream: stream.clone(),
                created,
                epoch: row.get(1)?,
                latest_time: row.get(2)?,
                witness: Witness {
                    sequence: row.get(3)?,
                    time: row.get(4)?,
                },
                evicted_to: row.get(5)?,
                applied: Tracked::default(),
                is_written: true,
            })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    for life in &mut lives {
        life.applied = Tracked::written(load_applied(connection, life.id)?);
    }
    Ok(lives)
}

/// The applied sequences of one incarnation.
pub(in crate::store) fn load_applied(
    connection: &Connection,
    incarnation: i64,
) -> rusqlite::Result<Ranges> {
    let mut ranges = Ranges::default();
    let mut statement =
        connection.prepare_cached("SELECT first, last FROM applied WHERE incarnation = ?1")?;
    let mut rows = statement.query([incarnation])?;
    while let Some(row) = rows.next()? {
        ranges.insert(row.get(0)?, row.get(1)?);
    }
    Ok(ranges)
}
