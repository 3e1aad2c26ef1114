//! The lookup stage: hashes a batch, looks all of it up in the index, and reads the rows of conflicts, while the
//! writer commits the previous batch.

mod rows;

use std::{
    sync::{Arc, PoisonError, RwLock},
    thread,
};

use shared::event::Event;

pub(in crate::store) use self::rows::{Compared, Rows};
use super::{
    fingerprint::{Fields, Fingerprint, Key},
    index::{Entry, Index, IndexError, IndexReader, IndexVersion},
};
use crate::store::Delivery;

/// The index; `None` while it is being rebuilt.
pub(in crate::store) type Slot = Arc<RwLock<Option<Index>>>;

/// A batch with the lookups of its events, before its transaction.
#[derive(Debug)]
pub(in crate::store) struct LookupBatch {
    pub batch: Arc<Vec<Delivery>>,
    /// One for each event of the batch, in order; none for rejections.
    pub events: Vec<LookupEvent>,
    /// The version of the index that was used; `None` if there was no index.
    pub version: Option<IndexVersion>,
}

/// The lookup of one event.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct LookupEvent {
    pub fingerprint: Fingerprint,
    /// The entry of its identity.
    pub found: Option<Entry>,
    /// The comparison with the row of that entry, if their contents differ and the row could be read.
    pub compared: Option<Compared>,
    /// The place of its topic in the writer's cache; only the writer sets it.
    pub topic_place: Option<usize>,
}

/// Why a batch could not be looked up.
#[derive(Debug)]
pub(in crate::store) struct LookupError {
    pub error: IndexError,
    /// The version of the index that failed.
    pub version: Option<IndexVersion>,
}

/// Hashes a batch and looks it up, on two threads if it has more than `split` events.
pub(in crate::store) fn look_up(
    slot: &Slot,
    key: &Key,
    rows: &mut Rows,
    batch: Arc<Vec<Delivery>>,
    split: usize,
) -> Result<LookupBatch, LookupError> {
    let slot = slot.read().unwrap_or_else(PoisonError::into_inner);
    let reader = slot.as_ref().map(Index::reader);
    let version = reader.as_ref().map(IndexReader::version);
    let events: Vec<&Event> = batch
        .iter()
        .flat_map(|delivery| delivery.arrivals.iter().flatten())
        .collect();
    let look_up = |events: &[&Event]| look_up_events(reader.as_ref(), key, events);
    let lookups = if events.len() > split {
        let (first, second) = events.split_at(events.len() / 2);
        thread::scope(|scope| {
            let helper = thread::Builder::new().spawn_scoped(scope, || look_up(second));
            let first = look_up(first);
            // Joined even if the first half failed: a scope panics if a thread that was not joined panicked.
            let second = match helper {
                Ok(helper) => helper.join().unwrap_or(Err(IndexError::Panicked)),
                // The system cannot start another thread.
                Err(_) => look_up(second),
            };
            let mut lookups = first?;
            lookups.extend(second?);
            Ok(lookups)
        })
    } else {
        look_up(&events)
    };
    let mut lookups = lookups.map_err(|error| LookupError { error, version })?;
    drop(reader);
    drop(slot);
    rows.compare(&events, &mut lookups);
    drop(events);
    Ok(LookupBatch {
        batch,
        events: lookups,
        version,
    })
}

fn look_up_events(
    reader: Option<&IndexReader<'_>>,
    key: &Key,
    events: &[&Event],
) -> Result<Vec<LookupEvent>, IndexError> {
    let fingerprints = events
        .iter()
        .map(|event| key.fingerprint(&Fields::from(*event)));
    let fingerprints: Vec<Fingerprint> = fingerprints.collect();
    let identities: Vec<u128> = fingerprints
        .iter()
        .map(|fingerprint| fingerprint.identity)
        .collect();
    let found = match reader {
        Some(reader) => reader.find(&identities)?,
        None => vec![None; identities.len()],
    };
    let lookups = fingerprints.into_iter().zip(found);
    Ok(lookups
        .map(|(fingerprint, found)| LookupEvent {
            fingerprint,
            found,
            compared: None,
            topic_place: None,
        })
        .collect())
}
