//! A simple model of the store's bookkeeping, and its comparison with the store.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use shared::event::Event;

use super::harness::{Arrival, Store, json};
use crate::store::{
    query::TopicQuery,
    sqlite::{
        dedup::fingerprint::{Fields, Key},
        repeats::Count,
        topics::{StoredTopics, digest::Digest},
    },
};

/// A simple model of the store's bookkeeping.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub stored: BTreeMap<(u8, u8), u8>,
    /// The duplicates of each.
    repeats: BTreeMap<(u8, u8), u64>,
    applied: BTreeSet<u64>,
    /// Unique events and duplicates of each topic.
    pub topics: BTreeMap<u8, (u64, u64)>,
    done: Totals,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    received: u64,
    unique: u64,
    duplicates: u64,
    rejected: u64,
    conflicts: u64,
    redelivered: u64,
}

impl Model {
    pub fn append(&mut self, sequence: u64, arrivals: &[Arrival]) {
        self.append_on(sequence, arrivals, false);
    }

    /// The same, of a message that may hold events of any topics if `is_mixed`.
    pub fn append_on(&mut self, sequence: u64, arrivals: &[Arrival], is_mixed: bool) {
        if !self.applied.insert(sequence) {
            self.done.redelivered += 1;
            return;
        }
        let first_topic = arrivals.iter().find_map(|arrival| match arrival {
            Arrival::Event { topic, .. } => Some(*topic),
            Arrival::Noise => None,
        });
        for arrival in arrivals {
            self.done.received += 1;
            match arrival {
                Arrival::Event { topic, id, content }
                    if is_mixed || Some(*topic) == first_topic =>
                {
                    let counts = self.topics.entry(*topic).or_default();
                    if let Some(stored) = self.stored.get(&(*topic, *id)) {
                        counts.1 += 1;
                        *self.repeats.entry((*topic, *id)).or_default() += 1;
                        self.done.duplicates += 1;
                        self.done.conflicts += u64::from(stored != content);
                    } else {
                        counts.0 += 1;
                        self.stored.insert((*topic, *id), *content);
                        self.done.unique += 1;
                    }
                }
                // Noise, or an event whose topic differs from the subject's.
                _ => self.done.rejected += 1,
            }
        }
    }
}

pub fn totals(store: &Store) -> Totals {
    let stats = store.stats();
    Totals {
        received: stats.received,
        unique: stats.unique_processed,
        duplicates: stats.duplicate_dropped,
        rejected: stats.rejected,
        conflicts: stats.conflicts,
        redelivered: stats.redelivered,
    }
}

/// Compares everything that the store returns with the model.
pub fn check(store: &Store, model: &Model) {
    assert_eq!(totals(store), model.done);
    assert_eq!(
        model.done.received,
        model.done.unique + model.done.duplicates + model.done.rejected
    );
    let applied: Vec<_> = store
        .stats()
        .applied
        .iter()
        .flat_map(|(a, b)| a..=b)
        .collect();
    assert!(applied.iter().eq(model.applied.iter()));
    let page = store.page(None, None, 1_000);
    let shown: BTreeMap<_, _> = page
        .events
        .iter()
        .map(|event| {
            (
                (event.topic.clone(), event.event_id.clone()),
                event.payload.clone(),
            )
        })
        .collect();
    let expected: BTreeMap<_, _> = model
        .stored
        .iter()
        .map(|((topic, id), content)| {
            (
                (format!("t{topic}"), id.to_string()),
                format!("{{\"content\":{content}}}"),
            )
        })
        .collect();
    assert_eq!(
        page.events.len(),
        expected.len(),
        "an identity is stored twice"
    );
    assert_eq!(shown, expected);
    let topics = store
        .runtime
        .block_on(store.reader().topics(TopicQuery::default(), 1_000));
    let counted: BTreeMap<_, _> = topics
        .unwrap()
        .topics
        .into_iter()
        .map(|topic| {
            assert_eq!(
                topic.received,
                topic.unique_processed + topic.duplicate_dropped
            );
            (
                topic.name,
                (topic.unique_processed, topic.duplicate_dropped),
            )
        })
        .collect();
    let expected: BTreeMap<_, _> = model
        .topics
        .iter()
        .map(|(topic, counts)| (format!("t{topic}"), *counts))
        .collect();
    assert_eq!(counted, expected);
    check_digests(store, model);
    check_chains(store, model);
    check_repeats(store, model);
    let rows = |table| -> u64 {
        let sql = format!("SELECT count(*) FROM {table}");
        store
            .raw_connection()
            .query_row(&sql, [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(rows("rejected"), model.done.rejected);
    assert_eq!(rows("conflicts"), model.done.conflicts);
}

/// Pages through each topic from its newest event to its first.
fn check_chains(store: &Store, model: &Model) {
    for topic in model.topics.keys() {
        let mut shown = BTreeSet::new();
        let (mut before, mut last) = (None, i64::MAX);
        loop {
            let page = store.page(Some(&format!("t{topic}")), before, 3);
            for event in page.events {
                assert!(event.sequence < last, "newest first");
                last = event.sequence;
                assert_eq!(event.topic, format!("t{topic}"));
                shown.insert(event.event_id);
            }
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        let stored = model.stored.keys().filter(|(of, _)| of == topic);
        assert_eq!(shown, stored.map(|(_, id)| id.to_string()).collect());
    }
}

/// Compares the number of duplicates of each event.
fn check_repeats(store: &Store, model: &Model) {
    let file = store.raw_connection();
    let inside = store.reader().memory.gate.enter();
    let sql =
        "SELECT e.sequence, t.name, e.event_id FROM events e JOIN topics t ON t.id = e.topic_id";
    let mut statement = file.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (topic, id) = (
            row.get::<_, String>(1).unwrap(),
            row.get::<_, String>(2).unwrap(),
        );
        let identity = (topic[1..].parse().unwrap(), id.parse().unwrap());
        let repeats = model.repeats.get(&identity).copied().unwrap_or_default();
        let most = model.topics[&identity.0].1;
        let mut count = Count::of(row.get(0).unwrap(), most);
        let (least, most) = std::iter::repeat_with(|| count.go(&file, &inside).unwrap())
            .find_map(|count| count)
            .unwrap();
        // Those before a migration may be of any event.
        let unknown = "SELECT ifnull(sum(number), 0) FROM repeats WHERE events IS NULL";
        let unknown: u64 = file.query_row(unknown, [], |row| row.get(0)).unwrap();
        assert!(
            (least..=most).contains(&repeats),
            "{least} to {most}, not {repeats}"
        );
        assert!(most - least <= unknown, "{least} to {most}");
    }
}

/// Recomputes the digest of each topic from the events in the model.
fn check_digests(store: &Store, model: &Model) {
    let file = store.raw_connection();
    let key = file.query_row("SELECT hash_key FROM store", [], |row| row.get(0));
    let key = Key(key.unwrap());
    for topic in model.topics.keys() {
        let mut digest = Digest::default();
        for ((of, id), content) in &model.stored {
            if of == topic {
                let (topic, id, content) = (*topic, *id, *content);
                let json = json(&Arrival::Event { topic, id, content });
                let event = Event::parse(&Bytes::from(json)).unwrap();
                digest.add(&key, key.fingerprint(&Fields::from(&event)));
            }
        }
        let topics = StoredTopics::open(&file).unwrap();
        let stored = topics.named(&format!("t{topic}")).unwrap();
        assert_eq!(stored.unwrap().digest, digest);
    }
}
