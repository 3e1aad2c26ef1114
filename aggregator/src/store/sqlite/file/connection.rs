//! Read-only connections.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::files::Files;
use crate::store::{StoreError, sqlite::BUSY_TIMEOUT};

/// Connects to a store that is already open, with a cache of this many bytes of pages. Fails if the file at the path is no longer
/// this store.
pub(in crate::store) fn connect_again(
    file: &Path,
    files: &Files,
    pages: u64,
) -> Result<Connection, StoreError> {
    files.check()?;
    let connection = connect(file)?;
    limit_pages(&connection, pages)?;
    connection.query_row("SELECT hash_key FROM store", [], |_| Ok(()))?;
    files.check()?;
    Ok(connection)
}

/// Limits the pages that a connection caches to this many bytes.
pub(in crate::store) fn limit_pages(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    // In KiB if it is negative.
    let cache = i64::try_from(bytes / 1024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -cache)
}

/// Makes the plan of a statement independent of the values of its parameters. Otherwise SQLite would prepare a statement with a
/// parameter as its LIMIT again for each execution.
pub(in crate::store) fn fix_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(drop)
}

pub(in crate::store) fn connect(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    fix_plans(&connection)?;
    Ok(connection)
}
