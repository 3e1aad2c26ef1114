//! Checks the counts over time: they never decrease and never exceed the present ones, and those of all topics count exactly
//! the events that were stored by then.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::{
    clock,
    store::{
        query::MICROS_PER_MINUTE,
        sqlite::{topics::StoredTopics, writer::history::ALL},
        verify::Check,
    },
};

/// A row of `history`.
#[derive(Debug, Clone, Copy)]
struct HistoryRow {
    topic_id: i64,
    step: i64,
    minute: i64,
    /// Unique events, duplicates and rejected arrivals.
    counts: [u64; 3],
}

/// Rows read in one transaction, so that the WAL of a running store can be reset in between.
const CHUNK: usize = if cfg!(test) { 2 } else { 50_000 };

const SELECT: &str = "SELECT topic_id, step, minute, unique_processed, duplicate_dropped, rejected FROM history \
     WHERE (topic_id, step, minute) > (?1, ?2, ?3) ORDER BY topic_id, step, minute LIMIT ?4";

/// Checks all rows, in short transactions, each with the present counts.
pub(super) fn check(connection: &mut Connection) -> rusqlite::Result<Check> {
    let mut check = Check::new("counts over time");
    let mut before: Option<HistoryRow> = None;
    loop {
        let read = connection.transaction()?;
        let rows = chunk(&read, before)?;
        if rows.is_empty() {
            return Ok(check);
        }
        for (row, most) in rows {
            let least = before
                .filter(|before| (before.topic_id, before.step) == (row.topic_id, row.step))
                .map_or([0; 3], |before| before.counts);
            compare(&read, &mut check, row, (least, most))?;
            before = Some(row);
        }
    }
}

/// The rows after another one, each with the present counts of its topic.
fn chunk(
    read: &Transaction<'_>,
    before: Option<HistoryRow>,
) -> rusqlite::Result<Vec<(HistoryRow, [u64; 3])>> {
    let (topic_id, step, minute) = before.map_or((i64::MIN, 0, 0), |before| {
        (before.topic_id, before.step, before.minute)
    });
    let all = read
        .prepare_cached("SELECT unique_processed, duplicate_dropped, rejected FROM counters")?
        .query_row([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
    let topics = StoredTopics::open(read)?;
    // Of the topic of the last row. The rows of a topic follow one another.
    let mut current = (ALL, all);
    let mut statement = read.prepare_cached(SELECT)?;
    let mut rows = statement.query(params![topic_id, step, minute, CHUNK])?;
    let mut chunk = Vec::new();
    while let Some(row) = rows.next()? {
        let found = history_row(row)?;
        if found.topic_id != current.0 {
            let topic = topics.state(found.topic_id)?;
            // Zeros if it does not exist.
            let counts = topic.map_or([0; 3], |topic| [topic.unique, topic.duplicates, 0]);
            current = (found.topic_id, counts);
        }
        chunk.push((found, current.1));
    }
    Ok(chunk)
}

fn compare(
    read: &Transaction<'_>,
    check: &mut Check,
    row: HistoryRow,
    (least, most): ([u64; 3], [u64; 3]),
) -> rusqlite::Result<()> {
    let [unique, duplicates, rejected] = row.counts;
    if !(0..3).all(|of| (least[of]..=most[of]).contains(&row.counts[of])) {
        check.differs(|| {
            format!(
                "{}: unique {unique}, duplicates {duplicates}, rejected {rejected}; they must be from {least:?} to {most:?}",
                place(row)
            )
        });
    } else if row.topic_id == ALL && !is_exact(read, row)? {
        check.differs(|| {
            format!(
                "{}: {unique} unique events are recorded, but another number was stored by then",
                place(row)
            )
        });
    }
    Ok(())
}

fn history_row(row: &Row<'_>) -> rusqlite::Result<HistoryRow> {
    Ok(HistoryRow {
        topic_id: row.get(0)?,
        step: row.get(1)?,
        minute: row.get(2)?,
        counts: [row.get(3)?, row.get(4)?, row.get(5)?],
    })
}

/// Whether the row counts exactly the events stored before its end: sequences are consecutive, and times never decrease.
fn is_exact(read: &Transaction<'_>, row: HistoryRow) -> rusqlite::Result<bool> {
    let end = row.minute * MICROS_PER_MINUTE;
    let mut stored_at =
        read.prepare_cached("SELECT processed_at FROM events WHERE sequence = ?1")?;
    let mut at = |sequence: u64| {
        let found = stored_at.query_row([sequence], |row| row.get::<_, i64>(0));
        found.optional()
    };
    let last = row.counts[0];
    let last_is_before = last == 0 || at(last)?.is_some_and(|at| at < end);
    let next_is_after = at(last + 1)?.is_none_or(|at| at >= end);
    Ok(last_is_before && next_is_after)
}

fn place(row: HistoryRow) -> String {
    let of = match row.topic_id {
        ALL => "all topics".to_owned(),
        id => format!("the topic with id {id}"),
    };
    let period = if row.step == 1 { "minute" } else { "hour" };
    let end = clock::rfc3339(row.minute * MICROS_PER_MINUTE);
    format!("{of}, the {period} until {end}")
}
