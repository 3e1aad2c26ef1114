//! A store that tests can close, reopen, inspect and break.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};
use shared::stream::StreamState;
use tokio::runtime::Runtime;

pub use crate::store::tests::arrivals::{Arrival, delivery, event, json, mixed_delivery};
use crate::store::{
    Appended, Delivery, StoreError,
    query::{EventPage, EventQuery, PageBounds, Stats},
    sqlite::{
        FILE,
        dedup::index::Index,
        open_with,
        options::Options,
        reader::Reader,
        sorted_runs::{Entries, writer::RunWriter},
        topics::{STATES, StoredTopics, TopicState, digest::Digest},
        writer::{Writer, WriterEnded},
    },
};

/// Another connection to a file, to damage it.
pub fn raw(file: &Path) -> Connection {
    Connection::open(file).unwrap()
}

/// A store that can be closed, inspected and reopened.
pub struct Store {
    pub runtime: Runtime,
    directory: tempfile::TempDir,
    open: Option<(Writer, WriterEnded, Reader)>,
    pub options: Options,
    pub now: i64,
}

impl Store {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let mut store = Self {
            runtime: Runtime::new().unwrap(),
            directory: tempfile::tempdir().unwrap(),
            open: None,
            options,
            now: 0,
        };
        store.reopen();
        store
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn close(&mut self) {
        if let Some((writer, ended, _)) = self.open.take() {
            drop(writer);
            self.runtime.block_on(ended.wait()).unwrap();
        }
    }

    pub fn try_reopen(&mut self) -> Result<(), StoreError> {
        self.close();
        self.open = Some(open_with(self.path(), self.now, self.options.clone())?);
        Ok(())
    }

    pub fn reopen(&mut self) {
        self.try_reopen().unwrap();
    }

    pub fn writer(&self) -> &Writer {
        &self.open.as_ref().unwrap().0
    }

    pub fn reader(&self) -> &Reader {
        &self.open.as_ref().unwrap().2
    }

    pub fn meet(&self, created: i64, first: u64, last: u64) -> u64 {
        let stream = StreamState {
            name: "EVENTS".to_owned(),
            created,
            first,
            last,
            messages: last + 1 - first,
            bytes: 0,
        };
        let met = self
            .runtime
            .block_on(self.writer().meet(stream.into(), self.now));
        met.unwrap().standing.floor
    }

    pub fn append(&mut self, batch: &[Delivery]) -> Result<Appended, StoreError> {
        self.now += 1;
        let batch = Arc::new(batch.to_vec());
        self.runtime.block_on(self.writer().append(batch, self.now))
    }

    pub fn with_index<T>(&self, read: impl FnOnce(&Index) -> T) -> T {
        read(self.reader().memory.index.read().unwrap().as_ref().unwrap())
    }

    /// Waits until no full table is left to be sealed, or the index has failed.
    pub fn settle(&self) {
        self.wait_for_index(Index::is_settled);
    }

    /// Waits until the index writes no file, or has failed.
    pub fn idle(&self) {
        self.wait_for_index(Index::is_idle);
    }

    fn wait_for_index(&self, is_done: impl Fn(&Index) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let index = self.reader().memory.index.read().unwrap();
        while index
            .as_ref()
            .is_some_and(|index| index.is_sound() && !is_done(index))
        {
            assert!(Instant::now() < deadline, "the index never comes to rest");
            std::thread::yield_now();
        }
    }

    /// Another connection to the file, to inspect or break it.
    pub fn raw_connection(&self) -> Connection {
        Connection::open(self.path().join(FILE)).unwrap()
    }

    pub fn page(&self, topic: Option<&str>, before: Option<i64>, limit: usize) -> EventPage {
        let query = EventQuery {
            topics: topic.map(str::to_owned).into_iter().collect(),
            ..EventQuery::default()
        };
        self.ask(query, before, limit)
    }

    pub fn ask(&self, query: EventQuery, from: Option<i64>, limit: usize) -> EventPage {
        let bounds = PageBounds {
            from,
            after: 0,
            last: i64::MAX,
            limit,
        };
        self.runtime.block_on(async {
            let scan = self.reader().scan(&query, &bounds).await;
            let page = self
                .reader()
                .events(Arc::new(query), bounds, scan, Vec::new());
            page.await.unwrap()
        })
    }

    pub fn stats(&self) -> Stats {
        self.runtime.block_on(self.reader().stats(1_000)).unwrap()
    }
}

/// The topics of a store with their names.
pub fn topics(file: &Connection) -> Vec<(TopicState, String)> {
    let mut topics = Vec::new();
    let each = |state: &TopicState, name: &str| {
        topics.push((*state, name.to_owned()));
        Ok(true)
    };
    StoredTopics::open(file).unwrap().after(0, each).unwrap();
    topics
}

/// Gives a store of the current version the topics of version 5.
pub fn to_version_5(file: &Connection) {
    let topics = topics(file);
    file.execute_batch(
        "ALTER TABLE conflicts DROP COLUMN sent_by; ALTER TABLE rejected DROP COLUMN sent_by; \
         DROP INDEX rejected_requeued; DROP TABLE repeats; DROP TABLE topics; DROP TABLE topic_states; DROP TABLE topic_names; DROP TABLE runs; \
         CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, \
         received INTEGER NOT NULL, unique_processed INTEGER NOT NULL, \
         duplicate_dropped INTEGER NOT NULL, digest BLOB NOT NULL, first_at INTEGER NOT NULL, \
         last_at INTEGER NOT NULL, last_sequence INTEGER NOT NULL); \
         PRAGMA user_version = 5",
    )
    .unwrap();
    for (state, name) in topics {
        let TopicState {
            id,
            unique,
            duplicates,
            digest,
            first_at,
            last_at,
            last_sequence,
        } = state;
        let (received, digest) = (state.received(), digest.to_bytes());
        file.execute(
            "INSERT INTO topics VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                id,
                name,
                received,
                unique,
                duplicates,
                digest,
                first_at,
                last_at,
                last_sequence
            ],
        )
        .unwrap();
    }
}

/// Changes a store by SQL, for which the table `topics` has the counts and digests too.
pub fn change(file: &Connection, sql: &str) {
    const FLAT: &str = "CREATE TEMP TABLE flat (id INTEGER PRIMARY KEY, name TEXT, \
         unique_processed INTEGER, duplicate_dropped INTEGER, digest BLOB, last_sequence INTEGER)";
    file.execute_batch(FLAT).unwrap();
    for (state, name) in topics(file) {
        let TopicState {
            id,
            unique,
            duplicates,
            digest,
            last_sequence,
            ..
        } = state;
        let row = params![
            id,
            name,
            unique,
            duplicates,
            digest.to_bytes(),
            last_sequence
        ];
        file.execute("INSERT INTO flat VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row)
            .unwrap();
    }
    // In the schema `temp`, a name hides the one of the store.
    file.execute_batch("ALTER TABLE temp.flat RENAME TO topics")
        .unwrap();
    file.execute_batch(sql).unwrap();
    let mut changed = Entries::default();
    let mut select = file
        .prepare(
            "SELECT id, unique_processed, duplicate_dropped, digest, last_sequence FROM topics",
        )
        .unwrap();
    let mut rows = select.query([]).unwrap();
    let mut kept = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let state = TopicState {
            unique: row.get(1).unwrap(),
            duplicates: row.get(2).unwrap(),
            digest: Digest::from_bytes(row.get(3).unwrap()),
            last_sequence: row.get(4).unwrap(),
            ..TopicState::new(row.get(0).unwrap(), 0)
        };
        kept.push(state.id.to_string());
        state.push(&mut changed);
    }
    drop(rows);
    drop(select);
    let kept = kept.join(", ");
    file.execute_batch(&format!(
        "DROP TABLE temp.topics; DELETE FROM topics WHERE id NOT IN ({kept}); \
         DELETE FROM topic_states; DELETE FROM runs WHERE tree = 'topic_states'"
    ))
    .unwrap();
    RunWriter::load(file, STATES)
        .unwrap()
        .append(file, &changed)
        .unwrap();
}

/// The point at which a write fails, caused from another connection.
#[derive(Debug, Clone, Copy)]
pub enum Failure {
    Middle,
    Commit,
}

pub fn break_writes(file: &Connection, failure: Failure) {
    let sql = match failure {
        Failure::Middle => {
            "CREATE TRIGGER broken BEFORE UPDATE ON counters \
             BEGIN SELECT RAISE(ABORT, 'on purpose'); END"
        }
        // A deferred foreign key is checked by COMMIT.
        Failure::Commit => {
            "CREATE TABLE parent (id INTEGER PRIMARY KEY); \
             CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED); \
             CREATE TRIGGER broken BEFORE UPDATE ON counters \
             BEGIN INSERT INTO child VALUES (7); END"
        }
    };
    file.execute_batch(sql).unwrap();
}

pub fn repair_writes(file: &Connection) {
    file.execute_batch(
        "DROP TRIGGER broken; DROP TABLE IF EXISTS child; DROP TABLE IF EXISTS parent",
    )
    .unwrap();
}

/// Lets writes to the store in a directory fail.
pub fn break_file(directory: &Path, failure: Failure) {
    break_writes(&Connection::open(directory.join(FILE)).unwrap(), failure);
}

/// Lets them succeed again.
pub fn repair_file(directory: &Path) {
    repair_writes(&Connection::open(directory.join(FILE)).unwrap());
}
