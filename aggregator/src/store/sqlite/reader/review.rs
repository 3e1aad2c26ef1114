//! Queries for what is kept for review: rejected arrivals, conflicts and missing sequences.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::events;
use crate::store::{
    query::{Conflict, Missing, Rejected, ReviewPage, Sink},
    sqlite::gate::Inside,
};

const REJECTED: &str = "SELECT id, reason, detail, subject, stream_sequence, position, processed_at, requeued_at, \
     body FROM rejected";

fn rejected_row(row: &Row<'_>) -> rusqlite::Result<Rejected> {
    Ok(Rejected {
        id: row.get(0)?,
        reason: row.get(1)?,
        detail: row.get(2)?,
        subject: row.get(3)?,
        stream_sequence: row.get(4)?,
        position: row.get(5)?,
        processed_at: row.get(6)?,
        requeued_at: row.get(7)?,
        body: row.get(8)?,
    })
}

/// The rejected arrivals with ids less than `before`, newest first.
pub(super) fn rejected<S: Sink<Rejected>>(
    read: &Transaction<'_>,
    inside: &Inside,
    (before, limit): (i64, usize),
    sink: S,
) -> rusqlite::Result<ReviewPage<S>> {
    let counts = "SELECT rejected, rejected_evicted FROM counters";
    let sql = format!("{REJECTED} WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
    let row = |row: &Row<'_>| {
        let row = rejected_row(row)?;
        Ok((row.id, row))
    };
    page((read, inside), counts, (&sql, before, limit), row, sink)
}

/// One rejected arrival; `None` if there is none with this id or it has been evicted.
pub(super) fn rejected_one(read: &Transaction<'_>, id: i64) -> rusqlite::Result<Option<Rejected>> {
    let sql = format!("{REJECTED} WHERE id = ?1");
    read.prepare_cached(&sql)?
        .query_row([id], rejected_row)
        .optional()
}

/// The conflicts with ids less than `before`, newest first.
pub(super) fn conflicts<S: Sink<Conflict>>(
    read: &Transaction<'_>,
    inside: &Inside,
    (before, limit): (i64, usize),
    sink: S,
) -> rusqlite::Result<ReviewPage<S>> {
    let counts = "SELECT conflicts, conflicts_evicted FROM counters";
    let sql = format!(
        "SELECT {}, c.id, c.timestamp, c.source, c.payload, c.subject, c.stream_sequence, c.position, \
         c.processed_at, c.timestamp_filled FROM conflicts c JOIN events e ON e.sequence = c.stored_sequence \
         JOIN topics t ON t.id = e.topic_id WHERE c.id < ?1 ORDER BY c.id DESC LIMIT ?2",
        events::COLUMNS
    );
    let row = |row: &Row<'_>| {
        let conflict = Conflict {
            stored: events::stored(row)?,
            id: row.get(9)?,
            timestamp: row.get(10)?,
            source: row.get(11)?,
            payload: row.get(12)?,
            subject: row.get(13)?,
            stream_sequence: row.get(14)?,
            position: row.get(15)?,
            processed_at: row.get(16)?,
            timestamp_filled: row.get(17)?,
        };
        Ok((conflict.id, conflict))
    };
    page((read, inside), counts, (&sql, before, limit), row, sink)
}

/// Reads a page of at most `limit` rows with `sql`, and the total and evicted counts with `counts`. The page ends early
/// if the sink has no room for the next row or the time of the read is up. `row` decodes a row and its id.
fn page<T, S: Sink<T>>(
    (read, inside): (&Transaction<'_>, &Inside),
    counts: &str,
    (sql, before, limit): (&str, i64, usize),
    row: impl Fn(&Row<'_>) -> rusqlite::Result<(i64, T)>,
    sink: S,
) -> rusqlite::Result<ReviewPage<S>> {
    let (total, evicted) = read
        .prepare_cached(counts)?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut page = ReviewPage {
        rows: sink,
        total,
        evicted,
        next: None,
    };
    let mut statement = read.prepare_cached(sql)?;
    // One row beyond the limit shows whether there is a next page.
    let mut rows = statement.query(params![before, limit + 1])?;
    let (mut taken, mut last) = (0, None);
    while let Some(found) = rows.next()? {
        if taken == limit || !inside.has_time() {
            page.next = last;
            break;
        }
        let (id, found) = row(found)?;
        if !page.rows.take(found) {
            page.next = last;
            break;
        }
        taken += 1;
        last = Some(id);
    }
    Ok(page)
}

/// The latest ranges of missing sequences, at most `limit`, including acknowledged ones.
pub(super) fn missing(read: &Transaction<'_>, limit: usize) -> rusqlite::Result<Vec<Missing>> {
    read.prepare_cached(
        "SELECT i.stream, m.first, m.last, m.noticed_at, m.acknowledged_at \
         FROM missing m JOIN incarnations i ON i.id = m.incarnation \
         ORDER BY m.incarnation DESC, m.first DESC LIMIT ?1",
    )?
    .query_map([limit], |row| {
        Ok(Missing {
            stream: row.get(0)?,
            first: row.get(1)?,
            last: row.get(2)?,
            noticed_at: row.get(3)?,
            acknowledged_at: row.get(4)?,
        })
    })?
    .collect()
}
