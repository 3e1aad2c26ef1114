//! Connections that only read.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::files::Files;
use crate::store::{StoreError, sqlite::BUSY_TIMEOUT};

/// To a store that is open already. What is at the path may not be this store any more.
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
