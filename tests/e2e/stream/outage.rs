//! The broker stops and comes back.

use std::time::{Duration, Instant};

use e2e::{
    System,
    aggregator::Aggregator,
    broker::Later,
    event::{array, events},
};

#[tokio::test]
async fn a_broker_that_restarts_under_load_loses_nothing() {
    let mut system = System::start().await;
    let mut publisher = system.endless_publisher();
    system.api().received_at_least(1500).await;
    system.broker.kill().await;
    assert!(publisher.service().is_running(), "it is killed in mid-flow");
    system.broker.start_again().await;
    let received = system.api().stats().await.unwrap().received;
    system.api().received_at_least(received + 1500).await;
    system.broker.stop().await;
    assert!(
        publisher.service().is_running(),
        "it is stopped in mid-flow"
    );
    system.broker.start_again().await;
    let received = system.api().stats().await.unwrap().received;
    system.api().received_at_least(received + 1500).await;
    let run = publisher.finished().await;
    let [sent, unique, duplicates] = run.sent();
    assert_eq!(run.verified(), [sent, unique, duplicates]);
    assert_eq!(system.settled().await.counts(), [sent, unique, duplicates]);
    system.aggregator.healthy().await;
}

#[tokio::test]
async fn while_the_broker_is_down_publishing_is_503_and_a_retry_is_stored_once() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..10)).await;
    let before = system.settled().await;
    system.broker.kill().await;
    let health = system.aggregator.unhealthy().await;
    assert_eq!(health["status"], "unhealthy");
    assert!(health["checks"].is_object(), "{health}");
    let ready = system.api().request("GET", "/readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.text());
    let live = system.api().request("GET", "/livez").await;
    assert_eq!(live.status, 200, "{}", live.text());

    let body = array(&events("orders", 5..20));
    for _ in 0..3 {
        let asked = Instant::now();
        let refused = system.api().post(body.clone()).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        let pause: u64 = refused.header("retry-after").parse().unwrap();
        assert!(pause > 0);
        let kind = refused.header("content-type");
        assert_eq!(kind, "application/problem+json");
        // Immediately: long before any timeout.
        assert!(asked.elapsed() < Duration::from_secs(5));
    }
    // Stored events can still be read.
    let stats = system.api().stats().await.unwrap();
    assert_eq!((stats.received, stats.pending), (10, None));
    assert_eq!(system.api().topics().await, before.topics);

    system.broker.start_again().await;
    system.aggregator.healthy().await;
    let ready = system.api().request("GET", "/readyz").await;
    assert_eq!((ready.status, ready.text()), (200, "ok\n"));
    let accepted = system.api().post(body).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    let books = system.settled().await;
    assert_eq!(books.counts(), [25, 20, 5]);
    assert_eq!(books.stats.conflicts, 0);
}

#[tokio::test]
async fn an_aggregator_started_before_its_broker_becomes_healthy_when_the_broker_starts() {
    let later = Later::new();
    let data = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(&later.url(), data.path(), &[]).await;
    let health = aggregator.unhealthy().await;
    assert!(health["checks"]["broker"].is_string(), "{health}");
    let refused = aggregator.api().post(array(&events("orders", 0..1))).await;
    assert_eq!(refused.status, 503);
    let _broker = later.start().await;
    aggregator.healthy().await;
    aggregator.api().publish(&events("orders", 0..5)).await;
    assert_eq!(aggregator.api().settled().await.counts(), [5, 5, 0]);
}

#[tokio::test]
async fn a_publisher_waits_for_a_broker_and_an_aggregator_that_are_not_running_yet() {
    let later = Later::new();
    let arguments = ["generate", "--count", "500"];
    let publisher = e2e::publisher::Publisher::start(&later.url(), &arguments);
    let broker = later.start().await;
    let data = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(&broker.url(), data.path(), &[]).await;
    publisher.ended().await.succeeded();
    assert_eq!(aggregator.api().settled().await.counts(), [500, 350, 150]);
}
