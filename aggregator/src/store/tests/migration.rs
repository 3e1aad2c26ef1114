//! A store of schema version 1 is brought to the present one, whole, also when that is interrupted.

use rusqlite::Connection;

use super::{
    harness::{Arrival, Store, delivery},
    model::{Model, check},
};
use crate::store::migrate;

/// The tables of version 1 that the migration changes, as that version made them, for a store of the present one.
const VERSION_1: &str = "
ALTER TABLE store RENAME COLUMN hash_key TO digest_key;
DROP TABLE seals;
ALTER TABLE topics DROP COLUMN last_sequence;
UPDATE topics SET digest = randomblob(16);
CREATE TABLE old_events (
    sequence        INTEGER PRIMARY KEY,
    topic_id        INTEGER NOT NULL,
    event_id        TEXT NOT NULL,
    timestamp       TEXT NOT NULL,
    source          TEXT NOT NULL,
    payload         TEXT NOT NULL,
    processed_at    INTEGER NOT NULL,
    incarnation     INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    UNIQUE (topic_id, event_id)
);
INSERT INTO old_events SELECT sequence, topic_id, event_id, timestamp, source, payload, processed_at, incarnation,
    stream_sequence, position FROM events;
DROP TABLE events;
ALTER TABLE old_events RENAME TO events;
CREATE INDEX events_by_topic ON events (topic_id, sequence);
PRAGMA user_version = 1;";

fn filled() -> (Store, Model) {
    let mut store = Store::new();
    let mut model = Model::default();
    store.meet(1, 1, 0);
    for sequence in 1..=30_u8 {
        let arrivals = vec![
            Arrival::Event {
                topic: sequence % 3,
                id: sequence / 2,
                content: sequence % 2,
            },
            Arrival::Noise,
        ];
        store
            .append(&[delivery(sequence.into(), &arrivals)])
            .unwrap();
        model.append(sequence.into(), &arrivals);
    }
    (store, model)
}

fn to_version_1(store: &mut Store) -> Connection {
    store.close();
    std::fs::remove_dir_all(store.path().join("index")).unwrap();
    let file = store.aside();
    file.execute_batch(VERSION_1).unwrap();
    file
}

fn check_chains(store: &Store, model: &Model) {
    for topic in model.topics.keys() {
        let mut shown = 0;
        let mut before = None;
        loop {
            let page = store.page(Some(&format!("t{topic}")), before, 2);
            shown += page.events.len() as u64;
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(shown, model.topics[topic].0);
    }
}

#[test]
fn a_store_of_version_1_becomes_one_of_the_present_version() {
    let (mut store, mut model) = filled();
    to_version_1(&mut store);
    store.reopen();
    check(&store, &model);
    check_chains(&store, &model);
    let again = vec![Arrival::Event {
        topic: 1,
        id: 2,
        content: 0,
    }];
    store.append(&[delivery(31, &again)]).unwrap();
    model.append(31, &again);
    check(&store, &model);
}

#[test]
fn a_migration_that_was_killed_goes_on_where_it_was() {
    for chunks in 0..4 {
        let (mut store, model) = filled();
        let mut file = to_version_1(&mut store);
        migrate::begin(&file).unwrap();
        let mut copied = 0;
        for _ in 0..chunks {
            copied = migrate::copy(&mut file, copied, 7).unwrap();
        }
        drop(file);
        store.reopen();
        check(&store, &model);
        check_chains(&store, &model);
    }
}

#[test]
fn a_store_of_version_1_with_no_event_migrates_too() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    to_version_1(&mut store);
    store.reopen();
    check(&store, &Model::default());
}
