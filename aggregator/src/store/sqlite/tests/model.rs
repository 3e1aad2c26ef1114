//! The comparison of a file with the model: what the store answers, and the rows from which it does.

use bytes::Bytes;
use shared::event::Event;

use super::harness::{Arrival, Store, json};
pub use crate::store::tests::model::Model;
use crate::store::{
    Reader,
    sqlite::{
        dedup::fingerprint::{Fields, Key},
        repeats::Count,
        topics::{StoredTopics, digest::Digest},
    },
    tests::model::{self, Totals},
};

pub fn totals(store: &Store) -> Totals {
    model::totals(&store.stats())
}

/// Compares everything that the store returns, and its rows, with the model.
pub fn check(store: &Store, model: &Model) {
    let reader = Reader::Sqlite(store.reader().clone());
    model::check(&store.runtime, &reader, model);
    check_digests(store, model);
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
