//! The store: SQLite in WAL mode with `synchronous=FULL`, one writer, short readers.
//!
//! [`Writer`] is the one way in: it hands batches to the thread that owns the only connection that can
//! write. [`Reader`] answers queries from read-only connections.

mod append;
pub mod backup;
mod digest;
mod duplicates;
mod files;
mod fingerprint;
mod gate;
mod incarnation;
mod index;
mod leaders;
mod lookup;
mod marks;
mod migrate;
mod opening;
mod options;
pub mod ranges;
pub mod reader;
mod schema;
mod state;
#[cfg(test)]
mod tests;
mod topics;
mod trouble;
pub mod verify;
mod waits;
mod writer;

use std::path::{Path, PathBuf};

use shared::message::Arrivals;

use self::{lookup::Slot, options::Options, writer::Place};

pub use self::{
    append::kept::Bounds,
    incarnation::{Met, Position, Standing, Witness},
    index::{FOLDER as INDEX_FOLDER, IndexError},
    opening::Opening,
    reader::Reader,
    waits::{Outcome, Place as StreamPlace, Wait},
    writer::{Writer, WriterEnded},
};

/// The file's name in the data directory.
pub const FILE: &str = "aggregator.db";

/// How long a connection waits for a lock that another one holds.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

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

/// Why the store could not do something. Nothing was changed then, unless a COMMIT failed: whether that
/// took effect is read from the file before the next write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite reports it.
    #[error("the database reports: {0}{advice}", advice = trouble::advice(.0))]
    Sqlite(#[from] rusqlite::Error),
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
        matches!(self, Self::Sqlite(err) if trouble::is_passing(err))
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
    let options = Options {
        bounds,
        opening,
        ..Options::default()
    };
    open_with(directory, now, options)
}

fn open_with(
    directory: &Path,
    now: i64,
    options: Options,
) -> Result<(Writer, WriterEnded, Reader), StoreError> {
    // A symbolic link that is pointed elsewhere must not have half of the store there.
    let real = directory.canonicalize();
    let real = real.unwrap_or_else(|_| directory.to_owned());
    let place = Place {
        file: real.join(FILE),
        index: real.join(index::FOLDER),
        directory: real,
        given: directory.to_owned(),
        options,
    };
    let file = place.file.clone();
    let (writer, ended, memory) = writer::start(place, &Slot::default(), now)?;
    let reader = Reader::open(&file, memory)?;
    Ok((writer, ended, reader))
}
