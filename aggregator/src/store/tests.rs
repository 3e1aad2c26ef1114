//! The store against a model in memory: whatever is delivered, redelivered, failed and restarted, the rows and
//! the counters are those of the model, exactly.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use proptest::prelude::*;
use rusqlite::Connection;
use shared::{event::Event, message, stream::StreamState};
use tokio::runtime::Runtime;

use super::{
    Appended, Delivery, FILE, Reader, StoreError, Writer, WriterEnded,
    digest::Digest,
    fingerprint::{Fields, Key},
    open,
    reader::EventPage,
};

/// What one arrival is made of: few identities and few contents, so that they meet.
#[derive(Debug, Clone)]
enum Arrival {
    Event { topic: u8, id: u8, content: u8 },
    Noise,
}

fn json(arrival: &Arrival) -> String {
    match arrival {
        Arrival::Noise => "3".to_owned(),
        Arrival::Event { topic, id, content } => format!(
            r#"{{"topic":"t{topic}","event_id":"{id}","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{"content":{content}}}}}"#
        ),
    }
}

/// A message under a sequence, which is its time as well.
fn delivery(sequence: u64, arrivals: &[Arrival]) -> Delivery {
    let topic = arrivals.iter().find_map(|arrival| match arrival {
        Arrival::Event { topic, .. } => Some(*topic),
        Arrival::Noise => None,
    });
    let subject = format!("events.t{}", topic.unwrap_or(0));
    let bodies: Vec<_> = arrivals.iter().map(|a| Bytes::from(json(a))).collect();
    Delivery {
        arrivals: message::decode(&subject, &message::encode(&bodies, 0)),
        subject,
        sequence,
        time: i64::try_from(sequence).unwrap(),
    }
}

/// An open store that can be closed and opened again.
struct Store {
    runtime: Runtime,
    directory: tempfile::TempDir,
    open: Option<(Writer, WriterEnded, Reader)>,
    now: i64,
}

impl Store {
    fn new() -> Self {
        let mut store = Self {
            runtime: Runtime::new().unwrap(),
            directory: tempfile::tempdir().unwrap(),
            open: None,
            now: 0,
        };
        store.reopen();
        store
    }

    fn reopen(&mut self) {
        if let Some((writer, ended, _)) = self.open.take() {
            drop(writer);
            self.runtime.block_on(ended.wait()).unwrap();
        }
        self.open = Some(open(self.directory.path(), self.now).unwrap());
    }

    fn writer(&self) -> &Writer {
        &self.open.as_ref().unwrap().0
    }

    fn reader(&self) -> &Reader {
        &self.open.as_ref().unwrap().2
    }

    fn meet(&self, created: i64, first: u64, last: u64) -> u64 {
        let stream = StreamState {
            name: "EVENTS".to_owned(),
            created,
            first,
            last,
            messages: last + 1 - first,
            bytes: 0,
        };
        let met = self.runtime.block_on(self.writer().meet(stream, self.now));
        met.unwrap().floor
    }

    fn append(&mut self, batch: &[Delivery]) -> Result<Appended, StoreError> {
        self.now += 1;
        let batch = Arc::new(batch.to_vec());
        self.runtime.block_on(self.writer().append(batch, self.now))
    }

    /// Another connection to the file, for looking and for breaking.
    fn aside(&self) -> Connection {
        Connection::open(self.directory.path().join(FILE)).unwrap()
    }

    fn page(&self, topic: Option<&str>, before: Option<i64>, limit: usize) -> EventPage {
        let topic = topic.map(str::to_owned);
        let page = self.reader().events(topic, before, limit);
        self.runtime.block_on(page).unwrap().unwrap()
    }

    fn stats(&self) -> super::reader::Stats {
        self.runtime.block_on(self.reader().stats(1_000)).unwrap()
    }
}

/// The same bookkeeping, the plain way.
#[derive(Debug, Default)]
struct Model {
    stored: BTreeMap<(u8, u8), u8>,
    applied: BTreeSet<u64>,
    /// Unique events and duplicates of each topic.
    topics: BTreeMap<u8, (u64, u64)>,
    done: Totals,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    received: u64,
    unique: u64,
    duplicates: u64,
    rejected: u64,
    conflicts: u64,
    redelivered: u64,
}

impl Model {
    fn append(&mut self, sequence: u64, arrivals: &[Arrival]) {
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
                Arrival::Event { topic, id, content } if Some(*topic) == first_topic => {
                    let counts = self.topics.entry(*topic).or_default();
                    if let Some(stored) = self.stored.get(&(*topic, *id)) {
                        counts.1 += 1;
                        self.done.duplicates += 1;
                        self.done.conflicts += u64::from(stored != content);
                    } else {
                        counts.0 += 1;
                        self.stored.insert((*topic, *id), *content);
                        self.done.unique += 1;
                    }
                }
                // Noise, or an event of another topic than the subject's.
                _ => self.done.rejected += 1,
            }
        }
    }
}

fn totals(store: &Store) -> Totals {
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

/// Compares everything that the store shows with the model.
fn check(store: &Store, model: &Model) {
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
    let topics = store.runtime.block_on(store.reader().topics(None, 1_000));
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
    let kept = |table| -> u64 {
        let sql = format!("SELECT count(*) FROM {table}");
        store.aside().query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(kept("rejected"), model.done.rejected);
    assert_eq!(kept("conflicts"), model.done.conflicts);
}

/// Makes the digest of each topic anew from what the model has stored.
fn check_digests(store: &Store, model: &Model) {
    let file = store.aside();
    let key = file.query_row("SELECT hash_key FROM store", [], |row| row.get(0));
    let key = Key(key.unwrap());
    for topic in model.topics.keys() {
        let mut digest = Digest::default();
        for ((of, id), content) in &model.stored {
            if of == topic {
                let (topic, id, content) = (*topic, *id, *content);
                let json = json(&Arrival::Event { topic, id, content });
                let event = Event::parse(&Bytes::from(json)).unwrap();
                digest.add(&key, key.print(&Fields::from(&event)));
            }
        }
        let sql = "SELECT digest FROM topics WHERE name = ?1";
        let stored = file.query_row(sql, [format!("t{topic}")], |row| row.get(0));
        assert_eq!(Digest::from_bytes(stored.unwrap()), digest);
    }
}

/// Where a write is made to fail, from outside.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Middle,
    Commit,
}

fn break_writes(file: &Connection, failure: Failure) {
    let sql = match failure {
        Failure::Middle => {
            "CREATE TRIGGER broken BEFORE UPDATE ON counters \
             BEGIN SELECT RAISE(ABORT, 'on purpose'); END"
        }
        // A deferred foreign key is looked at by COMMIT.
        Failure::Commit => {
            "CREATE TABLE parent (id INTEGER PRIMARY KEY); \
             CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED); \
             CREATE TRIGGER broken BEFORE UPDATE ON counters \
             BEGIN INSERT INTO child VALUES (7); END"
        }
    };
    file.execute_batch(sql).unwrap();
}

fn mend_writes(file: &Connection) {
    file.execute_batch(
        "DROP TRIGGER broken; DROP TABLE IF EXISTS child; DROP TABLE IF EXISTS parent",
    )
    .unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    /// Messages that follow each other, and how many of the ones before come again with them.
    Append(Vec<Vec<Arrival>>, usize),
    /// The same with a write that fails first.
    Fail(Failure, Vec<Vec<Arrival>>),
    Restart,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let event = (0u8..2, 0u8..6, 0u8..2).prop_map(|(topic, id, content)| Arrival::Event {
        topic,
        id,
        content,
    });
    let arrival = prop_oneof![9 => event, 1 => Just(Arrival::Noise)];
    prop::collection::vec(arrival, 1..5)
}

fn step() -> impl Strategy<Value = Step> {
    let messages = || prop::collection::vec(arrivals(), 1..4);
    let failure = prop_oneof![Just(Failure::Middle), Just(Failure::Commit)];
    prop_oneof![
        6 => (messages(), 0usize..4).prop_map(|(messages, again)| Step::Append(messages, again)),
        2 => (failure, messages()).prop_map(|(failure, messages)| Step::Fail(failure, messages)),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_store_is_the_model_whatever_happens(steps in prop::collection::vec(step(), 1..12)) {
        let mut store = Store::new();
        let mut model = Model::default();
        let mut sent: Vec<Vec<Arrival>> = Vec::new();
        store.meet(1, 1, 0);
        for step in steps {
            match step {
                Step::Append(messages, again) => {
                    let from = sent.len().saturating_sub(again);
                    sent.extend(messages);
                    let mut batch = Vec::new();
                    for (index, arrivals) in sent.iter().enumerate().skip(from) {
                        batch.push(delivery(index as u64 + 1, arrivals));
                        model.append(index as u64 + 1, arrivals);
                    }
                    store.append(&batch).unwrap();
                }
                Step::Fail(failure, messages) => {
                    let before = totals(&store);
                    let batch: Vec<_> = messages.iter().zip(sent.len() as u64 + 1..)
                        .map(|(arrivals, sequence)| delivery(sequence, arrivals)).collect();
                    break_writes(&store.aside(), failure);
                    prop_assert!(store.append(&batch).is_err());
                    prop_assert_eq!(totals(&store), before);
                    mend_writes(&store.aside());
                    for arrivals in messages {
                        sent.push(arrivals);
                        model.append(sent.len() as u64, &sent[sent.len() - 1]);
                    }
                    store.append(&batch).unwrap();
                }
                Step::Restart => {
                    store.reopen();
                    let floor = store.meet(1, 1, sent.len() as u64);
                    prop_assert_eq!(floor, sent.len() as u64);
                }
            }
            check(&store, &model);
        }
    }
}

fn event(id: u8) -> Vec<Arrival> {
    vec![Arrival::Event {
        topic: 0,
        id,
        content: 0,
    }]
}

#[test]
fn an_incarnation_begins_when_the_stream_is_created_anew() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store
        .append(&[delivery(1, &event(1)), delivery(2, &event(2))])
        .unwrap();
    assert_eq!(store.meet(2, 1, 0), 0);
    let appended = store
        .append(&[delivery(1, &event(3)), delivery(2, &event(1))])
        .unwrap();
    assert_eq!(
        (appended.unique, appended.duplicates, appended.redelivered),
        (1, 1, 0)
    );
}

#[test]
fn a_stream_that_is_met_again_is_known_again() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store
        .append(&[delivery(1, &event(1)), delivery(2, &event(2))])
        .unwrap();
    store.meet(2, 1, 0);
    assert_eq!(store.meet(1, 1, 2), 2);
    assert_eq!(
        store.append(&[delivery(2, &event(2))]).unwrap().redelivered,
        1
    );
}

#[test]
fn numbers_that_are_given_out_again_are_applied_in_a_new_epoch() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let old: Vec<_> = (1..=5)
        .map(|id| delivery(u64::from(id), &event(id)))
        .collect();
    store.append(&old).unwrap();
    // The broker lost 4 and 5 and gives their numbers to others, later.
    let mut reused = delivery(4, &event(14));
    reused.time = 100;
    assert_eq!(store.append(&[reused.clone()]).unwrap().unique, 1);
    // What was delivered before, from either life, is a redelivery.
    let appended = store.append(&[old[2].clone(), reused]).unwrap();
    assert_eq!(appended.redelivered, 2);
    assert_eq!(store.stats().received, 6);
}

#[test]
fn a_batch_that_ends_one_life_and_begins_another_leaves_both_on_disk() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let old = [delivery(1, &event(1)), delivery(3, &event(3))];
    store.append(&old).unwrap();
    // 2 comes late and is of the first life; 3 is given out again.
    let late = delivery(2, &event(2));
    let mut reused = delivery(3, &event(13));
    reused.time = 100;
    let appended = store.append(&[late.clone(), reused.clone()]).unwrap();
    assert_eq!((appended.unique, appended.epoch_begun), (2, true));
    store.reopen();
    store.meet(1, 1, 3);
    let appended = store.append(&[late, reused, old[1].clone()]).unwrap();
    assert_eq!((appended.redelivered, appended.duplicates), (3, 0));
}

#[test]
fn a_file_that_goes_away_is_not_replaced_by_an_empty_store() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store.append(&[delivery(1, &event(1))]).unwrap();
    break_writes(&store.aside(), Failure::Middle);
    assert!(store.append(&[delivery(2, &event(2))]).is_err());
    let file = store.directory.path().join(FILE);
    let away = store.directory.path().join("away");
    std::fs::rename(&file, &away).unwrap();
    assert!(store.append(&[delivery(2, &event(2))]).is_err());
    assert!(!file.exists());
    std::fs::rename(&away, &file).unwrap();
    mend_writes(&store.aside());
    assert_eq!(store.append(&[delivery(2, &event(2))]).unwrap().unique, 1);
}

#[test]
fn a_number_given_out_again_is_noticed_by_its_events_even_when_times_do_not_tell() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store
        .append(&[delivery(1, &event(1)), delivery(9, &event(2))])
        .unwrap();
    let mut reused = delivery(1, &event(7));
    reused.time = 5;
    assert_eq!(store.append(&[reused]).unwrap().unique, 1);
}

#[test]
fn a_tail_that_the_broker_lost_begins_a_new_epoch_when_it_is_met() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let old: Vec<_> = (1..=5)
        .map(|id| delivery(u64::from(id), &event(id)))
        .collect();
    store.append(&old).unwrap();
    assert_eq!(store.meet(1, 1, 3), 0);
    assert_eq!(store.append(&old[..3]).unwrap().redelivered, 3);
    assert_eq!(store.meet(1, 1, 3), 3);
}

#[test]
fn what_the_stream_lost_before_it_was_applied_is_missing_and_the_floor_passes_it() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store
        .append(&[delivery(1, &event(1)), delivery(3, &event(3))])
        .unwrap();
    assert_eq!(store.meet(1, 6, 8), 5);
    assert_eq!(store.stats().missing, 3);
    assert_eq!(store.meet(1, 6, 8), 5);
    assert_eq!(store.stats().missing, 3);
}

#[test]
fn a_lock_that_another_process_holds_fails_the_write_and_nothing_else() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let mut other = store.aside();
    let lock = other
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    assert!(matches!(
        store.append(&[delivery(1, &event(1))]),
        Err(StoreError::Sqlite(_))
    ));
    drop(lock);
    assert_eq!(store.append(&[delivery(1, &event(1))]).unwrap().unique, 1);
}

#[test]
fn times_never_decrease_though_the_clock_does() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store.now = 1_000;
    store.append(&[delivery(1, &event(1))]).unwrap();
    store.now = 10;
    store.append(&[delivery(2, &event(2))]).unwrap();
    let page = store.page(None, None, 10);
    let times: Vec<_> = page.events.iter().map(|event| event.processed_at).collect();
    assert_eq!(times, [1_001, 1_001]);
}

#[test]
fn pages_follow_each_other_without_a_gap_or_an_overlap() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let batch: Vec<_> = (1..=5)
        .map(|id| delivery(u64::from(id), &event(id)))
        .collect();
    store.append(&batch).unwrap();
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = store.page(Some("t0"), before, 2);
        assert_eq!(page.total, 5);
        seen.extend(page.events.into_iter().map(|event| event.event_id));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["5", "4", "3", "2", "1"]);
}

#[test]
fn a_later_schema_and_a_foreign_file_are_refused() {
    let refused = |prepare: &str| {
        let directory = tempfile::tempdir().unwrap();
        let file: &Path = &directory.path().join(FILE);
        Connection::open(file)
            .unwrap()
            .execute_batch(prepare)
            .unwrap();
        match open(directory.path(), 0) {
            Ok(_) => panic!("it was opened"),
            Err(err) => err.to_string(),
        }
    };
    assert!(refused("PRAGMA user_version = 99").contains("version 99"));
    assert!(refused("CREATE TABLE mine (x)").contains("this program did not make it"));
}
