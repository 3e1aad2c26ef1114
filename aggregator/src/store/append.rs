//! The append: one batch, one transaction. Event rows, applied sequences, counters, digests and rejected rows
//! change together or not at all.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};
use shared::{
    event::{Event, Topic},
    message::Rejection,
};

use super::{
    Appended, Delivery, StoreError,
    digest::Digest,
    incarnation::{Incarnation, was_applied},
    state::State,
};

/// Appends a batch. Changes `next`; the caller saves it and commits.
pub(super) fn append(
    transaction: &Transaction<'_>,
    next: &mut State,
    batch: &[Delivery],
    now: i64,
) -> Result<Appended, StoreError> {
    // Never earlier than what is stored, so that the order of sequences is an order of times.
    let processed_at = now.max(next.counters.processed_at);
    let mut append = Append {
        transaction,
        next,
        topics: HashMap::new(),
        done: Appended::default(),
        processed_at,
    };
    for delivery in batch {
        append.delivery(delivery)?;
    }
    append.finish()
}

/// Missing sequences that nobody acknowledged.
pub(super) fn count_missing(transaction: &Transaction<'_>) -> Result<u64, StoreError> {
    let sql = "SELECT ifnull(sum(last - first + 1), 0) FROM missing WHERE acknowledged_at IS NULL";
    Ok(transaction.query_row(sql, [], |row| row.get(0))?)
}

struct Append<'a> {
    transaction: &'a Transaction<'a>,
    next: &'a mut State,
    topics: HashMap<&'a Topic, TopicRow>,
    done: Appended,
    processed_at: i64,
}

/// A row of `topics`, as it is to be.
struct TopicRow {
    id: i64,
    received: u64,
    unique: u64,
    digest: Digest,
}

/// Where an arrival stood.
#[derive(Clone, Copy)]
struct Origin<'a> {
    delivery: &'a Delivery,
    incarnation: i64,
    position: usize,
}

impl<'a> Append<'a> {
    fn delivery(&mut self, delivery: &'a Delivery) -> Result<(), StoreError> {
        if was_applied(&self.next.lives, delivery) && self.is_stored(delivery)? {
            self.done.redelivered += 1;
        } else {
            let (transaction, now) = (self.transaction, self.processed_at);
            let mut current = self.current()?;
            // The number was applied with another message: the broker gave it out again.
            if current.applied.contains(delivery.sequence) {
                let epoch = current.next_epoch(transaction, now)?;
                self.next.lives.push(epoch);
                self.done.epoch_begun = true;
                current = self.current()?;
            }
            let incarnation = current.id;
            for (position, arrival) in delivery.arrivals.iter().enumerate() {
                let origin = Origin {
                    delivery,
                    incarnation,
                    position,
                };
                match arrival {
                    Ok(event) => self.event(event, origin)?,
                    Err(rejection) => self.rejection(rejection, origin)?,
                }
            }
        }
        self.current()?.apply(delivery);
        Ok(())
    }

    fn current(&mut self) -> Result<&mut Incarnation, StoreError> {
        let none = || StoreError::Foreign("a message came before its stream was met".to_owned());
        self.next.lives.last_mut().ok_or_else(none)
    }

    /// Whether all that a message holds is in the store already.
    fn is_stored(&mut self, delivery: &'a Delivery) -> Result<bool, StoreError> {
        let mut rejections = 0_u64;
        for arrival in &delivery.arrivals {
            let Ok(event) = arrival else {
                rejections += 1;
                continue;
            };
            let stored: Option<i64> = self
                .transaction
                .prepare_cached(
                    "SELECT 1 FROM events WHERE event_id = ?2 \
                     AND topic_id = (SELECT id FROM topics WHERE name = ?1)",
                )?
                .query_row(
                    params![event.topic.as_str(), event.event_id.as_str()],
                    |row| row.get(0),
                )
                .optional()?;
            if stored.is_none() {
                return Ok(false);
            }
        }
        let mut kept = 0;
        for life in self.next.lives.iter().filter(|_| rejections > 0) {
            kept += self
                .transaction
                .prepare_cached(
                    "SELECT count(*) FROM rejected WHERE incarnation = ?1 AND stream_sequence = ?2",
                )?
                .query_row(params![life.id, delivery.sequence], |row| {
                    row.get::<_, u64>(0)
                })?;
        }
        Ok(kept >= rejections)
    }

    fn event(&mut self, event: &'a Event, origin: Origin<'_>) -> Result<(), StoreError> {
        let (transaction, processed_at) = (self.transaction, self.processed_at);
        let sequence = self.next.last_event + 1;
        let key = self.next.digest_key;
        let topic = self.topic(&event.topic)?;
        topic.received += 1;
        let inserted = transaction
            .prepare_cached(
                "INSERT INTO events (sequence, topic_id, event_id, timestamp, source, payload, \
                 processed_at, incarnation, stream_sequence, position) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
                 ON CONFLICT (topic_id, event_id) DO NOTHING",
            )?
            .execute(params![
                sequence,
                topic.id,
                event.event_id.as_str(),
                event.timestamp.as_str(),
                event.source.as_str(),
                event.payload.as_str(),
                processed_at,
                origin.incarnation,
                origin.delivery.sequence,
                origin.position,
            ])?;
        if inserted == 1 {
            topic.unique += 1;
            topic.digest.add(&key, event);
            self.next.last_event = sequence;
            self.done.unique += 1;
            return Ok(());
        }
        let topic_id = topic.id;
        self.done.duplicates += 1;
        self.compare(event, topic_id, origin)
    }

    /// A duplicate that is not the same, byte for byte, is kept for people to look at.
    fn compare(
        &mut self,
        event: &Event,
        topic_id: i64,
        origin: Origin<'_>,
    ) -> Result<(), StoreError> {
        let fields = [
            event.timestamp.as_str(),
            event.source.as_str(),
            event.payload.as_str(),
        ];
        let (stored_sequence, is_same): (i64, bool) = self
            .transaction
            .prepare_cached(
                "SELECT sequence, timestamp, source, payload FROM events \
                 WHERE topic_id = ?1 AND event_id = ?2",
            )?
            .query_row(params![topic_id, event.event_id.as_str()], |row| {
                let mut is_same = true;
                for (column, field) in fields.iter().enumerate() {
                    is_same &= row.get_ref(column + 1)?.as_str()? == *field;
                }
                Ok((row.get(0)?, is_same))
            })?;
        if is_same {
            return Ok(());
        }
        self.done.conflicts += 1;
        let [timestamp, source, payload] = fields;
        self.transaction
            .prepare_cached(
                "INSERT INTO conflicts (stored_sequence, timestamp, source, payload, processed_at, \
                 incarnation, stream_sequence, position, subject) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                stored_sequence,
                timestamp,
                source,
                payload,
                self.processed_at,
                origin.incarnation,
                origin.delivery.sequence,
                origin.position,
                origin.delivery.subject,
            ])?;
        Ok(())
    }

    fn rejection(&mut self, rejection: &Rejection, origin: Origin<'_>) -> Result<(), StoreError> {
        self.done.rejected += 1;
        self.transaction
            .prepare_cached(
                "INSERT INTO rejected (reason, detail, subject, incarnation, stream_sequence, \
                 position, processed_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                rejection.reason.as_str(),
                rejection.detail,
                origin.delivery.subject,
                origin.incarnation,
                origin.delivery.sequence,
                origin.position,
                self.processed_at,
                rejection.body.as_ref(),
            ])?;
        Ok(())
    }

    /// The topic's row, made where there is none; it is written once, at the end of the batch.
    fn topic(&mut self, topic: &'a Topic) -> Result<&mut TopicRow, StoreError> {
        use std::collections::hash_map::Entry;
        let entry = match self.topics.entry(topic) {
            Entry::Occupied(entry) => return Ok(entry.into_mut()),
            Entry::Vacant(entry) => entry,
        };
        let stored = self
            .transaction
            .prepare_cached("SELECT id, digest FROM topics WHERE name = ?1")?
            .query_row([topic.as_str()], |row| {
                Ok((row.get(0)?, Digest::from_bytes(row.get(1)?)))
            })
            .optional()?;
        let (id, digest) = if let Some(stored) = stored {
            stored
        } else {
            self.transaction
                .prepare_cached(
                    "INSERT INTO topics (name, received, unique_processed, duplicate_dropped, \
                     digest, first_at, last_at) VALUES (?1, 0, 0, 0, ?2, ?3, ?3)",
                )?
                .execute(params![
                    topic.as_str(),
                    Digest::default().to_bytes(),
                    self.processed_at
                ])?;
            self.next.counters.topics += 1;
            (self.transaction.last_insert_rowid(), Digest::default())
        };
        Ok(entry.insert(TopicRow {
            id,
            received: 0,
            unique: 0,
            digest,
        }))
    }

    fn finish(self) -> Result<Appended, StoreError> {
        for row in self.topics.values() {
            self.transaction
                .prepare_cached(
                    "UPDATE topics SET received = received + ?2, \
                     unique_processed = unique_processed + ?3, \
                     duplicate_dropped = duplicate_dropped + ?4, digest = ?5, last_at = ?6 \
                     WHERE id = ?1",
                )?
                .execute(params![
                    row.id,
                    row.received,
                    row.unique,
                    row.received - row.unique,
                    row.digest.to_bytes(),
                    self.processed_at,
                ])?;
        }
        self.next.counters.add(&self.done);
        if self.done.unique + self.done.duplicates + self.done.rejected > 0 {
            self.next.counters.processed_at = self.processed_at;
        }
        Ok(self.done)
    }
}
