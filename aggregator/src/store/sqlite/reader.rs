//! Queries: short reads on read-only connections. Each answer is of one commit: it is read in one transaction, or in several
//! where what is read never changes.
//!
//! None goes on for long, nor when the gate closes: a page ends with what it has by then.

mod duplicates;
mod events;
mod figures;
mod kept;
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

pub use self::events::SCAN_ROWS;
use super::{
    dedup::{fingerprint::Key, index::IndexError},
    file::connection::{connect, connect_again},
    gate::Inside,
    memory::Memory,
};
use crate::store::{
    StoreError,
    query::{
        Conflict, Duplicates, EventPage, EventQuery, Figures, Filter, FoundEvent, KeptPage,
        Missing, PageBounds, Rejected, Sink, Stats, StoredEvent, TopicPage, TopicQuery,
    },
};

/// Queries that run at once.
const CONNECTIONS: usize = 4;

/// Of these, those that look at many rows.
const SCANS: usize = 2;

/// Answers queries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    file: Arc<PathBuf>,
    pub(in crate::store) memory: Memory,
    key: Key,
    idle: Arc<Mutex<Vec<Connection>>>,
    places: Arc<Semaphore>,
    /// Of these, those that may be taken for long.
    scans: Arc<Semaphore>,
}

/// A place among the questions that look at many rows; for others it is none.
#[derive(Debug)]
pub struct Scan {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Tells a query that nobody waits for it any more.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Reader {
    /// For a store whose writer has opened it.
    pub(in crate::store) fn open(file: &Path, memory: Memory) -> Result<Self, StoreError> {
        // All of them now, and with a first read: then they have the files open that the writer has, whatever becomes of
        // the paths.
        let mut key = None;
        let idle = (0..CONNECTIONS).map(|_| {
            let connection = connect(file)?;
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
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            scans: Arc::new(Semaphore::new(SCANS)),
        })
    }

    /// A place for what looks at many rows, once there is one: such questions leave connections to others. Whoever waits for
    /// it may have its place among the answers already; it must have none of the connections.
    pub async fn scan(&self, question: &EventQuery) -> Scan {
        if question.filter == Filter::default() {
            return Scan { _permit: None };
        }
        let permit = Arc::clone(&self.scans).acquire_owned().await;
        Scan {
            _permit: permit.ok(),
        }
    }

    /// A page of the events that a question is about. Where the caller gives it up, reading ends within a row.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn events<S: Sink<StoredEvent>>(
        &self,
        question: Arc<EventQuery>,
        extent: PageBounds,
        scan: Scan,
        sink: S,
    ) -> Result<EventPage<S>, StoreError> {
        let gone = Arc::new(AtomicBool::new(false));
        let _gone = OnDrop(Arc::clone(&gone));
        let mut paging = Some(events::Paging::new(question, extent, sink, gone));
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

    /// How many events of the topics, or of all where none is named, lie after the sequence `after` and not after `upto`.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn events_between(
        &self,
        question: Arc<EventQuery>,
        after: i64,
        upto: i64,
    ) -> Result<u64, StoreError> {
        let mut between = events::Between::new(question, after, upto);
        self.read_on(move |read, inside| between.go(read, inside))
            .await
    }

    /// The sequence of the last event, as of the last commit, and of each one from then on.
    #[must_use]
    pub fn last_event(&self) -> watch::Receiver<i64> {
        self.memory.last_event.clone()
    }

    /// The event of an identity, found through the dedup index; none where it is not stored.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], and [`StoreError::Index`], also while the index is made anew.
    pub async fn event(
        &self,
        topic: String,
        event_id: String,
    ) -> Result<Option<FoundEvent>, StoreError> {
        let (slot, identity) = (
            Arc::clone(&self.memory.index),
            self.key.identity(&topic, &event_id),
        );
        let find = spawn_blocking(move || {
            let index = slot.read().unwrap_or_else(PoisonError::into_inner);
            index.as_ref().ok_or(IndexError::Away)?.find(identity)
        });
        let Some(entry) = find.await.map_err(|_| StoreError::Stopped)?? else {
            return Ok(None);
        };
        let again = self.memory.duplicates.of(entry.sequence);
        let found = self
            .read(move |read, _| events::at(read, entry.sequence, &topic, &event_id))
            .await?;
        Ok(found.map(|(event, stream_sequence, position)| FoundEvent {
            event,
            stream_sequence,
            position,
            again,
        }))
    }

    /// Duplicates that came since the start, of a topic or of all: the latest ones, and the identities that came again
    /// most often, at most `limit` of each.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn duplicates(
        &self,
        topic: Option<String>,
        limit: usize,
    ) -> Result<Duplicates, StoreError> {
        let known = self.memory.duplicates.clone();
        let mut reading = duplicates::Reading::new(known, topic, limit);
        self.read_on(move |read, inside| reading.go(read, inside))
            .await
    }

    /// A page of topics. Where the caller gives it up, reading ends within a row.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn topics(
        &self,
        question: TopicQuery,
        limit: usize,
    ) -> Result<TopicPage, StoreError> {
        let leaders = self.memory.leaders.clone();
        let scan = if question.is_scan() {
            Arc::clone(&self.scans).acquire_owned().await.ok()
        } else {
            None
        };
        let gone = Arc::new(AtomicBool::new(false));
        let _gone = OnDrop(Arc::clone(&gone));
        self.read(move |read, inside| {
            let _scan = scan;
            topics::page(read, &question, limit, &leaders, (inside, &gone))
        })
        .await
    }

    /// Brings topics that were stored before the start into memory, where those that lead by a count are known, until all
    /// are: in short reads, and again after a failed write.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`]; it can be called again.
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

    /// A page of rejected arrivals, the latest first: those before the one with the id `before`.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn rejected<S: Sink<Rejected>>(
        &self,
        before: Option<i64>,
        limit: usize,
        sink: S,
    ) -> Result<KeptPage<S>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        self.read(move |read, inside| kept::rejected(read, inside, (before, limit), sink))
            .await
    }

    /// One rejected arrival; none where it is not kept.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn rejected_one(&self, id: i64) -> Result<Option<Rejected>, StoreError> {
        self.read(move |read, _| kept::rejected_one(read, id)).await
    }

    /// A page of conflicts, the latest first: those before the one with the id `before`.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn conflicts<S: Sink<Conflict>>(
        &self,
        before: Option<i64>,
        limit: usize,
        sink: S,
    ) -> Result<KeptPage<S>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        self.read(move |read, inside| kept::conflicts(read, inside, (before, limit), sink))
            .await
    }

    /// The latest ranges of missing sequences, acknowledged ones too.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn missing(&self, limit: usize) -> Result<Vec<Missing>, StoreError> {
        self.read(move |read, _| kept::missing(read, limit)).await
    }

    /// The bookkeeping, with the first `names` topic names.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn stats(&self, names: usize) -> Result<Stats, StoreError> {
        let known = self.memory.missing.clone();
        self.read(move |read, _| stats::stats(read, names, &known))
            .await
    }

    /// The bookkeeping with the sizes of the store's files.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        let file = Arc::clone(&self.file);
        let known = self.memory.missing.clone();
        self.read(move |read, _| figures::read(read, &file, &known))
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

    /// A query that is asked again, in another transaction, until it has an answer. Between them the gate may be closed.
    async fn read_on<T: Send + 'static>(
        &self,
        mut query: impl FnMut(&Transaction<'_>, &Inside) -> rusqlite::Result<Option<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let reader = self.clone();
        let task = spawn_blocking(move || {
            let _place = place;
            let idle = || reader.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let pooled = idle().pop();
            let mut connection = match pooled {
                Some(connection) => connection,
                // In the place of one that failed.
                None => connect_again(&reader.file, &reader.memory.files)?,
            };
            let answer = loop {
                let inside = reader.memory.gate.enter();
                let transaction = connection.transaction()?;
                if let Some(answer) = query(&transaction, &inside)? {
                    break answer;
                }
            };
            // A connection that failed is not used again.
            idle().push(connection);
            Ok(answer)
        });
        task.await.map_err(|_| StoreError::Stopped)?
    }
}
