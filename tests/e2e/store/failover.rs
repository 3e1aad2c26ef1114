//! A database whose standby takes over while events pass, and one that is set not to sync.

use std::{cell::Cell, time::Instant};

use e2e::{
    aggregator::Aggregator,
    broker::Broker,
    event::{array, event},
    postgres::Postgres,
    publisher::Publisher,
};

const COUNTED: &str = "SELECT sum(received) FROM counters";

#[tokio::test]
async fn nothing_is_lost_and_publishing_goes_on_when_a_standby_is_promoted() {
    let Some(mut database) = Postgres::start().await else {
        return;
    };
    let broker = Broker::start().await;
    let directory = tempfile::tempdir().unwrap();
    let url = database.url();
    let start = async || {
        let nats = broker.url_of("aggregator");
        let aggregator = Aggregator::start(&nats, directory.path(), &["--store", &url]).await;
        aggregator.healthy().await;
        aggregator
    };
    let one = start().await;
    let other = start().await;
    let arguments = [
        "generate",
        "--count",
        "20000",
        "--duplicates",
        "0.3",
        "--batch",
        "20",
        "--rate",
        "2000",
        "--verify",
        other.api().url(),
    ];
    let publisher = Publisher::start(&broker.url_of("publisher"), &arguments);
    let mut accepted = 0;
    let mut publish = async || {
        let event = event("requests", &accepted.to_string());
        let answer = one.api().post(array(&[event])).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        accepted += 1;
        accepted
    };
    // The counts that an answer shows are committed on both servers.
    let counted = Cell::new(0);
    let before = async {
        let stats = one.api().stats().await.unwrap();
        one.api().received_at_least(stats.received + 2_000).await;
        counted.set(one.api().stats().await.unwrap().received);
    };
    let promoted = Cell::new(None);
    let fail_over = async {
        database.fail_over(before).await;
        promoted.set(Some(Instant::now()));
    };
    let publish_meanwhile = async {
        while promoted.get().is_none() {
            publish().await;
        }
    };
    tokio::join!(fail_over, publish_meanwhile);
    let kept: u64 = database.sql(COUNTED).parse().unwrap();
    let counted = counted.get();
    assert!(kept >= counted, "the standby has {kept} of {counted}");
    one.api().received_at_least(kept + 1).await;
    let took = promoted.get().map(|promoted| promoted.elapsed());
    eprintln!("storing went on {took:?} after the promotion");
    let requests = publish().await;
    let run = publisher.ended().await;
    assert_eq!(run.verified(), [20_000, 14_000, 6_000]);
    for api in [one.api(), other.api()] {
        api.settled().await;
        let stored = api.topics().await["requests"].clone();
        assert_eq!(
            [stored.unique_processed, stored.duplicate_dropped],
            [requests, 0]
        );
    }
}

#[tokio::test]
async fn nothing_is_applied_while_the_database_does_not_sync() {
    let Some(database) = Postgres::start().await else {
        return;
    };
    let broker = Broker::start().await;
    let directory = tempfile::tempdir().unwrap();
    let nats = broker.url_of("aggregator");
    let url = database.url();
    let one = Aggregator::start(&nats, directory.path(), &["--store", &url]).await;
    one.healthy().await;
    let post = async |id: &str| {
        let answer = one.api().post(array(&[event("orders", id)])).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    post("1").await;
    one.api().settled().await;
    database.sql("ALTER SYSTEM SET fsync = off");
    database.sql("SELECT pg_reload_conf()");
    let health = one.unhealthy().await.to_string();
    assert!(health.contains("fsync is off"), "{health}");
    post("2").await;
    // Its connections are those of before.
    one.api().received_at_least(1).await;
    let health = one.unhealthy().await.to_string();
    assert!(health.contains("fsync is off"), "{health}");
    assert_eq!(database.sql(COUNTED), "1");
    database.sql("ALTER SYSTEM RESET fsync");
    database.sql("SELECT pg_reload_conf()");
    assert_eq!(one.api().settled().await.counts(), [2, 2, 0]);
    one.healthy().await;
}
