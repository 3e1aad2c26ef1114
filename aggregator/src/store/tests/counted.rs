//! Counts of topics over time, repeated events, and what is marked as seen.

use super::{
    arrivals::{Arrival, delivery, mixed_delivery, stream},
    engine::{Store, each, each_with},
};
use crate::store::{
    Bounds,
    query::{
        Histogram, HistogramQuery, NoHistogram, Review, ReviewQuery, Seen, TopicQuery, Visible,
        Window,
    },
    sqlite::tests::visible::patterns,
};

const MINUTE: i64 = 60_000_000;

fn of(topic: u8, id: u8) -> Arrival {
    with(topic, id, 0)
}

fn with(topic: u8, id: u8, content: u8) -> Arrival {
    Arrival::Event { topic, id, content }
}

/// Messages with events of the topics `t0` to `t3`, of which three are counted in tests, from the minute 10 to the minute 13.
fn filled(store: &mut Store) {
    store.meet(stream(1, 0));
    let messages: [(i64, &[Arrival]); 5] = [
        (10, &[of(0, 1), of(0, 1), of(1, 1)]),
        (10, &[of(0, 1), Arrival::Noise]),
        (12, &[of(0, 2), of(1, 1), with(0, 1, 5)]),
        (13, &[of(2, 1)]),
        (13, &[of(3, 1), of(3, 1), of(0, 3)]),
    ];
    for (sequence, (minute, arrivals)) in (1..).zip(messages) {
        store.now = minute * MINUTE;
        store.append(&[mixed_delivery(sequence, arrivals)]).unwrap();
    }
    store.upkeep();
}

fn histogram(store: &Store, topics: &[&str], visible: Visible) -> Result<Histogram, NoHistogram> {
    let query = HistogramQuery {
        topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        visible,
        since: 9 * MINUTE,
        until: 14 * MINUTE,
        now: 14 * MINUTE,
    };
    let histogram = store.runtime.block_on(store.reader().histogram(query));
    histogram.unwrap()
}

fn counts(histogram: &Histogram) -> Vec<(u64, u64)> {
    assert!(histogram.buckets.iter().all(|bucket| bucket.rejected == 0));
    let counts = histogram.buckets.iter();
    counts.map(|b| (b.unique, b.duplicates)).collect()
}

#[test]
fn the_first_topics_of_a_store_are_counted_over_time() {
    each(|mut store| {
        filled(&mut store);
        let of_topics = |topics: &[&str]| {
            let found = histogram(&store, topics, Visible::default()).unwrap();
            assert_eq!((found.is_partial, found.counted_since), (false, None));
            counts(&found)
        };
        let first = [(0, 0), (1, 2), (0, 0), (1, 1), (1, 0)];
        assert_eq!(of_topics(&["t0"]), first);
        assert_eq!(
            of_topics(&["t0", "t1"]),
            [(0, 0), (2, 2), (0, 0), (1, 2), (1, 0)]
        );
        assert_eq!(of_topics(&["t2"]), [(0, 0), (0, 0), (0, 0), (0, 0), (1, 0)]);
        assert_eq!(of_topics(&["none"]), [(0, 0); 5]);
        for topics in [&["t3"][..], &["t0", "t3"]] {
            let found = histogram(&store, topics, Visible::default());
            assert_eq!(found, Err(NoHistogram::NotCounted));
        }
        for (names, is_partial) in [(&["t0", "none"][..], false), (&["t0", "t3"], true)] {
            let found = histogram(&store, &[], Visible::of(patterns(names))).unwrap();
            assert_eq!(
                (found.is_partial, counts(&found)),
                (is_partial, first.to_vec())
            );
        }
        store.reopen();
        assert_eq!(
            histogram(&store, &["t0"], Visible::default()).map(|found| counts(&found)),
            Ok(first.to_vec())
        );
    });
}

#[test]
fn a_page_of_topics_has_the_last_minutes_of_those_that_are_counted() {
    each(|mut store| {
        filled(&mut store);
        let query = TopicQuery {
            recent: Some(Window::last_minutes(4, 13 * MINUTE)),
            ..TopicQuery::default()
        };
        let page = store.runtime.block_on(store.reader().topics(query, 9));
        let recent: Vec<_> = page
            .unwrap()
            .topics
            .into_iter()
            .map(|topic| topic.recent)
            .collect();
        assert_eq!(
            recent,
            [vec![3, 0, 2, 1], vec![1, 0, 1, 0], vec![0, 0, 0, 1], vec![]]
        );
    });
}

#[test]
fn the_latest_duplicates_and_the_most_repeated_events_are_listed() {
    each(|mut store| {
        filled(&mut store);
        let listed = |topic: Option<&str>, visible: Visible, limit| {
            let listed = store
                .reader()
                .duplicates(topic.map(str::to_owned), visible, limit);
            let listed = store.runtime.block_on(listed).unwrap();
            let recent = listed.recent.iter().map(|again| {
                let minute = again.processed_at / MINUTE;
                let place = (again.stream_sequence, again.position);
                (
                    format!("{}/{}", again.topic, again.event_id),
                    place,
                    minute,
                    again.is_conflict,
                )
            });
            let often = listed.often.iter().map(|often| {
                assert_eq!(often.least, often.most, "{often:?}");
                (format!("{}/{}", often.topic, often.event_id), often.least)
            });
            assert!(listed.recent.iter().all(|again| again.source == "s"));
            (
                listed.total,
                recent.collect::<Vec<_>>(),
                often.collect::<Vec<_>>(),
            )
        };
        let all = Visible::default;
        let again =
            |name: &str, place, minute, is_conflict| (name.to_owned(), place, minute, is_conflict);
        let recent = [
            again("t3/1", (5, 1), 13, false),
            again("t0/1", (3, 2), 12, true),
            again("t1/1", (3, 1), 12, false),
            again("t0/1", (2, 0), 10, false),
            again("t0/1", (1, 1), 10, false),
        ];
        let (total, found, often) = listed(None, all(), 9);
        assert_eq!((total, found.as_slice()), (Some(5), recent.as_slice()));
        assert_eq!(often.len(), 3);
        assert_eq!(often[0], ("t0/1".to_owned(), 3));
        let (total, found, often) = listed(None, all(), 1);
        assert_eq!(
            (total, found, often.len()),
            (Some(5), recent[..1].to_vec(), 1)
        );
        let (total, found, often) = listed(Some("t1"), all(), 9);
        assert_eq!((total, found), (Some(1), recent[2..3].to_vec()));
        assert_eq!(often, [("t1/1".to_owned(), 1)]);
        let (total, found, _) = listed(None, Visible::of(patterns(&["t1", "t3"])), 9);
        assert_eq!(
            (total, found),
            (Some(2), vec![recent[0].clone(), recent[2].clone()])
        );
        assert_eq!(listed(Some("none"), all(), 9), (Some(0), vec![], vec![]));
        for (topic, id, again) in [
            ("t0", "1", 3),
            ("t0", "2", 0),
            ("t1", "1", 1),
            ("t3", "1", 1),
        ] {
            let found = store.reader().event(topic.to_owned(), id.to_owned());
            let found = store.runtime.block_on(found).unwrap().unwrap();
            assert_eq!(found.again, (again, again), "{topic} {id}");
        }
    });
}

fn rejected_ids(store: &Store) -> Vec<u64> {
    let page = store
        .reader()
        .rejected(ReviewQuery::default(), 99, Vec::new());
    let rows = store.runtime.block_on(page).unwrap().rows;
    rows.iter().rev().map(|row| row.id.unsigned_abs()).collect()
}

fn mark(store: &Store, rows: Review, up_to: u64) -> Option<Seen> {
    let marked = store.runtime.block_on(store.writer().seen(rows, up_to));
    marked.unwrap()
}

#[test]
fn what_is_marked_as_seen_is_counted_and_never_less() {
    each(|mut store| {
        store.meet(stream(1, 0));
        assert_eq!(mark(&store, Review::Rejected, 1), None);
        store
            .append(&[delivery(1, &[of(0, 1), Arrival::Noise, Arrival::Noise])])
            .unwrap();
        store
            .append(&[delivery(2, &[Arrival::Noise, with(0, 1, 1)])])
            .unwrap();
        let ids = rejected_ids(&store);
        let seen = |up_to, number| Some(Seen { up_to, number });
        assert_eq!(mark(&store, Review::Rejected, ids[1]), seen(ids[1], 2));
        assert_eq!(mark(&store, Review::Rejected, ids[0]), seen(ids[1], 2));
        assert_eq!(mark(&store, Review::Rejected, ids[2] + 1), None);
        assert_eq!(mark(&store, Review::Rejected, u64::MAX), None);
        for id in &ids {
            let requeued = store.writer().requeued(id.cast_signed(), 7);
            assert!(store.runtime.block_on(requeued).unwrap());
        }
        store.reopen();
        let stats = store.stats();
        assert_eq!(
            (stats.rejected, stats.rejected_seen),
            (3, seen(ids[1], 2).unwrap())
        );
        assert_eq!(stats.rejected_requeued, 1, "only those that are not seen");
        assert_eq!(stats.conflicts_seen, Seen::default());
        let page = store
            .reader()
            .conflicts(ReviewQuery::default(), 9, Vec::new());
        let conflict = store.runtime.block_on(page).unwrap().rows[0]
            .id
            .unsigned_abs();
        assert_eq!(mark(&store, Review::Conflicts, conflict), seen(conflict, 1));
        assert_eq!(mark(&store, Review::Rejected, ids[2]), seen(ids[2], 3));
        assert_eq!(store.stats().rejected_requeued, 0);
    });
}

#[test]
fn rows_that_are_no_longer_kept_stay_seen() {
    let bounds = Bounds {
        rejected: 1_000,
        conflicts: 1_000,
    };
    each_with(bounds, |mut store| {
        store.meet(stream(1, 0));
        for sequence in 1..=10 {
            store
                .append(&[delivery(sequence, &[Arrival::Noise])])
                .unwrap();
            store.upkeep();
        }
        let ids = rejected_ids(&store);
        let evicted = store.stats().rejected_evicted;
        assert!(evicted > 0);
        let marked = mark(&store, Review::Rejected, ids[0]).unwrap();
        assert_eq!((marked.up_to, marked.number), (ids[0], evicted + 1));
        for sequence in 11..=20 {
            store
                .append(&[delivery(sequence, &[Arrival::Noise])])
                .unwrap();
            store.upkeep();
        }
        assert_eq!(store.stats().rejected_seen, marked);
    });
}
