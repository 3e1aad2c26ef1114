//! Queries by patterns of topics: each returns what a query for all topics returns, without those that are not visible.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use shared::message;

use super::harness::Store;
use crate::{
    access::{Pattern, Patterns},
    store::{
        Delivery, Resolved,
        query::{
            EventQuery, Filter, HistogramQuery, Order, PageBounds, ReviewQuery, TopicQuery,
            TopicSort, Visible,
        },
    },
};

/// More than are looked up one by one in tests, so that some patterns are of too many.
const TOPICS: [&str; 9] = [
    "a", "a.x", "a.x.1", "a.x.2", "a.y", "b", "b.x", "c.x", "d e",
];

/// Every kind of pattern: of no topic, of few, of too many, and several.
const PATTERNS: [&[&str]; 12] = [
    &[],
    &["nothing.here"],
    &["a"],
    &["\"d e\"", "b"],
    &["a.*"],
    &["a.x.*", "a.x"],
    &["a.>"],
    &["*.x"],
    &["c.>", "a.x", "a.x.>"],
    &["*.*", "\"a\""],
    &["b.*", "b"],
    &["*"],
];

pub fn patterns(texts: &[&str]) -> Arc<Patterns> {
    let patterns = texts.iter().map(|text| Pattern::parse(text).unwrap());
    Arc::new(patterns.collect())
}

/// An event of the topic in this place, with this id and content.
fn delivery(sequence: u64, (topic, id, content): (usize, u8, u8)) -> Delivery {
    let json = |topic: &str, id: &str| {
        Bytes::from(format!(
            r#"{{"topic":"{topic}","event_id":"{id}","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{"content":{content}}}}}"#
        ))
    };
    // The second one is rejected: it has no id.
    let bodies = [
        json(TOPICS[topic], &id.to_string()),
        json(TOPICS[topic], ""),
    ];
    let count = if content == 0 { 2 } else { 1 };
    Delivery {
        senders: shared::publish::Senders::default(),
        arrivals: message::decode("events", &message::encode(&bodies[..count], 0), 0),
        subject: "events".to_owned(),
        sequence,
        time: 0,
    }
}

fn filled(arrivals: &[(usize, u8, u8)]) -> Store {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let deliveries = (1..)
        .zip(arrivals)
        .map(|(at, arrival)| delivery(at, *arrival));
    for batch in deliveries.collect::<Vec<_>>().chunks(4) {
        store.append(batch).unwrap();
    }
    let learn = store.reader().learn_leaders();
    store.runtime.block_on(learn).unwrap();
    store
}

/// The sequences and topics of all pages, and the total of the first one.
fn pages(store: &Store, query: &EventQuery, last: i64) -> (Vec<(i64, String)>, Option<u64>) {
    let (mut found, mut total, mut from) = (Vec::new(), None, None);
    let resolved = Resolved::default();
    loop {
        let bounds = PageBounds {
            from,
            after: 0,
            last,
            limit: 2,
        };
        let page = store.runtime.block_on(async {
            let resolved = resolved.clone();
            let scan = store.reader().scan_on(query, &bounds, resolved).await;
            let query = Arc::new(query.clone());
            let page = store.reader().events(query, bounds, scan, Vec::new());
            page.await.unwrap()
        });
        if from.is_none() {
            total = page.total;
        }
        let events = page.events.into_iter();
        found.extend(events.map(|event| (event.sequence, event.topic)));
        from = page.next;
        if from.is_none() {
            return (found, total);
        }
    }
}

fn check(store: &Store, texts: &[&str]) {
    let visible = Visible::of(patterns(texts));
    events(store, &visible);
    between(store, &visible);
    topics(store, &visible);
    duplicates(store, &visible);
    review(store, &visible);
    histogram(store, &visible);
}

fn events(store: &Store, visible: &Visible) {
    for order in [Order::NewestFirst, Order::OldestFirst] {
        for event_id in [None, Some("1".to_owned())] {
            for last in [i64::MAX, 2, 9] {
                let all = EventQuery {
                    order,
                    filter: Filter {
                        event_id: event_id.clone(),
                        ..Filter::default()
                    },
                    ..EventQuery::default()
                };
                let query = EventQuery {
                    visible: visible.clone(),
                    ..all.clone()
                };
                let (mut expected, _) = pages(store, &all, last);
                expected.retain(|(_, topic)| visible.includes(topic));
                let (found, total) = pages(store, &query, last);
                assert_eq!(found, expected, "{query:?} {last}");
                if last == i64::MAX && event_id.is_none() {
                    let count = Some(found.len() as u64);
                    // Unknown if there are too many topics.
                    assert!(total == count || total.is_none(), "{query:?} {total:?}");
                }
            }
        }
    }
}

fn between(store: &Store, visible: &Visible) {
    let (all, _) = pages(store, &EventQuery::default(), i64::MAX);
    let query = Arc::new(EventQuery {
        visible: visible.clone(),
        ..EventQuery::default()
    });
    let last = i64::try_from(all.len()).unwrap();
    for (after, upto) in [(0, last), (last / 3, last), (1, last / 2), (last - 1, last)] {
        let counted = store
            .reader()
            .events_between(Arc::clone(&query), after, upto.max(after));
        let counted = store.runtime.block_on(counted).unwrap();
        let is_of = |(at, topic): &&(i64, String)| {
            (after + 1..=upto).contains(at) && visible.includes(topic)
        };
        let expected = all.iter().filter(is_of).count() as u64;
        // Unknown if there are too many topics.
        let is_few = upto.max(after) - after <= 3;
        assert!(
            counted == Some(expected) || counted.is_none() && !is_few,
            "{visible:?} {after} {upto}: {counted:?}"
        );
    }
}

fn topics(store: &Store, visible: &Visible) {
    let ask = |query: TopicQuery, limit| {
        store
            .runtime
            .block_on(store.reader().topics(query, limit))
            .unwrap()
    };
    for sort in [TopicSort::Name, TopicSort::Received, TopicSort::Last] {
        for is_descending in [false, true] {
            for contains in ["", "X"] {
                let all = TopicQuery {
                    sort,
                    is_descending,
                    contains: contains.to_owned(),
                    ..TopicQuery::default()
                };
                let mut query = TopicQuery {
                    visible: visible.clone(),
                    ..all.clone()
                };
                let mut expected = ask(all, 100).topics;
                expected.retain(|topic| visible.includes(&topic.name));
                let page = ask(query.clone(), 100);
                assert_eq!(page.topics, expected, "{query:?}");
                assert!(!page.is_partial);
                if contains.is_empty() {
                    assert_eq!(page.total, Some(expected.len() as u64));
                }
                let first = ask(query.clone(), 1);
                assert_eq!(first.topics, expected[..expected.len().min(1)]);
                if !query.is_paged() {
                    continue;
                }
                let (mut found, mut next) = (first.topics, first.next);
                while next.is_some() {
                    query.after = next;
                    let page = ask(query.clone(), 1);
                    // A cursor is a name, which must not be that of another topic.
                    assert!(page.next.as_ref().is_none_or(|name| visible.includes(name)));
                    found.extend(page.topics);
                    next = page.next;
                }
                assert_eq!(found, expected, "{query:?}");
            }
        }
    }
}

fn duplicates(store: &Store, visible: &Visible) {
    let ask = |visible| {
        let known = store.reader().duplicates(None, visible, 1_000);
        store.runtime.block_on(known).unwrap()
    };
    let (mut all, found) = (ask(Visible::default()), ask(visible.clone()));
    all.recent.retain(|one| visible.includes(&one.topic));
    all.often.retain(|one| visible.includes(&one.topic));
    assert_eq!(found.recent, all.recent);
    let counts = |known: &[crate::store::query::RepeatedIdentity]| {
        let counts = known.iter().map(|one| (one.stored, one.least));
        counts.collect::<Vec<_>>()
    };
    assert_eq!(counts(&found.often), counts(&all.often));
    let total = all.recent.len() as u64;
    assert!(
        found.total.is_none_or(|found| found == total),
        "{visible:?}"
    );
}

fn review(store: &Store, visible: &Visible) {
    let ask = |visible| {
        let query = ReviewQuery {
            visible,
            ..ReviewQuery::default()
        };
        store.runtime.block_on(async {
            let rejected = store.reader().rejected(query.clone(), 1_000, Vec::new());
            let conflicts = store.reader().conflicts(query, 1_000, Vec::new());
            (rejected.await.unwrap(), conflicts.await.unwrap())
        })
    };
    let (mut rejected, mut conflicts) = ask(Visible::default());
    let (mine, of_mine) = ask(visible.clone());
    rejected.rows.retain(|row| {
        let body: serde_json::Value = serde_json::from_slice(&row.body).unwrap();
        visible.includes(body["topic"].as_str().unwrap())
    });
    conflicts
        .rows
        .retain(|row| visible.includes(&row.stored.topic));
    assert_eq!(mine.rows, rejected.rows);
    assert_eq!(of_mine.rows, conflicts.rows);
    for page in [(mine.total, mine.evicted), (of_mine.total, of_mine.evicted)] {
        assert_eq!(page.0.is_some(), visible.is_every());
        assert_eq!(page.1.is_some(), visible.is_every());
    }
}

fn histogram(store: &Store, visible: &Visible) {
    const HOUR: i64 = 3_600_000_000;
    let query = HistogramQuery {
        topics: Vec::new(),
        visible: visible.clone(),
        since: 0,
        until: HOUR,
        now: HOUR,
    };
    let (all, _) = pages(store, &EventQuery::default(), i64::MAX);
    let expected = all
        .iter()
        .filter(|(_, topic)| visible.includes(topic))
        .count();
    match store
        .runtime
        .block_on(store.reader().histogram(query))
        .unwrap()
    {
        Ok(histogram) => {
            let counted: u64 = histogram.buckets.iter().map(|bucket| bucket.unique).sum();
            if histogram.is_partial {
                // Only the first three topics of a test's store are counted over time.
                assert!(counted < expected as u64 && !visible.is_every());
            } else {
                assert_eq!(counted, expected as u64, "{visible:?}");
            }
            let rejected: u64 = histogram.buckets.iter().map(|bucket| bucket.rejected).sum();
            assert!(rejected == 0 || visible.is_every());
        }
        Err(err) => panic!("no topic is given, and an hour is a span: {err:?}"),
    }
}

#[test]
fn a_query_by_patterns_returns_what_one_for_everything_does_of_their_topics() {
    let arrivals: Vec<_> = (0..60_u8)
        .map(|number| {
            (
                usize::from(number) * 7 % TOPICS.len(),
                number % 5,
                number % 3,
            )
        })
        .collect();
    let store = filled(&arrivals);
    for texts in PATTERNS {
        check(&store, texts);
    }
}

#[test]
fn the_total_of_few_topics_is_known() {
    let arrivals: Vec<_> = (0..TOPICS.len()).map(|topic| (topic, 1, 1)).collect();
    let store = filled(&arrivals);
    for (texts, expected) in [
        (&[][..], Some(0)),
        (&["a.x", "b"], Some(2)),
        (&["a.*"], Some(2)),
        (&["a.>"], None),
        (&["*"], Some(9)),
    ] {
        let query = EventQuery {
            visible: Visible::of(patterns(texts)),
            ..EventQuery::default()
        };
        assert_eq!(pages(&store, &query, i64::MAX).1, expected, "{texts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn queries_by_patterns_agree_with_queries_for_everything(
        arrivals in prop::collection::vec((0..TOPICS.len(), 0..5_u8, 0..3_u8), 1..50),
        texts in 0..PATTERNS.len(),
    ) {
        check(&filled(&arrivals), PATTERNS[texts]);
    }
}
