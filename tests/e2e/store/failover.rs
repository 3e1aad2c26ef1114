//! The standby of the database takes over while events pass.

use std::time::Instant;

use e2e::{
    aggregator::Aggregator,
    broker::Broker,
    event::{array, event},
    publisher::Publisher,
    replicated::{Replicated, Server},
};

#[tokio::test]
async fn nothing_is_lost_and_publishing_goes_on_when_a_standby_is_promoted() {
    let Some(database) = Replicated::start() else {
        return;
    };
    let broker = Broker::start().await;
    let directory = tempfile::tempdir().unwrap();
    let start = async || {
        let url = database.url();
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
        "4000",
        "--verify",
        other.api().url(),
    ];
    let publisher = Publisher::start(&broker.url_of("publisher"), &arguments);
    one.api().received_at_least(3_000).await;
    // What is counted now was committed on both servers.
    let counted = database.sql(Server::First, "SELECT sum(received) FROM counters");
    database.kill_primary();
    one.unhealthy().await;
    for n in 0..20 {
        // Not `generate`'s topic: the counts of that are compared.
        let accepted = one
            .api()
            .post(array(&[event("away", &n.to_string())]))
            .await;
        assert_eq!(accepted.status, 200, "{}", accepted.text());
    }
    database.promote();
    let promoted = Instant::now();
    let kept = database.sql(Server::Second, "SELECT sum(received) FROM counters");
    assert!(
        kept.parse::<u64>().unwrap() >= counted.parse::<u64>().unwrap(),
        "the standby has {kept} of {counted}"
    );
    one.api()
        .received_at_least(kept.parse::<u64>().unwrap() + 1)
        .await;
    eprintln!(
        "storing went on {:?} after the promotion",
        promoted.elapsed()
    );
    one.healthy().await;
    let run = publisher.ended().await;
    assert_eq!(run.verified(), [20_000, 14_000, 6_000]);
    for api in [one.api(), other.api()] {
        assert_eq!(api.settled().await.counts(), [20_020, 14_020, 6_000]);
        let away = api.events_of("away").await.json();
        assert_eq!(away["events"].as_array().unwrap().len(), 20);
    }
}
