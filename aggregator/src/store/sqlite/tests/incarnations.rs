//! Incarnations: how the store handles a stream that lost its tail, its head, or messages in between.

use rusqlite::Connection;
use shared::stream::StreamState;

use super::harness::{Failure, Store, break_writes, delivery, event, repair_writes};
use crate::store::{ObservedStream, Position, Witness, ranges::Ranges};

fn stream(first: u64, last: u64) -> StreamState {
    StreamState {
        name: "EVENTS".to_owned(),
        created: 1,
        first,
        last,
        messages: last + 1 - first,
        bytes: 0,
    }
}

fn meet(store: &Store, met: impl Into<ObservedStream>) -> Position {
    let met = store.writer().meet(met.into(), store.now);
    store.runtime.block_on(met).unwrap()
}

/// A store with the messages 1 to `last`, each of one event.
fn filled(last: u8) -> Store {
    let mut store = Store::new();
    meet(&store, stream(1, 0));
    for sequence in 1..=last {
        let delivery = delivery(sequence.into(), &event(sequence));
        store.append(&[delivery]).unwrap();
    }
    store
}

#[test]
fn the_witness_is_the_applied_message_with_the_highest_sequence() {
    let mut store = Store::new();
    assert_eq!(meet(&store, stream(1, 0)).standing.witness, None);
    let batch = [3, 7, 2].map(|sequence| delivery(sequence.into(), &event(sequence)));
    store.append(&batch).unwrap();
    store.reopen();
    let witness = Witness {
        sequence: 7,
        time: 7,
    };
    assert_eq!(meet(&store, stream(1, 9)).standing.witness, Some(witness));
}

#[test]
fn a_lost_tail_whose_sequences_were_reused_before_the_stream_was_met_is_applied() {
    let mut store = filled(5);
    // The broker lost 3 to 5 and has received six messages since.
    let met = ObservedStream {
        is_other: true,
        ..stream(1, 8).into()
    };
    let position = meet(&store, met);
    assert_eq!(
        (position.standing.floor, position.standing.witness),
        (0, None)
    );
    for sequence in 1..=8 {
        let id = if sequence <= 2 {
            sequence
        } else {
            sequence + 10
        };
        let mut delivery = delivery(sequence.into(), &event(id));
        delivery.time += if sequence <= 2 { 0 } else { 10 };
        store.append(&[delivery]).unwrap();
    }
    let stats = store.stats();
    assert_eq!((stats.unique_processed, stats.redelivered), (5 + 6, 2));
    assert_eq!(meet(&store, stream(1, 8)).standing.floor, 8);
}

#[test]
fn messages_deleted_from_the_middle_before_they_were_applied_are_missing() {
    let mut store = filled(3);
    let mut deleted = Ranges::default();
    deleted.insert(2, 2);
    deleted.insert(5, 6);
    let met = ObservedStream {
        deleted,
        ..stream(1, 7).into()
    };
    let position = meet(&store, met.clone());
    assert_eq!((position.standing.floor, position.missing), (3, 2));
    store
        .append(&[4, 7].map(|n| delivery(n.into(), &event(n))))
        .unwrap();
    let position = meet(&store, met);
    assert_eq!((position.standing.floor, position.missing), (7, 2));

    let acknowledged = store.writer().acknowledge_missing(store.now);
    assert_eq!(store.runtime.block_on(acknowledged).unwrap(), 2);
    assert_eq!(store.stats().missing, 0);
}

#[test]
fn sequences_before_the_first_of_the_stream_are_not_missing() {
    let mut store = Store::new();
    let met = ObservedStream {
        begins: 1_000,
        ..stream(1_000, 1_001).into()
    };
    let position = meet(&store, met.clone());
    assert_eq!((position.standing.floor, position.missing), (999, 0));
    store.append(&[delivery(1_000, &event(1))]).unwrap();
    // Sequences that were assigned and trimmed are missing.
    let met = ObservedStream {
        stream: stream(1_003, 1_003),
        ..met
    };
    let position = meet(&store, met);
    assert_eq!((position.standing.floor, position.missing), (1_002, 2));
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
