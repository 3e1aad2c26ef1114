//! A backup of a store that is being written is consistent as of one commit, and a restored store applies later messages
//! again.

use super::harness::{Store, delivery, event};
use crate::store::sqlite::{
    FILE,
    file::backup::{BackupError, backup},
};

#[test]
fn a_restored_copy_is_the_store_at_the_time_of_the_backup() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    for sequence in 1..=20_u8 {
        let delivery = delivery(sequence.into(), &event(sequence));
        store.append(&[delivery]).unwrap();
    }
    let copy = store.path().join("copy.db");
    let mut steps = 0;
    let copied = backup(store.path(), &copy, |_, _| steps += 1).unwrap();
    assert_eq!(copied.events, 20);
    assert!(copied.bytes > 0 && steps > 0);
    store.append(&[delivery(21, &event(21))]).unwrap();
    assert!(matches!(
        backup(store.path(), &copy, |_, _| {}),
        Err(BackupError::Exists(_))
    ));

    // As described in compose/README.md: only the copy, without the WAL of the store that it replaces.
    store.close();
    for file in [
        FILE.to_owned(),
        format!("{FILE}-wal"),
        format!("{FILE}-shm"),
    ] {
        let _ = std::fs::remove_file(store.path().join(file));
    }
    std::fs::rename(&copy, store.path().join(FILE)).unwrap();
    store.reopen();
    assert_eq!(store.stats().unique_processed, 20);
    assert_eq!(store.meet(1, 1, 21), 20);
    let again = store.append(&[20, 21].map(|n| delivery(n.into(), &event(n))));
    let again = again.unwrap();
    assert_eq!((again.redelivered, again.unique), (1, 1));
}

#[test]
fn without_a_store_the_backup_fails_and_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.db");
    assert!(matches!(
        backup(directory.path(), &copy, |_, _| {}),
        Err(BackupError::NoStore(_))
    ));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn the_partial_copy_of_another_backup_is_kept_and_named_with_the_remedy() {
    let store = Store::new();
    let copy = store.path().join("copy.db");
    let partial = store.path().join("copy.db.partial");
    std::fs::write(&partial, "a part").unwrap();
    let refused = backup(store.path(), &copy, |_, _| {}).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "{} exists: another backup to the same file is running, or was killed; if it was killed, delete that file",
            partial.display()
        )
    );
    assert!(!copy.exists());
    std::fs::remove_file(&partial).unwrap();
    backup(store.path(), &copy, |_, _| {}).unwrap();
}
