//! Writes the copy of a store of another engine into a database, and reads it back.
//!
//! All counts of the copy are in the rows of one writer, whose number no aggregator has. A chunk locks the progress of its part, so that
//! it is written once, whatever became of the answer to an earlier COMMIT and whether another process copies, too.

mod begin;
mod check;
mod counted;
mod read_back;
mod write;

use tokio_postgres::Row;

pub use self::begin::Start;
use super::{
    connect::{Pool, Transaction},
    error::DatabaseError,
    lives::unsigned,
};
use crate::store::{
    StoreError,
    copy::{
        CopyError,
        rows::{Part, Sums},
    },
    fingerprint::Key,
};

/// The writer whose rows have the counts of the copy. Those of aggregators are not negative.
const WRITER: i32 = -1;

/// The part of the progress with the state of the store itself; `hashes` has its mark.
const STORE: &str = "store";

/// The part of the progress of the counts, which are written in one step.
const COUNTS: &str = "counts";

/// For statements that read or change a whole table.
const PATIENT: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '60s'";

/// A database that a store is copied to.
pub(in crate::store) struct Target {
    pool: Pool,
    key: Key,
}

impl From<tokio_postgres::Error> for CopyError {
    fn from(err: tokio_postgres::Error) -> Self {
        Self::Target(err.into())
    }
}

impl From<DatabaseError> for CopyError {
    fn from(err: DatabaseError) -> Self {
        Self::Target(err.into())
    }
}

impl Target {
    /// How far a part is: the number of the last row in the other store, and the sums over the rows up to it.
    pub async fn progress(&self, part: Part) -> Result<(i64, Sums), CopyError> {
        let client = self.pool.get().await?;
        let sql =
            "SELECT last, rows, hashes::text, digests::text FROM copy_progress WHERE part = $1";
        let row = client.query_one(sql, &[&part.name()]).await?;
        let sums = Sums {
            rows: unsigned(row.get(1)),
            hashes: number(&row, 2)?,
            digests: number(&row, 3)?,
        };
        Ok((row.get(0), sums))
    }

    /// Makes the copy a store that aggregators can use.
    pub async fn complete(&self, now: i64) -> Result<(), CopyError> {
        let transaction = Transaction::begin(&self.pool).await?;
        let client = transaction.client();
        let sql = "UPDATE store SET copied_at = $1";
        client.execute(sql, &[&now]).await?;
        client
            .execute("DELETE FROM copy_progress WHERE part <> $1", &[&STORE])
            .await?;
        Ok(transaction.commit().await?)
    }
}

/// A column of rows that are inserted together.
fn column<'a, T: 'a>(rows: impl IntoIterator<Item = &'a T>, of: impl Fn(&T) -> i64) -> Vec<i64> {
    rows.into_iter().map(of).collect()
}

/// A sum modulo 2^128, which the client has no type for, from the text of a column.
fn number(row: &Row, column: usize) -> Result<u128, CopyError> {
    let text: String = row.get(column);
    let wrong = || StoreError::Foreign(format!("{text} is not a sum in it"));
    text.parse().map_err(|_| CopyError::Target(wrong()))
}
