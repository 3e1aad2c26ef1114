//! Verification of undamaged stores: everything that the store does itself is consistent.

use shared::stream::StreamState;

use super::harness::{Arrival, Failure, Store, break_writes, delivery, repair_writes};
use super::trial::with_tables;
use crate::store::{
    Bounds, Delivery,
    sqlite::{
        options::Options,
        verify::{Access, Verification},
    },
    verify::{Check, Progress, Report, Verdict},
};

struct NoProgress;

impl Progress for NoProgress {
    fn begins(&self, _: &'static str) {}

    fn at(&self, _: &'static str, _: u64, _: u64) {}
}

pub fn event(topic: u8, id: u8, content: u8) -> Arrival {
    Arrival::Event { topic, id, content }
}

/// Messages with five events in two topics, two duplicates, of which one is a conflict, and two rejected arrivals.
pub fn messages() -> Vec<Delivery> {
    vec![
        delivery(1, &[event(0, 1, 0), event(0, 2, 0)]),
        delivery(2, &[event(0, 3, 0), Arrival::Noise, event(0, 1, 0)]),
        delivery(3, &[event(1, 1, 0)]),
        delivery(4, &[event(0, 2, 9), Arrival::Noise]),
        delivery(5, &[event(1, 2, 0)]),
        delivery(6, &[event(1, 2, 0)]),
    ]
}

/// A store that has applied the messages; the first four events are sealed in the dedup index.
pub fn store() -> Store {
    let mut store = Store::with(Options {
        memory: with_tables(4),
        ..Options::default()
    });
    store.meet(1, 1, 6);
    for message in messages() {
        store.append(&[message]).unwrap();
    }
    store.settle();
    store
}

pub fn stream() -> StreamState {
    StreamState {
        name: "EVENTS".to_owned(),
        created: 1,
        first: 1,
        last: 6,
        messages: 6,
        bytes: 0,
    }
}

pub fn verify(store: &Store) -> Report {
    let verification = Verification::begin(store.path(), Access::Alone, None).unwrap();
    verification.run(&NoProgress).unwrap().report()
}

pub fn compare(store: &Store, messages: &[Delivery], acked: u64) -> Report {
    let verification = Verification::begin(store.path(), Access::Alone, Some(stream())).unwrap();
    compare_with(verification, messages, acked)
}

pub fn compare_with(verification: Verification, messages: &[Delivery], acked: u64) -> Report {
    let verified = verification.run(&NoProgress).unwrap();
    let mut retained = match verified.compare(acked) {
        Ok(retained) => retained,
        Err(report) => return report,
    };
    let mut windows = messages.chunks(2);
    let failure = windows.find_map(|window| retained.take(window).err());
    retained.finish(failure.as_ref().map(|err| err as _))
}

pub fn differences(report: &Report) -> String {
    let named: Vec<_> = report
        .checks
        .iter()
        .flat_map(|c| &c.named)
        .cloned()
        .collect();
    named.join("\n")
}

pub fn check<'a>(report: &'a Report, name: &str) -> &'a Check {
    let found = report
        .checks
        .iter()
        .find(|check| check.name.starts_with(name));
    found.unwrap_or_else(|| panic!("there is no check {name}"))
}

#[test]
fn an_undamaged_store_is_consistent_in_every_check() {
    let mut store = store();
    store.close();
    let report = compare(&store, &messages(), 6);
    assert_eq!(differences(&report), "");
    for check in &report.checks {
        assert_eq!(check.verdict, Verdict::Ok, "{check:?}");
        assert_eq!(check.expected, check.found, "{check:?}");
    }
    assert_eq!(check(&report, "dedup index").found, Some(4));
    assert_eq!(check(&report, "received, from").found, Some(10));
    assert_eq!(check(&report, "events, each").found, Some(5));
    assert_eq!(check(&report, "identities").found, Some(5));
}

#[test]
fn a_new_store_is_consistent() {
    let mut store = Store::new();
    store.close();
    assert_eq!(differences(&verify(&store)), "");
    let report = compare(&store, &[], 0);
    assert_eq!(check(&report, "arrivals").verdict, Verdict::LeftOut);
}

#[test]
fn a_damaged_file_is_reported_as_a_difference() {
    let mut store = store();
    store.close();
    let file = store.path().join(crate::store::sqlite::FILE);
    let (root, page): (usize, usize) = {
        let sql =
            "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 'events'";
        store
            .raw_connection()
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    };
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[(root - 1) * page..][..page].fill(0x55);
    std::fs::write(&file, bytes).unwrap();
    // Reading the record includes the last event, so the verification may fail without a report.
    let Ok(verification) = Verification::begin(store.path(), Access::Alone, None) else {
        return;
    };
    let report = verification.run(&NoProgress).unwrap().report();
    assert_eq!(check(&report, "SQLite file").verdict, Verdict::Differs);
    assert!(!report.is_consistent());
}

#[test]
fn a_running_store_is_verified_without_its_index() {
    let store = store();
    let verification = Verification::begin(store.path(), Access::InUse, Some(stream())).unwrap();
    let verified = verification.run(&NoProgress).unwrap();
    let mut retained = verified.compare(6).unwrap();
    retained.take(&messages()).unwrap();
    let report = retained.finish(None);
    assert_eq!(differences(&report), "");
    let left_out = report
        .checks
        .iter()
        .filter(|check| check.verdict == Verdict::LeftOut);
    let left_out: Vec<_> = left_out.map(|check| check.name).collect();
    assert_eq!(left_out, ["dedup index, both ways"]);
}

#[test]
fn events_stored_after_the_snapshot_are_not_counted() {
    let mut store = store();
    let verification = Verification::begin(store.path(), Access::InUse, None).unwrap();
    store
        .append(&[delivery(7, &[event(3, 1, 0), Arrival::Noise])])
        .unwrap();
    let report = verification.run(&NoProgress).unwrap().report();
    assert_eq!(differences(&report), "");
    assert_eq!(check(&report, "events").found, Some(5));
}

#[test]
fn messages_left_unapplied_by_a_failed_write_are_noted_and_no_difference() {
    let mut store = store();
    let file = store.raw_connection();
    break_writes(&file, Failure::Middle);
    store.append(&[delivery(7, &[event(0, 7, 0)])]).unwrap_err();
    repair_writes(&file);
    store.append(&[delivery(8, &[event(0, 8, 0)])]).unwrap();
    drop(file);
    store.close();
    let report = verify(&store);
    assert_eq!(differences(&report), "");
    let notes = &check(&report, "applied").notes;
    assert!(
        notes[0].contains("1 messages") && notes[0].contains("7 to 7"),
        "{notes:?}"
    );
}

#[test]
fn evicted_rows_are_no_difference() {
    let mut store = Store::with(Options {
        bounds: Bounds {
            rejected: 1,
            conflicts: 1,
        },
        ..Options::default()
    });
    store.meet(1, 1, 6);
    for message in messages() {
        store.append(&[message]).unwrap();
    }
    store.close();
    let report = compare(&store, &messages(), 6);
    assert_eq!(differences(&report), "");
    assert_eq!(check(&report, "rejected").found, Some(2));
}

#[test]
fn a_trimmed_stream_is_compared_with_the_messages_it_still_has() {
    let mut store = store();
    store.close();
    let report = compare(&store, &messages()[3..], 6);
    assert_eq!(differences(&report), "");
    assert_eq!(check(&report, "arrivals").found, Some(4));
    assert_eq!(check(&report, "received, from").verdict, Verdict::LeftOut);
}

#[test]
fn a_reused_sequence_is_compared_with_its_own_epoch() {
    let mut store = store();
    // The broker lost messages 5 and 6, and assigns 5 again.
    let again = Delivery {
        time: 50,
        ..delivery(5, &[event(0, 5, 0)])
    };
    store.append(std::slice::from_ref(&again)).unwrap();
    store.close();
    let mut retained = messages();
    retained.truncate(4);
    retained.push(again);
    let report = compare(&store, &retained, 0);
    assert_eq!(differences(&report), "");
    assert_eq!(check(&report, "events, each").found, Some(5));
    let recount = check(&report, "received, from");
    assert_eq!(recount.verdict, Verdict::LeftOut, "{recount:?}");
}

#[test]
fn an_index_of_another_store_is_rebuilt_and_is_no_difference() {
    let mut store = store();
    store.close();
    store
        .raw_connection()
        .execute_batch("DELETE FROM seals")
        .unwrap();
    let report = verify(&store);
    let index = check(&report, "dedup index");
    assert_eq!(index.verdict, Verdict::LeftOut);
    assert!(
        index.notes[0].contains("not registered in this store"),
        "{index:?}"
    );
    std::fs::remove_dir_all(store.path().join(crate::store::sqlite::INDEX_FOLDER)).unwrap();
    let report = verify(&store);
    assert!(report.is_consistent());
    assert!(check(&report, "dedup index").notes[0].contains("rebuilt"));
}

#[test]
fn verification_changes_nothing_and_keeps_the_wal_left_by_a_kill() {
    let store = store();
    // The database and its WAL, as a kill leaves them.
    let killed = tempfile::tempdir().unwrap();
    for name in ["aggregator.db", "aggregator.db-wal"] {
        std::fs::copy(store.path().join(name), killed.path().join(name)).unwrap();
    }
    let contents = || {
        ["aggregator.db", "aggregator.db-wal"]
            .map(|name| std::fs::read(killed.path().join(name)).unwrap())
    };
    let before = contents();
    assert!(!before[1].is_empty());
    let verification = Verification::begin(killed.path(), Access::Alone, None).unwrap();
    let report = verification.run(&NoProgress).unwrap().report();
    assert_eq!(differences(&report), "");
    assert!(contents() == before);
    let mut names: Vec<_> = std::fs::read_dir(killed.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with("-shm"))
        .collect();
    names.sort();
    assert_eq!(names, ["aggregator.db", "aggregator.db-wal"]);
}

#[test]
fn a_directory_without_a_store_gets_none() {
    let directory = tempfile::tempdir().unwrap();
    Verification::begin(directory.path(), Access::Alone, None).unwrap_err();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
