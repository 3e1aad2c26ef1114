//! The topics, with their counts.

use rusqlite::{Row, Transaction, params};

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
    /// By name, where there are more: topics after this name are on the next page.
    pub next: Option<String>,
}

/// Which topics, and in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicQuestion {
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

impl TopicSort {
    fn expression(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Received => "received",
            Self::Unique => "unique_processed",
            Self::Duplicates => "duplicate_dropped",
            Self::DuplicateShare => "CAST(duplicate_dropped AS REAL) / received",
            Self::First => "first_at",
            Self::Last => "last_at",
        }
    }
}

impl TopicQuestion {
    /// Whether all topics are looked at.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_paged() || !self.contains.is_empty()
    }

    /// Whether the next page can go on behind a name.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        self.sort == TopicSort::Name && !self.is_descending
    }
}

/// By name it reads as many rows as it shows; otherwise, and where names have to contain something, all topics.
pub(super) fn page(
    read: &Transaction<'_>,
    question: &TopicQuestion,
    limit: usize,
) -> rusqlite::Result<TopicPage> {
    let total = read
        .prepare_cached("SELECT topics FROM counters")?
        .query_row([], |row| row.get(0))?;
    let select = format!(
        "SELECT name, received, unique_processed, duplicate_dropped, first_at, last_at FROM topics \
         WHERE name > ?1 AND (?2 = '' OR instr(lower(name), ?2)) ORDER BY {} {}, name LIMIT ?3",
        question.sort.expression(),
        if question.is_descending {
            "DESC"
        } else {
            "ASC"
        },
    );
    let after = question.after.as_deref().unwrap_or("");
    let contains = question.contains.to_ascii_lowercase();
    let mut topics = read
        .prepare_cached(&select)?
        .query_map(params![after, contains, limit + 1], counts)?
        .collect::<Result<Vec<_>, _>>()?;
    let is_more = topics.len() > limit;
    topics.truncate(limit);
    let last = topics.last().filter(|_| is_more && question.is_paged());
    let next = last.map(|last| last.name.clone());
    Ok(TopicPage {
        topics,
        total,
        next,
    })
}

fn counts(row: &Row<'_>) -> rusqlite::Result<TopicCounts> {
    Ok(TopicCounts {
        name: row.get(0)?,
        received: row.get(1)?,
        unique_processed: row.get(2)?,
        duplicate_dropped: row.get(3)?,
        first_at: row.get(4)?,
        last_at: row.get(5)?,
    })
}
