//! The rejected rows of a message.

use rusqlite::{Connection, params};

use super::column;

/// A row of `rejected`.
pub(super) struct RejectedRow {
    pub id: i64,
    pub position: u64,
    pub reason: String,
    pub body: Vec<u8>,
}

/// Those of the message with this sequence, in these incarnations.
pub(super) fn rows(
    connection: &Connection,
    owners: &[i64],
    sequence: u64,
) -> rusqlite::Result<Vec<RejectedRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, position, reason, body FROM rejected \
         WHERE incarnation = ?1 AND stream_sequence = ?2",
    )?;
    let mut all = Vec::new();
    for owner in owners {
        let rows = statement.query_map(params![owner, sequence], |row| {
            Ok(RejectedRow {
                id: row.get(0)?,
                position: row.get(1)?,
                reason: row.get(2)?,
                body: column(row, 3)?,
            })
        })?;
        for row in rows {
            all.push(row?);
        }
    }
    Ok(all)
}

/// Whether rejected rows of this message may have gone. Asked after a row was not found, for it may go at any time.
pub(super) fn is_evicted(
    connection: &Connection,
    owners: &[i64],
    sequence: u64,
) -> rusqlite::Result<bool> {
    let sql = "SELECT evicted_to >= ?2 FROM incarnations WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    for owner in owners {
        if statement.query_row(params![owner, sequence], |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}
