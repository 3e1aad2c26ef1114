//! Read-only connections.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::files::Files;
use crate::store::{StoreError, sqlite::BUSY_TIMEOUT};

/// Connects to a store that is already open. Fails if the file at the path is no longer this store.
pub(in crate::store) fn connect_again(
    file: &Path,
    files: &Files,
) -> Result<Connection, StoreError> {
    files.check()?;
    let connection = connect(file)?;
    connection.query_row("SELECT hash_key FROM store", [], |_| Ok(()))?;
    files.check()?;
    Ok(connection)
}

pub(in crate::store) fn connect(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}
