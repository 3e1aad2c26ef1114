//! What is kept for review: conflicts and rejected arrivals, and their limits.

use super::{
    arrivals::{Arrival, delivery, stream},
    engine::{each, each_with},
};
use crate::store::{Bounds, query::ReviewQuery};

fn with(content: u8) -> Arrival {
    Arrival::Event {
        topic: 0,
        id: 1,
        content,
    }
}

#[test]
fn a_conflict_is_kept_with_the_stored_event_and_counted_as_a_duplicate() {
    each(|mut store| {
        store.meet(stream(1, 0));
        // In the batch of the first, in its message, and later.
        let done = store.append(&[delivery(1, &[with(0), with(1)]), delivery(2, &[with(2)])]);
        let done = done.unwrap();
        assert_eq!((done.unique, done.duplicates, done.conflicts), (1, 2, 2));
        let done = store.append(&[delivery(3, &[with(0), with(3)])]).unwrap();
        assert_eq!((done.unique, done.duplicates, done.conflicts), (0, 2, 1));
        let page = store
            .reader()
            .conflicts(ReviewQuery::default(), 2, Vec::new());
        let page = store.runtime.block_on(page).unwrap();
        assert_eq!((page.total, page.evicted), (Some(3), Some(0)));
        let payloads: Vec<_> = page
            .rows
            .iter()
            .map(|conflict| conflict.payload.as_str())
            .collect();
        assert_eq!(payloads, [r#"{"content":3}"#, r#"{"content":2}"#]);
        let latest = &page.rows[0];
        assert_eq!((latest.stream_sequence, latest.position), (3, 1));
        assert_eq!(latest.stored.payload, r#"{"content":0}"#);
        let query = ReviewQuery {
            before: page.next,
            ..ReviewQuery::default()
        };
        let rest = store.reader().conflicts(query, 2, Vec::new());
        let rest = store.runtime.block_on(rest).unwrap();
        assert_eq!((rest.rows.len(), rest.next), (1, None));
    });
}

#[test]
fn a_rejected_arrival_is_kept_with_its_bytes_and_can_be_marked_as_sent_again() {
    each(|mut store| {
        store.meet(stream(1, 0));
        let done = store.append(&[delivery(1, &[with(0), Arrival::Noise, Arrival::Noise])]);
        let done = done.unwrap();
        assert_eq!((done.unique, done.rejected), (1, 2));
        let rejected = |id| {
            store
                .runtime
                .block_on(store.reader().rejected_one(id))
                .unwrap()
        };
        let page = store
            .reader()
            .rejected(ReviewQuery::default(), 9, Vec::new());
        let page = store.runtime.block_on(page).unwrap();
        assert_eq!((page.rows.len(), page.total), (2, Some(2)));
        let latest = &page.rows[0];
        assert_eq!((latest.stream_sequence, latest.position), (1, 2));
        assert_eq!(
            (latest.body.as_slice(), latest.subject.as_str()),
            (&b"3"[..], "events.t0")
        );
        assert_eq!(rejected(latest.id).as_ref(), Some(latest));
        let requeued = store.writer().requeued(latest.id, 77);
        assert!(store.runtime.block_on(requeued).unwrap());
        assert_eq!(rejected(latest.id).unwrap().requeued_at, Some(77));
        assert_eq!(store.stats().rejected_requeued, 1);
        let absent = store.writer().requeued(latest.id + 1, 77);
        assert!(!store.runtime.block_on(absent).unwrap());
    });
}

#[test]
fn beyond_their_limits_the_oldest_rows_go_and_are_counted() {
    let bounds = Bounds {
        rejected: 1_000,
        conflicts: 1_000,
    };
    each_with(bounds, |mut store| {
        store.meet(stream(1, 0));
        for sequence in 1..=20 {
            let content = u8::try_from(sequence).unwrap();
            let arrivals = [with(0), with(content), Arrival::Noise];
            store.append(&[delivery(sequence, &arrivals)]).unwrap();
            store.upkeep();
        }
        let stats = store.stats();
        assert_eq!((stats.rejected, stats.conflicts), (20, 20));
        let rejected = store
            .reader()
            .rejected(ReviewQuery::default(), 99, Vec::new());
        let rejected = store.runtime.block_on(rejected).unwrap().rows;
        assert_eq!(rejected.len() as u64, 20 - stats.rejected_evicted);
        let conflicts = store
            .reader()
            .conflicts(ReviewQuery::default(), 99, Vec::new());
        let conflicts = store.runtime.block_on(conflicts).unwrap().rows;
        assert_eq!(conflicts.len() as u64, 20 - stats.conflicts_evicted);
        for kept in [rejected.len(), conflicts.len()] {
            assert!((2..=5).contains(&kept), "{kept}");
        }
        assert_eq!(rejected[0].stream_sequence, 20);
        // A message whose rejected arrival was evicted is still known.
        let again = delivery(1, &[with(0), with(1), Arrival::Noise]);
        let done = store.append(&[again]).unwrap();
        assert_eq!((done.arrivals(), done.redelivered), (0, 1));
    });
}
