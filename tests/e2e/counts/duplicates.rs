//! Duplicates from any source: stored once, each counted.

use async_nats::jetstream::message::PublishMessage;
use e2e::{
    System,
    event::{event, events},
    workspace,
};

#[tokio::test]
async fn duplicates_in_one_request_are_stored_once() {
    let system = System::start().await;
    let mut all = events("orders", 0..5);
    all.extend(events("orders", 0..3));
    all.extend(events("orders", 0..1));
    system.api().publish(&all).await;
    let books = system.settled().await;
    assert_eq!(books.counts(), [9, 5, 4]);
    let page = system.api().events_of("orders").await.json();
    assert_eq!(page["total"], 5);
    assert_eq!(page["events"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn duplicates_across_requests_are_stored_once() {
    let system = System::start().await;
    // Without waiting between requests, so that some share a batch.
    for _ in 0..10 {
        system.api().publish(&events("orders", 0..4)).await;
    }
    assert_eq!(system.settled().await.counts(), [40, 4, 36]);
}

#[tokio::test]
async fn duplicates_across_batches_are_stored_once() {
    // Each message is a batch of its own.
    let system = System::with(&["--batch-events", "1", "--batch-wait-ms", "0"]).await;
    for round in 1..=5 {
        system.api().publish(&events("orders", 0..4)).await;
        let books = system.settled().await;
        assert_eq!(books.counts(), [4 * round, 4, 4 * (round - 1)]);
    }
}

#[tokio::test]
async fn duplicates_across_restarts_of_the_aggregator_are_stored_once() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..10)).await;
    assert_eq!(system.settled().await.counts(), [10, 10, 0]);

    assert_eq!(system.aggregator.stop().await.code, Some(0));
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    system.api().publish(&events("orders", 5..15)).await;
    assert_eq!(system.settled().await.counts(), [20, 15, 5]);

    system.aggregator.kill();
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    system.api().publish(&events("orders", 0..15)).await;
    assert_eq!(system.settled().await.counts(), [35, 15, 20]);
}

#[tokio::test]
async fn duplicates_from_two_concurrent_publishers_are_stored_once() {
    let system = System::start().await;
    let traffic = [
        "generate",
        "--count",
        "5000",
        "--duplicates",
        "0.3",
        "--seed",
        "7",
        "--run-id",
        "twice",
        "--batch",
        "20",
    ];
    let (one, other) = (system.publisher(&traffic), system.publisher(&traffic));
    let (one, other) = (one.ended().await, other.ended().await);
    for run in [&one, &other] {
        run.succeeded();
        assert_eq!([run.count("sent"), run.count("unique")], [5000, 3500]);
    }
    let books = system.settled().await;
    assert_eq!(books.counts(), [10_000, 3500, 6500]);
    assert_eq!(books.stats.conflicts, 0, "the same seed is the same bytes");
    for topic in books.topics.values() {
        assert_eq!(
            topic.received % 2,
            0,
            "every event arrived twice: {topic:?}"
        );
    }
}

#[tokio::test]
async fn the_same_event_id_under_two_topics_is_two_events() {
    let system = System::start().await;
    let both = [event("orders", "7"), event("payments", "7")];
    system.api().publish(&both).await;
    system.api().publish(&both[..1]).await;
    let books = system.settled().await;
    assert_eq!(books.counts(), [3, 2, 1]);
    assert_eq!(books.of("orders"), [2, 1, 1]);
    assert_eq!(books.of("payments"), [1, 1, 0]);
}

#[tokio::test]
async fn an_identity_is_compared_byte_by_byte() {
    let system = System::start().await;
    // Upper and lower case, a space at the end, and two ways to write an umlaut.
    let ids = ["a", "A", "a ", "\u{e4}", "a\u{308}"];
    let all: Vec<_> = ids.iter().map(|id| event("orders", id)).collect();
    system.api().publish(&all).await;
    assert_eq!(system.settled().await.counts(), [5, 5, 0]);
}

#[tokio::test]
async fn a_duplicate_with_other_content_is_a_conflict_and_the_first_is_kept() {
    let system = System::start().await;
    let first = event("orders", "1").with_payload(r#"{"n":1}"#);
    let same_value = event("orders", "1").with_payload(r#"{"n": 1}"#);
    system.api().publish(std::slice::from_ref(&first)).await;
    system.settled().await;
    system.api().publish(&[same_value, first]).await;
    let books = system.settled().await;
    assert_eq!(books.counts(), [3, 1, 2]);
    assert_eq!(books.stats.conflicts, 1);
    let stored = system
        .store()
        .query("SELECT payload FROM events", |row| row.get::<_, String>(0));
    assert_eq!(stored, [r#"{"n":1}"#]);
    let kept = system
        .store()
        .query("SELECT payload FROM conflicts", |row| {
            row.get::<_, String>(0)
        });
    assert_eq!(kept, [r#"{"n": 1}"#]);
}

/// The broker drops the second message and confirms it, so the aggregator cannot count it.
#[tokio::test]
async fn a_message_id_used_by_two_producers_loses_one_event_and_the_documents_warn_of_it() {
    let system = System::start().await;
    let jetstream = system.broker.jetstream().await;
    for (topic, is_dropped) in [("orders", false), ("payments", true)] {
        let body = event(topic, "1").json().into();
        let message = PublishMessage::build().message_id("1").payload(body);
        let sent = jetstream
            .send_publish(format!("events.{topic}"), message)
            .await;
        assert_eq!(
            sent.unwrap().await.unwrap().duplicate,
            is_dropped,
            "{topic}"
        );
    }
    assert_eq!(system.settled().await.counts(), [1, 1, 0]);

    let document = std::fs::read_to_string(workspace::root().join("shared/README.md")).unwrap();
    let (_, rest) = document.split_once("## Publishing over NATS").unwrap();
    let (over_nats, _) = rest.split_once("\n## ").unwrap();
    for warned in ["`Nats-Msg-Id`", "any subject", "UUID"] {
        assert!(over_nats.contains(warned), "{warned}");
    }
}
