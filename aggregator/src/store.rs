//! The store: its types and the ways in. What implements it is `sqlite`.
//!
//! [`Writer`] is the one way in: it appends batches. [`Reader`] answers queries.

mod opening;
mod position;
pub mod query;
pub mod ranges;
mod sqlite;
mod waits;

use std::path::{Path, PathBuf};

use shared::message::Arrivals;

pub use self::{
    opening::Opening,
    position::{ObservedStream, Position, Standing, Witness},
    sqlite::{
        FILE, INDEX_FOLDER, IndexError, backup,
        reader::{Reader, Scan},
        verify,
        writer::{Writer, WriterEnded},
    },
    waits::{Outcome, Place as StreamPlace, Wait},
};

/// A message as the durable consumer was given it, decoded.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The subject that it came on.
    pub subject: String,
    /// Its sequence number in the stream.
    pub sequence: u64,
    /// When the stream took it, in nanoseconds since 1970.
    pub time: i64,
    /// What it holds.
    pub arrivals: Arrivals,
}

/// What one batch did. Counts are of events, but for `redelivered`, which counts deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Events that were not stored before, and now are.
    pub unique: u64,
    /// Events whose identity was stored already.
    pub duplicates: u64,
    /// Those of them that differ from what is stored.
    pub conflicts: u64,
    /// Arrivals that could not be stored as events.
    pub rejected: u64,
    /// Messages that were applied before.
    pub redelivered: u64,
    /// Whether the broker was found to give sequence numbers out again.
    pub epoch_begun: bool,
}

/// Bytes of rows kept for people; the latest row of each stays whatever its size.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of rejected arrivals.
    pub rejected: u64,
    /// Of conflicts.
    pub conflicts: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            rejected: 64 * 1024 * 1024,
            conflicts: 64 * 1024 * 1024,
        }
    }
}

/// Why the store could not do something. Nothing was changed then, unless a COMMIT failed: whether that
/// took effect is read from the file before the next write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite reports it.
    #[error("the database reports: {0}{advice}", advice = sqlite::error_class::advice(.0))]
    Sqlite(#[from] sqlite::DatabaseError),
    /// The file was made by a later version.
    #[error(
        "the database has schema version {found}, this program knows {known}; start the version that made it"
    )]
    Newer {
        /// In the file.
        found: i64,
        /// The latest known here.
        known: i64,
    },
    /// The file holds something else than it should.
    #[error("the database cannot be used: {0}")]
    Foreign(String),
    /// A file of the store was deleted, moved or replaced while it was open. What was committed last may be in no file that
    /// has a name.
    #[error(
        "{path} is not the file that the aggregator opened any more: {how}. Nothing is acked until the original is back. To go on with what is there now, stop the aggregator, restore a backup if the original is lost, and start it again"
    )]
    Replaced {
        /// Where the file was.
        path: PathBuf,
        /// What is there instead.
        how: String,
    },
    /// The dedup index cannot be read or written. It is derived from the rows, and is made anew before the next write.
    #[error("the dedup index cannot be used: {0}")]
    Index(#[from] IndexError),
    /// The system has no room for the writer's threads.
    #[error("the store's writer cannot be started: {0}")]
    Thread(#[source] std::io::Error),
    /// The writer's thread has ended.
    #[error("the store's writer has stopped")]
    Stopped,
}

impl StoreError {
    /// Whether it goes away by itself within a moment, as a lock does that another program holds.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Sqlite(err) if sqlite::error_class::is_passing(err))
    }
}

/// Opens the store in `directory`, or makes it, and starts its writer.
///
/// # Errors
/// As [`StoreError`] tells.
pub fn open(
    directory: &Path,
    now: i64,
    bounds: Bounds,
) -> Result<(Writer, WriterEnded, Reader), StoreError> {
    open_observed(directory, now, bounds, Opening::default())
}

/// As [`open`]; how far it has come is told to `opening`.
///
/// # Errors
/// As [`StoreError`] tells.
pub fn open_observed(
    directory: &Path,
    now: i64,
    bounds: Bounds,
    opening: Opening,
) -> Result<(Writer, WriterEnded, Reader), StoreError> {
    sqlite::open(directory, now, bounds, opening)
}
