//! The SQLite file itself.

use std::path::Path;

use rusqlite::Connection;

use super::{open, report::Check};
use crate::store::StoreError;

/// Problems that are asked for.
const MOST: usize = 20;

const NAME: &str = "SQLite file";

/// The whole file, on a connection of its own, so that it takes place beside the reading of the events.
pub(super) fn whole(file: &Path) -> Check {
    let mut check = Check::new(NAME);
    let asked = open(file).and_then(|connection| {
        ask(
            &connection,
            &format!("PRAGMA integrity_check({MOST})"),
            &mut check,
        )
    });
    finish(check, asked)
}

/// All tables but the events: to look at those in one piece would keep a running store from starting its WAL anew. They
/// are read in full anyhow, in short reads.
pub(super) fn without_events(connection: &Connection) -> Check {
    let mut check = Check::new(NAME);
    let asked = tables(connection).and_then(|tables| {
        for table in tables {
            let sql = format!("PRAGMA integrity_check({table})");
            ask(connection, &sql, &mut check)?;
        }
        Ok(())
    });
    check.note(
        "the store is in use, so its tables are looked at one by one, and the events by reading them",
    );
    finish(check, asked)
}

fn tables(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'events'";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn ask(connection: &Connection, sql: &str, check: &mut Check) -> Result<(), StoreError> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" {
            check.differs(|| format!("SQLite says: {line}"));
        }
    }
    Ok(())
}

fn finish(mut check: Check, asked: Result<(), StoreError>) -> Check {
    if let Err(err) = asked {
        check.differs(|| format!("SQLite cannot look: {err}"));
    }
    check
}
