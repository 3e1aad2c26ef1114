//! Sizes that are fixed in the service, and small in tests so that a few events cross every boundary.

use super::dedup::index::{Faults, Setup};
use crate::{
    memory::OfStore,
    store::{Bounds, Limits, opening::Opening},
};

#[derive(Debug, Clone)]
pub(in crate::store) struct Options {
    /// Its limits on memory.
    pub memory: OfStore,
    /// Rows per read when events are read into the index again.
    pub replay_rows: usize,
    /// A batch with more events than this is looked up by two threads: the lookup takes longer than the writing.
    pub split_events: usize,
    /// Size of the WAL in bytes at which reads are paused to reset it.
    pub wal_bound: u64,
    /// How many bytes of rows are kept for review.
    pub bounds: Bounds,
    /// Receives the progress of the opening.
    pub opening: Opening,
    /// Faults that tests inject into the threads.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        let Limits { bounds, memory } = Limits::default();
        Self {
            memory,
            replay_rows: 10_000,
            split_events: 512,
            wal_bound: 64 * 1024 * 1024,
            bounds,
            opening: Opening::default(),
            faults: Faults::default(),
        }
    }
}

impl Options {
    /// The options of the dedup index.
    pub fn index(&self) -> Setup<'_> {
        Setup {
            memory: self.memory.index,
            replay_rows: self.replay_rows,
            opening: &self.opening,
            faults: &self.faults,
        }
    }
}
