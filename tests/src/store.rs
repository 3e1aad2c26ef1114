//! The aggregator's database from outside: what is stored, and deliberate damage.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row};

/// The database of a data directory.
#[derive(Debug)]
pub struct Store(PathBuf);

/// A row of `rejected`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The reason, for programs.
    pub reason: String,
    /// The subject that it arrived on.
    pub subject: String,
    /// Its position in its message.
    pub position: i64,
    /// The bytes received.
    pub body: Vec<u8>,
}

impl Store {
    /// The database in this data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("aggregator.db"))
    }

    /// The rows of a query.
    pub fn query<T>(&self, sql: &str, row: impl Fn(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let connection = Connection::open_with_flags(&self.0, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let connection = connection.expect("the store can be opened");
        let mut statement = connection.prepare(sql).expect("a query");
        let rows = statement.query_map([], |found| row(found));
        let rows: rusqlite::Result<_> = rows.expect("the store can be queried").collect();
        rows.expect("the rows are as expected")
    }

    /// The single number that a query returns.
    pub fn number(&self, sql: &str) -> i64 {
        self.query(sql, |row| row.get(0))[0]
    }

    /// The rejected arrivals, in the order of the stream.
    pub fn rejected(&self) -> Vec<Rejected> {
        let sql = "SELECT reason, subject, position, body FROM rejected \
                   ORDER BY stream_sequence, position";
        self.query(sql, |row| {
            Ok(Rejected {
                reason: row.get(0)?,
                subject: row.get(1)?,
                position: row.get(2)?,
                body: row.get(3)?,
            })
        })
    }

    /// The stored content of every event, to compare two moments.
    pub fn contents(&self) -> Vec<String> {
        let sql = "SELECT sequence, name, event_id, timestamp, source, payload, processed_at, \
                   incarnation, stream_sequence, position, timestamp_filled \
                   FROM events JOIN topics ON topics.id = topic_id ORDER BY sequence";
        self.query(sql, |row| {
            let values: Result<Vec<rusqlite::types::Value>, _> =
                (0..11).map(|column| row.get(column)).collect();
            Ok(format!("{:?}", values?))
        })
    }

    /// Changes the database behind the aggregator's back.
    pub fn change(&self, sql: &str) {
        self.writable().execute_batch(sql).expect("a change");
    }

    /// Prevents all other writes until it is dropped.
    pub fn lock(&self) -> WriteLock {
        let connection = self.writable();
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .expect("the lock is free between two writes");
        WriteLock(connection)
    }

    fn writable(&self) -> Connection {
        let connection = Connection::open(&self.0).expect("the store can be opened");
        connection
            .busy_timeout(crate::wait::DEADLINE)
            .expect("a timeout can be set");
        connection
    }
}

/// A write lock, held by a transaction that writes nothing.
#[derive(Debug)]
#[must_use = "the lock is free again when this is dropped"]
pub struct WriteLock(Connection);

impl Drop for WriteLock {
    fn drop(&mut self) {
        let rolled_back = self.0.execute_batch("ROLLBACK");
        rolled_back.expect("a transaction can be rolled back");
    }
}
