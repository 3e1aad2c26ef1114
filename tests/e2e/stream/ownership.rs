//! One aggregator per data directory, one store per durable, and only known schema versions.

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use e2e::{System, aggregator::Aggregator, broker::Broker, event::events};

#[tokio::test]
async fn a_second_aggregator_on_the_same_data_directory_refuses_and_names_the_first() {
    let mut system = System::start().await;
    let ended = Aggregator::refused(&system.broker.url(), system.data_dir(), &[]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let first = system.aggregator.service().id().to_string();
    assert!(ended.stderr.contains(&first), "{first} in {}", ended.stderr);
    // The first is not affected.
    system.aggregator.healthy().await;
    system.api().publish(&events("orders", 0..5)).await;
    assert_eq!(system.settled().await.counts(), [5, 5, 0]);
}

#[tokio::test]
async fn another_store_refuses_to_start_on_the_durable_and_names_its_owner_until_it_takes_over() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..5)).await;
    system.settled().await;
    system.aggregator.stop().await;
    let owner: String = system
        .store()
        .query("SELECT store_id FROM store", |row| row.get(0))
        .remove(0);

    let other = tempfile::tempdir().unwrap();
    let url = system.broker.url();
    let ended = Aggregator::refused(&url, other.path(), &[]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(&owner), "{owner} in {}", ended.stderr);
    let directory = system.data_dir().file_name().unwrap().to_str().unwrap();
    assert!(
        ended.stderr.contains(directory),
        "{directory} in {}",
        ended.stderr
    );
    assert!(ended.stderr.contains("--take-over"), "{}", ended.stderr);

    // It begins with an empty store, so the whole stream is delivered to it.
    let taker = Aggregator::start(&url, other.path(), &["--take-over"]).await;
    taker.healthy().await;
    assert_eq!(taker.api().settled().await.counts(), [5, 5, 0]);
    drop(taker);
    let ended = Aggregator::refused(&url, system.data_dir(), &[]).await;
    assert_eq!(
        ended.code,
        Some(1),
        "the durable is the other's now: {}",
        ended.stderr
    );
}

#[tokio::test]
async fn two_stores_with_separate_durables_both_get_everything() {
    let system = System::start().await;
    let other = tempfile::tempdir().unwrap();
    let flags = ["--durable", "another"];
    let second = Aggregator::start(&system.broker.url(), other.path(), &flags).await;
    second.healthy().await;
    system.api().publish(&events("orders", 0..5)).await;
    second.api().publish(&events("orders", 3..8)).await;
    assert_eq!(system.settled().await.counts(), [10, 8, 2]);
    assert_eq!(second.api().settled().await.counts(), [10, 8, 2]);
}

#[tokio::test]
async fn a_store_of_a_later_version_is_refused_and_not_changed() {
    let mut system = System::start().await;
    system.aggregator.stop().await;
    system.store().change("PRAGMA user_version = 999");
    let ended = Aggregator::refused(&system.broker.url(), system.data_dir(), &[]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("999"), "{}", ended.stderr);
    assert_eq!(system.store().number("PRAGMA user_version"), 999);
}

#[tokio::test]
async fn a_stream_that_would_lose_events_is_refused_by_name() {
    let broker = Broker::start().await;
    let config = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        discard: DiscardPolicy::Old,
        max_bytes: 1024 * 1024,
        ..Config::default()
    };
    broker
        .jetstream()
        .await
        .create_stream(config)
        .await
        .unwrap();
    let data = tempfile::tempdir().unwrap();
    let ended = Aggregator::refused(&broker.url(), data.path(), &[]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("EVENTS") && ended.stderr.contains("discard"),
        "{}",
        ended.stderr
    );
}
