//! Reads while the gate closes: each ends after its first row, and later reads continue without skipping any.

use std::sync::Arc;

use shared::event::Topic;

use super::harness::{Arrival, Store, delivery};
use crate::store::{
    query::{EventQuery, Filter, Order, ReviewQuery, TopicPage, TopicQuery, TopicSort, Visible},
    sqlite::gate::Gate,
};

const TOPICS: u8 = 12;

/// A store with events of many topics, duplicates, conflicts and rejected arrivals.
fn filled() -> Store {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let mut sequence = 0;
    for id in 0..20 {
        for topic in 0..TOPICS {
            let event = |content| Arrival::Event { topic, id, content };
            sequence += 1;
            let arrivals = [event(0), event(0), event(1), Arrival::Noise];
            store.append(&[delivery(sequence, &arrivals)]).unwrap();
        }
    }
    store
}

fn gate(store: &Store) -> Gate {
    store.reader().memory.gate.clone()
}

fn queries() -> Vec<EventQuery> {
    let some: Vec<String> = (0..TOPICS).map(|topic| format!("t{topic}")).collect();
    let filter = Filter {
        contains: Some("content".to_owned()),
        ..Filter::default()
    };
    let mut queries = Vec::new();
    for topics in [Vec::new(), vec!["t3".to_owned()], some] {
        for order in [Order::NewestFirst, Order::OldestFirst] {
            for filter in [Filter::default(), filter.clone()] {
                for (since, until) in [(None, None), (Some(40), Some(200))] {
                    queries.push(EventQuery {
                        topics: topics.clone(),
                        since,
                        until,
                        order,
                        filter: filter.clone(),
                        visible: Visible::default(),
                    });
                }
            }
        }
    }
    queries
}

/// All events of a query, read page by page, and the largest number of events on a page.
fn all(store: &Store, query: &EventQuery) -> (Vec<i64>, usize) {
    let (mut found, mut most, mut from) = (Vec::new(), 0, None);
    loop {
        let page = store.ask(query.clone(), from, 1_000);
        most = most.max(page.events.len());
        found.extend(page.events.iter().map(|event| event.sequence));
        match page.next {
            Some(next) => from = Some(next),
            None => return (found, most),
        }
    }
}

#[test]
fn a_page_of_events_ends_after_its_first_row_while_the_gate_closes_and_the_next_one_continues() {
    let store = filled();
    let whole: Vec<_> = queries().iter().map(|q| all(&store, q).0).collect();
    gate(&store).hurry();
    for (query, whole) in queries().iter().zip(whole) {
        let (found, most) = all(&store, query);
        assert!(!found.is_empty(), "{query:?}");
        assert_eq!(found, whole, "{query:?}");
        assert_eq!(most, 1, "{query:?}");
    }
}

#[test]
fn the_first_event_of_many_topics_is_found_in_many_short_reads_while_the_gate_closes() {
    let store = filled();
    let gate = gate(&store);
    gate.hurry();
    let query = EventQuery {
        topics: (0..TOPICS).map(|topic| format!("t{topic}")).collect(),
        order: Order::OldestFirst,
        ..EventQuery::default()
    };
    let before = gate.entered();
    let page = store.ask(query, None, 1_000);
    assert_eq!(page.events.len(), 1);
    assert_eq!(page.total, Some(20 * u64::from(TOPICS)));
    let reads = gate.entered() - before;
    assert!(reads > 2 * u64::from(TOPICS), "{reads}");
}

#[test]
fn events_are_counted_in_many_short_reads_while_the_gate_closes() {
    let store = filled();
    let gate = gate(&store);
    let query = Arc::new(EventQuery {
        topics: (0..TOPICS).map(|topic| format!("t{topic}")).collect(),
        ..EventQuery::default()
    });
    let count = || {
        let between = store.reader().events_between(Arc::clone(&query), 17, 211);
        store.runtime.block_on(between).unwrap()
    };
    assert_eq!(count(), Some(194));
    gate.hurry();
    let before = gate.entered();
    assert_eq!(count(), Some(194));
    let reads = gate.entered() - before;
    assert!(reads > 2 * u64::from(TOPICS), "{reads}");
}

#[test]
fn duplicates_of_an_event_are_counted_in_many_short_reads_while_the_gate_closes() {
    let store = filled();
    let gate = gate(&store);
    let reader = store.reader();
    let often = reader.duplicates(None, Visible::default(), 100);
    let often = store.runtime.block_on(often).unwrap().often;
    let counts = || -> Vec<_> {
        let again = often.iter().map(|one| {
            let found = reader.event(one.topic.clone(), one.event_id.clone());
            store.runtime.block_on(found).unwrap().unwrap().again
        });
        again.collect()
    };
    let expected: Vec<_> = often.iter().map(|one| (one.least, one.most)).collect();
    assert!(expected.len() > 1);
    assert_eq!(counts(), expected);
    gate.hurry();
    let before = gate.entered();
    assert_eq!(counts(), expected);
    let reads = gate.entered() - before;
    assert!(
        reads > 2 * u64::try_from(expected.len()).unwrap(),
        "{reads}"
    );
}

#[test]
fn a_page_of_kept_rows_ends_after_its_first_row_while_the_gate_closes_and_the_next_one_continues() {
    let store = filled();
    let reader = store.reader();
    gate(&store).hurry();
    let (mut conflicts, mut rejected) = (Vec::new(), Vec::new());
    store.runtime.block_on(async {
        let mut before = None;
        loop {
            let query = ReviewQuery {
                before,
                ..ReviewQuery::default()
            };
            let page = reader.conflicts(query, 100, Vec::new()).await.unwrap();
            assert_eq!(page.rows.len(), 1);
            conflicts.extend(page.rows.iter().map(|row| row.id));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        loop {
            let query = ReviewQuery {
                before,
                ..ReviewQuery::default()
            };
            let page = reader.rejected(query, 100, Vec::new()).await.unwrap();
            assert_eq!(page.rows.len(), 1);
            rejected.extend(page.rows.iter().map(|row| row.id));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
    });
    let ids: Vec<i64> = (1..=20 * i64::from(TOPICS)).rev().collect();
    assert_eq!(conflicts, ids);
    assert_eq!(rejected, ids);

    // Rows that do not match count too: a page may be empty, and its cursor continues.
    let (mut before, mut pages, mut found) = (None, 0, 0);
    loop {
        let query = ReviewQuery {
            topic: Some(Topic::new("t3").unwrap()),
            before,
            ..ReviewQuery::default()
        };
        let page = reader.conflicts(query, 100, Vec::new());
        let page = store.runtime.block_on(page).unwrap();
        assert!(page.rows.iter().all(|row| row.stored.topic == "t3"));
        found += page.rows.len();
        pages += 1;
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (20, ids.len()));
}

#[test]
fn identities_of_duplicates_are_read_in_many_short_reads_while_the_gate_closes() {
    let store = filled();
    let gate = gate(&store);
    let ask = |topic: Option<&str>| {
        let duplicates =
            store
                .reader()
                .duplicates(topic.map(str::to_owned), Visible::default(), 100);
        store.runtime.block_on(duplicates).unwrap()
    };
    let whole = [None, Some("t1"), Some("absent")].map(ask);
    assert_eq!(whole[0].recent.len(), 100);
    gate.hurry();
    let before = gate.entered();
    assert_eq!([None, Some("t1"), Some("absent")].map(ask), whole);
    let reads = gate.entered() - before;
    assert!(reads >= 200, "{reads}");
}

#[test]
fn topics_are_scanned_one_at_a_time_while_the_gate_closes_and_the_page_is_partial() {
    let store = filled();
    let ask = |query: &TopicQuery| -> TopicPage {
        let page = store.reader().topics(query.clone(), 100);
        store.runtime.block_on(page).unwrap()
    };
    let learn = store.reader().learn_leaders();
    store.runtime.block_on(learn).unwrap();
    gate(&store).hurry();
    for contains in ["", "t"] {
        let by_name = |is_descending| TopicQuery {
            contains: contains.to_owned(),
            is_descending,
            ..TopicQuery::default()
        };
        let mut query = by_name(false);
        let mut names = Vec::new();
        loop {
            let page = ask(&query);
            assert_eq!(page.topics.len(), 1);
            assert!(!page.is_partial);
            names.extend(page.topics.into_iter().map(|topic| topic.name));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(names.len(), usize::from(TOPICS));
        for query in [
            by_name(true),
            TopicQuery {
                sort: TopicSort::Received,
                ..by_name(true)
            },
            TopicQuery {
                sort: TopicSort::DuplicateShare,
                ..by_name(true)
            },
        ] {
            let page = ask(&query);
            assert_eq!(page.topics.len(), 1, "{query:?}");
            assert!(page.is_partial, "{query:?}");
        }
    }
}

#[test]
fn leaders_are_loaded_one_topic_per_read_while_the_gate_closes() {
    let mut store = filled();
    store.reopen();
    let gate = gate(&store);
    gate.hurry();
    let before = gate.entered();
    let learn = store.reader().learn_leaders();
    store.runtime.block_on(learn).unwrap();
    let reads = gate.entered() - before;
    assert!(reads >= u64::from(TOPICS), "{reads}");
}
