//! The lookup stage reads the rows of conflicts, so that the writer's thread does not have to.

use std::{path::Path, sync::Arc};

use super::harness::{Arrival, Store, delivery};
use crate::store::{
    Delivery,
    sqlite::{
        FILE,
        dedup::{
            fingerprint::Key,
            lookup::{self, Compared, LookupEvent, Rows},
        },
        writer::state::State,
    },
};

fn event(id: u8, content: u8) -> Arrival {
    Arrival::Event {
        topic: 0,
        id,
        content,
    }
}

/// A store with the events 0 to 199, all of content 0.
fn store() -> Store {
    let mut store = Store::new();
    store.meet(1, 1, 9);
    let stored: Vec<_> = (0..200).map(|id| event(id, 0)).collect();
    store.append(&[delivery(1, &stored)]).unwrap();
    store
}

fn rows(store: &Store) -> Rows {
    let memory = &store.reader().memory;
    let (files, gate) = (memory.files.clone(), memory.gate.clone());
    Rows::of(store.path().join(FILE), files, gate, 0)
}

/// The result of the lookup of a batch as the writer receives it.
fn look_up(store: &Store, rows: &mut Rows, batch: &[Delivery]) -> Vec<LookupEvent> {
    let key = State::load(&store.raw_connection()).unwrap().key;
    look_up_with(store, &key, rows, batch)
}

/// As [`look_up`], with the key given instead of read from the file at the path.
fn look_up_with(store: &Store, key: &Key, rows: &mut Rows, batch: &[Delivery]) -> Vec<LookupEvent> {
    let slot = &store.reader().memory.index;
    let found = lookup::look_up(slot, key, rows, Arc::new(batch.to_vec()), 1_000);
    found.unwrap().events
}

#[test]
fn the_rows_of_conflicts_are_read_before_the_writer_takes_the_batch() {
    read_ahead(&store());
}

#[test]
fn the_rows_of_conflicts_are_read_one_by_one_while_the_gate_closes() {
    let store = store();
    store.reader().memory.gate.hurry();
    let reads = read_ahead(&store);
    assert!(reads > 2 * 64, "{reads}");
}

/// Returns the number of reads.
fn read_ahead(store: &Store) -> u64 {
    let gate = store.reader().memory.gate.clone();
    let before = gate.entered();
    let mut rows = rows(store);
    // Enough conflicts for several connections, not in order of sequence, among duplicates and new events.
    let arrivals: Vec<_> = (0_u8..250)
        .map(|n| event(n.wrapping_mul(7), u8::from(n % 5 > 0)))
        .collect();
    let batch = [delivery(2, &arrivals)];
    let found = look_up(store, &mut rows, &batch);
    let raw_connection = store.raw_connection();
    let mut conflicts = 0;
    for (lookup, arrival) in found.iter().zip(&batch[0].arrivals) {
        let entry = lookup
            .found
            .filter(|entry| !entry.has_content(lookup.fingerprint.content));
        let expected = entry.and_then(|entry| {
            let event = arrival.as_ref().unwrap();
            Compared::read(&raw_connection, entry.sequence, event).unwrap()
        });
        assert_eq!(lookup.compared, expected);
        conflicts += usize::from(expected.is_some());
    }
    assert!(conflicts > 2 * 64, "{conflicts}");
    gate.entered() - before
}

#[test]
fn rows_that_cannot_be_read_ahead_are_left_to_the_writer() {
    let store = store();
    let memory = &store.reader().memory;
    let (files, gate) = (memory.files.clone(), memory.gate.clone());
    let mut rows = Rows::of(Path::new("/no/such/file").to_owned(), files, gate, 0);
    let found = look_up(&store, &mut rows, &[delivery(2, &[event(3, 1)])]);
    assert!(found[0].found.is_some());
    assert_eq!(found[0].compared, None);
}

#[test]
fn a_conflict_is_with_the_event_stored_first_even_in_the_same_batch() {
    let mut store = store();
    let batch = [
        // Conflicts with a stored event, with one in the same message, and with one in the same batch.
        delivery(2, &[event(3, 1), event(201, 0), event(201, 1)]),
        delivery(3, &[event(201, 1), event(201, 0), event(3, 0)]),
    ];
    let done = store.append(&batch).unwrap();
    assert_eq!((done.unique, done.duplicates, done.conflicts), (1, 5, 3));
    // Two concurrent batches: the second is looked up before the first has committed.
    let appends = [(4, 4), (5, 5)].map(|(sequence, content)| {
        let batch = Arc::new(vec![delivery(sequence, &[event(202, content)])]);
        store.writer().append(batch, store.now)
    });
    let done = store.runtime.block_on(futures::future::join_all(appends));
    let done: Vec<_> = done.into_iter().map(Result::unwrap).collect();
    assert_eq!((done[0].unique, done[1].conflicts), (1, 1));
}

#[test]
fn rows_are_never_read_from_another_store_that_briefly_replaced_this_one() {
    for were_read in [false, true] {
        let mut store = store();
        let mut rows = rows(&store);
        let conflict = [delivery(2, &[event(3, 1)])];
        let key = State::load(&store.raw_connection()).unwrap().key;
        let is_same = |lookup: &[LookupEvent]| lookup[0].compared.map(|compared| compared.is_same);
        if were_read {
            let before = look_up_with(&store, &key, &mut rows, &conflict);
            assert_eq!(is_same(&before), Some(false));
        }
        let at = |name: &str| store.path().join(name);
        let (file, away, other) = (at(FILE), at("away"), at("other"));
        let empty = "PRAGMA wal_checkpoint(TRUNCATE)";
        store
            .raw_connection()
            .query_row(empty, [], |_| Ok(()))
            .unwrap();
        std::fs::copy(&file, &other).unwrap();
        // Compared with the row of the other store, the conflict would be a plain duplicate.
        let sql = r#"UPDATE events SET timestamp_filled = 1, payload = '{"content":1}' WHERE sequence = 4"#;
        let changing = rusqlite::Connection::open(&other).unwrap();
        changing.execute(sql, []).unwrap();
        drop(changing);
        std::fs::rename(&file, &away).unwrap();
        std::fs::rename(&other, &file).unwrap();
        let meanwhile = look_up_with(&store, &key, &mut rows, &conflict);
        // Only connections that are already open refer to the right file.
        assert_eq!(is_same(&meanwhile), were_read.then_some(false));
        store.append(&[delivery(9, &[event(9, 1)])]).unwrap_err();
        std::fs::rename(&away, &file).unwrap();
        let after = look_up_with(&store, &key, &mut rows, &conflict);
        // The writer may not have reopened the index yet.
        assert_ne!(is_same(&after), Some(true));
        store
            .runtime
            .block_on(store.writer().check_files())
            .unwrap();
        let after = look_up_with(&store, &key, &mut rows, &conflict);
        assert_eq!(is_same(&after), Some(false));
    }
}
