//! The store: its types and how it is opened. There are two engines: `sqlite`, a directory of one aggregator, and `postgres`, a database
//! that several share.
//!
//! [`Writer`] appends batches; nothing else writes events. [`Reader`] answers queries. Both are enums of the engines': the
//! compiler sees through them, and no other module knows an engine.

pub mod copy;
mod digest;
mod fingerprint;
mod kept;
mod matcher;
mod opening;
mod position;
mod postgres;
pub mod query;
pub mod ranges;
mod reader;
mod record;
mod sqlite;
#[cfg(test)]
mod tests;
pub mod verify;
mod waits;
mod writer;

use std::path::{Path, PathBuf};

use shared::{message::Arrivals, publish::Senders};

use crate::memory::{self, OfStore, Shares};

pub use self::{
    opening::Opening,
    position::{Looked, ObservedStream, Position, Standing, Witness},
    postgres::{
        Address, AddressError, DATABASE_SCHEMA_VERSION, DatabaseInspection,
        Retained as RetainedShared, SchemaChange, init as init_shared, inspect as inspect_shared,
        nothing_applied, verify as verify_shared,
    },
    reader::{Reader, Scan},
    record::Record,
    sqlite::{
        FILE, INDEX_FOLDER, IndexError, SCHEMA_VERSION, backup, inspect,
        reader::Resolved,
        verify::{Access, Retained, Verification, Verified, VerifyError},
    },
    waits::{Outcome, StreamPlace, Wait},
    writer::{Writer, WriterEnded},
};

/// Batches that the store works on concurrently. With `sqlite`, while one commits, the next waits for the writer thread and another
/// one is looked up; with `postgres`, each has a connection. The consumer keeps no more in flight.
pub const BATCHES_IN_FLIGHT: usize = 3;

/// A message as the durable consumer received it, decoded.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The subject that it was published to.
    pub subject: String,
    /// Its sequence number in the stream.
    pub sequence: u64,
    /// When the stream stored it, in nanoseconds since 1970.
    pub time: i64,
    /// Its elements: events and rejections.
    pub arrivals: Arrivals,
    /// The senders of its elements, as far as they are known.
    pub senders: Senders,
}

/// What one append did. Counts are of events, except `redelivered`, which counts messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Events that were stored.
    pub unique: u64,
    /// Events whose identity was already stored.
    pub duplicates: u64,
    /// Those of the duplicates that differ from the stored event.
    pub conflicts: u64,
    /// Arrivals that could not be stored as events.
    pub rejected: u64,
    /// Messages that had been applied before.
    pub redelivered: u64,
    /// Whether the broker reused sequence numbers, so that a new epoch began.
    pub epoch_begun: bool,
}

impl Appended {
    /// Events received: stored, duplicates and rejected.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.unique + self.duplicates + self.rejected
    }
}

/// Limits in bytes on the rows kept for review; the latest row of each table stays whatever its size.
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

/// Why a store operation failed. Nothing was changed, unless a COMMIT failed: whether that
/// took effect is read from the file before the next write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite reported an error.
    #[error("the database reports: {0}{advice}", advice = sqlite::error_class::advice(.0))]
    Sqlite(#[from] sqlite::DatabaseError),
    /// The database server reported an error, or cannot be reached.
    #[error("the database cannot be used: {0}")]
    Postgres(#[from] postgres::DatabaseError),
    /// The database has failed for some time.
    #[error("{0}")]
    Trouble(String),
    /// The file was created by a later version.
    #[error(
        "the database has schema version {found}, this program supports up to {known}; start the version that created it"
    )]
    Newer {
        /// The version of the file.
        found: i64,
        /// The latest supported version.
        known: i64,
    },
    /// The file's content is not valid.
    #[error("the database cannot be used: {0}")]
    Foreign(String),
    /// Another aggregator found that the stream was created again, and compared it with the store.
    #[error("the stream was compared again by another aggregator")]
    Superseded,
    /// A file of the store was deleted, moved or replaced while it was open. The last commits may be in no file that
    /// has a name.
    #[error(
        "{path} is not the file that the aggregator opened: {how}. Nothing is acked until the original is back. To continue with the present file, stop the aggregator, restore a backup if the original is lost, and start it again"
    )]
    Replaced {
        /// The file's path.
        path: PathBuf,
        /// What is at that path now.
        how: String,
    },
    /// The dedup index cannot be read or written. It is derived from the rows, and is rebuilt before the next write.
    #[error("the dedup index cannot be used: {0}")]
    Index(#[from] IndexError),
    /// The system cannot start the writer's threads.
    #[error("the store's writer cannot be started: {0}")]
    Thread(#[source] std::io::Error),
    /// The writer's thread has ended.
    #[error("the store's writer has stopped")]
    Stopped,
}

impl StoreError {
    /// Whether the cause is expected to pass within a moment, such as a lock held by another program.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Sqlite(err) => sqlite::error_class::is_passing(err),
            Self::Postgres(err) => err.is_passing(),
            _ => false,
        }
    }
}

/// The limits of a store.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of the rows kept for review.
    pub bounds: Bounds,
    /// Of memory.
    pub memory: OfStore,
}

impl Default for Limits {
    /// With the memory that a large machine has by default.
    fn default() -> Self {
        Self {
            bounds: Bounds::default(),
            memory: Shares::of(memory::MOST_BY_DEFAULT).store,
        }
    }
}

/// Opens the store in `directory`, creating it if needed, and starts its writer.
///
/// # Errors
/// [`StoreError`].
pub fn open(
    directory: &Path,
    now: i64,
    limits: Limits,
) -> Result<(Writer, WriterEnded, Reader), StoreError> {
    open_reporting(directory, now, limits, Opening::default())
}

/// As [`open`]; reports its progress to `opening`.
///
/// # Errors
/// [`StoreError`].
pub fn open_reporting(
    directory: &Path,
    now: i64,
    limits: Limits,
    opening: Opening,
) -> Result<(Writer, WriterEnded, Reader), StoreError> {
    let (writer, ended, reader) = sqlite::open(directory, now, limits, opening)?;
    Ok((
        Writer::Sqlite(writer),
        WriterEnded::Sqlite(ended),
        Reader::Sqlite(reader),
    ))
}

/// Opens the store in a database, creating its tables if needed. Reports its progress to `opening`.
///
/// # Errors
/// [`StoreError`]; also for settings of the database with which it could lose what was acked.
pub async fn open_shared(
    address: &Address,
    now: i64,
    bounds: Bounds,
    opening: &Opening,
) -> Result<(Writer, WriterEnded, Reader), StoreError> {
    let (writer, upkeep, reader) = postgres::open(address, now, bounds, opening).await?;
    Ok((
        Writer::Postgres(writer),
        WriterEnded::Postgres(upkeep),
        Reader::Postgres(reader),
    ))
}
