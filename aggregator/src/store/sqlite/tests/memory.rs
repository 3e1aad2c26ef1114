//! What the index has in memory: who sees an entry when, on its way from the writer into the tree.

use std::path::Path;

use super::{harness::Store, trial::small};
use crate::store::sqlite::dedup::{
    fingerprint::Key,
    index::{Entry, Index, Seal, Table, recover},
};

#[test]
fn what_came_in_after_an_answer_is_told_with_it() {
    let store = Store::with(small());
    let folder = tempfile::tempdir().unwrap();
    let index = opened(&store, folder.path());
    let asked = [0, 1, 2].map(|events| {
        if events > 0 {
            // Each seal takes its entry out of the table of recent ones.
            index.enter(table(events), events, Some(Seal::new(events)));
        }
        let looking = index.reader();
        for earlier in 1..=events {
            assert_eq!(
                looking.find(&[identity(earlier), 99]).unwrap(),
                [Some(entry(earlier)), None]
            );
        }
        looking.version()
    });
    index.enter(table(3), 3, None);
    let later = |asked| -> Vec<i64> {
        let tables = index.entered_after(asked).unwrap();
        tables
            .iter()
            .flat_map(|table| table.values().map(|entry| entry.sequence))
            .collect()
    };
    assert_eq!(later(asked[0]), [1, 2, 3]);
    assert_eq!(later(asked[2]), [3]);
    // Batches are asked about in their order, so what came before the newest one is forgotten.
    assert!(index.entered_after(asked[0]).is_none());
    assert_eq!(later(asked[2]), [3]);
    assert_eq!(later(index.reader().version()), [0; 0]);
}

#[test]
fn an_entry_is_found_while_it_goes_from_memory_into_the_tree() {
    let store = Store::with(small());
    let folder = tempfile::tempdir().unwrap();
    let index = opened(&store, folder.path());
    index.enter(table(1), 1, Some(Seal::new(1)));
    while !index.is_settled() {
        assert_eq!(index.find(1).unwrap(), Some(entry(1)));
    }
    assert_eq!(index.find(1).unwrap(), Some(entry(1)));
    assert_eq!(index.find(2).unwrap(), None);
}

#[test]
fn what_another_opening_of_the_index_said_is_not_believed() {
    let store = Store::with(small());
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [old, new] = folders
        .each_ref()
        .map(|folder| opened(&store, folder.path()));
    assert!(new.entered_after(old.reader().version()).is_none());
    assert!(new.entered_after(new.reader().version()).is_some());
}

#[test]
fn what_was_read_from_the_store_makes_older_answers_void() {
    let store = Store::with(small());
    let folder = tempfile::tempdir().unwrap();
    let index = opened(&store, folder.path());
    let asked = index.reader().version();
    index.enter_read(table(1), 1, None);
    assert!(index.entered_after(asked).is_none());
    assert_eq!(index.find(1).unwrap(), Some(entry(1)));
}

/// An index of its own beside the store's.
fn opened(store: &Store, folder: &Path) -> Index {
    recover(
        None,
        folder,
        &store.aside(),
        &Key([0; 16]),
        0,
        &store.options.index(),
    )
    .unwrap()
}

/// The entry of one event.
fn table(sequence: i64) -> Table {
    [(identity(sequence), entry(sequence))]
        .into_iter()
        .collect()
}

fn identity(sequence: i64) -> u128 {
    sequence.unsigned_abs().into()
}

fn entry(sequence: i64) -> Entry {
    Entry {
        sequence,
        content: 7,
    }
}
