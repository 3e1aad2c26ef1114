//! Queries for topics, and pages of their counts.

use super::{Visible, Window};

/// A topic and its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCounts {
    /// Its name.
    pub name: String,
    /// Events received.
    pub received: u64,
    /// Events stored.
    pub unique_processed: u64,
    /// Duplicates received.
    pub duplicate_dropped: u64,
    /// When its first event was applied, in microseconds since 1970.
    pub first_at: i64,
    /// When its latest event was applied, duplicates included, in microseconds since 1970.
    pub last_at: i64,
    /// Events received in each minute of the query's window; empty if it has none, or the topic is not counted over time.
    pub recent: Vec<u64>,
}

/// A page of topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPage {
    /// The topics.
    pub topics: Vec<TopicCounts>,
    /// The number of visible topics in the store, regardless of the rest of the query; `None` if they would have to be counted
    /// for a single topic, or could not all be counted in time.
    pub total: Option<u64>,
    /// In order of name, if there may be more topics: the next page continues after this name.
    pub next: Option<String>,
    /// Whether the query ended before it had considered all topics.
    pub is_partial: bool,
}

/// Selects topics and their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicQuery {
    /// The name of the only topic to return, if there is one.
    pub name: Option<String>,
    /// A substring of the name, compared without regard to ASCII case; empty for all topics.
    pub contains: String,
    /// Only these topics.
    pub visible: Visible,
    /// The sort key.
    pub sort: TopicSort,
    /// Whether the order is descending.
    pub is_descending: bool,
    /// Topics after this name. A client gives it in ascending order of name only.
    pub after: Option<String>,
    /// The minutes in which the events of each topic are counted.
    pub recent: Option<Window>,
}

/// The sort key of topics. Topics with equal keys are in byte order of their names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TopicSort {
    /// The bytes of the name.
    #[default]
    Name,
    /// Events received.
    Received,
    /// Events stored.
    Unique,
    /// Duplicates.
    Duplicates,
    /// Duplicates divided by events received.
    DuplicateShare,
    /// When the first event was applied.
    First,
    /// When the latest event was applied.
    Last,
}

impl TopicQuery {
    /// Whether the next page can continue after a name.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        self.sort == TopicSort::Name && !self.is_descending
    }
}
