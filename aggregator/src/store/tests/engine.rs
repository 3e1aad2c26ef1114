//! A store of either engine that tests can close, reopen and break.

use std::{path::Path, sync::Arc};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{arrivals::stream, database::Database};
use crate::store::{
    self, Address, Appended, Bounds, Delivery, Limits, ObservedStream, Opening, Position, Reader,
    StoreError, Writer, WriterEnded, postgres,
    query::{EventPage, EventQuery, PageBounds, Stats},
    sqlite::tests::harness,
};

/// A store that can be closed, reopened and broken.
pub struct Store {
    pub runtime: Arc<Runtime>,
    place: Place,
    bounds: Bounds,
    open: Option<(Writer, WriterEnded, Reader)>,
    pub now: i64,
}

/// Where it is.
enum Place {
    Directory(TempDir),
    Database(Database),
}

pub use harness::Failure;

/// Runs a test with a store of each engine that is available.
pub fn each(test: impl Fn(Store)) {
    each_with(Bounds::default(), test);
}

/// The same, with these bounds.
pub fn each_with(bounds: Bounds, test: impl Fn(Store)) {
    eprintln!("with SQLite");
    test(Store::sqlite(bounds));
    if let Some(store) = Store::postgres(bounds) {
        eprintln!("with PostgreSQL");
        test(store);
    }
}

impl Store {
    pub fn sqlite(bounds: Bounds) -> Self {
        Self::at(Place::Directory(tempfile::tempdir().unwrap()), bounds)
    }

    /// `None` if PostgreSQL is not available.
    pub fn postgres(bounds: Bounds) -> Option<Self> {
        Some(Self::at(Place::Database(Database::new()?), bounds))
    }

    /// That in a database.
    pub fn in_database(database: Database, bounds: Bounds) -> Self {
        Self::at(Place::Database(database), bounds)
    }

    /// The same, which may fail.
    pub fn try_in_database(database: Database, bounds: Bounds) -> Result<Self, StoreError> {
        Self::try_at(Place::Database(database), bounds)
    }

    fn at(place: Place, bounds: Bounds) -> Self {
        Self::try_at(place, bounds).unwrap()
    }

    fn try_at(place: Place, bounds: Bounds) -> Result<Self, StoreError> {
        let mut store = Self {
            runtime: Arc::new(Runtime::new().unwrap()),
            place,
            bounds,
            open: None,
            now: 0,
        };
        store.try_reopen()?;
        Ok(store)
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        match &self.place {
            Place::Directory(directory) => directory.path(),
            Place::Database(_) => panic!("it is in a database"),
        }
    }

    pub fn close(&mut self) {
        if let Some((writer, ended, reader)) = self.open.take() {
            drop((writer, reader));
            self.runtime.block_on(ended.wait()).unwrap();
        }
    }

    pub fn reopen(&mut self) {
        self.try_reopen().unwrap();
    }

    fn try_reopen(&mut self) -> Result<(), StoreError> {
        self.close();
        let opened = match &self.place {
            Place::Directory(directory) => {
                let limits = Limits {
                    bounds: self.bounds,
                    ..Limits::default()
                };
                store::open(directory.path(), self.now, limits)
            }
            Place::Database(database) => {
                let address: Address = database.url().parse().unwrap();
                let opening = Opening::default();
                let open = store::open_shared(&address, self.now, self.bounds, &opening);
                self.runtime.block_on(open)
            }
        };
        self.open = Some(opened?);
        Ok(())
    }

    pub fn writer(&self) -> &Writer {
        &self.open.as_ref().unwrap().0
    }

    pub fn reader(&self) -> &Reader {
        &self.open.as_ref().unwrap().2
    }

    /// Runs the upkeep at once.
    pub fn upkeep(&self) {
        if let Writer::Postgres(writer) = self.writer() {
            self.runtime.block_on(postgres::pass(writer)).unwrap();
        }
    }

    pub fn meet(&self, met: impl Into<ObservedStream>) -> Position {
        let met = self.writer().meet(met.into(), self.now);
        self.runtime.block_on(met).unwrap()
    }

    pub fn meet_up_to(&self, last: u64) -> u64 {
        self.meet(stream(1, last)).standing.floor
    }

    pub fn append(&mut self, batch: &[Delivery]) -> Result<Appended, StoreError> {
        self.now += 1;
        let batch = Arc::new(batch.to_vec());
        self.runtime.block_on(self.writer().append(batch, self.now))
    }

    pub fn stats(&self) -> Stats {
        self.runtime.block_on(self.reader().stats(1_000)).unwrap()
    }

    pub fn ask(&self, query: EventQuery, from: Option<i64>, limit: usize) -> EventPage {
        let bounds = PageBounds {
            from,
            after: 0,
            last: i64::MAX,
            limit,
        };
        self.runtime.block_on(async {
            let reader = self.reader();
            let scan = reader.scan(&query, &bounds).await;
            let page = reader.events(Arc::new(query), bounds, scan, Vec::new());
            page.await.unwrap()
        })
    }

    pub fn page(&self, topic: Option<&str>, from: Option<i64>, limit: usize) -> EventPage {
        let query = EventQuery {
            topics: topic.map(str::to_owned).into_iter().collect(),
            ..EventQuery::default()
        };
        self.ask(query, from, limit)
    }

    /// Lets each write fail from now on, in the middle or at its COMMIT.
    pub fn break_writes(&self, failure: Failure) {
        match &self.place {
            Place::Directory(directory) => harness::break_file(directory.path(), failure),
            Place::Database(database) => {
                let trigger = match failure {
                    Failure::Middle => {
                        "CREATE TRIGGER broken BEFORE INSERT ON counters FOR EACH ROW"
                    }
                    Failure::Commit => {
                        "CREATE CONSTRAINT TRIGGER broken AFTER INSERT OR UPDATE ON counters DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
                    }
                };
                database.sql(&format!(
                    "CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS \
                     $$ BEGIN RAISE EXCEPTION 'on purpose'; END $$; {trigger} EXECUTE FUNCTION break()"
                ));
            }
        }
    }

    /// Lets writes succeed again.
    pub fn repair_writes(&self) {
        match &self.place {
            Place::Directory(directory) => harness::repair_file(directory.path()),
            Place::Database(database) => {
                database.sql("DROP FUNCTION break CASCADE");
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.close();
        }
    }
}
