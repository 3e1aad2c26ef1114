//! Every combination of filters, order and cursor against a model in memory, while events arrive.

use bytes::Bytes;
use proptest::prelude::*;
use shared::{
    event::{Timestamp, Topic},
    message, subject,
};

use super::harness::Store;
use crate::store::{
    Delivery,
    query::{EventQuery, Filter, Order, PayloadValue, Visible},
    sqlite::reader::SCAN_ROWS,
};

/// An event in the model: its sequence is its position in the list.
#[derive(Debug, Clone)]
struct ModelEvent {
    topic: u8,
    /// Its number in the topic, from 0, so that topics have the same ids.
    id: usize,
    source: u8,
    content: u8,
    processed_at: i64,
}

impl ModelEvent {
    fn payload(&self) -> String {
        let Self { content, .. } = self;
        format!(r#"{{"text":"c{content}","deep":{{"n":{content}}}}}"#)
    }

    /// The second of its own timestamp, which is in no order.
    fn second(&self) -> u8 {
        self.content * 2 + self.source
    }

    /// The same instant has different notations.
    fn timestamp(&self) -> String {
        let (hour, offset) = [("12", "Z"), ("13", "+01:00")][usize::from(self.source)];
        format!("2026-01-31T{hour}:00:{:02}{offset}", self.second())
    }
}

/// Events that arrive together, and by how much the clock advances before them.
type Arrived = (Vec<(u8, u8, u8)>, i64);

fn arrived() -> impl Strategy<Value = Arrived> {
    // Topic 0 has most of the events, so that its chain has many marks.
    let topic = prop_oneof![6 => Just(0u8), 2 => Just(1u8), 1 => Just(2u8)];
    (
        prop::collection::vec((topic, 0u8..2, 0u8..3), 1..12),
        0i64..3,
    )
}

fn filter() -> impl Strategy<Value = Filter> {
    let event_id = prop::option::weighted(0.2, (0u8..4).prop_map(|id| id.to_string()));
    let source = prop::option::weighted(0.3, (0u8..3).prop_map(|source| format!("s{source}")));
    let contains = (0u8..4, any::<bool>()).prop_map(|(n, ignore_case)| {
        let letter = if ignore_case { 'C' } else { 'c' };
        (format!("\"{letter}{n}\""), ignore_case)
    });
    let contains = prop::option::weighted(0.3, contains);
    let payload = prop::option::weighted(
        0.3,
        (0u8..4).prop_map(|n| PayloadValue {
            path: "deep.n".to_owned(),
            value: n.to_string(),
        }),
    );
    let time = || prop::option::weighted(0.2, (0u8..7).prop_map(at_second));
    (event_id, source, contains, payload, time(), time()).prop_map(
        |(event_id, source, contains, payload, time_since, time_until)| Filter {
            event_id,
            source,
            ignore_case: contains
                .as_ref()
                .is_some_and(|(_, ignore_case)| *ignore_case),
            contains: contains.map(|(text, _)| text),
            payload: payload.into_iter().collect(),
            time_since,
            time_until,
        },
    )
}

fn query() -> impl Strategy<Value = EventQuery> {
    let topics = prop::sample::subsequence(vec!["t0", "t1", "t2", "absent"], 0..=4);
    let time = || prop::option::of(0i64..30);
    let order = prop_oneof![Just(Order::NewestFirst), Just(Order::OldestFirst)];
    (topics, time(), time(), order, filter()).prop_map(|(topics, since, until, order, filter)| {
        EventQuery {
            topics: topics.into_iter().map(str::to_owned).collect(),
            since,
            until,
            order,
            filter,
            visible: Visible::default(),
        }
    })
}

fn at_second(second: u8) -> Timestamp {
    Timestamp::new(&format!("2026-01-31T12:00:{second:02}Z")).unwrap()
}

/// The expected result, by testing every event.
fn expected(known: &[ModelEvent], query: &EventQuery) -> Vec<i64> {
    let EventQuery {
        topics,
        since,
        until,
        order,
        filter,
        visible: _,
    } = query;
    let is_match = |event: &&(i64, &ModelEvent)| {
        let (_, event) = event;
        let topic = format!("t{}", event.topic);
        (topics.is_empty() || topics.contains(&topic))
            && since.is_none_or(|since| event.processed_at >= since)
            && until.is_none_or(|until| event.processed_at < until)
            && filter
                .event_id
                .as_ref()
                .is_none_or(|id| *id == event.id.to_string())
            && filter
                .time_since
                .as_ref()
                .is_none_or(|since| at_second(event.second()).as_str() >= since.as_str())
            && filter
                .time_until
                .as_ref()
                .is_none_or(|until| at_second(event.second()).as_str() < until.as_str())
            && filter
                .source
                .as_ref()
                .is_none_or(|source| *source == format!("s{}", event.source))
            && filter
                .contains
                .as_ref()
                .is_none_or(|text| event.payload().contains(&text.to_lowercase()))
            && filter
                .payload
                .iter()
                .all(|part| part.value == event.content.to_string())
    };
    let all: Vec<_> = (1..).zip(known).collect();
    let mut found: Vec<i64> = all
        .iter()
        .filter(is_match)
        .map(|(sequence, _)| *sequence)
        .collect();
    if *order == Order::NewestFirst {
        found.reverse();
    }
    found
}

/// A store and all events given to it.
struct QueryTrial {
    store: Store,
    known: Vec<ModelEvent>,
    messages: u64,
}

impl QueryTrial {
    fn new() -> Self {
        let store = Store::new();
        store.meet(1, 1, 0);
        Self {
            store,
            known: Vec::new(),
            messages: 0,
        }
    }

    /// When the event with this sequence was stored.
    fn stored_at(&self, sequence: i64) -> i64 {
        self.known[usize::try_from(sequence).unwrap() - 1].processed_at
    }

    /// One batch, with a message for each run of events of one topic.
    fn arrive(&mut self, (events, pause): &Arrived) {
        self.store.now += pause;
        let mut batch = Vec::new();
        for (topic, source, content) in events {
            let known = ModelEvent {
                topic: *topic,
                id: self
                    .known
                    .iter()
                    .filter(|known| known.topic == *topic)
                    .count(),
                source: *source,
                content: *content,
                // The harness advances the clock by one for each batch.
                processed_at: self.store.now + 1,
            };
            self.messages += 1;
            let json = format!(
                r#"{{"topic":"t{topic}","event_id":"{}","timestamp":"{}","source":"s{source}","payload":{}}}"#,
                known.id,
                known.timestamp(),
                known.payload()
            );
            let subject = subject::of(&Topic::new(&format!("t{topic}")).unwrap());
            batch.push(Delivery {
                senders: shared::publish::Senders::default(),
                arrivals: message::decode(&subject, &Bytes::from(json), 0),
                subject,
                sequence: self.messages,
                time: i64::try_from(self.messages).unwrap(),
            });
            self.known.push(known);
        }
        self.store.append(&batch).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Every event present at the first page is returned exactly once, whatever arrives between the pages.
    #[test]
    fn every_query_returns_each_event_once_and_misses_none(
        before in prop::collection::vec(arrived(), 1..8),
        queries in prop::collection::vec((query(), 1usize..7), 1..6),
        between in prop::collection::vec(arrived(), 1..6),
    ) {
        let mut trial = QueryTrial::new();
        for arrived in &before {
            trial.arrive(arrived);
        }
        let mut between = between.iter().cycle();
        for (query, limit) in queries {
            let at_first = trial.known.len();
            let mut found = Vec::new();
            let mut from = None;
            loop {
                let page = trial.store.ask(query.clone(), from, limit);
                prop_assert!(page.events.len() <= limit);
                // Until the limit or the end, unless it says how far it searched.
                let searched_to = page.next.map(|next| trial.stored_at(next));
                if page.searched_to.is_some() {
                    prop_assert_eq!(page.searched_to, searched_to);
                } else {
                    prop_assert!(page.next.is_none() || page.events.len() == limit);
                }
                let is_plain = EventQuery { topics: Vec::new(), order: Order::NewestFirst, ..query.clone() }
                    == EventQuery::default();
                let all = EventQuery { filter: Filter::default(), ..query.clone() };
                let total = is_plain.then(|| expected(&trial.known, &all).len() as u64);
                prop_assert_eq!(page.total, total);
                found.extend(page.events.iter().map(|event| event.sequence));
                from = page.next;
                if from.is_none() {
                    break;
                }
                // An ascending walk would follow new events forever.
                if trial.known.len() < at_first + 60 {
                    trial.arrive(between.next().unwrap());
                }
            }
            let now = expected(&trial.known, &query);
            let then = expected(&trial.known[..at_first], &query);
            let last_at_first = i64::try_from(at_first).unwrap();
            let late = found.iter().filter(|sequence| **sequence > last_at_first).count();
            prop_assert_eq!(
                found.iter().copied().filter(|sequence| *sequence <= last_at_first).collect::<Vec<_>>(),
                then
            );
            match query.order {
                // Later events precede the first page.
                Order::NewestFirst => prop_assert_eq!(late, 0),
                Order::OldestFirst => prop_assert_eq!(found, now),
            }
        }
    }

    /// The number of events between any two sequences, of some topics or of all.
    #[test]
    fn events_between_two_sequences_are_counted_exactly(
        events in prop::collection::vec(arrived(), 1..8),
        topics in prop::sample::subsequence(vec!["t0", "t1", "t2"], 0..=3),
        bounds in (0i64..90, 0i64..90),
    ) {
        let mut trial = QueryTrial::new();
        for arrived in &events {
            trial.arrive(arrived);
        }
        let last = i64::try_from(trial.known.len()).unwrap();
        let (first, second) = (bounds.0.min(last), bounds.1.min(last));
        let (after, upto) = (first.min(second), first.max(second));
        let query = EventQuery {
            topics: topics.into_iter().map(str::to_owned).collect(),
            ..EventQuery::default()
        };
        let inside = |sequence: &i64| *sequence > after && *sequence <= upto;
        let exact = expected(&trial.known, &query).into_iter().filter(inside).count();
        let counted = trial.store.reader().events_between(
            std::sync::Arc::new(query), after, upto);
        prop_assert_eq!(trial.store.runtime.block_on(counted).unwrap(), Some(exact as u64));
    }
}

#[test]
fn a_long_scan_ends_within_its_budget_and_can_be_continued() {
    let mut trial = QueryTrial::new();
    let events = (vec![(0, 0, 0); 11], 0);
    for _ in 0..20 {
        trial.arrive(&events);
    }
    for topics in [vec![], vec!["t0".to_owned()]] {
        let query = EventQuery {
            topics,
            filter: Filter {
                contains: Some("nowhere".to_owned()),
                ..Filter::default()
            },
            ..EventQuery::default()
        };
        let (mut from, mut pages) = (None, 0);
        loop {
            let page = trial.store.ask(query.clone(), from, 10);
            assert_eq!((page.events.len(), page.total), (0, None));
            pages += 1;
            from = page.next;
            let searched_to = from.map(|last| trial.stored_at(last));
            assert_eq!(page.searched_to, searched_to);
            if from.is_none() {
                break;
            }
        }
        let rows = trial.known.len() as u64;
        assert!(pages >= rows.div_ceil(SCAN_ROWS), "{pages} pages");
    }
}

#[test]
fn an_event_is_found_by_its_id_alone_without_a_scan_unless_there_are_too_many_topics() {
    let mut trial = QueryTrial::new();
    let find = |trial: &QueryTrial| {
        let query = EventQuery {
            filter: Filter {
                event_id: Some("0".to_owned()),
                ..Filter::default()
            },
            ..EventQuery::default()
        };
        trial.store.ask(query, None, 10)
    };
    trial.arrive(&(vec![(0, 0, 0), (1, 0, 0), (2, 0, 0)], 0));
    for _ in 0..10 {
        trial.arrive(&(vec![(0, 0, 0); 11], 0));
    }
    let page = find(&trial);
    let found = page.events.iter().map(|event| event.sequence);
    assert_eq!(found.collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!((page.next, page.searched_to), (None, None));

    trial.arrive(&(vec![(3, 0, 0)], 0));
    let page = find(&trial);
    let found = page.events.iter().map(|event| event.sequence);
    assert_eq!(found.collect::<Vec<_>>(), [114]);
    assert!(page.searched_to.is_some(), "the search ended early");
}
