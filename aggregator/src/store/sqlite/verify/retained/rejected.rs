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

/// The rejected rows of the message with this sequence, in these incarnations.
pub(super) fn rows(
    connection: &Connection,
    incarnations: &[i64],
    sequence: u64,
) -> rusqlite::Result<Vec<RejectedRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, position, reason, body FROM rejected \
         WHERE incarnation = ?1 AND stream_sequence = ?2",
    )?;
    let mut all = Vec::new();
    for incarnation in incarnations {
        let rows = statement.query_map(params![incarnation, sequence], |row| {
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

/// Whether rejected rows of this message may have been evicted. Must be called after a row was not found, because a row can be
/// evicted at any time.
pub(super) fn is_evicted(
    connection: &Connection,
    incarnations: &[i64],
    sequence: u64,
) -> rusqlite::Result<bool> {
    let sql = "SELECT evicted_to >= ?2 FROM incarnations WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    for incarnation in incarnations {
        if statement.query_row(params![incarnation, sequence], |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}
