//! Checks the record of repeated events: its rows are well formed, and together have every duplicate that was counted.

use rusqlite::Connection;

use super::snapshot::Snapshot;
use crate::store::{
    sqlite::repeats::{self, Repeats},
    verify::Check,
};

/// Duplicates read in one transaction, so that the WAL of a running store can be reset in between.
const CHUNK: u64 = if cfg!(test) { 2 } else { 1_000_000 };

/// Checks the rows as of the snapshot, from the newest to the oldest, in short transactions.
pub(super) fn check(connection: &mut Connection, snapshot: &Snapshot) -> Check {
    let mut check = Check::new("duplicates, by event");
    let mut before = snapshot.last_repeats.saturating_add(1);
    let mut reach = snapshot.last_event;
    let mut found = 0_u64;
    loop {
        match chunk(
            connection,
            &mut check,
            (&mut before, &mut reach),
            &mut found,
        ) {
            Ok(false) => {}
            Ok(true) => break,
            Err(err) => {
                check.differs(|| {
                    format!("nothing can be read of repeats before row {before}: {err}")
                });
                break;
            }
        }
    }
    check.compare(snapshot.counters.duplicate_dropped, found);
    check
}

/// Checks the next rows, and returns whether they were the last.
fn chunk(
    connection: &mut Connection,
    check: &mut Check,
    (before, reach): (&mut i64, &mut i64),
    found: &mut u64,
) -> rusqlite::Result<bool> {
    let read = connection.transaction()?;
    let mut left = CHUNK;
    repeats::newest_first(&read, (*before, None), |row| {
        if row.reach > *reach || !is_whole(&row) {
            let id = row.id;
            check.differs(|| format!("row {id} of repeats is damaged"));
        }
        (*before, *reach) = (row.id, row.reach);
        *found = found.saturating_add(row.number);
        left = left.saturating_sub(row.number + 1);
        left > 0
    })
}

/// Whether a row's events are as many as it says, between its first and its last, which had been stored by then.
fn is_whole(row: &Repeats) -> bool {
    let is_range = 0 < row.first && row.first <= row.last && row.last <= row.reach;
    let Some(events) = row.events() else {
        // The row of a migration: the duplicates until then, of any event.
        return row.id == 1 && (row.first, row.last) == (1, row.reach);
    };
    let (mut number, mut last) = (0, 0);
    for event in events {
        number += 1;
        last = event;
    }
    is_range && number == row.number && last == row.last
}
