//! Incarnations: which life of the stream a sequence number belongs to.
//!
//! A sequence number alone does not identify a message. A broker that lost its tail gives the same numbers out
//! again, with the stream's creation time unchanged; then a new epoch of ours begins. Numbers of earlier epochs
//! stay known, by the JetStream time that every delivery carries.

use rusqlite::{Transaction, params};
use shared::stream::StreamState;
use tracing::warn;

use super::{
    Delivery, StoreError,
    ranges::Ranges,
    state::{State, load_applied, load_lives},
};

/// One life of the stream.
#[derive(Debug, Clone)]
pub(super) struct Incarnation {
    pub id: i64,
    pub stream: String,
    pub created: i64,
    pub epoch: i64,
    pub latest_time: i64,
    pub applied: Ranges,
}

/// Where the store stands in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The store's own id.
    pub store_id: String,
    /// All sequences up to this one are applied, or missing for good.
    pub floor: u64,
    /// Sequences that the stream lost before they were applied, and that nobody acknowledged.
    pub missing: u64,
}

/// Whether a delivery was applied before, as far as its number and time tell; its events must then be found in
/// the store. A number that was applied, under a time that is later than all that was applied with it, belongs
/// to another message: the broker gave it out again.
pub(super) fn was_applied(lives: &[Incarnation], delivery: &Delivery) -> bool {
    lives
        .iter()
        .any(|life| life.applied.contains(delivery.sequence) && delivery.time <= life.latest_time)
}

impl Incarnation {
    /// Begins a life in the store; it is current once it is the last of the state's lives.
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
            applied: Ranges::default(),
        })
    }

    /// Begins the next epoch of this stream.
    pub fn next_epoch(&self, transaction: &Transaction<'_>, now: i64) -> Result<Self, StoreError> {
        warn!(
            stream.name = self.stream,
            epoch = self.epoch + 1,
            "the broker gave sequence numbers out again; a new epoch begins"
        );
        Self::begin(transaction, &self.stream, self.created, self.epoch + 1, now)
    }

    /// Marks a delivery as applied.
    pub fn apply(&mut self, delivery: &Delivery) {
        self.applied.insert(delivery.sequence, delivery.sequence);
        self.latest_time = self.latest_time.max(delivery.time);
    }

    /// Writes what changed since `saved`.
    pub fn save(
        &self,
        transaction: &Transaction<'_>,
        saved: Option<&Self>,
    ) -> Result<(), StoreError> {
        if saved.is_none_or(|saved| saved.latest_time != self.latest_time) {
            transaction
                .prepare_cached("UPDATE incarnations SET latest_time = ?2 WHERE id = ?1")?
                .execute(params![self.id, self.latest_time])?;
        }
        let loaded;
        let before = if let Some(saved) = saved {
            &saved.applied
        } else {
            // A life that the writer's memory did not hold: a new one, or one that is met again.
            loaded = load_applied(transaction, self.id)?;
            &loaded
        };
        for (first, last) in before.iter() {
            if !self.applied.has_range(first, last) {
                transaction
                    .prepare_cached("DELETE FROM applied WHERE incarnation = ?1 AND first = ?2")?
                    .execute(params![self.id, first])?;
            }
        }
        for (first, last) in self.applied.iter() {
            if !before.has_range(first, last) {
                transaction
                    .prepare_cached(
                        "INSERT INTO applied (incarnation, first, last) VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![self.id, first, last])?;
            }
        }
        Ok(())
    }
}

/// Compares the stream with what the store knows of it, and begins a new life where it is another one.
/// Changes `next`; the caller commits.
pub(super) fn meet(
    transaction: &Transaction<'_>,
    next: &mut State,
    stream: &StreamState,
    now: i64,
) -> Result<(), StoreError> {
    next.lives = load_lives(
        transaction,
        "stream = ?1 AND created = ?2",
        params![stream.name, stream.created],
    )?;
    let life = match next.lives.last() {
        None => Some(Incarnation::begin(
            transaction,
            &stream.name,
            stream.created,
            1,
            now,
        )?),
        // The broker lost its tail: what comes next will have numbers that were applied.
        Some(current) if stream.last < current.applied.highest() => {
            Some(current.next_epoch(transaction, now)?)
        }
        Some(_) => None,
    };
    next.lives.extend(life);
    note_missing(transaction, next, stream, now)
}

/// Records the sequences that the stream no longer has and that were never applied, and lets the floor pass them.
fn note_missing(
    transaction: &Transaction<'_>,
    next: &mut State,
    stream: &StreamState,
    now: i64,
) -> Result<(), StoreError> {
    let Some((current, earlier)) = next.lives.split_last_mut() else {
        return Ok(());
    };
    let gone = stream.first.saturating_sub(1);
    for (first, last) in current.applied.gaps(1, gone) {
        // What an earlier epoch applied is not missing.
        let mut known = Ranges::default();
        for life in &*earlier {
            for (first, last) in life.applied.iter() {
                known.insert(first, last);
            }
        }
        for (first, last) in known.gaps(first, last) {
            warn!(
                stream.name = stream.name,
                first, last, "the stream lost messages that were never applied"
            );
            transaction.execute(
                "INSERT INTO missing (incarnation, first, last, noticed_at) VALUES (?1, ?2, ?3, ?4)",
                params![current.id, first, last, now],
            )?;
        }
    }
    current.applied.insert(1, gone);
    Ok(())
}
