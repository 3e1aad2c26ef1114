//! What the database contains at a moment, read through a read-only connection.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

use super::stream::Record;

#[derive(Debug)]
pub struct Evidence(Connection);

impl Evidence {
    pub fn of(directory: &Path) -> Self {
        let file = directory.join(aggregator::store::FILE);
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY);
        Self(connection.expect("the store can be opened"))
    }

    /// Checks that all elements of a message are in the store, under its sequence where that is recorded.
    ///
    /// # Errors
    /// What is missing.
    pub fn holds(&self, record: &Record) -> Result<(), String> {
        for (position, identity, _) in record.message.events() {
            let sql = "SELECT count(*) FROM events JOIN topics ON topics.id = topic_id WHERE name = ?1 AND event_id = ?2";
            if self.count(sql, params![identity.0, identity.1]) != 1 {
                return Err(format!(
                    "event {identity:?} at position {position} is not stored exactly once"
                ));
            }
        }
        let sql = "SELECT count(*) FROM rejected WHERE stream_sequence = ?1";
        if self.count(sql, params![record.sequence]) < record.message.rejected() {
            return Err("a rejected arrival is not kept".to_owned());
        }
        let sql = "SELECT count(*) FROM applied WHERE first <= ?1 AND ?1 <= last";
        if self.count(sql, params![record.sequence]) == 0 {
            return Err("its sequence is not among the applied ones".to_owned());
        }
        Ok(())
    }

    /// Whether a message is applied, judged by its sequence, its time and its events.
    pub fn is_applied(&self, record: &Record) -> bool {
        let sql = "SELECT count(*) FROM applied JOIN incarnations ON id = incarnation \
                   WHERE first <= ?1 AND ?1 <= last AND ?2 <= latest_time";
        self.count(sql, params![record.sequence, record.time]) > 0 && self.holds(record).is_ok()
    }

    fn count(&self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> usize {
        let mut statement = self.0.prepare_cached(sql).expect("a query");
        statement
            .query_row(values, |row| row.get(0))
            .expect("the store can be queried")
    }
}
