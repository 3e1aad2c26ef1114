//! Incarnations: how a store handles a stream that lost its tail, its head, or messages in between.

use super::{
    arrivals::{delivery, event, stream},
    engine::{Store, each},
};
use crate::store::{Delivery, ObservedStream, Witness, ranges::Ranges};

/// Gives the store the messages 1 to `last`, each of one event.
fn fill(store: &mut Store, last: u8) {
    store.meet(stream(1, 0));
    for sequence in 1..=last {
        store
            .append(&[delivery(sequence.into(), &event(sequence))])
            .unwrap();
    }
}

/// A message of one event that the stream stored at another time than that of its sequence.
fn later(sequence: u64, id: u8) -> Delivery {
    let mut delivery = delivery(sequence, &event(id));
    delivery.time += 10;
    delivery
}

#[test]
fn the_witness_is_the_applied_message_with_the_highest_sequence() {
    each(|mut store| {
        assert_eq!(store.meet(stream(1, 0)).standing.witness, None);
        let batch = [3, 7, 2].map(|sequence| delivery(sequence.into(), &event(sequence)));
        store.append(&batch).unwrap();
        store.reopen();
        let witness = Witness {
            sequence: 7,
            time: 7,
        };
        assert_eq!(store.meet(stream(1, 9)).standing.witness, Some(witness));
    });
}

#[test]
fn a_lost_tail_whose_sequences_were_reused_before_the_stream_was_met_is_applied() {
    each(|mut store| {
        fill(&mut store, 5);
        // The broker lost 3 to 5 and has received six messages since.
        let met = ObservedStream {
            is_other: true,
            ..stream(1, 8).into()
        };
        let position = store.meet(met);
        assert_eq!(
            (position.standing.floor, position.standing.witness),
            (0, None)
        );
        for sequence in 1..=8 {
            let number = u8::try_from(sequence).unwrap();
            let delivery = match sequence {
                1 | 2 => delivery(sequence, &event(number)),
                _ => later(sequence, number + 10),
            };
            store.append(&[delivery]).unwrap();
        }
        let stats = store.stats();
        assert_eq!((stats.unique_processed, stats.redelivered), (5 + 6, 2));
        assert_eq!(store.meet_up_to(8), 8);
    });
}

#[test]
fn a_sequence_that_comes_with_another_message_begins_an_epoch() {
    for is_folded in [false, true] {
        each(|mut store| {
            fill(&mut store, 3);
            if is_folded {
                store.upkeep();
            }
            // With what was applied before, and with what follows.
            let batch = [delivery(2, &event(2)), later(3, 13), later(4, 14)];
            let done = store.append(&batch).unwrap();
            assert!(done.epoch_begun);
            assert_eq!((done.unique, done.redelivered), (2, 1));
            let again = store.append(&batch).unwrap();
            assert!(!again.epoch_begun);
            assert_eq!((again.unique, again.redelivered), (0, 3));
            let stats = store.stats();
            assert_eq!((stats.received, stats.unique_processed), (5, 5));
            assert_eq!(store.page(None, None, 9).events.len(), 5);
        });
    }
}

#[test]
fn a_redelivery_of_what_was_applied_long_ago_changes_nothing() {
    each(|mut store| {
        fill(&mut store, 5);
        store
            .append(&[delivery(6, &[super::arrivals::Arrival::Noise])])
            .unwrap();
        store.upkeep();
        assert_eq!(store.writer().standing().floor, 6);
        let again = [2, 5].map(|sequence| delivery(sequence.into(), &event(sequence)));
        let done = store.append(&again).unwrap();
        assert_eq!((done.arrivals(), done.redelivered), (0, 2));
        let rejected = [delivery(6, &[super::arrivals::Arrival::Noise])];
        let done = store.append(&rejected).unwrap();
        assert_eq!((done.arrivals(), done.redelivered), (0, 1));
        store.upkeep();
        let stats = store.stats();
        assert_eq!((stats.received, stats.redelivered), (6, 3));
        let applied: Vec<_> = stats.applied.iter().collect();
        assert_eq!(applied, [(1, 6)]);
    });
}

#[test]
fn messages_deleted_from_the_middle_before_they_were_applied_are_missing() {
    each(|mut store| {
        fill(&mut store, 3);
        let mut deleted = Ranges::default();
        deleted.insert(2, 2);
        deleted.insert(5, 6);
        let met = ObservedStream {
            deleted,
            ..stream(1, 7).into()
        };
        let position = store.meet(met.clone());
        assert_eq!((position.standing.floor, position.missing), (3, 2));
        store
            .append(&[4, 7].map(|n| delivery(n.into(), &event(n))))
            .unwrap();
        let position = store.meet(met);
        assert_eq!((position.standing.floor, position.missing), (7, 2));
        let missing = store.runtime.block_on(store.reader().missing(9)).unwrap();
        assert_eq!((missing[0].first, missing[0].last), (5, 6));
        let acknowledged = store.writer().acknowledge_missing(store.now);
        assert_eq!(store.runtime.block_on(acknowledged).unwrap(), 2);
        assert_eq!(store.stats().missing, 0);
    });
}

#[test]
fn sequences_before_the_first_of_the_stream_are_not_missing() {
    each(|mut store| {
        let met = ObservedStream {
            begins: 1_000,
            ..stream(1_000, 1_001).into()
        };
        let position = store.meet(met.clone());
        assert_eq!((position.standing.floor, position.missing), (999, 0));
        store.append(&[delivery(1_000, &event(1))]).unwrap();
        // Sequences that were assigned and trimmed are missing.
        let met = ObservedStream {
            stream: stream(1_003, 1_003),
            ..met
        };
        let position = store.meet(met);
        assert_eq!((position.standing.floor, position.missing), (1_002, 2));
    });
}

#[test]
fn holes_are_closed_by_the_messages_applied_between_them() {
    each(|mut store| {
        let mut deleted = Ranges::default();
        for sequence in (2..2_001).step_by(2) {
            deleted.insert(sequence, sequence);
        }
        let met = ObservedStream {
            deleted,
            ..stream(1, 2_001).into()
        };
        let position = store.meet(met.clone());
        assert_eq!((position.standing.floor, position.missing), (0, 1_000));
        let odd: Vec<u64> = (1..=2_001).step_by(2).collect();
        for sequences in odd.chunks(200) {
            let batch = sequences
                .iter()
                .map(|&n| delivery(n, &event(u8::try_from(n % 200).unwrap())));
            store.append(&batch.collect::<Vec<_>>()).unwrap();
        }
        let applied: Vec<_> = store.stats().applied.iter().collect();
        assert_eq!(applied, [(1, 2_001)]);
        let position = store.meet(met);
        assert_eq!((position.standing.floor, position.missing), (2_001, 1_000));
    });
}

#[test]
fn a_stream_that_was_made_again_is_another_one() {
    each(|mut store| {
        fill(&mut store, 3);
        let mut other = stream(1, 0);
        other.created = 2;
        assert_eq!(store.meet(other).standing.floor, 0);
        let batch = [1_u8, 2].map(|n| later(n.into(), n + 20));
        let done = store.append(&batch).unwrap();
        assert_eq!((done.unique, done.redelivered), (2, 0));
        let events = store.page(None, None, 9).events;
        let ids: Vec<_> = events.iter().map(|event| event.event_id.as_str()).collect();
        assert_eq!(ids, ["22", "21", "3", "2", "1"], "newest first");
    });
}
