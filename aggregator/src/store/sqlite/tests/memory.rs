//! The in-memory part of the index: when an entry is visible on its way from the writer to the tree.

use std::path::Path;

use super::{harness::Store, trial::small};
use crate::store::sqlite::dedup::{
    fingerprint::Key,
    index::{Entry, Index, Seal, Table, recover},
};

#[test]
fn entries_added_after_a_lookup_are_returned_with_it() {
    let store = Store::with(small());
    let folder = tempfile::tempdir().unwrap();
    let index = opened(&store, folder.path());
    let asked = [0, 1, 2].map(|events| {
        if events > 0 {
            // Each seal removes its entry from the table of recent entries.
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
    // Batches are looked up in order, so entries from before the newest one are discarded.
    assert!(index.entered_after(asked[0]).is_none());
    assert_eq!(later(asked[2]), [3]);
    assert_eq!(later(index.reader().version()), [0; 0]);
}

#[test]
fn an_entry_is_found_while_it_moves_from_memory_to_the_tree() {
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
fn a_lookup_in_an_earlier_instance_of_the_index_is_not_used() {
    let store = Store::with(small());
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [old, new] = folders
        .each_ref()
        .map(|folder| opened(&store, folder.path()));
    assert!(new.entered_after(old.reader().version()).is_none());
    assert!(new.entered_after(new.reader().version()).is_some());
}

#[test]
fn entries_read_from_the_store_invalidate_older_lookups() {
    let store = Store::with(small());
    let folder = tempfile::tempdir().unwrap();
    let index = opened(&store, folder.path());
    let asked = index.reader().version();
    index.enter_read(table(1), 1, None);
    assert!(index.entered_after(asked).is_none());
    assert_eq!(index.find(1).unwrap(), Some(entry(1)));
}

/// An index separate from the store's.
fn opened(store: &Store, folder: &Path) -> Index {
    recover(
        None,
        folder,
        &store.raw_connection(),
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
    Entry::new(sequence, 7)
}
