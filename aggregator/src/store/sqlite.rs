//! The store in SQLite, in WAL mode with `synchronous=FULL`: one writer and short reads.
//!
//! The [`writer`] hands batches to the thread that owns the only writable connection; [`dedup`] finds which identities are
//! already stored. A [`reader`] answers queries from read-only connections.

pub mod dedup;
pub mod error_class;
pub mod export;
pub mod file;
pub mod gate;
pub mod inspect;
pub mod memory;
pub mod options;
pub mod reader;
pub mod repeats;
pub mod sorted_runs;
#[cfg(test)]
pub mod tests;
pub mod topics;
pub mod verify;
pub mod writer;

use std::path::Path;

pub use rusqlite::Error as DatabaseError;

pub use self::{
    dedup::index::{FOLDER as INDEX_FOLDER, IndexError},
    file::{backup, schema::VERSION as SCHEMA_VERSION},
};
use self::{
    options::Options,
    reader::Reader,
    writer::{Location, Writer, WriterEnded},
};
use super::{Limits, StoreError, opening::Opening};

/// The file's name in the data directory.
pub const FILE: &str = "aggregator.db";

/// How long a connection waits for a lock that another connection holds.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Opens the store in `directory`, creating it if needed, and starts its writer.
pub fn open(
    directory: &Path,
    now: i64,
    limits: Limits,
    opening: Opening,
) -> Result<(Writer, WriterEnded, Reader), StoreError> {
    let Limits { bounds, memory } = limits;
    let options = Options {
        memory,
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
    // A symbolic link that is changed while the store is open must not split the store over two directories.
    let real = directory.canonicalize();
    let real = real.unwrap_or_else(|_| directory.to_owned());
    let location = Location {
        file: real.join(FILE),
        index: real.join(INDEX_FOLDER),
        directory: real,
        given: directory.to_owned(),
        options,
    };
    let file = location.file.clone();
    let (writer, ended, memory) = writer::start(location, &dedup::lookup::Slot::default(), now)?;
    let reader = Reader::open(&file, memory)?;
    Ok((writer, ended, reader))
}
