//! The events that an append inserts and looks up, as arrays: one statement, however many rows.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::Client;
use tokio_postgres::types::ToSql;

use super::plan::{Plan, Stored, StoredContent};
use crate::store::{
    Delivery, StoreError,
    fingerprint::Fingerprint,
    postgres::{
        lives::{Lives, signed},
        place,
    },
};

type Parameter<'a> = &'a (dyn ToSql + Sync);

/// A fingerprint as it is stored.
pub(in crate::store::postgres) fn bytes_of(identity: u128) -> [u8; 16] {
    identity.to_be_bytes()
}

/// The fingerprint in a stored form.
pub(in crate::store::postgres) fn identity_of(bytes: &[u8]) -> Result<u128, StoreError> {
    let bytes = bytes.try_into();
    let bytes = bytes
        .map_err(|_| StoreError::Foreign("a fingerprint in it has another length".to_owned()))?;
    Ok(u128::from_be_bytes(bytes))
}

/// A content hash as it is stored.
pub(in crate::store::postgres) fn number_of(content: u64) -> i64 {
    i64::from_ne_bytes(content.to_ne_bytes())
}

/// The content hash in a stored form.
pub(in crate::store::postgres) fn content_of(number: i64) -> u64 {
    u64::from_ne_bytes(number.to_ne_bytes())
}

/// Inserts the events whose identities are not stored; returns the places of those that were inserted.
pub(super) async fn insert_events(
    client: &Client,
    plan: &Plan<'_>,
    now: i64,
) -> Result<HashSet<i64>, StoreError> {
    if plan.firsts.is_empty() {
        return Ok(HashSet::new());
    }
    let statement = client
        .prepare_cached(
            "INSERT INTO events (fingerprint, content, place, topic, event_id, \"timestamp\", timestamp_filled, source, payload, processed_at) \
             SELECT f, c, p, t, i, s, l, o, y, $10::bigint FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], \
             $6::text[], $7::boolean[], $8::bytea[], $9::text[]) AS e (f, c, p, t, i, s, l, o, y) \
             ON CONFLICT (fingerprint) DO NOTHING RETURNING place",
        )
        .await?;
    let rows = plan.firsts.len();
    let firsts = || plan.firsts.iter().map(|index| &plan.events[*index]);
    let fingerprints: Vec<[u8; 16]> = firsts()
        .map(|arrived| bytes_of(arrived.fingerprint.identity))
        .collect();
    let fingerprints: Vec<&[u8]> = fingerprints.iter().map(<[u8; 16]>::as_slice).collect();
    let mut contents = Vec::with_capacity(rows);
    let mut places = Vec::with_capacity(rows);
    let mut topics = Vec::with_capacity(rows);
    let mut event_ids = Vec::with_capacity(rows);
    let mut timestamps = Vec::with_capacity(rows);
    let mut filled = Vec::with_capacity(rows);
    let mut sources = Vec::with_capacity(rows);
    let mut payloads = Vec::with_capacity(rows);
    for arrived in firsts() {
        let event = arrived.event;
        contents.push(number_of(arrived.fingerprint.content));
        places.push(arrived.origin.place);
        topics.push(event.topic.as_str().as_bytes());
        event_ids.push(event.event_id.as_str().as_bytes());
        timestamps.push(event.timestamp.as_str());
        filled.push(event.timestamp.is_filled());
        sources.push(event.source.as_str().as_bytes());
        payloads.push(event.payload.as_str());
    }
    let parameters: [Parameter<'_>; 10] = [
        &fingerprints,
        &contents,
        &places,
        &topics,
        &event_ids,
        &timestamps,
        &filled,
        &sources,
        &payloads,
        &now,
    ];
    let inserted = client.query(&statement, &parameters).await?;
    Ok(inserted.iter().map(|row| row.get(0)).collect())
}

/// The stored events with these identities.
pub(in crate::store::postgres) async fn stored(
    client: &Client,
    identities: &[u128],
) -> Result<HashMap<u128, Stored>, StoreError> {
    if identities.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = client
        .prepare_cached(
            "SELECT fingerprint, content, place FROM events WHERE fingerprint = ANY ($1)",
        )
        .await?;
    let fingerprints = all_bytes(identities);
    let rows = client.query(&statement, &[&fingerprints]).await?;
    let stored = rows.iter().map(|row| {
        let stored = Stored {
            content: content_of(row.get(1)),
            place: row.get(2),
        };
        Ok((identity_of(row.get(0))?, stored))
    });
    stored.collect()
}

/// The contents of the stored events with these identities.
pub(in crate::store::postgres) async fn contents(
    client: &Client,
    identities: &[u128],
) -> Result<HashMap<u128, StoredContent>, StoreError> {
    if identities.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = client
        .prepare_cached(
            "SELECT fingerprint, topic, event_id, \"timestamp\", timestamp_filled, source, payload \
             FROM events WHERE fingerprint = ANY ($1)",
        )
        .await?;
    let fingerprints = all_bytes(identities);
    let rows = client.query(&statement, &[&fingerprints]).await?;
    let contents = rows.iter().map(|row| {
        let content = StoredContent {
            topic: row.get(1),
            event_id: row.get(2),
            timestamp: row.get(3),
            timestamp_filled: row.get(4),
            source: row.get(5),
            payload: row.get(6),
        };
        Ok((identity_of(row.get(0))?, content))
    });
    contents.collect()
}

fn all_bytes(identities: &[u128]) -> Vec<Vec<u8>> {
    let bytes = |identity: &u128| bytes_of(*identity).to_vec();
    identities.iter().map(bytes).collect()
}

/// Whether all elements of a message whose row was folded are in the store.
pub(super) async fn is_stored(
    client: &Client,
    delivery: &Delivery,
    fingerprints: &[Fingerprint],
    lives: &Lives,
) -> Result<bool, StoreError> {
    let mut identities: Vec<u128> = fingerprints
        .iter()
        .map(|fingerprint| fingerprint.identity)
        .collect();
    identities.sort_unstable();
    identities.dedup();
    if stored(client, &identities).await?.len() < identities.len() {
        return Ok(false);
    }
    let rejections = delivery.arrivals.len() - fingerprints.len();
    if rejections == 0 {
        return Ok(true);
    }
    let sequence = signed(delivery.sequence);
    let mut kept = 0;
    for life in &lives.all {
        // Their rows were evicted, or may have been.
        if sequence <= life.evicted_to && life.has_settled(delivery.sequence) {
            return Ok(true);
        }
        let message = life.base + sequence;
        let statement = client
            .prepare_cached(
                "SELECT count(*) FROM rejected WHERE place BETWEEN $1 AND $2 AND incarnation = $3",
            )
            .await?;
        let (first, last) = (place::of(message, 0), place::last_of(message));
        let row = client
            .query_one(&statement, &[&first, &last, &life.id])
            .await?;
        kept += row.get::<_, i64>(0);
    }
    Ok(kept >= signed(rejections as u64))
}
