//! Queries. Each statement reads one snapshot; a page of events may read several, of rows that never change.

pub(super) mod duplicates;
mod events;
mod history;
mod review;
mod stats;
mod topics;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

pub(super) use self::stats::stats;
use super::{
    Shared,
    connect::{LONGEST, limited},
    lives, place,
};
use crate::{
    clock::Clock,
    store::{
        StoreError,
        query::{
            Conflict, Duplicates, EventPage, EventQuery, Figures, FoundEvent, Histogram,
            HistogramQuery, Missing, NoHistogram, Order, PageBounds, Rejected, ReviewPage,
            ReviewQuery, Sink, Stats, StoredEvent, TopicPage, TopicQuery, Visible,
        },
    },
};

/// Queries that run concurrently, so that connections remain for batches and the upkeep.
const CONNECTIONS: usize = 4;

/// Rows that a page scans if its events must match a filter; then it ends with what it has found.
const SCAN_ROWS: u64 = if cfg!(test) { 50 } else { 500_000 };

/// Rows that are asked for at once. The server sends all of them, even if the page ends before.
const CHUNK: i64 = if cfg!(test) { 20 } else { 1_000 };

/// How long a page scans.
const SCAN_TIME: Duration = Duration::from_millis(500);

/// How long an aggregator waits for a floor that another one has read: several passes of the upkeep.
const LAG: Duration = Duration::from_secs(3);

/// Counts the missing sequences that were not acknowledged.
pub(super) const MISSING: &str =
    "SELECT coalesce(sum(last - first + 1), 0)::bigint FROM missing WHERE acknowledged_at IS NULL";

/// Runs queries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

/// How much a query may scan: until it is spent, a page continues. A page that contains each row that it reads ends only when it is full.
struct Budget {
    rows: u64,
    since: Instant,
    /// Whether rows are read that the page may not contain.
    is_filtered: bool,
}

impl Budget {
    fn of(is_filtered: bool) -> Self {
        Self {
            rows: 0,
            since: Instant::now(),
            is_filtered,
        }
    }

    /// How many rows to ask for at once, if the page has room for this many: one more, to know whether there are more.
    fn rows_at_once(&self, room: usize) -> i64 {
        let wanted = i64::try_from(room).map_or(i64::MAX, |room| room.saturating_add(1));
        if self.is_filtered {
            CHUNK
        } else {
            wanted.min(CHUNK)
        }
    }

    /// Counts a row and returns whether it may be read. The first one always may, so that there is progress.
    fn spend(&mut self) -> bool {
        let may = !self.is_filtered
            || self.rows == 0
            || self.rows < SCAN_ROWS && self.since.elapsed() < SCAN_TIME;
        self.rows += 1;
        may
    }
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// A page of the events selected by a query. In ascending order it ends at the last place that no event can precede any more.
    pub async fn events<S: Sink<StoredEvent>>(
        &self,
        query: &EventQuery,
        mut bounds: PageBounds,
        sink: S,
    ) -> Result<EventPage<S>, StoreError> {
        let _permit = self.permits.acquire().await;
        if query.order == Order::OldestFirst {
            bounds.last = bounds.last.min(*self.shared.last_event.borrow());
        }
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            events::page(&client, query, bounds, sink).await
        })
        .await
    }

    /// The number of events of the query's topics with places greater than `after` and at most `upto`; `None` if too many would
    /// have to be read.
    pub async fn events_between(
        &self,
        query: &EventQuery,
        after: i64,
        upto: i64,
    ) -> Result<Option<u64>, StoreError> {
        let _permit = self.permits.acquire().await;
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            events::between(&client, query, after, upto).await
        })
        .await
    }

    /// The number of events with places greater than `after` and at most `upto`, counted up to one more than `most`.
    pub async fn distance(&self, after: i64, upto: i64, most: u64) -> Result<u64, StoreError> {
        if after >= upto {
            return Ok(0);
        }
        let _permit = self.permits.acquire().await;
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            events::count(&client, after, upto, most.saturating_add(1)).await
        })
        .await
    }

    /// Waits for a moment until no event can precede a place any more; returns whether it is so.
    ///
    /// Another aggregator may have read the floor a moment earlier than this one.
    pub async fn reaches(&self, place: i64) -> bool {
        self.reaches_within(place, LAG).await
    }

    pub(super) async fn reaches_within(&self, place: i64, limit: Duration) -> bool {
        let mut last = self.shared.last_event.subscribe();
        let reached = timeout(limit, last.wait_for(|last| *last >= place));
        matches!(reached.await, Ok(Ok(_)))
    }

    /// The last place that no event can precede any more, updated by the upkeep.
    pub fn last_event(&self) -> watch::Receiver<i64> {
        self.shared.last_event.subscribe()
    }

    /// The event with an identity; `None` if it is not stored.
    pub async fn event(
        &self,
        topic: &str,
        event_id: &str,
    ) -> Result<Option<FoundEvent>, StoreError> {
        let _permit = self.permits.acquire().await;
        let identity = self.shared.key.identity(topic, event_id);
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            events::one(&client, identity, (topic, event_id)).await
        })
        .await
    }

    /// The latest duplicates of a topic or of all that are visible, and the identities with the most repeats, at most `limit` of each.
    pub async fn duplicates(
        &self,
        topic: Option<&str>,
        visible: &Visible,
        limit: usize,
    ) -> Result<Duplicates, StoreError> {
        let _permit = self.permits.acquire().await;
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            duplicates::duplicates(&client, topic, visible, limit).await
        })
        .await
    }

    /// A page of topics.
    pub async fn topics(&self, query: &TopicQuery, limit: usize) -> Result<TopicPage, StoreError> {
        let _permit = self.permits.acquire().await;
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            let mut page = topics::page(&client, query, limit).await?;
            if let Some(window) = query.recent {
                history::recent(&client, &mut page.topics, window).await?;
            }
            Ok(page)
        })
        .await
    }

    /// A page of the rejected arrivals that a query selects, newest first.
    pub async fn rejected<S: Sink<Rejected>>(
        &self,
        query: &ReviewQuery,
        limit: usize,
        sink: S,
    ) -> Result<ReviewPage<S>, StoreError> {
        let _permit = self.permits.acquire().await;
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            review::rejected(&client, query, limit, sink).await
        })
        .await
    }

    /// One rejected arrival; `None` if there is none with this id or it has been evicted.
    pub async fn rejected_one(&self, id: i64) -> Result<Option<Rejected>, StoreError> {
        let _permit = self.permits.acquire().await;
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            review::rejected_one(&client, id).await
        })
        .await
    }

    /// A page of the conflicts that a query selects, newest first.
    pub async fn conflicts<S: Sink<Conflict>>(
        &self,
        query: &ReviewQuery,
        limit: usize,
        sink: S,
    ) -> Result<ReviewPage<S>, StoreError> {
        let _permit = self.permits.acquire().await;
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            review::conflicts(&client, query, limit, sink).await
        })
        .await
    }

    /// The latest ranges of missing sequences, including acknowledged ones.
    pub async fn missing(&self, limit: usize) -> Result<Vec<Missing>, StoreError> {
        let _permit = self.permits.acquire().await;
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            review::missing(&client, limit).await
        })
        .await
    }

    /// The database's clock.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// How often transactions of this aggregator failed since the start, by the name of the reason.
    pub fn failures(&self) -> Vec<(&'static str, u64)> {
        self.shared.failures.all()
    }

    /// The counters, with the first `names` topic names.
    pub async fn stats(&self, names: usize) -> Result<Stats, StoreError> {
        let _permit = self.permits.acquire().await;
        let Shared { pool, holder, .. } = &*self.shared;
        limited(LONGEST, stats(pool, holder, names)).await
    }

    /// The counters. The database's own figures are not among them.
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        Ok(Figures {
            stats: self.stats(0).await?,
            ..Figures::default()
        })
    }

    /// The events that a query selects, over time.
    pub async fn histogram(
        &self,
        query: &HistogramQuery,
    ) -> Result<Result<Histogram, NoHistogram>, StoreError> {
        let _permit = self.permits.acquire().await;
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            history::histogram(&client, query).await
        })
        .await
    }
}

/// The sequence in the stream and the position of a place.
async fn in_stream(
    client: &deadpool_postgres::Client,
    place: i64,
) -> Result<(u64, u64), StoreError> {
    let (message, position) = place::parts(place);
    let statement = client
        .prepare_cached("SELECT base FROM incarnations WHERE base < $1 ORDER BY id DESC LIMIT 1")
        .await?;
    let base: i64 = client.query_one(&statement, &[&message]).await?.get(0);
    Ok((lives::unsigned(message - base), position))
}

/// Bytes that were written as UTF-8.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, StoreError> {
    String::from_utf8(bytes)
        .map_err(|_| StoreError::Foreign("a name in it is not UTF-8".to_owned()))
}
