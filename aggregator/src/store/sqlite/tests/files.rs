//! Files of an open store that are deleted, moved or replaced: nothing committed to them counts, and the store continues
//! when the originals are back.

use std::{fs, path::Path, sync::Arc};

use super::{
    harness::{Store, delivery, event},
    trial::{Trial, copy},
};
use crate::{
    data_dir,
    store::{
        StoreError,
        sqlite::{FILE, INDEX_FOLDER, open_with, options::Options},
    },
};

/// The files of an open store.
fn names() -> [String; 4] {
    let file = |end: &str| format!("{FILE}{end}");
    let lock = data_dir::LOCK.to_owned();
    [file(""), file("-wal"), file("-shm"), lock]
}

/// A store with one event, in a locked directory.
fn opened() -> Store {
    let mut store = Store::new();
    store.close();
    fs::write(store.path().join(data_dir::LOCK), "").unwrap();
    store.reopen();
    store.meet(1, 1, 0);
    store.append(&[delivery(1, &event(1))]).unwrap();
    store
}

fn is_replaced<T>(done: &Result<T, StoreError>) -> bool {
    matches!(done, Err(StoreError::Replaced { .. }))
}

/// Expects the replacement to be detected before and after a write, by queries, and by trimming.
fn expect_refusal(store: &mut Store, what: &str) {
    let check = store.runtime.block_on(store.writer().check_files());
    assert!(is_replaced(&check), "{what}: detected without a write");
    for _ in 0..2 {
        let appended = store.append(&[delivery(2, &event(2))]);
        assert!(is_replaced(&appended), "{what}: a batch is refused");
    }
    let floor = store.writer().standing().floor;
    assert_eq!(floor, 0, "{what}: nothing may be trimmed");
    assert_eq!(store.page(None, None, 10).events.len(), 1, "{what}: reads");
}

fn expect_recovery(store: &mut Store, what: &str) {
    let check = store.runtime.block_on(store.writer().check_files());
    check.expect(what);
    assert_eq!(store.writer().standing().floor, 1, "{what}: trimming");
    let appended = store.append(&[delivery(1, &event(1)), delivery(2, &event(2))]);
    let appended = appended.expect(what);
    assert_eq!((appended.redelivered, appended.unique), (1, 1), "{what}");
    assert_eq!(store.writer().standing().floor, 2, "{what}");
}

#[test]
fn nothing_is_committed_to_a_deleted_or_replaced_file() {
    for name in names() {
        let mut store = opened();
        fs::remove_file(store.path().join(&name)).unwrap();
        expect_refusal(&mut store, &format!("{name} deleted"));

        let mut store = opened();
        let (file, other) = (store.path().join(&name), store.path().join("other"));
        fs::copy(&file, &other).unwrap();
        fs::rename(&other, &file).unwrap();
        expect_refusal(&mut store, &format!("{name} replaced by a copy"));
    }
}

#[test]
fn a_batch_committed_to_a_file_that_was_just_deleted_is_not_reported_as_stored() {
    let mut store = opened();
    // The files are checked only after COMMIT, not before.
    fs::remove_file(store.path().join(FILE)).unwrap();
    assert!(is_replaced(&store.append(&[delivery(2, &event(2))])));
    assert!(!store.path().join(FILE).exists(), "no file is created");
}

#[test]
fn a_file_that_is_put_back_is_written_to_again() {
    for name in names() {
        let mut store = opened();
        let (file, away) = (store.path().join(&name), store.path().join("away"));
        fs::rename(&file, &away).unwrap();
        expect_refusal(&mut store, &format!("{name} moved away"));
        fs::rename(&away, &file).unwrap();
        expect_recovery(&mut store, &format!("{name} moved back"));
    }
}

#[test]
fn a_database_truncated_or_overwritten_in_place_is_refused_until_the_next_start() {
    for is_truncated in [true, false] {
        let mut store = opened();
        let file = store.path().join(FILE);
        let older = fs::read(&file).unwrap();
        for id in 2..200 {
            store.append(&[delivery(id.into(), &event(id))]).unwrap();
        }
        let checkpoint = "PRAGMA wal_checkpoint(RESTART)";
        store
            .raw_connection()
            .query_row(checkpoint, [], |_| Ok(()))
            .unwrap();
        // Records its current length.
        store
            .runtime
            .block_on(store.writer().check_files())
            .unwrap();
        let whole = fs::read(&file).unwrap();
        assert!(older.len() < whole.len());
        fs::write(&file, if is_truncated { &[][..] } else { &older }).unwrap();
        let refused = |store: &mut Store| {
            let check = store.runtime.block_on(store.writer().check_files());
            assert!(is_replaced(&check));
            assert!(is_replaced(&store.append(&[delivery(200, &event(200))])));
            assert_eq!(store.writer().standing().floor, 0, "nothing may be trimmed");
        };
        refused(&mut store);
        // It is as long as before, but its content, and whether memory matches it, is unknown.
        fs::write(&file, &whole).unwrap();
        refused(&mut store);
        store.reopen();
        assert_eq!(store.stats().unique_processed, 199);
        store.append(&[delivery(200, &event(200))]).unwrap();
    }
}

#[test]
fn a_batch_committed_and_refused_is_known_once_the_files_are_back() {
    let mut store = opened();
    let (file, away) = (store.path().join(FILE), store.path().join("away"));
    let mut last = store.reader().last_event();
    assert_eq!(*last.borrow_and_update(), 1);
    fs::rename(&file, &away).unwrap();
    // The batch is committed and then refused.
    assert!(is_replaced(&store.append(&[delivery(2, &event(2))])));
    assert_eq!(*last.borrow(), 1);
    fs::rename(&away, &file).unwrap();
    store
        .runtime
        .block_on(store.writer().check_files())
        .unwrap();
    assert_eq!(*last.borrow(), 2, "tails continue");
    assert_eq!(store.writer().standing().floor, 2);
}

#[test]
fn a_moved_or_replaced_directory_is_detected_and_so_is_its_return() {
    for is_replaced_by_copy in [false, true] {
        let mut store = opened();
        let path = store.path().to_owned();
        let away = path.with_extension("away");
        fs::rename(&path, &away).unwrap();
        if is_replaced_by_copy {
            copy(&away, &path);
        }
        expect_refusal(&mut store, "the directory");
        if is_replaced_by_copy {
            assert!(
                path.join(INDEX_FOLDER).exists(),
                "it belongs to another store"
            );
            fs::remove_dir_all(&path).unwrap();
        }
        fs::rename(&away, &path).unwrap();
        expect_recovery(&mut store, "the directory");
    }
}

#[test]
fn a_redirected_symbolic_link_is_detected() {
    let mut store = opened();
    store.close();
    let links = tempfile::tempdir().unwrap();
    let (link, other) = (links.path().join("data"), links.path().join("other"));
    std::os::unix::fs::symlink(store.path(), &link).unwrap();
    copy(store.path(), &other);
    let (writer, _ended, _reader) = open_with(&link, 0, Options::default()).unwrap();
    let check = || store.runtime.block_on(writer.check_files());
    check().unwrap();
    let point_at = |target: &Path| {
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(target, &link).unwrap();
    };
    point_at(&other);
    assert!(is_replaced(&check()));
    let batch = Arc::new(vec![delivery(2, &event(2))]);
    let appended = store.runtime.block_on(writer.append(batch, 1));
    assert!(is_replaced(&appended));
    point_at(store.path());
    check().unwrap();
}

#[test]
fn committed_events_survive_the_deletion_of_the_wal() {
    let mut store = opened();
    fs::remove_file(store.path().join(format!("{FILE}-wal"))).unwrap();
    let check = store.runtime.block_on(store.writer().check_files());
    assert!(is_replaced(&check));
    store.reopen();
    assert_eq!(store.stats().unique_processed, 1);
    expect_recovery(&mut store, "after the restart");
}

#[test]
fn shutdown_leaves_the_files_of_another_store_alone() {
    let mut store = opened();
    let path = store.path().to_owned();
    let away = path.with_extension("away");
    fs::rename(&path, &away).unwrap();
    copy(&away, &path);
    let wal = path.join(format!("{FILE}-wal"));
    let before = fs::read(&wal).unwrap();
    assert!(!before.is_empty(), "the WAL has commits");
    store.close();
    assert_eq!(fs::read(&wal).unwrap(), before);
    fs::remove_dir_all(&away).unwrap();
}

#[test]
fn a_deleted_or_replaced_index_is_rebuilt_and_no_duplicate_is_stored() {
    for is_replaced in [false, true] {
        let mut trial = Trial::new();
        trial.fill(0..40);
        trial.store.settle();
        let older = tempfile::tempdir().unwrap();
        copy(&trial.index(), older.path());
        trial.fill(40..90);
        trial.store.settle();
        let away = trial.index().with_extension("away");
        fs::rename(trial.index(), &away).unwrap();
        if is_replaced {
            copy(older.path(), &trial.index());
        }
        let sent = trial.sent.clone();
        trial.send(sent[..50].to_vec());
        fs::remove_dir_all(&away).unwrap();
        trial.fill(80..120);
        trial.check();
    }
}
