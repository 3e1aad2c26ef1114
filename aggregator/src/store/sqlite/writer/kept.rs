//! What is kept for people to look at: conflicts, and arrivals that could not be stored. Of each there is a bound in
//! bytes; beyond it the oldest go, and are counted.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};
use shared::{
    event::Event,
    message::{Reason, Rejection},
};

use super::state::{Kept, State};
use crate::store::{Bounds, Delivery};

/// What a row takes beside its texts, about.
const ROW_BYTES: u64 = 200;

/// Where an arrival stood, and when it was applied.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub delivery: &'a Delivery,
    pub incarnation: i64,
    pub position: usize,
    pub processed_at: i64,
}

/// A duplicate that is not the same, byte for byte, as the event of the sequence `stored`.
pub(super) fn conflict(
    transaction: &Transaction<'_>,
    kept: &mut Kept,
    event: &Event,
    stored: i64,
    origin: Origin<'_>,
) -> rusqlite::Result<()> {
    let (timestamp, source, payload) = (
        event.timestamp.as_str(),
        event.source.as_str(),
        event.payload.as_str(),
    );
    let subject = &origin.delivery.subject;
    transaction
        .prepare_cached(
            "INSERT INTO conflicts (stored_sequence, timestamp, source, payload, processed_at, \
             incarnation, stream_sequence, position, subject, timestamp_filled) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            stored,
            timestamp,
            source,
            payload,
            origin.processed_at,
            origin.incarnation,
            origin.delivery.sequence,
            origin.position,
            subject,
            event.timestamp.is_filled(),
        ])?;
    kept.bytes += row_bytes(&[timestamp.len(), source.len(), payload.len(), subject.len()]);
    Ok(())
}

/// An arrival that could not be stored as an event.
pub(super) fn rejection(
    transaction: &Transaction<'_>,
    kept: &mut Kept,
    rejection: &Rejection,
    origin: Origin<'_>,
) -> rusqlite::Result<()> {
    let Rejection {
        reason,
        detail,
        body,
    } = rejection;
    let subject = &origin.delivery.subject;
    transaction
        .prepare_cached(
            "INSERT INTO rejected (reason, detail, subject, incarnation, stream_sequence, \
             position, processed_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            reason.as_str(),
            detail,
            subject,
            origin.incarnation,
            origin.delivery.sequence,
            origin.position,
            origin.processed_at,
            body.as_ref(),
        ])?;
    kept.bytes += row_bytes(&[detail.len(), subject.len(), body.len()]);
    Ok(())
}

fn row_bytes(texts: &[usize]) -> u64 {
    ROW_BYTES + texts.iter().sum::<usize>() as u64
}

/// An event whose fingerprint is that of the event `stored`, which has another identity. Its body is put together from
/// its fields, for its own bytes are gone.
pub(super) fn collision(event: &Event, stored: i64) -> Rejection {
    Rejection {
        reason: Reason::Collision,
        detail: format!(
            "event {stored} has the same fingerprint and another identity; send it under another event_id"
        )
        .into(),
        body: event.to_json(),
    }
}

/// Notes that a rejected arrival was sent again; false where it is not there.
pub(in crate::store) fn mark_requeued(
    transaction: &Transaction<'_>,
    id: i64,
    now: i64,
) -> rusqlite::Result<bool> {
    let sql = "UPDATE rejected SET requeued_at = ?2 WHERE id = ?1";
    Ok(transaction.prepare_cached(sql)?.execute([id, now])? == 1)
}

/// The bytes of a row, as they were counted when it came.
pub(in crate::store) const CONFLICT_BYTES: &str = "200 + octet_length(timestamp) + octet_length(source) + octet_length(payload) + octet_length(subject)";
pub(in crate::store) const REJECTED_BYTES: &str =
    "200 + octet_length(detail) + octet_length(subject) + octet_length(body)";

/// Lets the oldest rows go that are beyond the bounds. Changes the counters of `next`, which the caller saves.
pub(super) fn evict(
    transaction: &Transaction<'_>,
    next: &mut State,
    bounds: &Bounds,
) -> rusqlite::Result<()> {
    let counters = &mut next.counters;
    Eviction {
        transaction,
        table: "conflicts",
        bytes: CONFLICT_BYTES,
        rows: counters.conflicts,
        kept: &mut counters.conflicts_kept,
    }
    .run(bounds.conflicts)?;
    let gone = Eviction {
        transaction,
        table: "rejected",
        bytes: REJECTED_BYTES,
        rows: counters.rejected,
        kept: &mut counters.rejected_kept,
    }
    .run(bounds.rejected)?;
    for (incarnation, sequence) in gone {
        transaction
            .prepare_cached(
                "UPDATE incarnations SET evicted_to = max(evicted_to, ?2) WHERE id = ?1",
            )?
            .execute(params![incarnation, sequence])?;
        let life = next.lives.iter_mut().find(|life| life.id == incarnation);
        if let Some(life) = life {
            life.evicted_to = life.evicted_to.max(sequence);
        }
    }
    Ok(())
}

struct Eviction<'a> {
    transaction: &'a Transaction<'a>,
    table: &'static str,
    bytes: &'static str,
    /// That ever were there.
    rows: u64,
    kept: &'a mut Kept,
}

impl Eviction<'_> {
    /// Returns the latest stream sequence that went, of each incarnation.
    fn run(self, bound: u64) -> rusqlite::Result<BTreeMap<i64, u64>> {
        let mut gone = BTreeMap::new();
        if self.kept.bytes <= bound {
            return Ok(gone);
        }
        let Self { table, bytes, .. } = self;
        let oldest = format!(
            "SELECT id, incarnation, stream_sequence, {bytes} FROM {table} ORDER BY id LIMIT 1"
        );
        let mut oldest = self.transaction.prepare_cached(&oldest)?;
        let delete = format!("DELETE FROM {table} WHERE id = ?1");
        let mut delete = self.transaction.prepare_cached(&delete)?;
        // The latest one stays, so that ids are never given out again.
        while self.kept.bytes > bound && self.rows > self.kept.evicted + 1 {
            let (id, incarnation, sequence, bytes): (i64, i64, u64, u64) = oldest
                .query_row([], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?;
            delete.execute([id])?;
            self.kept.bytes = self.kept.bytes.saturating_sub(bytes);
            self.kept.evicted += 1;
            let latest = gone.entry(incarnation).or_insert(sequence);
            *latest = sequence.max(*latest);
        }
        Ok(gone)
    }
}
