//! Queries for what is kept for review: rejected arrivals, conflicts and missing sequences.

use rusqlite::{OptionalExtension, Row, Transaction};
use shared::{
    event::{EventId, Topic},
    message::Reason,
};

use super::events;
use crate::store::{
    kept::topic_of,
    query::{Conflict, Missing, Rejected, ReviewPage, ReviewQuery, Sink},
    sqlite::gate::Inside,
};

const REJECTED: &str = "SELECT id, reason, detail, subject, stream_sequence, position, processed_at, requeued_at, \
     body, sent_by FROM rejected";

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
        sent_by: row.get(9)?,
    })
}

/// The rejected arrivals that a query selects, newest first.
pub(super) fn rejected<S: Sink<Rejected>>(
    read: &Transaction<'_>,
    inside: &Inside,
    (query, limit): (&ReviewQuery, usize),
    sink: S,
) -> rusqlite::Result<ReviewPage<S>> {
    let counts = "SELECT rejected, rejected_evicted FROM counters";
    let sql = format!("{REJECTED} WHERE id < ?1 ORDER BY id DESC");
    let place = |row: &Row<'_>| Ok((row.get(0)?, row.get(6)?));
    let row = |row: &Row<'_>| {
        let is_match = is(query.reason.map(Reason::as_str), row, 1)?
            && (query.topic.is_none() && query.visible.is_every()
                || topic_of(row.get_ref(3)?.as_str()?, row.get_ref(8)?.as_bytes()?).is_some_and(
                    |of| {
                        let is_wanted = query
                            .topic
                            .as_ref()
                            .is_none_or(|topic| of == topic.as_str());
                        is_wanted && query.visible.includes(&of)
                    },
                ));
        is_match.then(|| rejected_row(row)).transpose()
    };
    page(
        (read, inside),
        (counts, &sql),
        (query, limit),
        (place, row),
        sink,
    )
}

/// One rejected arrival; `None` if there is none with this id or it has been evicted.
pub(super) fn rejected_one(read: &Transaction<'_>, id: i64) -> rusqlite::Result<Option<Rejected>> {
    let sql = format!("{REJECTED} WHERE id = ?1");
    read.prepare_cached(&sql)?
        .query_row([id], rejected_row)
        .optional()
}

/// The conflicts that a query selects, newest first.
pub(super) fn conflicts<S: Sink<Conflict>>(
    read: &Transaction<'_>,
    inside: &Inside,
    (query, limit): (&ReviewQuery, usize),
    sink: S,
) -> rusqlite::Result<ReviewPage<S>> {
    let counts = "SELECT conflicts, conflicts_evicted FROM counters";
    let sql = format!(
        "SELECT {}, c.id, c.timestamp, c.source, c.payload, c.subject, c.stream_sequence, c.position, \
         c.processed_at, c.timestamp_filled, c.sent_by FROM conflicts c JOIN events e ON e.sequence = c.stored_sequence \
         JOIN topics t ON t.id = e.topic_id WHERE c.id < ?1 ORDER BY c.id DESC",
        events::COLUMNS
    );
    let place = |row: &Row<'_>| Ok((row.get(9)?, row.get(16)?));
    let row = |row: &Row<'_>| {
        let is_match = query.visible.includes(row.get_ref(1)?.as_str()?)
            && is(query.topic.as_ref().map(Topic::as_str), row, 1)?
            && is(query.event_id.as_ref().map(EventId::as_str), row, 2)?;
        if !is_match {
            return Ok(None);
        }
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
            sent_by: row.get(18)?,
        };
        Ok(Some(conflict))
    };
    page(
        (read, inside),
        (counts, &sql),
        (query, limit),
        (place, row),
        sink,
    )
}

/// Whether a column has the wanted text, if there is one.
fn is(wanted: Option<&str>, row: &Row<'_>, column: usize) -> rusqlite::Result<bool> {
    match wanted {
        Some(wanted) => Ok(row.get_ref(column)?.as_str()? == wanted),
        None => Ok(true),
    }
}

/// Reads a page of at most `limit` rows with `sql`, and the total and evicted counts with `counts`. The page ends early
/// if the sink has no room for the next row or the time of the read is up. `place` reads a row's id and when it was counted;
/// `decode` returns nothing for a row that does not match.
fn page<T, S: Sink<T>>(
    (read, inside): (&Transaction<'_>, &Inside),
    (counts, sql): (&str, &str),
    (query, limit): (&ReviewQuery, usize),
    (place, decode): (
        impl Fn(&Row<'_>) -> rusqlite::Result<(i64, i64)>,
        impl Fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ),
    sink: S,
) -> rusqlite::Result<ReviewPage<S>> {
    let (total, evicted) = read
        .prepare_cached(counts)?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut page = ReviewPage {
        rows: sink,
        total: query.visible.is_every().then_some(total),
        evicted: query.visible.is_every().then_some(evicted),
        next: None,
    };
    let mut statement = read.prepare_cached(sql)?;
    let mut rows = statement.query([query.before.unwrap_or(i64::MAX)])?;
    let (mut taken, mut last) = (0, None);
    while let Some(row) = rows.next()? {
        let (id, counted_at) = place(row)?;
        // Times never decrease with the id.
        if query.since.is_some_and(|since| counted_at < since) {
            break;
        }
        if taken == limit || !inside.has_time() {
            page.next = last;
            break;
        }
        if query.until.is_none_or(|until| counted_at < until)
            && let Some(found) = decode(row)?
        {
            if !page.rows.take(found) {
                page.next = last;
                break;
            }
            taken += 1;
        }
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
