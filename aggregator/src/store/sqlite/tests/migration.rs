//! A store of schema version 1 is migrated to the current version completely, also if the migration is interrupted.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::{
    harness::{Arrival, Store, delivery, to_version_5, topics},
    model::{Model, check},
};
use crate::store::{
    query::TOPICS_KEPT,
    sqlite::{FILE, file::migrate, topics::TopicState},
};

/// Fills tables of version 1 from a store of the current version.
const COPY: &str = "
INSERT INTO store SELECT only, store_id, hash_key, created_at FROM present.store;
INSERT INTO counters SELECT only, received, unique_processed, duplicate_dropped, rejected, conflicts, redelivered,
    topics, processed_at, incarnation FROM present.counters;
INSERT INTO incarnations SELECT id, stream, created, epoch, latest_time, begun_at FROM present.incarnations;
INSERT INTO applied SELECT * FROM present.applied;
INSERT INTO missing SELECT * FROM present.missing;
INSERT INTO events SELECT sequence, topic_id, event_id, timestamp, source, payload, processed_at, incarnation,
    stream_sequence, position FROM present.events;
INSERT INTO conflicts SELECT id, stored_sequence, timestamp, source, payload, processed_at, incarnation, stream_sequence,
    position, subject FROM present.conflicts;
INSERT INTO rejected SELECT id, reason, detail, subject, incarnation, stream_sequence, position, processed_at, body
    FROM present.rejected;
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

/// Replaces a store by one of version 1 with the same rows.
fn to_version_1(store: &mut Store) -> Connection {
    store.close();
    std::fs::remove_dir_all(store.path().join("index")).unwrap();
    let present = store.path().join("present.db");
    std::fs::rename(store.path().join(FILE), &present).unwrap();
    let old = store.raw_connection();
    old.execute_batch(include_str!("version_1.sql")).unwrap();
    old.execute("ATTACH ?1 AS present", [present.to_str()])
        .unwrap();
    old.execute_batch(COPY).unwrap();
    old.execute_batch("DETACH present").unwrap();
    for (state, name) in topics(&Connection::open(present).unwrap()) {
        let TopicState {
            id,
            unique,
            duplicates,
            first_at,
            last_at,
            ..
        } = state;
        old.execute(
            "INSERT INTO topics VALUES (?1, ?2, ?3, ?4, ?5, randomblob(16), ?6, ?7)",
            params![
                id,
                name,
                state.received(),
                unique,
                duplicates,
                first_at,
                last_at
            ],
        )
        .unwrap();
    }
    old
}

/// Each table with the names, types and constraints of its columns.
fn tables(store: &Store) -> BTreeMap<String, Vec<(String, String, bool, i64)>> {
    let file = store.raw_connection();
    let sql = "SELECT m.name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_schema m \
               JOIN pragma_table_info(m.name) c WHERE m.type IN ('table', 'index') ORDER BY m.name, c.cid";
    let mut statement = file.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        let column = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        Ok((row.get(0)?, column))
    });
    let mut tables = BTreeMap::<_, Vec<_>>::new();
    for row in rows.unwrap() {
        let (table, column) = row.unwrap();
        tables.entry(table).or_default().push(column);
    }
    tables
}

#[test]
fn a_store_of_version_1_is_migrated_to_the_current_version() {
    let (mut store, mut model) = filled();
    to_version_1(&mut store);
    store.reopen();
    check(&store, &model);
    assert_eq!(tables(&store), tables(&Store::new()));
    let again = vec![Arrival::Event {
        topic: 1,
        id: 2,
        content: 0,
    }];
    store.append(&[delivery(31, &again)]).unwrap();
    model.append(31, &again);
    check(&store, &model);
    // It keeps its pages, which are smaller than those of a new store. Enough batches for runs of topics to be merged:
    let pages = store
        .raw_connection()
        .pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0));
    assert_eq!(pages.unwrap(), 4096);
    for sequence in 32..80 {
        let event = |topic| Arrival::Event {
            topic,
            id: 10 + sequence / 2,
            content: 0,
        };
        let arrivals: Vec<_> = (0..30).map(event).collect();
        let message = delivery(sequence.into(), &arrivals);
        store.append(&[message]).unwrap();
        model.append(sequence.into(), &arrivals);
    }
    check(&store, &model);
    store.reopen();
    check(&store, &model);
}

#[test]
fn a_killed_migration_resumes_where_it_stopped() {
    for chunks in 0..4 {
        let (mut store, model) = filled();
        let mut file = to_version_1(&mut store);
        migrate::begin(&file).unwrap();
        let mut copied = 0;
        for _ in 0..chunks {
            copied = migrate::copy(&mut file, copied, 5).unwrap();
        }
        drop(file);
        store.reopen();
        check(&store, &model);
    }
}

#[test]
fn an_empty_store_of_version_1_is_migrated() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    to_version_1(&mut store);
    store.reopen();
    check(&store, &Model::default());
}

#[test]
fn a_store_of_version_1_that_lacks_a_row_is_refused_and_left_unchanged() {
    let (mut store, _) = filled();
    let file = to_version_1(&mut store);
    file.execute("DELETE FROM events WHERE sequence = 7", [])
        .unwrap();
    assert!(store.try_reopen().is_err());
    let left = "SELECT count(*) FROM events";
    let left: i64 = file.query_row(left, [], |row| row.get(0)).unwrap();
    assert!(left > 7);
}

#[test]
fn a_store_of_version_5_keeps_its_topics_and_the_history_of_the_first() {
    let (mut store, model) = filled();
    store.close();
    let before = topics(&store.raw_connection());
    to_version_5(&store.raw_connection());
    let late = TOPICS_KEPT + 1;
    let sql = "INSERT INTO history VALUES (1, 1, 1, 1, 0, 0), (?1, 1, 1, 1, 0, 0)";
    store.raw_connection().execute(sql, [late]).unwrap();
    store.reopen();
    check(&store, &model);
    let file = store.raw_connection();
    assert_eq!(topics(&file), before);
    let kept = "SELECT group_concat(topic_id) FROM history WHERE topic_id > 0";
    let kept: String = file.query_row(kept, [], |row| row.get(0)).unwrap();
    assert_eq!(kept, "1");
    assert_eq!(tables(&store), tables(&Store::new()));
}

#[test]
fn the_duplicates_before_version_8_may_be_of_any_event_of_their_topic() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let event = |topic, id| Arrival::Event {
        topic,
        id,
        content: 0,
    };
    let first = [event(0, 1), event(0, 2), event(0, 1)];
    let messages = [delivery(1, &first), delivery(2, &[event(1, 1)])];
    store.append(&messages).unwrap();
    store.close();
    let file = store.raw_connection();
    file.execute_batch("DROP TABLE repeats; PRAGMA user_version = 7")
        .unwrap();
    drop(file);
    store.reopen();
    let later = [event(0, 3), event(0, 3)];
    let messages = [delivery(3, &later), delivery(4, &[event(1, 1)])];
    store.append(&messages).unwrap();
    let again = |topic: &str, id: &str| {
        let found = store.reader().event(topic.to_owned(), id.to_owned());
        store.runtime.block_on(found).unwrap().unwrap().again
    };
    assert_eq!((again("t0", "1"), again("t0", "2")), ((0, 1), (0, 1)));
    // No duplicate of an event is older than it, nor more than those of its topic.
    assert_eq!((again("t0", "3"), again("t1", "1")), ((1, 1), (1, 1)));
    assert_eq!(tables(&store), tables(&Store::new()));
}
