//! How far the opening of a store has come: it takes minutes where a large one is migrated or its dedup index is rebuilt.

use std::sync::{Arc, Mutex, PoisonError};

use indicatif::HumanCount;

/// Told by who opens the store, and looked at by who answers for it meanwhile. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Opening(Arc<Mutex<Option<String>>>);

impl Opening {
    /// What is being done, in words.
    #[must_use]
    pub fn step(&self) -> String {
        let step = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = || "the store is being opened".to_owned();
        step.clone().unwrap_or_else(opened)
    }

    /// Says what is being done from now on.
    pub(super) fn at(&self, step: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(step);
    }

    /// The same, with how many events are done.
    pub(super) fn events(&self, step: &str, done: i64, of: i64) {
        let count = |events: i64| HumanCount(events.unsigned_abs());
        self.at(format!("{step}: {} of {} events", count(done), count(of)));
    }
}
