//! What is kept for people to look at: conflicts, and arrivals that could not be stored.

use rusqlite::{Transaction, params};
use shared::{
    event::Event,
    message::{Reason, Rejection},
};

use crate::store::Delivery;

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
    event: &Event,
    stored: i64,
    origin: Origin<'_>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO conflicts (stored_sequence, timestamp, source, payload, processed_at, \
             incarnation, stream_sequence, position, subject) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            stored,
            event.timestamp.as_str(),
            event.source.as_str(),
            event.payload.as_str(),
            origin.processed_at,
            origin.incarnation,
            origin.delivery.sequence,
            origin.position,
            origin.delivery.subject,
        ])?;
    Ok(())
}

/// An arrival that could not be stored as an event.
pub(super) fn rejection(
    transaction: &Transaction<'_>,
    rejection: &Rejection,
    origin: Origin<'_>,
) -> rusqlite::Result<()> {
    transaction
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
            origin.processed_at,
            rejection.body.as_ref(),
        ])?;
    Ok(())
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
