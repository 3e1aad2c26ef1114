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
use crate::store::{StoreError, query::Stats, ranges::Ranges, record::Record};

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
    let life = state.lives.last();
    let figures = Stats {
        received,
        unique_processed,
        duplicate_dropped,
        rejected,
        conflicts,
        redelivered,
        processed_at,
        topics_total: topics.unsigned_abs(),
        missing: state.missing,
        stream: life.map(|life| (life.stream.clone(), life.created)),
        applied: life.map_or_else(Ranges::default, |life| Ranges::clone(&life.applied)),
        ..Stats::default()
    };
    let record = Record::of(state.store_id, &figures);
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
