//! Incarnations: how the store handles a stream that lost its tail, its head, or messages in between.

use rusqlite::Connection;

use super::harness::{Failure, Store, break_writes, delivery, event, repair_writes};
use crate::store::{ObservedStream, Position, ranges::Ranges, tests::arrivals::stream};

fn meet(store: &Store, met: impl Into<ObservedStream>) -> Position {
    let met = store.writer().meet(met.into(), store.now);
    store.runtime.block_on(met).unwrap()
}

/// The applied ranges as stored.
fn ranges(file: &Connection) -> Vec<(u64, u64)> {
    let mut statement = file
        .prepare("SELECT first, last FROM applied ORDER BY first")
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// A stream in which every second message was deleted before it was applied.
fn with_holes(last: u64) -> ObservedStream {
    let mut deleted = Ranges::default();
    for sequence in (2..last).step_by(2) {
        deleted.insert(sequence, sequence);
    }
    ObservedStream {
        deleted,
        ..stream(1, last).into()
    }
}

#[test]
fn holes_are_listed_acknowledged_and_closed_by_the_messages_applied_between_them() {
    let mut store = Store::new();
    let position = meet(&store, with_holes(2_001));
    assert_eq!((position.standing.floor, position.missing), (0, 1_000));
    assert_eq!(store.stats().missing, 1_000);
    let latest = store.runtime.block_on(store.reader().missing(3)).unwrap();
    let latest: Vec<_> = latest.iter().map(|m| (m.first, m.last)).collect();
    assert_eq!(latest, [(2_000, 2_000), (1_998, 1_998), (1_996, 1_996)]);

    for sequences in (1..=2_001).step_by(2).collect::<Vec<_>>().chunks(100) {
        let batch: Vec<_> = sequences
            .iter()
            .map(|&n| delivery(n, &event(u8::try_from(n % 200).unwrap())))
            .collect();
        store.append(&batch).unwrap();
    }
    assert_eq!(ranges(&store.raw_connection()), [(1, 2_001)]);
    let position = meet(&store, with_holes(2_001));
    assert_eq!((position.standing.floor, position.missing), (2_001, 1_000));

    let acknowledged = store.writer().acknowledge_missing(store.now);
    assert_eq!(store.runtime.block_on(acknowledged).unwrap(), 1_000);
    let acknowledged = store.writer().acknowledge_missing(store.now);
    assert_eq!(store.runtime.block_on(acknowledged).unwrap(), 0);
    for _ in 0..2 {
        assert_eq!(store.stats().missing, 0);
        store.reopen();
    }
    assert_eq!(meet(&store, with_holes(2_001)).missing, 0);
}

#[test]
fn a_commit_writes_only_the_ranges_that_changed() {
    let mut store = Store::new();
    meet(&store, with_holes(20_001));
    let file = store.raw_connection();
    file.execute_batch(
        "CREATE TABLE written (first INTEGER); \
         CREATE TRIGGER inserted AFTER INSERT ON applied BEGIN INSERT INTO written VALUES (new.first); END; \
         CREATE TRIGGER deleted AFTER DELETE ON applied BEGIN INSERT INTO written VALUES (old.first); END;",
    )
    .unwrap();
    // This message joins the ranges before and after it.
    store.append(&[delivery(101, &event(1))]).unwrap();
    let written: Vec<u64> = file
        .prepare("SELECT DISTINCT first FROM written ORDER BY first")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(written, [100, 102]);
}

#[test]
fn a_write_that_fails_changes_neither_the_count_nor_the_ranges() {
    let store = Store::new();
    meet(&store, stream(1, 0));
    let file = store.raw_connection();
    break_writes(&file, Failure::Commit);
    let met = store.writer().meet(with_holes(101), store.now);
    store.runtime.block_on(met).unwrap_err();
    repair_writes(&file);
    assert_eq!(
        (store.stats().missing, ranges(&store.raw_connection()).len()),
        (0, 0)
    );
    assert_eq!(meet(&store, with_holes(101)).missing, 50);
    assert_eq!(store.stats().missing, 50);
    assert_eq!(ranges(&store.raw_connection()).len(), 50);
}
