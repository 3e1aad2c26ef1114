//! The stage before the writer: hashes a batch, looks all of it up in the index, and reads the rows of conflicts, while the
//! writer commits the batch before.

mod rows;

use std::{
    sync::{Arc, PoisonError, RwLock},
    thread,
};

use shared::event::Event;

pub(in crate::store) use self::rows::{Compared, Rows};
use super::{
    fingerprint::{Fields, Fingerprint, Key},
    index::{Asked, Entry, Index, IndexError, Looking},
};
use crate::store::Delivery;

/// The index, where there is one: it is away while it is made anew.
pub(in crate::store) type Slot = Arc<RwLock<Option<Index>>>;

/// A batch, and what is known of its events before its transaction.
#[derive(Debug)]
pub(in crate::store) struct LookupBatch {
    pub batch: Arc<Vec<Delivery>>,
    /// For each event of the batch, in order; rejections have none.
    pub events: Vec<LookupEvent>,
    /// What the answers of the index are worth; none where it was not asked.
    pub asked: Option<Asked>,
}

/// What is known of one event.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct LookupEvent {
    pub fingerprint: Fingerprint,
    /// What the index said of its identity.
    pub found: Option<Entry>,
    /// The row of that entry, where its content is another one and the row could be read.
    pub compared: Option<Compared>,
}

/// Why a batch could not be looked up.
#[derive(Debug)]
pub(in crate::store) struct LookupError {
    pub error: IndexError,
    /// Which index failed.
    pub asked: Option<Asked>,
}

/// Hashes a batch and looks it up, by two threads where it has more than `split` events.
pub(in crate::store) fn look(
    slot: &Slot,
    key: &Key,
    rows: &mut Rows,
    batch: Arc<Vec<Delivery>>,
    split: usize,
) -> Result<LookupBatch, LookupError> {
    let slot = slot.read().unwrap_or_else(PoisonError::into_inner);
    let looking = slot.as_ref().map(Index::looking);
    let asked = looking.as_ref().map(Looking::asked);
    let events: Vec<&Event> = batch
        .iter()
        .flat_map(|delivery| delivery.arrivals.iter().flatten())
        .collect();
    let look = |events: &[&Event]| look_at(looking.as_ref(), key, events);
    let looked = if events.len() > split {
        let (first, second) = events.split_at(events.len() / 2);
        thread::scope(|scope| {
            let helper = thread::Builder::new().spawn_scoped(scope, || look(second));
            let first = look(first);
            // Joined whatever became of the first half, for a scope panics over a panic that nobody took.
            let second = match helper {
                Ok(helper) => helper.join().unwrap_or(Err(IndexError::Panicked)),
                // The system has no thread to give.
                Err(_) => look(second),
            };
            let mut looked = first?;
            looked.extend(second?);
            Ok(looked)
        })
    } else {
        look(&events)
    };
    let mut looked = looked.map_err(|error| LookupError { error, asked })?;
    drop(looking);
    drop(slot);
    rows.compare(&events, &mut looked);
    drop(events);
    Ok(LookupBatch {
        batch,
        events: looked,
        asked,
    })
}

fn look_at(
    looking: Option<&Looking<'_>>,
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
    let found = match looking {
        Some(looking) => looking.find(&identities)?,
        None => vec![None; identities.len()],
    };
    let looked = fingerprints.into_iter().zip(found);
    Ok(looked
        .map(|(fingerprint, found)| LookupEvent {
            fingerprint,
            found,
            compared: None,
        })
        .collect())
}
