//! The reader of either engine.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    StoreError, postgres,
    query::{
        Conflict, Disk, Duplicates, EventPage, EventQuery, Figures, FoundEvent, Histogram,
        HistogramQuery, Missing, NoHistogram, PageBounds, Rejected, ReviewPage, ReviewQuery, Sink,
        Stats, StoredEvent, TopicPage, TopicQuery, Visible,
    },
    sqlite::{self, reader::Resolved},
};
use crate::clock::Clock;

/// Answers queries. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Reader {
    /// From a data directory.
    Sqlite(sqlite::reader::Reader),
    /// From a database.
    Postgres(postgres::Reader),
}

/// A permit to scan many rows; empty for queries that do not scan.
#[derive(Debug)]
pub struct Scan(Option<sqlite::reader::Scan>);

impl Reader {
    /// The clock by which the times of what is stored are.
    #[must_use]
    pub fn clock(&self) -> Clock {
        match self {
            Self::Sqlite(_) => Clock::default(),
            Self::Postgres(reader) => reader.clock().clone(),
        }
    }

    /// Waits for a permit to scan many rows, so that scans leave connections to other queries. The caller may already hold a
    /// response permit while it waits, but no connection.
    pub async fn scan(&self, query: &EventQuery, bounds: &PageBounds) -> Scan {
        self.scan_on(query, bounds, Resolved::default()).await
    }

    /// The same for one page of several, with what the earlier ones have found out. All must have the same bound `last`, which the
    /// store had reached before the first.
    pub async fn scan_on(
        &self,
        query: &EventQuery,
        bounds: &PageBounds,
        resolved: Resolved,
    ) -> Scan {
        match self {
            Self::Sqlite(reader) => Scan(Some(reader.scan_on(query, bounds, resolved).await)),
            Self::Postgres(_) => Scan(None),
        }
    }

    /// A page of the events selected by a query. If the caller drops the future, reading ends within one row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events<S: Sink<StoredEvent>>(
        &self,
        query: Arc<EventQuery>,
        bounds: PageBounds,
        scan: Scan,
        sink: S,
    ) -> Result<EventPage<S>, StoreError> {
        match (self, scan) {
            (Self::Sqlite(reader), Scan(Some(scan))) => {
                reader.events(query, bounds, scan, sink).await
            }
            (Self::Sqlite(reader), Scan(None)) => {
                let scan = reader.scan_on(&query, &bounds, Resolved::default()).await;
                reader.events(query, bounds, scan, sink).await
            }
            (Self::Postgres(reader), _) => reader.events(&query, bounds, sink).await,
        }
    }

    /// The number of events of the query's topics, or of all that are visible if it names none, with sequences greater than `after`
    /// and at most `upto`; `None` if too many would have to be read to count those that are visible. If the caller drops the future,
    /// counting ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events_between(
        &self,
        query: Arc<EventQuery>,
        after: i64,
        upto: i64,
    ) -> Result<Option<u64>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.events_between(query, after, upto).await,
            Self::Postgres(reader) => reader.events_between(&query, after, upto).await,
        }
    }

    /// The number of events of any topic with sequences greater than `after` and at most `upto`; if there are more than `most`, any
    /// number above that. If the caller drops the future, counting ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn distance(&self, after: i64, upto: i64, most: u64) -> Result<u64, StoreError> {
        match self {
            // Its sequences are consecutive.
            Self::Sqlite(_) => Ok(u64::try_from(upto.saturating_sub(after)).unwrap_or(0)),
            Self::Postgres(reader) => reader.distance(after, upto, most).await,
        }
    }

    /// Waits until no more events come in before a sequence, if another aggregator may know that already and this one learns it in
    /// a moment; returns whether it is so.
    pub async fn reaches(&self, sequence: i64) -> bool {
        match self {
            Self::Sqlite(reader) => *reader.last_event().borrow() >= sequence,
            Self::Postgres(reader) => reader.reaches(sequence).await,
        }
    }

    /// The sequence up to which no more events come in between: that of the last event as of the last commit, updated at every
    /// commit. In a shared store, it is the end of the last message before which all are applied.
    #[must_use]
    pub fn last_event(&self) -> watch::Receiver<i64> {
        match self {
            Self::Sqlite(reader) => reader.last_event(),
            Self::Postgres(reader) => reader.last_event(),
        }
    }

    /// The event with an identity; `None` if it is not stored. If the caller drops the future, counting its duplicates ends with the
    /// current transaction.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Index`] also while the dedup index is being rebuilt.
    pub async fn event(
        &self,
        topic: String,
        event_id: String,
    ) -> Result<Option<FoundEvent>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.event(topic, event_id).await,
            Self::Postgres(reader) => reader.event(&topic, &event_id).await,
        }
    }

    /// The latest duplicates of one topic or of all that are visible, and the identities with the most repeats, at most `limit` of
    /// each.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn duplicates(
        &self,
        topic: Option<String>,
        visible: Visible,
        limit: usize,
    ) -> Result<Duplicates, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.duplicates(topic, visible, limit).await,
            Self::Postgres(reader) => reader.duplicates(topic.as_deref(), &visible, limit).await,
        }
    }

    /// A page of topics. If the caller drops the future, reading ends within one row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn topics(&self, query: TopicQuery, limit: usize) -> Result<TopicPage, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.topics(query, limit).await,
            Self::Postgres(reader) => reader.topics(&query, limit).await,
        }
    }

    /// Loads the topics stored before the start into the leaders that memory keeps for each sort key, until all are loaded:
    /// in short reads, and again after a failed write.
    ///
    /// # Errors
    /// [`StoreError`]; the call can be repeated.
    pub async fn learn_leaders(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(reader) => reader.learn_leaders().await,
            // The database sorts them.
            Self::Postgres(_) => Ok(()),
        }
    }

    /// A page of the rejected arrivals that a query selects, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rejected<S: Sink<Rejected>>(
        &self,
        query: ReviewQuery,
        limit: usize,
        sink: S,
    ) -> Result<ReviewPage<S>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.rejected(query, limit, sink).await,
            Self::Postgres(reader) => reader.rejected(&query, limit, sink).await,
        }
    }

    /// One rejected arrival; `None` if there is none with this id or it has been evicted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rejected_one(&self, id: i64) -> Result<Option<Rejected>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.rejected_one(id).await,
            Self::Postgres(reader) => reader.rejected_one(id).await,
        }
    }

    /// A page of the conflicts that a query selects, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn conflicts<S: Sink<Conflict>>(
        &self,
        query: ReviewQuery,
        limit: usize,
        sink: S,
    ) -> Result<ReviewPage<S>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.conflicts(query, limit, sink).await,
            Self::Postgres(reader) => reader.conflicts(&query, limit, sink).await,
        }
    }

    /// The latest ranges of missing sequences, including acknowledged ones.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn missing(&self, limit: usize) -> Result<Vec<Missing>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.missing(limit).await,
            Self::Postgres(reader) => reader.missing(limit).await,
        }
    }

    /// The counters, with the first `names` topic names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stats(&self, names: usize) -> Result<Stats, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.stats(names).await,
            Self::Postgres(reader) => reader.stats(names).await,
        }
    }

    /// The counters and the sizes of the store's files, as far as it has files on this machine.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.figures().await,
            Self::Postgres(reader) => reader.figures().await,
        }
    }

    /// How often transactions of this aggregator failed and were tried again since the start, by the name of the reason; empty if the
    /// store is not shared.
    #[must_use]
    pub fn failures(&self) -> Vec<(&'static str, u64)> {
        match self {
            Self::Sqlite(_) => Vec::new(),
            Self::Postgres(reader) => reader.failures(),
        }
    }

    /// The events that a query selects, over time; `None` if its span of time is empty or too long.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn histogram(
        &self,
        query: HistogramQuery,
    ) -> Result<Result<Histogram, NoHistogram>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.histogram(query).await,
            Self::Postgres(reader) => reader.histogram(&query).await,
        }
    }

    /// The disk with the store's files, at the time `now` in microseconds since 1970; `None` if they are not on this machine.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn disk(&self, now: i64) -> Result<Option<Disk>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.disk(now).await,
            Self::Postgres(_) => Ok(None),
        }
    }
}
