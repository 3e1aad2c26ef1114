//! Checks the counts over time: they never decrease and never exceed the present ones, and those of all topics count exactly
//! the events that were stored by then.

use rusqlite::{OptionalExtension, Row, Transaction};

use super::report::Check;
use crate::{
    clock,
    store::{
        query::MICROS_PER_MINUTE,
        sqlite::writer::{history::ALL, state::Counters},
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

/// Checks all rows, in the transaction that reads the record.
pub(super) fn check(read: &Transaction<'_>, counters: &Counters) -> rusqlite::Result<Check> {
    let mut check = Check::new("counts over time");
    let current = [
        counters.unique_processed,
        counters.duplicate_dropped,
        counters.rejected,
    ];
    let mut statement = read.prepare(
        "SELECT h.topic_id, h.step, h.minute, h.unique_processed, h.duplicate_dropped, h.rejected, \
         t.unique_processed, t.duplicate_dropped \
         FROM history h LEFT JOIN topics t ON t.id = h.topic_id \
         ORDER BY h.topic_id, h.step, h.minute",
    )?;
    let mut rows = statement.query([])?;
    let mut before: Option<HistoryRow> = None;
    while let Some(row) = rows.next()? {
        let (found, most) = (history_row(row)?, most(row)?);
        let most = if found.topic_id == ALL { current } else { most };
        let least = before
            .filter(|before| (before.topic_id, before.step) == (found.topic_id, found.step))
            .map_or([0; 3], |before| before.counts);
        let is_within = (0..3).all(|of| (least[of]..=most[of]).contains(&found.counts[of]));
        if !is_within {
            check.differs(|| {
                let [unique, duplicates, rejected] = found.counts;
                format!(
                    "{}: unique {unique}, duplicates {duplicates}, rejected {rejected}; they must be from {least:?} to {most:?}",
                    place(found)
                )
            });
        } else if found.topic_id == ALL && !is_exact(read, found)? {
            check.differs(|| {
                let unique = found.counts[0];
                format!(
                    "{}: {unique} events were not all that were stored by then",
                    place(found)
                )
            });
        }
        before = Some(found);
    }
    Ok(check)
}

fn history_row(row: &Row<'_>) -> rusqlite::Result<HistoryRow> {
    Ok(HistoryRow {
        topic_id: row.get(0)?,
        step: row.get(1)?,
        minute: row.get(2)?,
        counts: [row.get(3)?, row.get(4)?, row.get(5)?],
    })
}

/// The present counts of the topic; zeros if it does not exist.
fn most(row: &Row<'_>) -> rusqlite::Result<[u64; 3]> {
    let unique: Option<u64> = row.get(6)?;
    let duplicates: Option<u64> = row.get(7)?;
    Ok([unique.unwrap_or(0), duplicates.unwrap_or(0), 0])
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
