//! Named cases of the dedup index: while a table is sealed and merged, after kills at each step of that, and with files that
//! are missing, damaged, older or newer than the store.

use std::fs;

use shared::event::Event;

use super::{
    harness::{Arrival, Store, delivery, event, json},
    trial::{THREAD_STEPS, Trial, copy, damage, files, restore},
};
use crate::store::sqlite::dedup::{
    fingerprint::{Fields, Key},
    index::{Entry, FaultPoint, discard},
};

#[test]
fn duplicates_are_found_while_a_table_is_sealed_and_merged() {
    for step in THREAD_STEPS {
        let mut trial = Trial::new();
        trial.fill(0..40);
        trial.hold(step);
        // Full tables wait behind the one that is held, but too few to make the writer wait.
        trial.fill(40..48);
        // Their entries are looked up.
        trial.fill(40..48);
        trial.check();
        trial.store.options.faults.clear_all();
        trial.fill(50..90);
        trial.check();
    }
}

#[test]
fn a_kill_at_any_step_of_sealing_or_merging_loses_nothing() {
    for step in THREAD_STEPS {
        let mut trial = Trial::new();
        trial.fill(0..40);
        // The thread ends at the step and leaves the files as a killed process would.
        trial.store.settle();
        trial.store.options.faults.fail(step);
        trial.try_send((40..46).map(event).collect());
        trial.store.options.faults.wait_until_met(step);
        trial.store.close();
        trial.store.options.faults.clear_all();
        trial.store.reopen();
        trial.fill(30..60);
        trial.check();
    }
}

#[test]
fn a_thread_that_fails_is_replaced_with_its_index() {
    for step in THREAD_STEPS {
        let mut trial = Trial::new();
        trial.fill(0..40);
        trial.store.options.faults.fail(step);
        let mut sequence = trial.sent.len() as u64 + 1;
        let is_refused = (100..200).any(|id| {
            let is_refused = trial
                .store
                .append(&[delivery(sequence, &event(id))])
                .is_err();
            if !is_refused {
                trial.model.append(sequence, &event(id));
                trial.sent.push(event(id));
                sequence += 1;
            }
            trial.store.settle();
            is_refused
        });
        assert!(is_refused, "{step:?} was never reached");
        trial.store.options.faults.clear_all();
        trial.fill(30..60);
        trial.check();
    }
}

#[test]
fn a_committed_batch_is_known_even_if_memory_was_not_updated() {
    let mut trial = Trial::new();
    trial.fill(0..12);
    trial.store.options.faults.fail(FaultPoint::Committed);
    let sequence = trial.sent.len() as u64 + 1;
    let batch = [delivery(sequence, &event(100))];
    assert!(trial.store.append(&batch).is_err());
    trial.store.options.faults.clear_all();
    trial.model.append(sequence, &event(100));
    trial.sent.push(event(100));
    let again = trial.store.append(&batch).unwrap();
    assert_eq!((again.redelivered, again.unique), (1, 0));
    trial.model.append(sequence, &event(100));
    trial.fill(5..20);
    trial.check();
}

#[test]
fn duplicates_whose_commit_was_reported_as_failed_are_counted() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let one = [Arrival::Event {
        topic: 1,
        id: 1,
        content: 0,
    }];
    let again = |store: &Store| {
        let found = store.reader().event("t1".to_owned(), "1".to_owned());
        store.runtime.block_on(found).unwrap().unwrap().again
    };
    store.append(&[delivery(1, &one)]).unwrap();
    store.append(&[delivery(2, &one)]).unwrap();
    assert_eq!(again(&store), (1, 1));
    store.options.faults.fail(FaultPoint::Committed);
    assert!(store.append(&[delivery(3, &one)]).is_err());
    store.options.faults.clear_all();
    assert_eq!(store.append(&[delivery(3, &one)]).unwrap().redelivered, 1);
    assert_eq!(store.stats().duplicate_dropped, 2);
    assert_eq!(again(&store), (2, 2));
}

#[test]
fn a_kill_during_an_index_rebuild_costs_only_time() {
    let mut trial = Trial::new();
    trial.fill(0..40);
    trial.store.close();
    discard(&trial.index()).unwrap();
    for step in [
        FaultPoint::Replay,
        FaultPoint::Ingest,
        FaultPoint::Register,
        FaultPoint::Ingested,
    ] {
        trial.store.options.faults.fail(step);
        // All rows may have been read before the thread ends.
        let _ = trial.store.try_reopen();
        trial.store.options.faults.wait_until_met(step);
        trial.store.close();
        trial.store.options.faults.clear_all();
    }
    trial.store.reopen();
    trial.fill(30..60);
    trial.check();
}

#[test]
fn a_sound_index_is_reused_and_not_rebuilt() {
    let mut trial = Trial::new();
    trial.fill(0..40);
    trial.store.settle();
    // All entries are in the tree, so no rows are read again.
    trial.store.options.faults.fail(FaultPoint::Replay);
    trial.store.reopen();
    trial.store.options.faults.clear_all();
    trial.fill(20..45);
    trial.check();
}

#[test]
fn an_index_that_is_ahead_of_its_store_is_discarded() {
    let mut trial = Trial::new();
    trial.fill(0..20);
    trial.store.close();
    let backup = tempfile::tempdir().unwrap();
    copy(trial.store.path(), backup.path());
    trial.store.reopen();
    // The restored store lacks these events, so its index must not treat them as duplicates.
    let batch: Vec<_> = (61..90)
        .map(|n| delivery(n, &event(u8::try_from(n).unwrap())))
        .collect();
    assert_eq!(trial.store.append(&batch).unwrap().unique, 29);
    trial.store.close();
    restore(backup.path(), trial.store.path());
    trial.store.reopen();
    trial.check();
    assert_eq!(trial.store.append(&batch).unwrap().unique, 29);
}

#[test]
fn an_index_of_another_store_and_an_older_index_are_safe() {
    let mut other = Trial::new();
    other.fill(50..90);
    other.store.close();
    let mut trial = Trial::new();
    trial.fill(0..20);
    trial.store.close();
    let older = tempfile::tempdir().unwrap();
    copy(&trial.index(), older.path());
    trial.store.reopen();
    trial.fill(20..40);
    for index in [older.path().to_owned(), other.index()] {
        trial.store.close();
        discard(&trial.index()).unwrap();
        copy(&index, &trial.index());
        trial.store.reopen();
        trial.check();
        trial.fill(30..60);
        trial.check();
    }
}

#[test]
fn every_file_of_the_index_may_be_damaged_or_missing() {
    let mut trial = Trial::new();
    trial.fill(0..60);
    trial.store.close();
    let sound = tempfile::tempdir().unwrap();
    copy(&trial.index(), sound.path());
    let count = files(sound.path()).len();
    assert!(count > 2, "there are tables");
    for file in 0..count {
        for how in 0..4 {
            trial.store.close();
            discard(&trial.index()).unwrap();
            copy(sound.path(), &trial.index());
            let file = &files(&trial.index())[file];
            let bytes = usize::try_from(fs::metadata(file).unwrap().len()).unwrap();
            match how {
                0 => fs::remove_file(file).unwrap(),
                1 => damage(file, bytes / 2, true),
                2 => damage(file, bytes / 2, false),
                _ => damage(file, bytes.saturating_sub(20), false),
            }
            trial.store.reopen();
            trial.fill(0..60);
            trial.check();
        }
    }
}

#[test]
fn a_flaw_in_the_list_of_tables_loses_no_entry() {
    let mut trial = Trial::new();
    trial.fill(0..45);
    trial.store.close();
    let sound = tempfile::tempdir().unwrap();
    copy(trial.store.path(), sound.path());
    let list = files(&trial.index())
        .into_iter()
        .find(|file| file.file_name().unwrap().to_string_lossy().starts_with('v'))
        .unwrap();
    let again: Vec<_> = (0..45)
        .map(|id| delivery(1_000 + u64::from(id), &event(id)))
        .collect();
    for at in 0..fs::read(&list).unwrap().len() {
        discard(&trial.index()).unwrap();
        copy(sound.path(), trial.store.path());
        let mut bytes = fs::read(&list).unwrap();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&list, bytes).unwrap();
        trial.store.reopen();
        assert_eq!(trial.append(&again).unique, 0, "byte {at}");
        trial.store.close();
        restore(sound.path(), trial.store.path());
    }
}

#[test]
fn entries_that_leave_memory_after_the_lookup_of_a_batch_are_found() {
    let mut trial = Trial::new();
    let faults = trial.store.options.faults.clone();
    faults.hold(FaultPoint::Ingest);
    trial.send((0..5).map(event).collect());
    faults.wait_until_met(FaultPoint::Ingest);
    // The lookup happens while the table is in memory and not in the tree.
    faults.hold(FaultPoint::LookedUp);
    let writer = trial.store.writer().clone();
    let batch = std::sync::Arc::new(vec![delivery(6, &event(3))]);
    let append = trial
        .store
        .runtime
        .spawn(async move { writer.append(batch, 9).await });
    faults.wait_until_met(FaultPoint::LookedUp);
    faults.clear(FaultPoint::Ingest);
    trial.store.settle();
    faults.clear_all();
    let appended = trial.store.runtime.block_on(append).unwrap().unwrap();
    assert_eq!((appended.unique, appended.duplicates), (0, 1));
}

#[test]
fn the_writer_waits_while_full_tables_use_all_their_memory() {
    let mut trial = Trial::new();
    let faults = trial.store.options.faults.clone();
    faults.hold(FaultPoint::Ingest);
    for table in 0..3_u8 {
        trial.send((0..5).map(|id| event(5 * table + id)).collect());
    }
    let writer = trial.store.writer().clone();
    let batch = std::sync::Arc::new(vec![delivery(16, &event(3)), delivery(17, &event(90))]);
    faults.hold(FaultPoint::LookedUp);
    let append = trial
        .store
        .runtime
        .spawn(async move { writer.append(batch, 9).await });
    faults.wait_until_met(FaultPoint::LookedUp);
    faults.clear(FaultPoint::LookedUp);
    assert!(!append.is_finished());
    faults.clear_all();
    let appended = trial.store.runtime.block_on(append).unwrap().unwrap();
    assert_eq!((appended.unique, appended.duplicates), (1, 1));
}

#[test]
fn another_identity_with_the_same_fingerprint_is_rejected_and_kept() {
    let (first, second) = (event(1), event(2));
    let parse = |arrivals: &[Arrival]| Event::parse(&json(&arrivals[0]).into()).unwrap();
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store.append(&[delivery(1, &first)]).unwrap();
    let key = store
        .raw_connection()
        .query_row("SELECT hash_key FROM store", [], |row| row.get(0));
    let fingerprint = Key(key.unwrap()).fingerprint(&Fields::from(&parse(&second)));
    // Gives the second event the fingerprint of the first, which is stored.
    let entry = Entry::new(1, fingerprint.content ^ 1);
    store.with_index(|index| {
        index.enter(
            [(fingerprint.identity, entry)].into_iter().collect(),
            1,
            None,
        );
    });
    let appended = store.append(&[delivery(2, &second)]).unwrap();
    assert_eq!((appended.unique, appended.rejected), (0, 1));
    let (reason, body): (String, Vec<u8>) = store
        .raw_connection()
        .query_row("SELECT reason, body FROM rejected", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(reason, "fingerprint_collision");
    assert_eq!(Event::parse(&body.into()).unwrap(), parse(&second));
    // Its message is applied, so the next delivery counts as a redelivery.
    assert_eq!(
        store.append(&[delivery(2, &second)]).unwrap().redelivered,
        1
    );
}

#[test]
fn an_event_is_found_by_its_identity_in_every_part_of_the_index() {
    let mut trial = Trial::new();
    trial.fill(0..43);
    let find = |id: &str| {
        let found = trial.store.reader().event("t0".to_owned(), id.to_owned());
        trial.store.runtime.block_on(found).unwrap()
    };
    for id in 0..43 {
        let found = find(&id.to_string()).unwrap();
        assert_eq!(found.event.event_id, id.to_string());
    }
    assert_eq!(find("43"), None);
}

#[test]
fn an_index_with_an_unreadable_list_of_tables_is_rebuilt() {
    let mut trial = Trial::new();
    trial.fill(0..20);
    trial.store.close();
    let current = trial.index().join("current");
    fs::remove_file(&current).unwrap();
    fs::create_dir(&current).unwrap();
    // Also, a kill has left part of an index that was being discarded.
    let left = trial.index().with_extension("discarded");
    fs::create_dir_all(left.join("tables")).unwrap();
    trial.store.reopen();
    assert!(!left.exists());
    trial.fill(10..30);
    trial.check();
}
