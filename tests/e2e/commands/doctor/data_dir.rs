//! The data directory: which one is read, and that reading it changes nothing.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

use e2e::{System, aggregator::Aggregator, broker::Broker, event::events};
use serde_json::Value;

use super::{NO_BROKER, NOWHERE, doctor};

/// The files of a directory with their sizes and modification times.
fn state(directory: &Path) -> BTreeMap<String, (u64, std::time::SystemTime)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let entry = |entry: fs::DirEntry| {
        let found = entry.metadata().unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, (found.len(), found.modified().unwrap()))
    };
    entries.map(entry).collect()
}

#[tokio::test]
async fn of_a_stopped_service_the_broker_and_the_store_are_read_and_not_changed() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..10)).await;
    system.aggregator.stop().await;
    let data = system.data_dir().to_str().unwrap().to_owned();
    let (files, url) = (state(system.data_dir()), system.api().url().to_owned());
    let broker = system.broker.url();
    let here = ["--url", &url, "--nats-url", &broker, "--data-dir", &data];
    let examined = doctor(&here).await;
    let findings = examined.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let found = examined.finds("no aggregator answers");
    assert!(found.contains("Connection refused"), "{found}");
    assert_eq!(examined.json["aggregator"], Value::Null);
    assert!(examined.json["not_read"]["aggregator"].is_string());
    assert_eq!(examined.json["broker"]["stream"]["state"]["last_seq"], 1);
    let store = &examined.json["data_dir"]["store"]["record"];
    assert_eq!(store["unique_processed"], 10);
    assert_eq!(examined.json["data_dir"]["in_use_by"], Value::Null);
    assert_eq!(state(system.data_dir()), files, "it changes nothing");
    // Neither did it take the lock or the durable.
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
}

#[tokio::test]
async fn a_killed_store_is_read_with_the_commits_of_its_wal_and_not_changed() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..10)).await;
    system.aggregator.kill();
    let data = system.data_dir();
    let read = async || {
        let directory = data.to_str().unwrap();
        let here = ["--url", NOWHERE, "--nats-url", NO_BROKER];
        let examined = doctor(&[&here[..], &["--data-dir", directory]].concat()).await;
        let store = &examined.json["data_dir"]["store"]["record"];
        assert_eq!(store["unique_processed"], 10, "{}", examined.written);
        examined
    };
    // With the memory that the killed process shared, as it left it.
    let memory = data.join("aggregator.db-shm");
    assert!(memory.exists());
    let files = state(data);
    let examined = read().await;
    assert_eq!(state(data), files);
    assert_eq!(examined.json["data_dir"]["left"], Value::Null);
    // Without it, SQLite has to create it.
    fs::remove_file(&memory).unwrap();
    let files = state(data);
    let examined = read().await;
    assert_eq!(state(data), files);
    assert_eq!(examined.json["data_dir"]["left"], Value::Null);
    // In a copy without the lock file, an aggregator that starts cannot be kept out.
    fs::remove_file(data.join("aggregator.lock")).unwrap();
    let examined = read().await;
    let left = memory.canonicalize().unwrap();
    let left = left.to_str().unwrap();
    assert_eq!(examined.json["data_dir"]["left"], left);
    let text = &examined.ended.stdout;
    assert!(text.contains(&format!("{left}, which SQLite created")));
}

#[tokio::test]
async fn a_directory_with_another_store_than_that_of_the_service_is_not_compared_with_its_broker() {
    let broker = Broker::start().await;
    let place = tempfile::tempdir().unwrap();
    let [own, other, used] = ["own", "other", "used"].map(|name| place.path().join(name));
    fs::create_dir(&own).unwrap();
    symlink(&own, &used).unwrap();
    let first = Aggregator::start(&broker.url(), &used, &[]).await;
    first.healthy().await;
    let flags = ["--durable", "other"];
    let second = Aggregator::start(&broker.url(), &other, &flags).await;
    second.healthy().await;
    let (url, path) = (first.api().url(), used.to_str().unwrap());
    let owned = "durable consumer aggregator belongs to another store";

    doctor(&["--url", url]).await.finds_nothing();
    // From now on the path leads to the other store, as it may on another machine.
    fs::remove_file(&used).unwrap();
    symlink(&other, &used).unwrap();
    let examined = doctor(&["--url", url]).await;
    let findings = examined.findings();
    assert!(
        !findings.iter().any(|found| found.contains(owned)),
        "{findings:?}"
    );
    let reason = examined.json["not_read"]["data_dir"].as_str().unwrap();
    let said = "does not contain the store that the aggregator at";
    assert!(reason.contains(said), "{reason}");
    assert_eq!(examined.json["data_dir"], Value::Null);
    doctor(&["--url", url, "--data-dir", path])
        .await
        .finds(owned);
}
