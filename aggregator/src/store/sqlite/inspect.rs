//! What a store says about itself, read without changing it: for `aggregator doctor`.

use std::{os::unix::ffi::OsStrExt, path::Path};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use serde::Serialize;

use super::{
    BUSY_TIMEOUT, FILE,
    file::schema,
    writer::state::{Counters, State},
};
use crate::{clock, store::StoreError};

/// Characters that have no meaning in a URI's path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.');

/// The store as of one commit.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// The schema version of the file.
    pub schema_version: i64,
    /// What it has recorded; `None` if this program does not know its schema version.
    pub record: Option<Record>,
}

/// The record of a store, without its topics.
#[derive(Debug, Serialize)]
pub struct Record {
    /// The store's id, which the durable names too.
    pub store_id: String,
    /// Events received.
    pub received: u64,
    /// Events stored.
    pub unique_processed: u64,
    /// Duplicates dropped.
    pub duplicate_dropped: u64,
    /// Arrivals rejected.
    pub rejected: u64,
    /// Conflicts.
    pub conflicts: u64,
    /// Messages delivered again after they were applied.
    pub redelivered: u64,
    /// Whether `received = unique_processed + duplicate_dropped + rejected`.
    pub consistent: bool,
    /// Topics that have events.
    pub topics: i64,
    /// Stream sequences lost before they were applied, and not acknowledged.
    pub missing: u64,
    /// The stream that it last consumed; `None` before the first.
    pub stream: Option<String>,
    /// The stream sequence up to which everything is applied.
    pub applied_floor: u64,
    /// The last time of processing, in RFC 3339; `None` if nothing was processed.
    pub processed_at: Option<String>,
}

/// Reads the store in `directory`. `is_in_use` says whether an aggregator may write to it meanwhile.
///
/// # Errors
/// [`StoreError`], also if there is no store.
pub fn inspect(directory: &Path, is_in_use: bool) -> Result<Inspection, StoreError> {
    let mut connection = open(&directory.join(FILE), is_in_use)?;
    let transaction = connection.transaction()?;
    let schema_version =
        transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    if schema_version != schema::VERSION {
        return match schema_version {
            0 => Err(StoreError::Foreign("it is not a store".to_owned())),
            _ => Ok(Inspection {
                schema_version,
                record: None,
            }),
        };
    }
    let state = State::load(&transaction)?;
    let Counters {
        received,
        unique_processed,
        duplicate_dropped,
        rejected,
        conflicts,
        redelivered,
        topics,
        processed_at,
        rejected_kept: _,
        conflicts_kept: _,
    } = state.counters;
    let record = Record {
        received,
        unique_processed,
        duplicate_dropped,
        rejected,
        conflicts,
        redelivered,
        topics,
        consistent: received == unique_processed + duplicate_dropped + rejected,
        missing: state.missing,
        stream: state.lives.last().map(|life| life.stream.clone()),
        applied_floor: state.standing().floor,
        processed_at: (processed_at > 0).then(|| clock::rfc3339(processed_at)),
        store_id: state.store_id,
    };
    Ok(Inspection {
        schema_version,
        record: Some(record),
    })
}

/// Opens a connection that changes nothing. If no process writes and there is no WAL to read, SQLite makes no file for the
/// memory that connections share either.
fn open(file: &Path, is_in_use: bool) -> Result<Connection, StoreError> {
    let wal = file.with_extension("db-wal").metadata();
    let has_wal = wal.is_ok_and(|wal| wal.len() > 0);
    let path = percent_encode(file.as_os_str().as_bytes(), PLAIN);
    let mode = if is_in_use || has_wal {
        "mode=ro"
    } else {
        "immutable=1"
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{path}?{mode}"), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}
