//! Sizes that are fixed in the service, and small in tests, so that a few events cross every boundary.

use super::dedup::index::{Faults, Setup};
use crate::store::{Bounds, opening::Opening};

#[derive(Debug, Clone)]
pub(in crate::store) struct Options {
    /// Entries at which a table of the dedup index is sealed. With these it takes 34 MiB, and a batch of up to 17,500
    /// events more does not double it.
    pub table_entries: usize,
    /// Rows that are read at once when the index is read again.
    pub replay_rows: usize,
    /// A batch of more events is looked up by two threads: that stage takes longer than the writer's.
    pub split_events: usize,
    /// Topics that the writer remembers. With names as long as they may be, these are 20 MiB.
    pub topics: usize,
    /// Bytes of the WAL at which reads make way for its reset.
    pub wal_bound: u64,
    /// How much is kept for people to look at.
    pub bounds: Bounds,
    /// Told how far the opening has come.
    pub opening: Opening,
    /// What tests do to the threads.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            table_entries: 900_000,
            replay_rows: 10_000,
            split_events: 512,
            topics: 50_000,
            wal_bound: 64 * 1024 * 1024,
            bounds: Bounds::default(),
            opening: Opening::default(),
            faults: Faults::default(),
        }
    }
}

impl Options {
    /// What the dedup index is opened with.
    pub fn index(&self) -> Setup<'_> {
        Setup {
            table_entries: self.table_entries,
            replay_rows: self.replay_rows,
            opening: &self.opening,
            faults: &self.faults,
        }
    }
}
