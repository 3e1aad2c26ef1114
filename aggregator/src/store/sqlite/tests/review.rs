//! Rejected arrivals and conflicts kept for review: bounded, counted when evicted, and no longer evidence afterwards.

use super::harness::{Arrival, Store, delivery};
use crate::store::{
    Appended, Bounds,
    query::{Review, ReviewQuery},
    sqlite::options::Options,
};

fn noise(count: usize) -> Vec<Arrival> {
    vec![Arrival::Noise; count]
}

/// A store that keeps only the latest row of each kind, because a row has more than 200 bytes.
fn small() -> Store {
    Store::with(Options {
        bounds: Bounds {
            rejected: 1,
            conflicts: 1,
        },
        ..Options::default()
    })
}

fn number(store: &Store, sql: &str) -> u64 {
    store
        .raw_connection()
        .query_row(sql, [], |row| row.get(0))
        .unwrap()
}

#[test]
fn the_oldest_rows_are_evicted_and_counted() {
    let mut store = small();
    store.meet(1, 1, 0);
    let event = |content| Arrival::Event {
        topic: 0,
        id: 0,
        content,
    };
    store.append(&[delivery(1, &noise(3))]).unwrap();
    store.append(&[delivery(2, &noise(2))]).unwrap();
    let versions = [event(0), event(1), event(2), event(3)];
    store.append(&[delivery(3, &versions)]).unwrap();

    let stats = store.stats();
    assert_eq!((stats.rejected, stats.rejected_evicted), (5, 4));
    assert_eq!((stats.conflicts, stats.conflicts_evicted), (3, 2));
    let rows = "SELECT id * 10 + stream_sequence FROM rejected";
    assert_eq!(number(&store, rows), 52);
    assert_eq!(number(&store, "SELECT id FROM conflicts"), 3);
    for (table, columns) in [
        ("rejected", "detail || subject || body"),
        ("conflicts", "timestamp || source || payload || subject"),
    ] {
        let rows = format!("SELECT sum(200 + octet_length(cast({columns} AS BLOB))) FROM {table}");
        let counted = format!("SELECT {table}_bytes FROM counters");
        assert_eq!(number(&store, &rows), number(&store, &counted), "{table}");
    }
}

#[test]
fn requeued_arrivals_are_counted_until_they_are_seen_also_after_a_restart() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store.append(&[delivery(1, &noise(4))]).unwrap();
    let requeue = |store: &Store, id| {
        let done = store.runtime.block_on(store.writer().requeued(id, 1));
        done.unwrap()
    };
    assert!(requeue(&store, 2) && requeue(&store, 4) && requeue(&store, 4));
    assert!(!requeue(&store, 5));
    assert_eq!(store.stats().rejected_requeued, 2);
    let seen = store.writer().seen(Review::Rejected, 3);
    let seen = store.runtime.block_on(seen).unwrap();
    assert_eq!(seen.map(|seen| seen.up_to), Some(3));
    assert_eq!(store.stats().rejected_requeued, 1);
    // It was seen already.
    assert!(requeue(&store, 1));
    assert_eq!(store.stats().rejected_requeued, 1);
    store.reopen();
    assert_eq!(store.stats().rejected_requeued, 1);
    let plan = "EXPLAIN QUERY PLAN \
                SELECT count(*) FROM rejected WHERE requeued_at IS NOT NULL AND id > 7";
    let plan: String = store
        .raw_connection()
        .query_row(plan, [], |row| row.get(3))
        .unwrap();
    assert!(plan.contains("INDEX rejected_requeued"), "{plan}");
}

#[test]
fn a_redelivery_of_evicted_arrivals_is_recognized() {
    let mut store = small();
    store.meet(1, 1, 0);
    let first = delivery(1, &noise(2));
    store.append(std::slice::from_ref(&first)).unwrap();
    store.append(&[delivery(2, &noise(2))]).unwrap();
    store.reopen();
    let again = store.append(std::slice::from_ref(&first)).unwrap();
    let redelivered = Appended {
        redelivered: 1,
        ..Appended::default()
    };
    assert_eq!(again, redelivered);
}

#[test]
fn rows_within_the_bounds_are_kept() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store.append(&[delivery(1, &noise(50))]).unwrap();
    let stats = store.stats();
    assert_eq!((stats.rejected, stats.rejected_evicted), (50, 0));
    assert_eq!(number(&store, "SELECT count(*) FROM rejected"), 50);
}

#[test]
fn rows_are_selected_by_the_time_at_which_they_were_counted() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let event = |content| Arrival::Event {
        topic: 0,
        id: 0,
        content,
    };
    store.append(&[delivery(1, &[event(0)])]).unwrap();
    // Each batch is one microsecond later.
    let first = store.now + 1;
    for (sequence, content) in (2..6).zip(1..) {
        let arrivals = [Arrival::Noise, event(content)];
        store.append(&[delivery(sequence, &arrivals)]).unwrap();
    }
    for (since, until, expected) in [
        (None, None, vec![4, 3, 2, 1]),
        (Some(first + 1), None, vec![4, 3, 2]),
        (None, Some(first + 1), vec![1]),
        (Some(first + 1), Some(first + 3), vec![3, 2]),
        (Some(first + 4), None, vec![]),
    ] {
        let (mut rejected, mut conflicts) = (Vec::new(), Vec::new());
        let mut query = ReviewQuery {
            since,
            until,
            ..ReviewQuery::default()
        };
        store.runtime.block_on(async {
            loop {
                let page = store.reader().rejected(query.clone(), 1, Vec::new());
                let page = page.await.unwrap();
                assert_eq!(page.total, Some(4));
                rejected.extend(page.rows.iter().map(|row| row.id));
                query.before = page.next;
                if page.next.is_none() {
                    break;
                }
            }
            let page = store.reader().conflicts(query.clone(), 100, Vec::new());
            conflicts.extend(page.await.unwrap().rows.iter().map(|row| row.id));
        });
        assert_eq!(rejected, expected, "{since:?} {until:?}");
        assert_eq!(conflicts, expected, "{since:?} {until:?}");
    }
}
