//! The store's files are deleted, moved or replaced under a running aggregator.

use std::fs;

use e2e::{
    System,
    event::events,
    wait::{eventually, holds},
};

/// The highest sequence of the stream up to which everything is acked, according to the broker.
async fn acked(system: &System) -> u64 {
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let durable = stream.consumer_info("aggregator").await.unwrap();
    durable.ack_floor.stream_sequence
}

/// Waits until everything in the stream is acked, and returns the sequence.
async fn all_acked(system: &System) -> u64 {
    let jetstream = system.broker.jetstream().await;
    let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
    let last = stream.info().await.unwrap().state.last_sequence;
    eventually("everything is acked", async || {
        let floor = acked(system).await;
        holds(floor == last, floor)
    })
    .await;
    last
}

/// `/health` reports it even while nothing arrives; later messages are accepted by the stream, but neither acked nor
/// counted.
async fn says_so_and_acks_nothing(system: &System, file: &str, before: u64) {
    let health = system.aggregator.unhealthy().await;
    let reason = health["checks"]["store"].as_str().unwrap_or_default();
    assert!(reason.contains(file), "{health}");
    assert!(reason.contains("is not the file that"), "{health}");
    system.api().publish(&events("orders", 5..20)).await;
    eventually("the aggregator has tried it", async || {
        let metrics = system.api().get("/metrics").await?;
        let failures = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix("aggregator_commit_failures_total "));
        holds(failures.is_some_and(|count| count != "0"), failures)
    })
    .await;
    assert_eq!(acked(system).await, before);
    let page = system.api().get("/events?limit=10").await.unwrap();
    assert_eq!(page.status, 200, "queries go on: {}", page.text());
}

#[tokio::test]
async fn deleted_files_of_the_store_are_detected_and_nothing_is_acked_from_then_on() {
    for (deleted, named) in [
        (&["aggregator.db"][..], "aggregator.db"),
        (&["aggregator.db-wal"], "aggregator.db-wal"),
        (
            &["aggregator.db", "aggregator.db-wal", "aggregator.db-shm"],
            "aggregator.db",
        ),
        (&["aggregator.lock"], "aggregator.lock"),
    ] {
        let system = System::start().await;
        system.api().publish(&events("orders", 0..10)).await;
        system.settled().await;
        let before = all_acked(&system).await;
        for file in deleted {
            fs::remove_file(system.data_dir().join(file)).unwrap();
        }
        says_so_and_acks_nothing(&system, named, before).await;
    }
}

#[tokio::test]
async fn a_data_directory_moved_away_and_back_loses_nothing() {
    let system = System::start().await;
    system.api().publish(&events("orders", 0..10)).await;
    system.settled().await;
    let before = all_acked(&system).await;
    let away = system.data_dir().with_extension("away");
    fs::rename(system.data_dir(), &away).unwrap();
    fs::create_dir(system.data_dir()).unwrap();
    says_so_and_acks_nothing(&system, "aggregator.db", before).await;
    fs::remove_dir(system.data_dir()).unwrap();
    fs::rename(&away, system.data_dir()).unwrap();
    system.aggregator.healthy().await;
    let books = system.settled().await;
    assert_eq!(books.counts(), [25, 20, 5]);
    all_acked(&system).await;
}

#[tokio::test]
async fn what_was_committed_before_the_wal_was_deleted_survives_a_restart() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..10)).await;
    system.settled().await;
    let before = all_acked(&system).await;
    fs::remove_file(system.data_dir().join("aggregator.db-wal")).unwrap();
    says_so_and_acks_nothing(&system, "aggregator.db-wal", before).await;
    system.aggregator.kill();
    assert_eq!(system.store().number("SELECT count(*) FROM events"), 10);
    system.aggregator.start_again().await;
    assert_eq!(system.settled().await.counts(), [25, 20, 5]);
}
