//! A copy of a running store, restored: what arrived since is delivered again by the stream.

use std::path::PathBuf;

use e2e::{System, event::events};

/// Restores a copy of the store, as described in compose/README.md.
fn restore(system: &System, copy: &PathBuf) {
    let store = |file: &str| system.data_dir().join(file);
    for file in ["aggregator.db-wal", "aggregator.db-shm"] {
        let _ = std::fs::remove_file(store(file));
    }
    std::fs::rename(copy, store("aggregator.db")).unwrap();
}

#[tokio::test]
async fn a_restored_backup_applies_again_what_arrived_since_and_counts_exactly() {
    let mut system = System::start().await;
    for start in 0..10 {
        let range = start * 10..start * 10 + 15;
        system.api().publish(&events("orders", range)).await;
    }
    system.settled().await;
    let copy = system.data_dir().join("backup.db");
    let backup = ["backup", copy.to_str().unwrap()];
    let ended = system.aggregator.command(&backup).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("105 events"), "{}", ended.stdout);
    let again = system.aggregator.command(&backup).await;
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("already exists"), "{}", again.stderr);

    for start in 10..20 {
        let range = start * 10..start * 10 + 15;
        system.api().publish(&events("orders", range)).await;
    }
    let before = system.settled().await;
    assert_eq!(before.counts(), [300, 205, 95]);
    let contents = system.store().contents();
    system.aggregator.stop().await;
    restore(&system, &copy);
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    let after = system.settled().await;
    assert_eq!(after.counts(), before.counts());
    let identities = |rows: &[String]| rows.len();
    assert_eq!(
        identities(&system.store().contents()),
        identities(&contents)
    );
}

#[tokio::test]
async fn a_backup_of_a_store_during_writes_is_complete() {
    let system = System::start().await;
    let publisher = system.endless_publisher();
    system.api().received_at_least(2_000).await;
    let copy = system.data_dir().join("backup.db");
    let backup = ["backup", copy.to_str().unwrap()];
    let ended = system.aggregator.command(&backup).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    drop(publisher);
    let copied = rusqlite::Connection::open(&copy).unwrap();
    let ask = |sql: &str| -> i64 { copied.query_row(sql, [], |row| row.get(0)).unwrap() };
    let stored = ask("SELECT count(*) FROM events");
    assert!(stored > 0);
    assert_eq!(stored, ask("SELECT unique_processed FROM counters"));
    let sound: String = copied
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
}
