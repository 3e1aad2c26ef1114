//! What a store says about itself, read without changing it: for `aggregator doctor`.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use serde::Serialize;

use super::{
    BUSY_TIMEOUT, FILE,
    file::schema,
    verify::Access,
    writer::state::{Counters, State},
};
use crate::{
    clock,
    store::{StoreError, query::Stats},
};

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

/// Reads the store in `directory`; a missing store is an error. Also returns the file that this created and left behind, if any.
///
/// To read a WAL, SQLite creates the shared-memory file (`-shm`) if it is missing. It is removed again if no other process can
/// open the store meanwhile.
pub fn inspect(
    directory: &Path,
    access: Access,
) -> (Result<Inspection, StoreError>, Option<PathBuf>) {
    let file = directory.join(FILE);
    let memory = file.with_extension("db-shm");
    let had_memory = memory.exists();
    let read = read(&file, access, had_memory);
    let is_left = !had_memory && memory.exists();
    let is_removed = is_left && access == Access::Alone && fs::remove_file(&memory).is_ok();
    (read, (is_left && !is_removed).then_some(memory))
}

fn read(file: &Path, access: Access, has_memory: bool) -> Result<Inspection, StoreError> {
    let mut connection = open(file, access, has_memory)?;
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
    let counted = Stats {
        received,
        unique_processed,
        duplicate_dropped,
        rejected,
        ..Stats::default()
    };
    let record = Record {
        received,
        unique_processed,
        duplicate_dropped,
        rejected,
        conflicts,
        redelivered,
        topics,
        consistent: counted.is_consistent(),
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

/// Opens a connection that does not change the store. If no process writes and there is no WAL to read, SQLite needs no shared
/// memory; a shared-memory file that a killed process left behind is not changed either.
fn open(file: &Path, access: Access, has_memory: bool) -> Result<Connection, StoreError> {
    let wal = file.with_extension("db-wal").metadata();
    let has_wal = wal.is_ok_and(|wal| wal.len() > 0);
    let path = percent_encode(file.as_os_str().as_bytes(), PLAIN);
    let mode = match access {
        Access::Alone | Access::Unlocked if !has_wal => "immutable=1",
        Access::Alone if has_memory => "mode=ro&readonly_shm=1",
        Access::Alone | Access::Unlocked | Access::InUse => "mode=ro",
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{path}?{mode}"), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}
