//! The integrity check of SQLite.

use std::path::Path;

use rusqlite::Connection;

use super::open;
use crate::store::{StoreError, verify::Check};

/// The maximum number of problems that SQLite reports.
const MOST: usize = 20;

const NAME: &str = "SQLite file";

/// Checks the whole file on a connection of its own, so that it runs concurrently with the scan of the events.
pub(super) fn whole(file: &Path) -> Check {
    let mut check = Check::new(NAME);
    let result = open(file).and_then(|connection| {
        run(
            &connection,
            &format!("PRAGMA integrity_check({MOST})"),
            &mut check,
        )
    });
    finish(check, result)
}

/// Checks all tables except those that grow with every event or duplicate: one long check of these would keep a running store from
/// restarting its WAL. They are read in full anyway, in short transactions.
pub(super) fn without_events(connection: &Connection) -> Check {
    let mut check = Check::new(NAME);
    let result = tables(connection).and_then(|tables| {
        for table in tables {
            let sql = format!("PRAGMA integrity_check({table})");
            run(connection, &sql, &mut check)?;
        }
        Ok(())
    });
    check.note(
        "the store is in use, so its tables are checked one at a time, and the events and duplicates by reading them",
    );
    finish(check, result)
}

fn tables(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('events', 'repeats')";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn run(connection: &Connection, sql: &str, check: &mut Check) -> Result<(), StoreError> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" {
            check.differs(|| format!("SQLite reports: {line}"));
        }
    }
    Ok(())
}

fn finish(mut check: Check, result: Result<(), StoreError>) -> Check {
    if let Err(err) = result {
        check.differs(|| format!("the integrity check failed: {err}"));
    }
    check
}
