//! Queries: short reads on read-only connections. Each result is that of one commit: it is read in one transaction, or in
//! several if the rows that it reads never change.
//!
//! No query runs for long, and none continues when the gate closes: a page ends with the rows it has by then.

mod duplicates;
mod events;
mod figures;
mod history;
mod review;
mod stats;
mod topics;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::{Connection, Transaction};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::spawn_blocking,
};

pub use self::events::{Resolved, SCAN_ROWS};
use super::{
    dedup::{fingerprint::Key, index::IndexError},
    file::connection::{connect, connect_again, limit_pages},
    gate::Inside,
    memory::Memory,
    repeats,
};
use crate::store::{
    StoreError,
    query::{
        Conflict, Disk, Duplicates, EventPage, EventQuery, Figures, FoundEvent, Histogram,
        HistogramQuery, Missing, NoHistogram, PageBounds, Rejected, ReviewPage, ReviewQuery, Sink,
        Stats, StoredEvent, TopicPage, TopicQuery, Visible,
    },
};

/// Queries that run concurrently.
const CONNECTIONS: usize = 4;

/// The number of them that may scan many rows.
const SCANS: usize = 2;

/// Runs queries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    file: Arc<PathBuf>,
    pub(in crate::store) memory: Memory,
    key: Key,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    /// Limits the queries that scan many rows, so that connections remain for the others.
    scans: Arc<Semaphore>,
}

/// A permit to scan many rows; empty for queries that do not scan.
#[derive(Debug)]
pub struct Scan {
    _permit: Option<OwnedSemaphorePermit>,
    resolved: Resolved,
}

/// Cancels a query when the caller drops its future.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Reader {
    /// Opens the read-only connections of a store whose writer has already opened it.
    pub(in crate::store) fn open(file: &Path, memory: Memory) -> Result<Self, StoreError> {
        // All connections are opened now, each with a first read, so that they have the same files open as the writer even
        // if the files at the paths are replaced later.
        let mut key = None;
        let idle = (0..CONNECTIONS).map(|_| {
            let connection = connect(file)?;
            limit_pages(&connection, memory.reader_pages)?;
            key = connection.query_row("SELECT hash_key FROM store", [], |row| row.get(0))?;
            Ok(connection)
        });
        let idle = idle.collect::<Result<_, StoreError>>()?;
        memory.files.check()?;
        Ok(Self {
            file: Arc::new(file.to_owned()),
            memory,
            key: Key(key.expect("there is at least one connection")),
            idle: Arc::new(Mutex::new(idle)),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            scans: Arc::new(Semaphore::new(SCANS)),
        })
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
        let newest = *self.memory.last_event.borrow();
        let permit = if events::is_scan(query, bounds, newest, &resolved) {
            Arc::clone(&self.scans).acquire_owned().await.ok()
        } else {
            None
        };
        Scan {
            _permit: permit,
            resolved,
        }
    }

    /// A page of the events selected by a query. If the caller drops the future, reading ends within one row.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn events<S: Sink<StoredEvent>>(
        &self,
        query: Arc<EventQuery>,
        bounds: PageBounds,
        scan: Scan,
        sink: S,
    ) -> Result<EventPage<S>, StoreError> {
        let gone = Arc::new(AtomicBool::new(false));
        let _gone = OnDrop(Arc::clone(&gone));
        let identities = events::Identities {
            index: Arc::clone(&self.memory.index),
            key: self.key,
        };
        let resolved = scan.resolved.clone();
        let paging = events::Paging::new(query, bounds, sink, gone, identities, resolved);
        let mut paging = Some(paging);
        self.read_on(move |read, inside| {
            let _scan = &scan;
            let is_whole = match &mut paging {
                Some(paging) => paging.go(read, inside)?,
                None => false,
            };
            let whole = paging.take_if(|_| is_whole);
            Ok(whole.map(events::Paging::into_page))
        })
        .await
    }

    /// The number of events of the query's topics, or of all that are visible if it names none, with sequences greater than `after`
    /// and at most `upto`; `None` if too many would have to be read to count those that are visible. If the caller drops the future,
    /// counting ends.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn events_between(
        &self,
        query: Arc<EventQuery>,
        after: i64,
        upto: i64,
    ) -> Result<Option<u64>, StoreError> {
        let scan = if events::is_many(&query, upto - after) {
            Arc::clone(&self.scans).acquire_owned().await.ok()
        } else {
            None
        };
        let gone = Arc::new(AtomicBool::new(false));
        let _gone = OnDrop(Arc::clone(&gone));
        let mut between = events::Between::new(query, after, upto);
        let count = self.read_on(move |read, inside| {
            let _scan = &scan;
            if gone.load(Ordering::Relaxed) {
                return Ok(Some(events::Count::Unknown));
            }
            between.go(read, inside)
        });
        Ok(match count.await? {
            events::Count::Of(count) => Some(count),
            events::Count::Unknown => None,
        })
    }

    /// The sequence of the last event as of the last commit, updated at every commit.
    #[must_use]
    pub fn last_event(&self) -> watch::Receiver<i64> {
        self.memory.last_event.clone()
    }

    /// The event with an identity, found through the dedup index; `None` if it is not stored. If the caller drops the future,
    /// counting its duplicates ends with the current transaction.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], and [`StoreError::Index`], also while the index is being rebuilt.
    pub async fn event(
        &self,
        topic: String,
        event_id: String,
    ) -> Result<Option<FoundEvent>, StoreError> {
        let (slot, identity) = (
            Arc::clone(&self.memory.index),
            self.key.identity(&topic, &event_id),
        );
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let find = spawn_blocking(move || {
            let _permit = permit;
            let index = slot.read().unwrap_or_else(PoisonError::into_inner);
            index.as_ref().ok_or(IndexError::Away)?.find(identity)
        });
        let Some(entry) = find.await.map_err(|_| StoreError::Stopped)?? else {
            return Ok(None);
        };
        let sequence = entry.sequence;
        let gone = Arc::new(AtomicBool::new(false));
        let _gone = OnDrop(Arc::clone(&gone));
        let begun = self.read(move |read, inside| {
            let Some(found) = events::at(read, sequence, &topic, &event_id)? else {
                return Ok(None);
            };
            let mut repeats = repeats::Count::of(sequence, found.topic_duplicates);
            let again = repeats.go(read, inside)?;
            Ok(Some((found, repeats, again)))
        });
        let Some((found, mut repeats, again)) = begun.await? else {
            return Ok(None);
        };
        let again = if let Some(again) = again {
            again
        } else {
            let scan = Arc::clone(&self.scans).acquire_owned().await.ok();
            let count = self.read_on(move |read, inside| {
                let _scan = &scan;
                if gone.load(Ordering::Relaxed) {
                    // Nobody reads it.
                    return Ok(Some((0, 0)));
                }
                repeats.go(read, inside)
            });
            count.await?
        };
        Ok(Some(FoundEvent {
            event: found.event,
            stream_sequence: found.stream_sequence,
            position: found.position,
            again,
        }))
    }

    /// Duplicates since the start of the process, of one topic or of all that are visible: the latest ones, and the identities
    /// with the most repeats, at most `limit` of each.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn duplicates(
        &self,
        topic: Option<String>,
        visible: Visible,
        limit: usize,
    ) -> Result<Duplicates, StoreError> {
        let known = self.memory.duplicates.clone();
        let mut reading = duplicates::Reading::new(known, topic, visible, limit);
        self.read_on(move |read, inside| reading.go(read, inside))
            .await
    }

    /// A page of topics. If the caller drops the future, reading ends within one row.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn topics(
        &self,
        mut query: TopicQuery,
        limit: usize,
    ) -> Result<TopicPage, StoreError> {
        let leaders = self.memory.leaders.clone();
        let scan = if query.is_scan() {
            Arc::clone(&self.scans).acquire_owned().await.ok()
        } else {
            None
        };
        let gone = Arc::new(AtomicBool::new(false));
        let _gone = OnDrop(Arc::clone(&gone));
        self.read_on(move |read, inside| {
            let _scan = &scan;
            match topics::page(read, &query, limit, &leaders, (inside, &gone))? {
                topics::Step::Page(page) => Ok(Some(page)),
                topics::Step::On(name) => {
                    query.after = Some(name);
                    Ok(None)
                }
            }
        })
        .await
    }

    /// Loads the topics stored before the start into the leaders that memory keeps for each sort key, until all are loaded:
    /// in short reads, and again after a failed write.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`]; the call can be repeated.
    pub async fn learn_leaders(&self) -> Result<(), StoreError> {
        loop {
            let scan = Arc::clone(&self.scans).acquire_owned().await.ok();
            let leaders = self.memory.leaders.clone();
            let learn = self.read(move |read, inside| {
                let _scan = scan;
                topics::learn(read, &leaders, inside)
            });
            if learn.await? {
                return Ok(());
            }
        }
    }

    /// A page of the rejected arrivals that a query selects, newest first.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn rejected<S: Sink<Rejected>>(
        &self,
        query: ReviewQuery,
        limit: usize,
        sink: S,
    ) -> Result<ReviewPage<S>, StoreError> {
        self.read(move |read, inside| review::rejected(read, inside, (&query, limit), sink))
            .await
    }

    /// One rejected arrival; `None` if there is none with this id or it has been evicted.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn rejected_one(&self, id: i64) -> Result<Option<Rejected>, StoreError> {
        self.read(move |read, _| review::rejected_one(read, id))
            .await
    }

    /// A page of the conflicts that a query selects, newest first.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn conflicts<S: Sink<Conflict>>(
        &self,
        query: ReviewQuery,
        limit: usize,
        sink: S,
    ) -> Result<ReviewPage<S>, StoreError> {
        self.read(move |read, inside| review::conflicts(read, inside, (&query, limit), sink))
            .await
    }

    /// The latest ranges of missing sequences, including acknowledged ones.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn missing(&self, limit: usize) -> Result<Vec<Missing>, StoreError> {
        self.read(move |read, _| review::missing(read, limit)).await
    }

    /// The counters, with the first `names` topic names.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn stats(&self, names: usize) -> Result<Stats, StoreError> {
        let known = self.memory.missing.clone();
        self.read(move |read, _| stats::stats(read, names, &known))
            .await
    }

    /// The counters and the sizes of the store's files.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        let file = Arc::clone(&self.file);
        let known = self.memory.missing.clone();
        let index = Arc::clone(&self.memory.index);
        self.read(move |read, _| figures::read(read, &file, &known, &index))
            .await
    }

    /// The events that a query selects, over time; `None` if its span of time is empty or too long.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn histogram(
        &self,
        query: HistogramQuery,
    ) -> Result<Result<Histogram, NoHistogram>, StoreError> {
        let scan = if query.topics.is_empty() && !query.visible.is_every() {
            Arc::clone(&self.scans).acquire_owned().await.ok()
        } else {
            None
        };
        self.read(move |read, inside| {
            let _scan = scan;
            history::histogram(read, &query, inside)
        })
        .await
    }

    /// The disk with the store's files, at the time `now` in microseconds since 1970.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn disk(&self, now: i64) -> Result<Option<Disk>, StoreError> {
        let file = Arc::clone(&self.file);
        self.read(move |read, _| figures::disk(read, &file, now))
            .await
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Transaction<'_>, &Inside) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut query = Some(query);
        self.read_on(move |read, inside| query.take().map(|query| query(read, inside)).transpose())
            .await
    }

    /// Runs a query repeatedly, each time in a new transaction, until it returns a result. The gate may be closed between
    /// the transactions.
    async fn read_on<T: Send + 'static>(
        &self,
        mut query: impl FnMut(&Transaction<'_>, &Inside) -> rusqlite::Result<Option<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let reader = self.clone();
        let task = spawn_blocking(move || {
            let _permit = permit;
            let idle = || reader.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let pooled = idle().pop();
            let mut connection = if let Some(connection) = pooled {
                connection
            } else {
                // Replaces one that failed.
                let memory = &reader.memory;
                connect_again(&reader.file, &memory.files, memory.reader_pages)?
            };
            let result = loop {
                let inside = reader.memory.gate.enter();
                let transaction = connection.transaction()?;
                if let Some(result) = query(&transaction, &inside)? {
                    break result;
                }
            };
            // A connection that failed is not used again.
            idle().push(connection);
            Ok(result)
        });
        task.await.map_err(|_| StoreError::Stopped)?
    }
}
