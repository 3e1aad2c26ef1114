//! What queries by patterns of topics read, and what they leave unknown.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use shared::message;

use super::{harness::Store, visible::patterns};
use crate::store::{
    Delivery,
    query::{
        EventQuery, Filter, HistogramQuery, Order, PageBounds, TopicQuery, TopicSort, Visible,
    },
    sqlite::reader::SCAN_ROWS,
};

/// A store with one event for each of these names of topics.
fn of_topics(names: impl IntoIterator<Item = String>) -> Store {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let deliveries = (1..).zip(names).map(|(sequence, topic)| {
        let body = format!(
            r#"{{"topic":"{topic}","event_id":"{sequence}","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{}}}}"#
        );
        Delivery {
            arrivals: message::decode("events", &message::encode(&[Bytes::from(body)], 0), 0),
            subject: "events".to_owned(),
            sequence,
            time: 0,
            senders: shared::publish::Senders::default(),
        }
    });
    store.append(&deliveries.collect::<Vec<_>>()).unwrap();
    store
}

#[test]
fn topics_behind_more_names_than_are_read_at_once_are_found() {
    let hidden = (0..3 * SCAN_ROWS).map(|number| format!("a{number:03}.y"));
    let store = of_topics(hidden.chain(["b.x".to_owned(), "c.x".to_owned()]));
    for (sort, found) in [
        (TopicSort::Name, &["b.x"][..]),
        (TopicSort::Received, &["b.x"]),
    ] {
        let query = TopicQuery {
            visible: Visible::of(patterns(&["*.x"])),
            sort,
            ..TopicQuery::default()
        };
        let page = store.reader().topics(query, 1);
        let page = store.runtime.block_on(page).unwrap();
        let names: Vec<_> = page.topics.iter().map(|topic| &topic.name).collect();
        assert_eq!(names, found);
        // They could not all be counted.
        assert_eq!(page.total, None);
        let next = (sort == TopicSort::Name).then_some("b.x");
        assert_eq!(page.next.as_deref(), next);
    }
    let named = TopicQuery {
        name: Some("c.x".to_owned()),
        visible: Visible::of(patterns(&["*.x"])),
        ..TopicQuery::default()
    };
    let page = store.runtime.block_on(store.reader().topics(named, 1));
    let page = page.unwrap();
    assert_eq!((page.topics.len(), page.total), (1, None));
}

#[test]
fn events_of_too_many_topics_are_not_counted() {
    let store = of_topics((0..20).map(|number| format!("a{number}.x")));
    let query = Arc::new(EventQuery {
        visible: Visible::of(patterns(&["*.x"])),
        ..EventQuery::default()
    });
    for (upto, counted) in [(3, Some(3)), (20, None)] {
        let between = store.reader().events_between(Arc::clone(&query), 0, upto);
        assert_eq!(store.runtime.block_on(between).unwrap(), counted);
    }
}

#[test]
fn a_query_that_reads_only_visible_events_does_not_wait_for_scans() {
    let store = of_topics((0..20).map(|number| format!("a{number}.x")));
    let bounds = |after| PageBounds {
        from: None,
        after,
        last: i64::MAX,
        limit: 1,
    };
    let visible = |texts: &[&str], topic: &str| EventQuery {
        topics: topic.split_terminator(',').map(str::to_owned).collect(),
        visible: Visible::of(patterns(texts)),
        ..EventQuery::default()
    };
    store.runtime.block_on(async {
        let reader = store.reader();
        let filtered = EventQuery {
            filter: Filter {
                contains: Some("x".to_owned()),
                ..Filter::default()
            },
            ..EventQuery::default()
        };
        // As many as there are.
        let _scans = [
            reader.scan(&filtered, &bounds(0)).await,
            reader.scan(&filtered, &bounds(0)).await,
        ];
        let waits = |query: EventQuery, after: i64| async move {
            let scan = reader.scan(&query, &bounds(after)).now_or_never();
            scan.is_none()
        };
        assert!(!waits(EventQuery::default(), 0).await);
        assert!(!waits(visible(&["*.x"], "a1.x"), 0).await);
        assert!(!waits(visible(&["a1.x", "a2.x"], ""), 0).await);
        assert!(waits(visible(&["*.x"], ""), 0).await);
        // Few events are new.
        assert!(!waits(visible(&["*.x"], ""), 18).await);
    });
}

#[test]
fn the_chains_of_many_topics_with_many_of_the_events_are_not_merged() {
    // Three are more than are merged whatever they hold.
    let page = |other: usize| {
        let visible = ["a.x", "b.x", "c.x"].into_iter().cycle().take(60);
        let names = visible.chain(std::iter::repeat_n("d.y", other));
        let store = of_topics(names.map(str::to_owned));
        let query = EventQuery {
            visible: Visible::of(patterns(&["*.x"])),
            order: Order::OldestFirst,
            ..EventQuery::default()
        };
        let page = store.ask(query, None, 100);
        assert_eq!(page.total, Some(60));
        (page.events.len() as u64, page.searched_to.is_some())
    };
    // A page that reads events of any topic ends after that number of rows.
    assert_eq!(page(0), (SCAN_ROWS, true));
    assert_eq!(page(600), (60, false));
}

#[test]
fn a_histogram_of_topics_that_are_not_counted_over_time_says_that_it_is_partial() {
    let store = of_topics((1..=5).map(|number| format!("a.{number}")));
    let histogram = |texts: &[&str]| {
        let query = HistogramQuery {
            topics: Vec::new(),
            visible: Visible::of(patterns(texts)),
            since: 0,
            until: 3_600_000_000,
            now: 3_600_000_000,
        };
        let histogram = store.runtime.block_on(store.reader().histogram(query));
        let histogram = histogram.unwrap().unwrap();
        let counts = histogram.buckets.iter().map(|bucket| bucket.unique);
        (counts.sum::<u64>(), histogram.is_partial)
    };
    // The first three topics are counted.
    assert_eq!(histogram(&["a.*"]), (3, true));
    assert_eq!(histogram(&["a.1", "a.2", "a.3"]), (3, false));
}
