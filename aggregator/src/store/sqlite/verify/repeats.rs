//! Checks the record of repeated events: its rows are well formed, and together have every duplicate that was counted.

use rusqlite::Connection;

use super::{report::Check, snapshot::Snapshot};
use crate::store::sqlite::repeats::{self, Repeats};

/// Rows read in one transaction, so that the WAL of a running store can be reset in between.
const CHUNK: usize = if cfg!(test) { 2 } else { 10_000 };

/// Checks the rows as of the snapshot, from the newest to the oldest, in short transactions.
pub(super) fn check(connection: &mut Connection, snapshot: &Snapshot) -> rusqlite::Result<Check> {
    let mut check = Check::new("duplicates, by event");
    let mut before = snapshot.last_repeats + 1;
    let mut reach = snapshot.last_event;
    let mut found = 0;
    'rows: loop {
        let read = connection.transaction()?;
        for _ in 0..CHUNK {
            let Some(row) = repeats::newest_before(&read, before)? else {
                break 'rows;
            };
            if row.reach > reach || !is_whole(&row) {
                let id = row.id;
                check.differs(|| format!("row {id} of repeats is damaged"));
            }
            (before, reach) = (row.id, row.reach);
            found += row.number;
        }
    }
    check.compare(snapshot.counters.duplicate_dropped, found);
    Ok(check)
}

/// Whether a row's events are as many as it says, between its first and its last, which had been stored by then.
fn is_whole(row: &Repeats) -> bool {
    let is_range = 0 < row.first && row.first <= row.last && row.last <= row.reach;
    let Some(events) = row.events() else {
        return is_range;
    };
    let (mut number, mut last) = (0, 0);
    for event in events {
        number += 1;
        last = event;
    }
    is_range && number == row.number && last == row.last
}
