//! The outcomes of events that requests wait for, if another aggregator appended them.
//!
//! An aggregator knows the outcomes of its own batches. The others are read from the database, by the places at which the events are
//! in the stream: one query for all places that are waited for, shortly after they are known, and again until they are applied. A
//! second query, for those that are applied, finds what became of them. Nothing is read while nothing is waited for.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

use deadpool_postgres::Client;
use tokio::time::sleep;
use tracing::debug;

use super::{
    Shared,
    connect::{LONGEST, limited},
    lives::{Life, signed, unsigned},
    place,
    writer::{bytes_of, identity_of},
};
use crate::store::{
    StoreError,
    waits::{AwaitedPlace, Outcome, OutcomeNotice},
};

/// How often the database is asked while places are waited for. An aggregator that applies its own messages has mostly done so by
/// then.
const PERIOD: Duration = Duration::from_millis(20);

/// The same after it could not be asked.
const PAUSE: Duration = Duration::from_secs(1);

/// Messages, and events, that are asked for at once: the first ones of the stream, which are applied first.
const MOST: usize = 10_000;

/// The messages among these that are applied, if the life is the current one. A sequence that is missing was never applied, or its
/// row is still there.
const APPLIED: &str = "SELECT w.s FROM unnest($2::bigint[]) AS w (s), incarnations i \
     WHERE i.id = $1 AND i.id = (SELECT max(id) FROM incarnations) AND \
     (EXISTS (SELECT 1 FROM applied a WHERE a.incarnation = i.id AND a.sequence = w.s) OR w.s <= i.floor AND \
     NOT EXISTS (SELECT 1 FROM missing m WHERE m.incarnation = i.id AND m.first <= w.s AND m.last >= w.s))";

const FOUND: &str = "SELECT w.p, w.f, e.place, EXISTS (SELECT 1 FROM conflicts c WHERE c.place = w.p), \
     EXISTS (SELECT 1 FROM rejected r WHERE r.place = w.p), i.evicted_to \
     FROM unnest($2::bigint[], $3::bytea[]) AS w (p, f) JOIN incarnations i ON i.id = $1 LEFT JOIN events e ON e.fingerprint = w.f";

/// Reads outcomes for as long as the store is used.
pub(super) async fn run(shared: &Weak<Shared>) {
    loop {
        let Some(used) = shared.upgrade() else { return };
        let Some(awaited) = used.waits.awaited().cloned() else {
            return;
        };
        drop(used);
        awaited.any().await;
        sleep(PERIOD).await;
        let Some(used) = shared.upgrade() else { return };
        if let Err(err) = limited(LONGEST, pass(&used)).await {
            used.failures.count_error(&err);
            // Requests that wait report these events as pending.
            debug!(error = %err, "outcomes cannot be read; retrying");
            drop(used);
            sleep(PAUSE).await;
        }
    }
}

/// Reads the outcomes at the places that are waited for, as far as they are known by now.
///
/// Only those in the current life of the stream: in a later one, other messages have the same sequences.
pub(super) async fn pass(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let lives = Arc::clone(&shared.lives.borrow());
    let (Some(life), Some(awaited)) = (lives.current(), shared.waits.awaited()) else {
        return Ok(());
    };
    let places = awaited.places(life.id);
    let sequences = places
        .iter()
        .map(|awaited| signed(awaited.place.0))
        .collect::<BTreeSet<_>>();
    let sequences: Vec<i64> = sequences.into_iter().take(MOST).collect();
    if sequences.is_empty() {
        return Ok(());
    }
    let client = shared.pool.get().await?;
    let statement = client.prepare_cached(APPLIED).await?;
    let rows = client.query(&statement, &[&life.id, &sequences]).await?;
    let applied: HashSet<u64> = rows.iter().map(|row| unsigned(row.get(0))).collect();
    let applied: Vec<AwaitedPlace> = places
        .into_iter()
        .filter(|awaited| applied.contains(&awaited.place.0))
        .collect();
    for some in applied.chunks(MOST) {
        shared.waits.notify(&found(&client, life, some).await?);
    }
    Ok(())
}

/// What became of events of applied messages.
async fn found(
    client: &Client,
    life: &Life,
    applied: &[AwaitedPlace],
) -> Result<Vec<OutcomeNotice>, StoreError> {
    let of = |(sequence, position): (u64, usize)| place::of(life.base + signed(sequence), position);
    let places: Vec<i64> = applied.iter().map(|awaited| of(awaited.place)).collect();
    let identities: Vec<_> = applied
        .iter()
        .map(|awaited| bytes_of(awaited.identity))
        .collect();
    let identities: Vec<&[u8]> = identities.iter().map(<[u8; 16]>::as_slice).collect();
    let statement = client.prepare_cached(FOUND).await?;
    let rows = client
        .query(&statement, &[&life.id, &places, &identities])
        .await?;
    let mut notices = Vec::with_capacity(rows.len());
    for row in rows {
        let found: i64 = row.get(0);
        let (message, position) = place::parts(found);
        let sequence = unsigned(message - life.base);
        let outcome = Found {
            place: found,
            stored: row.get(2),
            is_conflict: row.get(3),
            is_rejected: row.get(4),
            may_be_evicted: signed(sequence) <= row.get(5),
        };
        if let Some(outcome) = outcome.outcome() {
            notices.push(OutcomeNotice {
                identity: identity_of(row.get(1))?,
                place: (sequence, usize::try_from(position).unwrap_or(usize::MAX)),
                outcome,
            });
        }
    }
    Ok(notices)
}

/// What is known of an event of an applied message.
#[derive(Debug, Clone, Copy)]
struct Found {
    place: i64,
    /// The place of the stored event with its fingerprint.
    stored: Option<i64>,
    is_conflict: bool,
    is_rejected: bool,
    /// Whether rows of its message that were kept for review may have been evicted.
    may_be_evicted: bool,
}

impl Found {
    /// Its outcome; `None` if that is not certain.
    fn outcome(self) -> Option<Outcome> {
        match self.stored {
            // Also with the fingerprint of another event.
            _ if self.is_rejected => Some(Outcome::Rejected),
            Some(stored) if stored == self.place => Some(Outcome::Stored(stored)),
            Some(stored) if self.is_conflict => Some(Outcome::Conflict(stored)),
            Some(stored) if !self.may_be_evicted => Some(Outcome::Duplicate(stored)),
            // Evicted, or the stream lost the message and gave its sequence to another one.
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_given_only_if_it_is_certain() {
        let found = Found {
            place: 5,
            stored: Some(3),
            is_conflict: false,
            is_rejected: false,
            may_be_evicted: false,
        };
        assert_eq!(found.outcome(), Some(Outcome::Duplicate(3)));
        let evicted = Found {
            may_be_evicted: true,
            ..found
        };
        assert_eq!(evicted.outcome(), None, "it may be a conflict");
        let conflict = Found {
            is_conflict: true,
            ..evicted
        };
        assert_eq!(conflict.outcome(), Some(Outcome::Conflict(3)));
        let stored = Found {
            stored: Some(5),
            ..evicted
        };
        assert_eq!(stored.outcome(), Some(Outcome::Stored(5)));
        let rejected = Found {
            is_rejected: true,
            ..found
        };
        assert_eq!(rejected.outcome(), Some(Outcome::Rejected));
        let lost = Found {
            stored: None,
            ..found
        };
        assert_eq!(lost.outcome(), None);
    }
}
