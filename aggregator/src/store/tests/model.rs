//! A simple model of the store's bookkeeping, and its comparison with what a store answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::runtime::Runtime;

use super::arrivals::Arrival;
use crate::store::{
    Appended, Reader, StoreError,
    query::{
        EventPage, EventQuery, HistogramQuery, MICROS_PER_MINUTE, PageBounds, Stats, TOPICS_KEPT,
        TopicQuery, Visible,
    },
};

/// A simple model of the store's bookkeeping.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub stored: BTreeMap<(u8, u8), u8>,
    /// The duplicates of each.
    pub repeats: BTreeMap<(u8, u8), u64>,
    applied: BTreeSet<u64>,
    /// Unique events and duplicates of each topic.
    pub topics: BTreeMap<u8, (u64, u64)>,
    pub done: Totals,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    received: u64,
    unique: u64,
    duplicates: u64,
    pub rejected: u64,
    pub conflicts: u64,
    redelivered: u64,
}

impl Model {
    pub fn append(&mut self, sequence: u64, arrivals: &[Arrival]) {
        self.append_on(sequence, arrivals, false);
    }

    /// Appends messages that may hold events of any topics, and returns what that did.
    pub fn append_batch(&mut self, batch: &[(u64, Vec<Arrival>)]) -> Appended {
        let before = self.done.clone();
        for (sequence, arrivals) in batch {
            self.append_on(*sequence, arrivals, true);
        }
        Appended {
            unique: self.done.unique - before.unique,
            duplicates: self.done.duplicates - before.duplicates,
            conflicts: self.done.conflicts - before.conflicts,
            rejected: self.done.rejected - before.rejected,
            redelivered: self.done.redelivered - before.redelivered,
            epoch_begun: false,
        }
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

pub fn totals(stats: &Stats) -> Totals {
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
pub fn check(runtime: &Runtime, reader: &Reader, model: &Model) {
    let stats = runtime.block_on(reader.stats(1_000)).unwrap();
    assert_eq!(totals(&stats), model.done);
    assert_eq!(
        model.done.received,
        model.done.unique + model.done.duplicates + model.done.rejected
    );
    let applied: Vec<_> = stats.applied.iter().flat_map(|(a, b)| a..=b).collect();
    assert!(applied.iter().eq(model.applied.iter()));
    let page = page(runtime, reader, (None, None), 1_000);
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
    let topics = runtime.block_on(reader.topics(TopicQuery::default(), 1_000));
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
    check_pages(runtime, reader, model);
    check_over_time(runtime, reader, model);
    check_repeats(runtime, reader, model);
}

/// Adds up the histogram of each topic, if all of them are counted over time.
fn check_over_time(runtime: &Runtime, reader: &Reader, model: &Model) {
    if i64::try_from(model.topics.len()).unwrap() > TOPICS_KEPT {
        return;
    }
    for (topic, counts) in &model.topics {
        let histogram = runtime.block_on(reader.histogram(HistogramQuery {
            topics: vec![format!("t{topic}")],
            visible: Visible::default(),
            since: 0,
            until: 120 * MICROS_PER_MINUTE,
            now: 120 * MICROS_PER_MINUTE,
        }));
        let histogram = histogram.unwrap().unwrap();
        // A store that was migrated has no counts of the time before.
        if histogram.counted_since.is_some() {
            return;
        }
        let buckets = histogram.buckets.into_iter();
        let found = buckets.fold((0, 0), |(unique, duplicates), bucket| {
            (unique + bucket.unique, duplicates + bucket.duplicates)
        });
        assert_eq!(found, *counts, "t{topic}");
    }
}

/// Compares the duplicates of each event.
fn check_repeats(runtime: &Runtime, reader: &Reader, model: &Model) {
    for (topic, id) in model.stored.keys() {
        let repeats = model.repeats.get(&(*topic, *id)).copied().unwrap_or(0);
        let found = reader.event(format!("t{topic}"), id.to_string());
        let found = match runtime.block_on(found) {
            // After a failed write the writer has not yet read the index again.
            Err(StoreError::Index(_)) => return,
            found => found.unwrap().unwrap(),
        };
        let (least, most) = found.again;
        assert!(
            (least..=most).contains(&repeats),
            "t{topic} {id}: {least} to {most}, {repeats}"
        );
        // Only a store that was migrated does not know exactly.
        let is_exact = least == most || matches!(reader, Reader::Sqlite(_));
        assert!(is_exact, "t{topic} {id}: {least} to {most}");
    }
    if let Reader::Postgres(_) = reader {
        let listed = reader.duplicates(None, Visible::default(), 1_000);
        let listed = runtime.block_on(listed).unwrap();
        assert_eq!(listed.total, Some(model.done.duplicates));
        // In tests only the latest ones are read.
        if listed.recent.len() as u64 == model.done.duplicates {
            let often = listed
                .often
                .into_iter()
                .map(|one| ((one.topic, one.event_id), one.least));
            let repeats = model.repeats.iter();
            let repeats =
                repeats.map(|((topic, id), count)| ((format!("t{topic}"), id.to_string()), *count));
            assert_eq!(often.collect::<BTreeMap<_, _>>(), repeats.collect());
        }
    }
}

fn page(
    runtime: &Runtime,
    reader: &Reader,
    (topic, from): (Option<String>, Option<i64>),
    limit: usize,
) -> EventPage {
    let query = EventQuery {
        topics: topic.into_iter().collect(),
        ..EventQuery::default()
    };
    let bounds = PageBounds {
        from,
        after: 0,
        last: i64::MAX,
        limit,
    };
    runtime.block_on(async {
        let scan = reader.scan(&query, &bounds).await;
        let page = reader.events(Arc::new(query), bounds, scan, Vec::new());
        page.await.unwrap()
    })
}

/// Pages through each topic from its newest event to its first.
fn check_pages(runtime: &Runtime, reader: &Reader, model: &Model) {
    for topic in model.topics.keys() {
        let mut shown = BTreeSet::new();
        let (mut before, mut last) = (None, i64::MAX);
        loop {
            let page = page(runtime, reader, (Some(format!("t{topic}")), before), 3);
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
