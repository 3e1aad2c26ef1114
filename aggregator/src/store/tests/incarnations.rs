//! The stream's lives: what the store makes of one that lost its tail, its head, or something in between.

use shared::stream::StreamState;

use super::harness::{Store, delivery, event};
use crate::store::{Met, Position, Witness, ranges::Ranges};

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

fn meet(store: &Store, met: impl Into<Met>) -> Position {
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
fn a_tail_that_was_lost_and_given_out_again_before_the_stream_was_met_is_applied() {
    let mut store = filled(5);
    // The broker lost 3 to 5 and has had five messages since.
    let met = Met {
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
fn what_was_deleted_from_the_middle_before_it_was_applied_is_missing() {
    let mut store = filled(3);
    let mut deleted = Ranges::default();
    deleted.insert(2, 2);
    deleted.insert(5, 6);
    let met = Met {
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
