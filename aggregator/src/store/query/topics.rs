//! Topics: which are asked for, and pages of their counts.

/// A topic and its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCounts {
    /// Its name.
    pub name: String,
    /// Events that came for it.
    pub received: u64,
    /// Events of it that are stored.
    pub unique_processed: u64,
    /// Duplicates of them that came.
    pub duplicate_dropped: u64,
    /// When its first event was applied, in microseconds since 1970.
    pub first_at: i64,
    /// When its latest event was applied, duplicates included.
    pub last_at: i64,
}

/// A page of topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPage {
    /// The topics.
    pub topics: Vec<TopicCounts>,
    /// How many there are in all, whatever was asked for.
    pub total: u64,
    /// By name, where there may be more: topics after this name are on the next page.
    pub next: Option<String>,
    /// Whether not all topics could be looked at.
    pub is_partial: bool,
}

/// Which topics, and in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicQuery {
    /// With this text in their names, whatever the case of ASCII letters; all where it is empty.
    pub contains: String,
    /// What they are sorted by.
    pub sort: TopicSort,
    /// Whether the largest come first.
    pub is_descending: bool,
    /// By ascending names only: those after this one.
    pub after: Option<String>,
}

/// What topics are sorted by. Those that are alike are in the order of their names' bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TopicSort {
    /// The bytes of their names.
    #[default]
    Name,
    /// Events that came.
    Received,
    /// Events stored.
    Unique,
    /// Duplicates.
    Duplicates,
    /// Duplicates of all that came.
    DuplicateShare,
    /// When the first event was applied.
    First,
    /// When the latest was.
    Last,
}

impl TopicQuery {
    /// Whether the next page can go on behind a name.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        self.sort == TopicSort::Name && !self.is_descending
    }
}
