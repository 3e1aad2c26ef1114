//! How often transactions failed and were tried again, by reason. Counted since the start of the process.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::Fault;
use crate::store::StoreError;

/// The numbers of failed attempts.
#[derive(Debug, Default)]
pub(super) struct Failures([AtomicU64; Fault::ALL.len()]);

impl Failures {
    pub fn count(&self, fault: Fault) {
        let counters = Fault::ALL.iter().zip(&self.0);
        for (_, counter) in counters.filter(|(counted, _)| **counted == fault) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an error of the database. Others are not tried again.
    pub fn count_error(&self, err: &StoreError) {
        if let StoreError::Postgres(err) = err {
            self.count(err.fault());
        }
    }

    /// The numbers, each with the name of its reason.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let counters = Fault::ALL.iter().zip(&self.0);
        counters
            .map(|(fault, count)| (fault.name(), count.load(Ordering::Relaxed)))
            .collect()
    }
}
