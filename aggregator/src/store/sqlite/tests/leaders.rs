//! Leading topics by each sort key, and the budget of queries that must scan all topics.

use super::harness::{Arrival, Store, delivery};
use crate::store::{
    query::{TopicCounts, TopicPage, TopicQuery, TopicSort},
    sqlite::reader::SCAN_ROWS,
};

/// More topics than a query may scan in these tests.
const TOPICS: u8 = 180;

/// The orders whose leaders are in memory, and whether they are descending.
const LED: [(TopicSort, bool); 6] = [
    (TopicSort::Received, true),
    (TopicSort::Unique, true),
    (TopicSort::Duplicates, true),
    (TopicSort::First, true),
    (TopicSort::First, false),
    (TopicSort::Last, true),
];

fn ask(store: &Store, query: TopicQuery, limit: usize) -> TopicPage {
    let page = store.reader().topics(query, limit);
    store.runtime.block_on(page).unwrap()
}

fn learn(store: &Store) {
    store
        .runtime
        .block_on(store.reader().learn_leaders())
        .unwrap();
}

fn sorted(sort: TopicSort, is_descending: bool) -> TopicQuery {
    TopicQuery {
        sort,
        is_descending,
        ..TopicQuery::default()
    }
}

/// A message with `count` events of a topic, of which every third is a duplicate.
fn of(sequence: u64, topic: u8, count: u8) -> crate::store::Delivery {
    let id = |number: u8| number - u8::from(number % 3 == 2);
    let events = (0..count).map(|number| Arrival::Event {
        topic,
        id: id(number),
        content: 0,
    });
    delivery(sequence, &events.collect::<Vec<_>>())
}

fn filled() -> Store {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    for topic in 0..TOPICS {
        let count = 1 + topic % 17;
        store
            .append(&[of(1 + u64::from(topic), topic, count)])
            .unwrap();
    }
    store
}

/// The expected order, computed from the rows.
fn expected(store: &Store, sort: TopicSort, is_descending: bool, limit: usize) -> Vec<TopicCounts> {
    let mut all = ask(store, TopicQuery::default(), 1_000).topics;
    assert!(all.len() >= usize::from(TOPICS));
    let key = |topic: &TopicCounts| match sort {
        TopicSort::Received => i64::try_from(topic.received).unwrap(),
        TopicSort::Unique => i64::try_from(topic.unique_processed).unwrap(),
        TopicSort::Duplicates => i64::try_from(topic.duplicate_dropped).unwrap(),
        TopicSort::First => topic.first_at,
        TopicSort::Last => topic.last_at,
        TopicSort::Name | TopicSort::DuplicateShare => unreachable!("not covered by these tests"),
    };
    // The rows are already in order of name, which breaks ties.
    all.sort_by_key(|topic| {
        if is_descending {
            -key(topic)
        } else {
            key(topic)
        }
    });
    all.truncate(limit);
    all
}

#[test]
fn the_leaders_are_returned_without_a_scan_of_all_topics() {
    let mut store = filled();
    // In a process that has just started the leaders are not loaded yet, and no query waits for them.
    store.reopen();
    assert!(ask(&store, sorted(TopicSort::Received, true), 10).is_partial);
    learn(&store);
    for round in 0..3 {
        for (sort, is_descending) in LED {
            for limit in [1, 10, 1_000] {
                let page = ask(&store, sorted(sort, is_descending), limit);
                let expected = expected(&store, sort, is_descending, limit);
                assert_eq!(page.topics, expected, "{sort:?} {is_descending} {limit}");
                assert!(!page.is_partial, "{sort:?} {is_descending} {limit}");
            }
        }
        // The last topic becomes the first, and a new one is created.
        let sequence = 1_000 + 2 * u64::from(round);
        let changed = [
            of(sequence, round, 60),
            of(sequence + 1, TOPICS + round, 20),
        ];
        store.append(&changed).unwrap();
    }
}

#[test]
fn the_leaders_are_correct_after_a_failed_write() {
    let mut store = filled();
    learn(&store);
    super::harness::break_writes(&store.raw_connection(), super::harness::Failure::Commit);
    store.append(&[of(1_000, 3, 90)]).unwrap_err();
    super::harness::repair_writes(&store.raw_connection());
    store.append(&[of(1_000, 5, 80)]).unwrap();
    assert!(ask(&store, sorted(TopicSort::Received, true), 10).is_partial);
    learn(&store);
    for (sort, is_descending) in LED {
        let page = ask(&store, sorted(sort, is_descending), 50);
        assert_eq!(
            page.topics,
            expected(&store, sort, is_descending, 50),
            "{sort:?}"
        );
    }
}

#[test]
fn a_scan_of_topics_ends_with_its_budget() {
    let store = filled();
    for (sort, is_descending) in [
        (TopicSort::DuplicateShare, true),
        (TopicSort::DuplicateShare, false),
        (TopicSort::Received, false),
        (TopicSort::Last, false),
    ] {
        let page = ask(&store, sorted(sort, is_descending), 1_000);
        assert!(page.is_partial, "{sort:?}");
        assert_eq!(page.topics.len() as u64, SCAN_ROWS, "{sort:?}");
        assert_eq!(page.total, Some(u64::from(TOPICS)));
    }
    let with = |contains: &str| TopicQuery {
        contains: contains.to_owned(),
        ..TopicQuery::default()
    };
    // In order of name a cursor continues even if nothing was found.
    let mut query = with("T17");
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let page = ask(&store, query.clone(), 100);
        assert!(!page.is_partial);
        found.extend(page.topics.into_iter().map(|topic| topic.name));
        pages += 1;
        match page.next {
            Some(name) => query.after = Some(name),
            None => break,
        }
    }
    let expected: Vec<_> = ["t17".to_owned()]
        .into_iter()
        .chain((170..180).map(|topic| format!("t{topic}")))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(pages, u64::from(TOPICS).div_ceil(SCAN_ROWS));
    let by_count = TopicQuery {
        sort: TopicSort::Received,
        is_descending: true,
        ..with("t")
    };
    assert!(ask(&store, by_count, 10).is_partial);
}
