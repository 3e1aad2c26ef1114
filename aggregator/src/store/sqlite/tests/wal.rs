//! The WAL stays within its bound under any reads.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::harness::{Store, delivery, event};
use crate::store::{
    query::{EventQuery, Filter, PageBounds},
    sqlite::{FILE, options::Options},
};

/// A few dozen commits.
const BOUND: u64 = 512 * 1024;

fn bounded() -> Store {
    let store = Store::with(Options {
        wal_bound: BOUND,
        ..Options::default()
    });
    store.meet(1, 1, 0);
    store
}

fn wal(store: &Store) -> u64 {
    let wal = store.path().join(format!("{FILE}-wal"));
    wal.metadata().unwrap().len()
}

/// Commits messages, each in a transaction of its own, and returns the largest size of the WAL.
fn commit(store: &mut Store, sequences: std::ops::Range<u64>) -> u64 {
    let mut largest = 0;
    for sequence in sequences {
        let event = event(u8::try_from(sequence % 250).unwrap());
        store.append(&[delivery(sequence, &event)]).unwrap();
        largest = largest.max(wal(store));
    }
    largest
}

#[test]
fn overlapping_reads_keep_the_wal_below_twice_its_bound_and_none_fails() {
    let mut store = bounded();
    commit(&mut store, 1..50);
    let (stop, pages) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let reading = || {
        let (reader, stop, pages) = (
            store.reader().clone(),
            Arc::clone(&stop),
            Arc::clone(&pages),
        );
        store.runtime.spawn(async move {
            let query = Arc::new(EventQuery {
                filter: Filter {
                    contains: Some("zzz".to_owned()),
                    ..Filter::default()
                },
                ..EventQuery::default()
            });
            let bounds = PageBounds {
                from: None,
                after: 0,
                last: i64::MAX,
                limit: 10,
            };
            while !stop.load(Ordering::Relaxed) {
                let scan = reader.scan(&query, &bounds).await;
                reader
                    .events(Arc::clone(&query), bounds, scan, Vec::new())
                    .await
                    .unwrap();
                reader.stats(10).await.unwrap();
                pages.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let readers: Vec<_> = (0..8).map(|_| reading()).collect();
    // Without resets, the WAL would reach ten times its bound.
    let largest = commit(&mut store, 50..450);
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        store.runtime.block_on(reader).unwrap();
    }
    assert!(pages.load(Ordering::Relaxed) > 8, "there were reads");
    assert!(
        largest > BOUND,
        "it was reset because of its bound: {largest}"
    );
    assert!(largest < 2 * BOUND, "{largest}");
}

#[test]
fn a_reader_in_another_process_holds_the_wal_but_never_blocks_ingest() {
    let mut store = bounded();
    commit(&mut store, 1..10);
    let other = store.raw_connection();
    other
        .execute_batch("BEGIN; SELECT count(*) FROM events;")
        .unwrap();
    let held = commit(&mut store, 10..200);
    assert!(held > 2 * BOUND, "it cannot be reset: {held}");
    assert_eq!(store.page(None, None, 5).events.len(), 5, "reads continue");
    other.execute_batch("END").unwrap();
    drop(other);
    commit(&mut store, 200..260);
    assert!(
        wal(&store) < 2 * BOUND,
        "it is shorter again: {}",
        wal(&store)
    );
}
