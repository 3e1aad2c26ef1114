//! Queries: what they ask for and what they return, whatever engine answers them.

mod duplicates;
mod events;
mod kept;
mod stats;
mod topics;

pub use self::{
    duplicates::{Duplicate, Duplicates, Often},
    events::{
        EventPage, EventQuery, Filter, FoundEvent, Order, PageBounds, PayloadValue, StoredEvent,
    },
    kept::{Conflict, KeptPage, Missing, Rejected},
    stats::{Figures, Sizes, Stats},
    topics::{TopicCounts, TopicPage, TopicQuery, TopicSort},
};

/// Takes the rows of a page, one by one as they are read.
pub trait Sink<T>: Send + 'static {
    /// Whether there was room for the row. The page ends before one for which there was none.
    fn take(&mut self, row: T) -> bool;
}

impl<T: Send + 'static> Sink<T> for Vec<T> {
    fn take(&mut self, row: T) -> bool {
        self.push(row);
        true
    }
}
