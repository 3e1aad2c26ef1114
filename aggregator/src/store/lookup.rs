//! The stage before the writer: hashes a batch and looks all of it up in the sealed part of the index, while the
//! writer commits the batch before.

use std::sync::{Arc, PoisonError, RwLock};

use super::{
    Delivery,
    fingerprint::{Fields, Key, Print},
    index::{Entry, Index, IndexError, NOT_ASKED},
};

/// The index, where there is one: it is away while it is made anew.
pub(super) type Slot = Arc<RwLock<Option<Index>>>;

/// A batch, and what is known of its events before its transaction.
#[derive(Debug)]
pub(super) struct Looked {
    pub batch: Arc<Vec<Delivery>>,
    /// For each event of the batch, in order; rejections have none.
    pub events: Vec<LookedEvent>,
    /// The sequence that the tree reached before it was asked: of later events it may know nothing.
    pub reach: i64,
}

/// What is known of one event.
#[derive(Debug, Clone, Copy)]
pub(super) struct LookedEvent {
    pub print: Print,
    /// What the tree said of its identity.
    pub sealed: Option<Entry>,
}

/// Hashes a batch and looks it up.
pub(super) fn look(
    slot: &Slot,
    key: &Key,
    batch: Arc<Vec<Delivery>>,
) -> Result<Looked, IndexError> {
    let slot = slot.read().unwrap_or_else(PoisonError::into_inner);
    let index = slot.as_ref();
    let reach = index.map_or(NOT_ASKED, Index::sealed_reach);
    let mut events = Vec::new();
    for event in batch
        .iter()
        .flat_map(|delivery| delivery.arrivals.iter().flatten())
    {
        let print = key.print(&Fields::from(event));
        let sealed = match index {
            Some(index) => index.find_sealed(print.identity)?,
            None => None,
        };
        events.push(LookedEvent { print, sealed });
    }
    drop(slot);
    Ok(Looked {
        batch,
        events,
        reach,
    })
}
