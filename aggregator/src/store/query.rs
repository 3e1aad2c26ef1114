//! Queries and their results, independent of the storage engine.

mod duplicates;
mod events;
mod history;
mod review;
mod stats;
mod topics;
mod visible;

pub use self::{
    duplicates::{Duplicate, Duplicates, RepeatedIdentity},
    events::{
        EventPage, EventQuery, Filter, FoundEvent, Order, PageBounds, PayloadValue, StoredEvent,
    },
    history::{
        Bucket, Histogram, HistogramQuery, MICROS_PER_MINUTE, MINUTES_KEPT, NoHistogram,
        TOPICS_KEPT, Window,
    },
    review::{Conflict, Missing, Rejected, Review, ReviewPage, ReviewQuery, Seen},
    stats::{Alive, Disk, Figures, FilterSizes, Sizes, Stats},
    topics::{TopicCounts, TopicPage, TopicQuery, TopicSort},
    visible::Visible,
};

/// Receives the rows of a page one at a time, as they are read.
pub trait Sink<T>: Send + 'static {
    /// Takes a row and returns whether there was room for it. The page ends before the first row that does not fit.
    fn take(&mut self, row: T) -> bool;
}

impl<T: Send + 'static> Sink<T> for Vec<T> {
    fn take(&mut self, row: T) -> bool {
        self.push(row);
        true
    }
}
