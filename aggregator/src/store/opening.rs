//! The progress of opening a store, which takes minutes if a large store is migrated or its dedup index is rebuilt.

use std::sync::{Arc, Mutex, PoisonError};

use indicatif::HumanCount;

/// Written by the thread that opens the store, and read by requests meanwhile. Cheap to clone; clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Opening(Arc<Mutex<Option<String>>>);

impl Opening {
    /// The current step, as human-readable text.
    #[must_use]
    pub fn step(&self) -> String {
        let step = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = || "the store is being opened".to_owned();
        step.clone().unwrap_or_else(opened)
    }

    /// Sets the current step.
    pub(super) fn at(&self, step: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(step);
    }

    /// Sets the current step with the number of events done.
    pub(super) fn events(&self, step: &str, done: i64, of: i64) {
        let count = |events: i64| HumanCount(events.unsigned_abs());
        self.at(format!("{step}: {} of {} events", count(done), count(of)));
    }
}
