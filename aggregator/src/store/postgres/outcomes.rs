//! The outcomes of events that requests wait for, if another aggregator appended them.
//!
//! An aggregator knows the outcomes of its own batches. The others are read from the database, by the places at which the events are
//! in the stream: for all places that are waited for, shortly after they are known, and again until they are applied. For those that are
//! applied, more statements find what became of them. Nothing is read while nothing is waited for.
//!
//! Each statement reads one table, so that a database that distributes them can run it on each node. Several statements see
//! several snapshots; their order makes the answers right whatever is committed in between, see [`applied`] and [`found`].

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

use deadpool_postgres::Client;
use tokio::time::sleep;
use tokio_postgres::{Row, types::ToSql};
use tracing::debug;

use super::{
    Shared,
    connect::{LONGEST, limited},
    lives::{Life, signed, unsigned},
    place,
    writer::stored,
};
use crate::store::{
    StoreError,
    ranges::Ranges,
    waits::{AwaitedPlace, Outcome, OutcomeNotice},
};

/// How often the database is asked while places are waited for. An aggregator that applies its own messages has mostly done so by
/// then.
const PERIOD: Duration = Duration::from_millis(20);

/// The same after it could not be asked.
const PAUSE: Duration = Duration::from_secs(1);

/// Messages, and events, that are asked for at once: the first ones of the stream, which are applied first.
const MOST: usize = 10_000;

const APPLIED: &str = "SELECT sequence FROM applied WHERE incarnation = $1 AND sequence = ANY ($2)";

/// The floor of a life, if it is the current one.
const FLOOR: &str =
    "SELECT floor FROM incarnations WHERE id = $1 AND id = (SELECT max(id) FROM incarnations)";

const MISSING: &str =
    "SELECT first, last FROM missing WHERE incarnation = $1 AND first <= $3 AND last >= $2";

const CONFLICTS: &str = "SELECT place FROM conflicts WHERE place = ANY ($1)";

const REJECTED: &str = "SELECT place FROM rejected WHERE place = ANY ($1)";

const EVICTED: &str = "SELECT evicted_to FROM incarnations WHERE id = $1";

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
    let applied = applied(&client, life.id, &sequences).await?;
    let applied: Vec<AwaitedPlace> = places
        .into_iter()
        .filter(|awaited| applied.contains(&awaited.place.0))
        .collect();
    for some in applied.chunks(MOST) {
        shared.waits.notify(&found(&client, life, some).await?);
    }
    Ok(())
}

/// The messages among these, in ascending order, that are applied, if the life is the current one.
///
/// A row of `applied` is deleted only together with a rise of the floor above it, so a message whose row was deleted before the first
/// statement is below the floor that the second one reads. A sequence that was never applied is in `missing` before the floor passes
/// it, so the third statement, after the floor was read, finds it. One that is in `missing` although it was applied has its row
/// in `applied`, or had it when the first statement was too early: then it is found the next time.
async fn applied(
    client: &Client,
    life: i64,
    sequences: &[i64],
) -> Result<HashSet<u64>, StoreError> {
    let rows = client.prepare_cached(APPLIED).await?;
    let floor = client.prepare_cached(FLOOR).await?;
    let missing = client.prepare_cached(MISSING).await?;
    let (first, last) = (sequences.first(), sequences.last());
    let of_rows: [&(dyn ToSql + Sync); 2] = [&life, &sequences];
    let of_floor: [&(dyn ToSql + Sync); 1] = [&life];
    let of_missing: [&(dyn ToSql + Sync); 3] = [&life, &first, &last];
    // Sent in this order, and answered in this order.
    let (rows, floor, missing) = futures::join!(
        client.query(&rows, &of_rows),
        client.query_opt(&floor, &of_floor),
        client.query(&missing, &of_missing),
    );
    let (rows, Some(floor), missing) = (rows?, floor?, missing?) else {
        return Ok(HashSet::new());
    };
    let floor: i64 = floor.get(0);
    let mut gaps = Ranges::default();
    for range in missing {
        gaps.insert(unsigned(range.get(0)), unsigned(range.get(1)));
    }
    let below = sequences.iter().copied();
    let below = below.filter(|sequence| *sequence <= floor && !gaps.contains(unsigned(*sequence)));
    let applied = rows.iter().map(|row| row.get(0)).chain(below);
    Ok(applied.map(unsigned).collect())
}

/// What became of events of applied messages.
///
/// Rows that were kept for review are evicted together with a rise of `evicted_to`, which is therefore read after them: a row that
/// was already evicted is not taken for one that was never there. All other rows were committed before, and stay.
async fn found(
    client: &Client,
    life: &Life,
    applied: &[AwaitedPlace],
) -> Result<Vec<OutcomeNotice>, StoreError> {
    let of = |(sequence, position): (u64, usize)| place::of(life.base + signed(sequence), position);
    let places: Vec<i64> = applied.iter().map(|awaited| of(awaited.place)).collect();
    let identities: Vec<u128> = applied.iter().map(|awaited| awaited.identity).collect();
    let conflicts = client.prepare_cached(CONFLICTS).await?;
    let rejected = client.prepare_cached(REJECTED).await?;
    let evicted = client.prepare_cached(EVICTED).await?;
    let of_places: [&(dyn ToSql + Sync); 1] = [&places];
    let of_life: [&(dyn ToSql + Sync); 1] = [&life.id];
    // Sent in this order, and answered in this order.
    let (stored, conflicts, rejected, evicted) = futures::join!(
        stored(client, &identities),
        client.query(&conflicts, &of_places),
        client.query(&rejected, &of_places),
        client.query_one(&evicted, &of_life),
    );
    let (stored, evicted_to) = (stored?, evicted?.get::<_, i64>(0));
    let all = |rows: Vec<Row>| rows.iter().map(|row| row.get(0)).collect();
    let (conflicts, rejected): (HashSet<i64>, HashSet<i64>) = (all(conflicts?), all(rejected?));
    let outcomes = applied.iter().zip(&places).filter_map(|(awaited, place)| {
        let found = Found {
            place: *place,
            stored: stored.get(&awaited.identity).map(|stored| stored.place),
            is_conflict: conflicts.contains(place),
            is_rejected: rejected.contains(place),
            may_be_evicted: signed(awaited.place.0) <= evicted_to,
        };
        Some(OutcomeNotice {
            identity: awaited.identity,
            place: awaited.place,
            outcome: found.outcome()?,
        })
    });
    Ok(outcomes.collect())
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
