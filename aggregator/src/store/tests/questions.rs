//! Questions: pages of events, topics and counts, and what comes back of an event.

use super::{
    arrivals::{Arrival, delivery, delivery_on, event, mixed_delivery, stream},
    engine::{Store, each},
};
use crate::store::query::{
    EventQuery, Filter, HistogramQuery, Order, TopicQuery, TopicSort, Visible,
};

fn of(topic: u8, id: u8) -> Arrival {
    Arrival::Event {
        topic,
        id,
        content: 0,
    }
}

/// 100 events of two topics, of which the first has nine of ten.
fn filled(store: &mut Store) {
    store.meet(stream(1, 0));
    for sequence in 1..=10 {
        let id = |number: u8| 10 * (u8::try_from(sequence).unwrap() - 1) + number;
        let events: Vec<_> = (0..10).map(|n| of(u8::from(n == 9), id(n))).collect();
        store.append(&[mixed_delivery(sequence, &events)]).unwrap();
    }
    store.upkeep();
}

fn ids(store: &Store, query: &EventQuery, limit: usize) -> Vec<u8> {
    let (mut from, mut ids) = (None, Vec::new());
    loop {
        let page = store.ask(query.clone(), from, limit);
        assert!(page.events.len() <= limit);
        ids.extend(
            page.events
                .iter()
                .map(|event| event.event_id.parse::<u8>().unwrap()),
        );
        from = page.next;
        if from.is_none() {
            return ids;
        }
    }
}

#[test]
fn pages_follow_each_other_in_either_order_without_gaps() {
    each(|mut store| {
        filled(&mut store);
        let newest = EventQuery::default();
        let oldest = EventQuery {
            order: Order::OldestFirst,
            ..EventQuery::default()
        };
        for limit in [1, 7, 100, 1_000] {
            assert!(
                ids(&store, &oldest, limit).into_iter().eq(0..100),
                "{limit}"
            );
            assert!(
                ids(&store, &newest, limit).into_iter().eq((0..100).rev()),
                "{limit}"
            );
        }
        assert_eq!(store.ask(newest, None, 5).total, Some(100));
        let topic = EventQuery {
            topics: vec!["t1".to_owned()],
            ..oldest.clone()
        };
        let expected: Vec<u8> = (0..10).map(|n| 10 * n + 9).collect();
        assert_eq!(ids(&store, &topic, 3), expected);
        assert_eq!(store.ask(topic, None, 3).total, Some(10));
        let both = EventQuery {
            topics: vec!["t1".to_owned(), "t0".to_owned(), "none".to_owned()],
            ..oldest
        };
        assert!(ids(&store, &both, 9).into_iter().eq(0..100));
    });
}

#[test]
fn filters_find_the_same_events_however_much_a_page_may_scan() {
    each(|mut store| {
        filled(&mut store);
        let with = |filter| EventQuery {
            filter,
            ..EventQuery::default()
        };
        let one = with(Filter {
            event_id: Some("3".to_owned()),
            ..Filter::default()
        });
        assert_eq!(ids(&store, &one, 5), [3]);
        let none = with(Filter {
            source: Some("another".to_owned()),
            ..Filter::default()
        });
        assert!(ids(&store, &none, 5).is_empty());
        let all = with(Filter {
            contains: Some("content".to_owned()),
            ..Filter::default()
        });
        assert_eq!(ids(&store, &all, 30).len(), 100);
    });
}

#[test]
fn events_of_a_span_of_time_are_those_that_were_stored_in_it() {
    each(|mut store| {
        store.meet(stream(1, 0));
        for sequence in 1..=6_u8 {
            store.now = i64::from(sequence) * 40_000_000 - 1;
            store
                .append(&[delivery(sequence.into(), &event(sequence))])
                .unwrap();
        }
        store.upkeep();
        let between = |since: Option<i64>, until: Option<i64>| EventQuery {
            since: since.map(|since| since * 40_000_000),
            until: until.map(|until| until * 40_000_000),
            order: Order::OldestFirst,
            ..EventQuery::default()
        };
        assert_eq!(ids(&store, &between(Some(3), None), 2), [3, 4, 5, 6]);
        assert_eq!(ids(&store, &between(None, Some(3)), 2), [1, 2]);
        assert_eq!(ids(&store, &between(Some(2), Some(5)), 2), [2, 3, 4]);
        assert!(ids(&store, &between(Some(7), None), 2).is_empty());
        assert!(ids(&store, &between(None, Some(1)), 2).is_empty());
    });
}

#[test]
fn an_event_comes_back_as_it_was_sent() {
    each(|mut store| {
        store.meet(stream(1, 0));
        let payload = r#"{ "b" : 1.50,"a":"\u0000 \ud83d\ude00 ä" , "n":1e400 }"#;
        let json = format!(
            r#"{{"topic":"t\u0000/ä","event_id":"\u0000","timestamp":"2026-01-31t12:00:00.10+01:00","source":"\u0000s","payload":{payload}}}"#
        );
        store
            .append(&[delivery_on("events".to_owned(), 1, &["3".to_owned(), json])])
            .unwrap();
        let found = store
            .runtime
            .block_on(store.reader().event("t\0/ä".to_owned(), "\0".to_owned()));
        let found = found.unwrap().unwrap();
        assert_eq!((found.stream_sequence, found.position), (1, 1));
        assert_eq!(found.again, (0, 0));
        let event = found.event;
        assert_eq!(event.payload, payload);
        assert_eq!(event.timestamp, "2026-01-31t12:00:00.10+01:00");
        assert_eq!(
            (event.topic.as_str(), event.source.as_str()),
            ("t\0/ä", "\0s")
        );
        assert_eq!(store.page(Some("t\0/ä"), None, 1).events, [event]);
        let absent = store.reader().event("t\0/ä".to_owned(), "0".to_owned());
        assert_eq!(store.runtime.block_on(absent).unwrap(), None);
    });
}

#[test]
fn topics_are_listed_in_each_order_and_counted() {
    each(|mut store| {
        store.meet(stream(1, 0));
        for (sequence, topic) in (1..).zip([2, 1, 1, 3, 3, 3]) {
            let id = u8::try_from(sequence).unwrap();
            // The last of topic 3 is a duplicate.
            let id = if sequence == 6 { 5 } else { id };
            store
                .append(&[delivery(sequence, &[of(topic, id)])])
                .unwrap();
        }
        let runtime = std::sync::Arc::clone(&store.runtime);
        runtime.block_on(store.reader().learn_leaders()).unwrap();
        let names = |query: TopicQuery, limit| {
            let page = runtime
                .block_on(store.reader().topics(query, limit))
                .unwrap();
            let names: Vec<_> = page.topics.iter().map(|topic| topic.name.clone()).collect();
            (names.join(" "), page.total, page.next)
        };
        let sorted = |sort, is_descending| TopicQuery {
            sort,
            is_descending,
            ..TopicQuery::default()
        };
        for (query, expected) in [
            (sorted(TopicSort::Name, false), "t1 t2 t3"),
            (sorted(TopicSort::Name, true), "t3 t2 t1"),
            (sorted(TopicSort::Received, true), "t3 t1 t2"),
            (sorted(TopicSort::Unique, true), "t1 t3 t2"),
            (sorted(TopicSort::Duplicates, true), "t3 t1 t2"),
            (sorted(TopicSort::DuplicateShare, true), "t3 t1 t2"),
            (sorted(TopicSort::First, false), "t2 t1 t3"),
            (sorted(TopicSort::Last, true), "t3 t1 t2"),
        ] {
            let (found, total, _) = names(query.clone(), 9);
            assert_eq!((found.as_str(), total), (expected, Some(3)), "{query:?}");
        }
        let (page, _, next) = names(TopicQuery::default(), 2);
        assert_eq!((page.as_str(), next.as_deref()), ("t1 t2", Some("t2")));
        let after = TopicQuery {
            after: next,
            ..TopicQuery::default()
        };
        assert_eq!(names(after, 2).0, "t3");
        let contains = TopicQuery {
            contains: "T2".to_owned(),
            ..TopicQuery::default()
        };
        assert_eq!(names(contains, 2).0, "t2");
        let stats = store.stats();
        assert_eq!(
            (stats.topics_total, stats.topics.join(" ").as_str()),
            (3, "t1 t2 t3")
        );
    });
}

#[test]
fn the_histogram_of_all_topics_has_each_event_in_its_minute() {
    each(|mut store| {
        store.meet(stream(1, 0));
        for (sequence, minute) in [(1, 10), (2, 10), (3, 12)] {
            store.now = minute * 60_000_000;
            let arrivals = [of(0, 1), Arrival::Noise];
            store.append(&[delivery(sequence, &arrivals)]).unwrap();
        }
        let query = HistogramQuery {
            topics: Vec::new(),
            visible: Visible::default(),
            since: 9 * 60_000_000,
            until: 13 * 60_000_000,
            now: 13 * 60_000_000,
        };
        let histogram = store.runtime.block_on(store.reader().histogram(query));
        let buckets = histogram.unwrap().unwrap().buckets;
        let counts = buckets.iter().map(|b| (b.unique, b.duplicates, b.rejected));
        assert_eq!(
            counts.collect::<Vec<_>>(),
            [(0, 0, 0), (1, 1, 2), (0, 0, 0), (0, 1, 1)]
        );
        assert_eq!(buckets[1].at, 10 * 60_000_000);
    });
}
