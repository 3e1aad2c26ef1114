//! Named cases: incarnations, pages, times, and files that have changed.

use std::path::Path;

use rusqlite::Connection;

use super::harness::{Failure, Store, break_writes, delivery, event, repair_writes};
use crate::store::{Limits, StoreError, open, sqlite::FILE};

#[test]
fn an_incarnation_begins_when_the_stream_is_recreated() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store
        .append(&[delivery(1, &event(1)), delivery(2, &event(2))])
        .unwrap();
    assert_eq!(store.meet(2, 1, 0), 0);
    let appended = store
        .append(&[delivery(1, &event(3)), delivery(2, &event(1))])
        .unwrap();
    assert_eq!(
        (appended.unique, appended.duplicates, appended.redelivered),
        (1, 1, 0)
    );
}

#[test]
fn a_stream_that_is_met_again_is_recognized() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store
        .append(&[delivery(1, &event(1)), delivery(2, &event(2))])
        .unwrap();
    store.meet(2, 1, 0);
    assert_eq!(store.meet(1, 1, 2), 2);
    assert_eq!(
        store.append(&[delivery(2, &event(2))]).unwrap().redelivered,
        1
    );
}

#[test]
fn reused_sequences_are_applied_in_a_new_epoch() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let old: Vec<_> = (1..=5)
        .map(|id| delivery(u64::from(id), &event(id)))
        .collect();
    store.append(&old).unwrap();
    // The broker lost 4 and 5 and later assigns their sequences to other messages.
    let mut reused = delivery(4, &event(14));
    reused.time = 100;
    assert_eq!(store.append(&[reused.clone()]).unwrap().unique, 1);
    // A message delivered before, in either incarnation, is a redelivery.
    let appended = store.append(&[old[2].clone(), reused]).unwrap();
    assert_eq!(appended.redelivered, 2);
    assert_eq!(store.stats().received, 6);
}

#[test]
fn a_batch_that_ends_one_incarnation_and_begins_another_stores_both() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let old = [delivery(1, &event(1)), delivery(3, &event(3))];
    store.append(&old).unwrap();
    // 2 arrives late and belongs to the first incarnation; 3 is reused.
    let late = delivery(2, &event(2));
    let mut reused = delivery(3, &event(13));
    reused.time = 100;
    let appended = store.append(&[late.clone(), reused.clone()]).unwrap();
    assert_eq!((appended.unique, appended.epoch_begun), (2, true));
    store.reopen();
    store.meet(1, 1, 3);
    let appended = store.append(&[late, reused, old[1].clone()]).unwrap();
    assert_eq!((appended.redelivered, appended.duplicates), (3, 0));
}

#[test]
fn a_file_that_disappears_is_not_replaced_by_an_empty_store() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store.append(&[delivery(1, &event(1))]).unwrap();
    break_writes(&store.raw_connection(), Failure::Middle);
    assert!(store.append(&[delivery(2, &event(2))]).is_err());
    let file = store.path().join(FILE);
    let away = store.path().join("away");
    std::fs::rename(&file, &away).unwrap();
    assert!(store.append(&[delivery(2, &event(2))]).is_err());
    assert!(!file.exists());
    std::fs::rename(&away, &file).unwrap();
    repair_writes(&store.raw_connection());
    assert_eq!(store.append(&[delivery(2, &event(2))]).unwrap().unique, 1);
}

#[test]
fn a_reused_sequence_is_detected_by_its_events_even_if_the_times_agree() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store
        .append(&[delivery(1, &event(1)), delivery(9, &event(2))])
        .unwrap();
    let mut reused = delivery(1, &event(7));
    reused.time = 5;
    assert_eq!(store.append(&[reused]).unwrap().unique, 1);
}

#[test]
fn a_tail_lost_by_the_broker_begins_a_new_epoch_when_the_stream_is_met() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let old: Vec<_> = (1..=5)
        .map(|id| delivery(u64::from(id), &event(id)))
        .collect();
    store.append(&old).unwrap();
    assert_eq!(store.meet(1, 1, 3), 0);
    assert_eq!(store.append(&old[..3]).unwrap().redelivered, 3);
    assert_eq!(store.meet(1, 1, 3), 3);
}

#[test]
fn messages_lost_before_they_were_applied_are_missing_and_the_floor_passes_them() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store
        .append(&[delivery(1, &event(1)), delivery(3, &event(3))])
        .unwrap();
    assert_eq!(store.meet(1, 6, 8), 5);
    assert_eq!(store.stats().missing, 3);
    assert_eq!(store.meet(1, 6, 8), 5);
    assert_eq!(store.stats().missing, 3);
}

#[test]
fn a_lock_held_by_another_process_fails_only_the_write() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let mut other = store.raw_connection();
    let lock = other
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    assert!(matches!(
        store.append(&[delivery(1, &event(1))]),
        Err(StoreError::Sqlite(_))
    ));
    drop(lock);
    assert_eq!(store.append(&[delivery(1, &event(1))]).unwrap().unique, 1);
}

#[test]
fn times_never_decrease_even_if_the_clock_does() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store.now = 1_000;
    store.append(&[delivery(1, &event(1))]).unwrap();
    store.now = 10;
    store.append(&[delivery(2, &event(2))]).unwrap();
    let page = store.page(None, None, 10);
    let times: Vec<_> = page.events.iter().map(|event| event.processed_at).collect();
    assert_eq!(times, [1_001, 1_001]);
}

#[test]
fn pages_follow_each_other_without_a_gap_or_an_overlap() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let batch: Vec<_> = (1..=5)
        .map(|id| delivery(u64::from(id), &event(id)))
        .collect();
    store.append(&batch).unwrap();
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = store.page(Some("t0"), before, 2);
        assert_eq!(page.total, Some(5));
        seen.extend(page.events.into_iter().map(|event| event.event_id));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["5", "4", "3", "2", "1"]);
}

#[test]
fn a_later_schema_and_a_foreign_file_are_refused() {
    let refused = |prepare: &str| {
        let directory = tempfile::tempdir().unwrap();
        let file: &Path = &directory.path().join(FILE);
        Connection::open(file)
            .unwrap()
            .execute_batch(prepare)
            .unwrap();
        match open(directory.path(), 0, Limits::default()) {
            Ok(_) => panic!("it was opened"),
            Err(err) => err.to_string(),
        }
    };
    assert!(refused("PRAGMA user_version = 99").contains("version 99"));
    assert!(refused("CREATE TABLE mine (x)").contains("this program did not create it"));
}
