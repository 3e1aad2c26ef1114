//! Rows kept for review: conflicts and rejected arrivals. Each table is limited in bytes; beyond the limit the oldest rows are
//! deleted and counted.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};
use shared::{event::Event, message::Rejection};

use super::state::{Kept, State};
use crate::store::{Bounds, Delivery, kept::row_bytes};

/// The place of an arrival in the stream, and when it was applied.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub delivery: &'a Delivery,
    pub incarnation: i64,
    pub position: usize,
    pub processed_at: i64,
}

/// Stores a duplicate whose content differs from that of the event with the sequence `stored`.
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
             incarnation, stream_sequence, position, subject, timestamp_filled, sent_by) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
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
            origin.delivery.senders.of(origin.position),
        ])?;
    kept.bytes += row_bytes(&[timestamp.len(), source.len(), payload.len(), subject.len()]);
    Ok(())
}

/// Stores an arrival that could not be stored as an event.
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
             position, processed_at, body, sent_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
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
            origin.delivery.senders.of(origin.position),
        ])?;
    kept.bytes += row_bytes(&[detail.len(), subject.len(), body.len()]);
    Ok(())
}

/// Marks a rejected arrival as sent again; returns false if it does not exist.
pub(in crate::store) fn mark_requeued(
    transaction: &Transaction<'_>,
    id: i64,
    now: i64,
) -> rusqlite::Result<bool> {
    let sql = "UPDATE rejected SET requeued_at = ?2 WHERE id = ?1";
    Ok(transaction.prepare_cached(sql)?.execute([id, now])? == 1)
}

/// The bytes of a row, as counted when it was stored.
pub(in crate::store) const CONFLICT_BYTES: &str = "200 + octet_length(timestamp) + octet_length(source) + octet_length(payload) + octet_length(subject)";
pub(in crate::store) const REJECTED_BYTES: &str =
    "200 + octet_length(detail) + octet_length(subject) + octet_length(body)";

/// Deletes the oldest rows beyond the bounds. Changes the counters of `next`, which the caller saves.
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
    let evicted = Eviction {
        transaction,
        table: "rejected",
        bytes: REJECTED_BYTES,
        rows: counters.rejected,
        kept: &mut counters.rejected_kept,
    }
    .run(bounds.rejected)?;
    for (incarnation, sequence) in evicted {
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
    /// All rows that were ever stored, including evicted ones.
    rows: u64,
    kept: &'a mut Kept,
}

impl Eviction<'_> {
    /// Returns the latest evicted stream sequence of each incarnation.
    fn run(self, bound: u64) -> rusqlite::Result<BTreeMap<i64, u64>> {
        let mut latest_evicted = BTreeMap::new();
        if self.kept.bytes <= bound {
            return Ok(latest_evicted);
        }
        let Self { table, bytes, .. } = self;
        let oldest = format!(
            "SELECT id, incarnation, stream_sequence, {bytes} FROM {table} ORDER BY id LIMIT 1"
        );
        let mut oldest = self.transaction.prepare_cached(&oldest)?;
        let delete = format!("DELETE FROM {table} WHERE id = ?1");
        let mut delete = self.transaction.prepare_cached(&delete)?;
        // The latest row stays, so that ids are never reused.
        while self.kept.bytes > bound && self.rows > self.kept.evicted + 1 {
            let (id, incarnation, sequence, bytes): (i64, i64, u64, u64) = oldest
                .query_row([], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?;
            delete.execute([id])?;
            self.kept.bytes = self.kept.bytes.saturating_sub(bytes);
            self.kept.evicted += 1;
            let latest = latest_evicted.entry(incarnation).or_insert(sequence);
            *latest = sequence.max(*latest);
        }
        Ok(latest_evicted)
    }
}
