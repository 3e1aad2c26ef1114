//! A cluster of three brokers: servers fail under load, and the number of replicas changes.

use std::time::Duration;

use e2e::{
    aggregator::Aggregator,
    broker::{
        Broker,
        cluster::{self, Cluster},
    },
    event::{array, events},
    publisher::{self, Publisher},
    store::Store,
    wait::{eventually, holds, within},
};
use serde_json::Value;
use tempfile::TempDir;

const REPLICATED: [&str; 2] = ["--stream-replicas", "3"];

/// Longer than a cluster takes to notice that it has no quorum, to elect a leader when it has one again, and to answer requests.
const ELECTIONS: Duration = Duration::from_mins(2);

/// A cluster, an aggregator on it, and the aggregator's data.
struct World {
    aggregator: Aggregator,
    cluster: Cluster,
    data: TempDir,
}

impl World {
    async fn start(flags: &[&str]) -> Option<Self> {
        if !cluster::is_available() {
            return None;
        }
        let cluster = Cluster::start().await;
        let data = tempfile::tempdir().unwrap();
        let aggregator = Aggregator::start(&cluster.login("aggregator"), data.path(), flags).await;
        aggregator.healthy().await;
        Some(Self {
            aggregator,
            cluster,
            data,
        })
    }

    /// Stops the aggregator, and starts it with other flags.
    async fn restart(&mut self, flags: &[&str]) {
        self.aggregator.stop().await;
        let url = self.cluster.login("aggregator");
        self.aggregator = Aggregator::start(&url, self.data.path(), flags).await;
        self.aggregator.healthy().await;
    }

    fn endless_publisher(&self) -> Publisher {
        Publisher::endless(
            &self.cluster.login("publisher"),
            self.aggregator.api().url(),
        )
    }

    /// Waits until more events have arrived than now, whatever has to be elected meanwhile.
    async fn goes_on(&self) {
        let before = self.aggregator.api().stats().await.unwrap().received;
        within(ELECTIONS, "events are stored again", async || {
            let stats = self.aggregator.api().stats().await?;
            holds(stats.received >= before + 1_500, &stats)
        })
        .await;
    }

    /// Ends the run of a publisher. Every event must have been counted once, and the store must know only one life of the
    /// stream: it never took the stream for another one.
    async fn is_exact(&mut self, publisher: Publisher) {
        let run = publisher.finished().await;
        let [sent, unique, duplicates] = run.sent();
        assert_eq!(run.verified(), [sent, unique, duplicates]);
        assert_eq!(run.count("possibly_doubled"), 0);
        let books = self.aggregator.api().settled().await;
        assert_eq!(books.counts(), [sent, unique, duplicates]);
        self.aggregator.healthy().await;
        let lives = Store::of(self.data.path()).number("SELECT count(*) FROM incarnations");
        assert_eq!(lives, 1);
        let verify = ["verify", "--nats-url", &self.cluster.login("aggregator")];
        let verified = self.aggregator.command(&verify).await;
        assert_eq!(
            verified.code,
            Some(0),
            "{}\n{}",
            verified.stdout,
            verified.stderr
        );
        // Nothing was trimmed, so no message may be left out.
        let is_all = !verified.stdout.contains("not all messages")
            && !verified.stdout.contains("no longer has all");
        assert!(is_all, "{}", verified.stdout);
    }

    async fn notice(&self) -> Result<Value, String> {
        let health = self.aggregator.api().get("/health").await?;
        Ok(health.json()["notices"]["stream_size"].clone())
    }
}

#[tokio::test]
async fn leaders_that_are_killed_under_load_lose_nothing() {
    let Some(mut world) = World::start(&REPLICATED).await else {
        return;
    };
    assert_eq!(world.cluster.replicated().await, (3, 3));
    let publisher = world.endless_publisher();
    world.aggregator.api().received_at_least(1_500).await;
    let leader = world.cluster.leader().await;
    world.cluster.kill(leader);
    world.goes_on().await;
    let missing = format!("start nats-{};", leader + 1);
    within(ELECTIONS, "the missing replica is named", async || {
        let health = world.aggregator.api().get("/health").await?;
        let notice = health.json()["notices"]["replicas"].to_string();
        holds(notice.contains(&missing), health.text())
    })
    .await;
    world.cluster.restore();
    world.cluster.replicated().await;
    let leader = world.cluster.leader_of_durable().await;
    world.cluster.kill(leader);
    world.goes_on().await;
    world.cluster.restore();
    world.is_exact(publisher).await;
}

#[tokio::test]
async fn a_leader_that_was_suspended_is_not_believed() {
    let Some(mut world) = World::start(&REPLICATED).await else {
        return;
    };
    let publisher = world.endless_publisher();
    world.aggregator.api().received_at_least(1_500).await;
    let leader = world.cluster.leader().await;
    world.cluster.suspend(leader);
    world.goes_on().await;
    // A new session asks for the state of the stream while the old leader may still answer.
    world.aggregator.kill();
    world.cluster.restore();
    world.aggregator.start_again().await;
    world.goes_on().await;
    world.is_exact(publisher).await;
}

#[tokio::test]
async fn without_a_quorum_the_reason_is_given_and_nothing_is_lost() {
    let Some(mut world) = World::start(&REPLICATED).await else {
        return;
    };
    let publisher = world.endless_publisher();
    world.aggregator.api().received_at_least(1_500).await;
    let leader = world.cluster.leader().await;
    let other = (leader + 1) % cluster::SERVERS;
    world.cluster.kill(leader);
    world.cluster.kill(other);
    within(ELECTIONS, "the reason is given", async || {
        let health = world.aggregator.api().get("/health").await?;
        let reason = health.json()["checks"]["consumer"].to_string();
        holds(reason.contains("cluster has no leader"), health.text())
    })
    .await;
    let body = array(&events("orders", 0..10));
    let refused = world.aggregator.api().post(body.clone()).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    let problem = refused.json()["type"].clone();
    assert_eq!(problem, "urn:problem:unconfirmed", "{}", refused.text());
    // What is stored can be read.
    let page = world
        .aggregator
        .api()
        .get("/events?limit=10")
        .await
        .unwrap();
    assert_eq!(page.status, 200, "{}", page.text());

    world.cluster.restore();
    world.goes_on().await;
    let run = publisher.finished().await;
    let [sent, unique, duplicates] = run.sent();
    assert_eq!(run.verified(), [sent, unique, duplicates]);
    // The events that were not confirmed are sent again, and are stored once.
    world
        .aggregator
        .api()
        .publish(&events("orders", 0..10))
        .await;
    let books = world.aggregator.api().settled().await;
    let orders = &books.topics["orders"];
    assert_eq!(orders.unique_processed, 10);
    assert!(orders.duplicate_dropped <= 10, "{orders:?}");
    world.aggregator.healthy().await;
    let lives = Store::of(world.data.path()).number("SELECT count(*) FROM incarnations");
    assert_eq!(lives, 1);
}

#[tokio::test]
async fn replicas_are_raised_and_lowered_on_a_stream_with_data() {
    let Some(mut world) = World::start(&[]).await else {
        return;
    };
    let url = world.cluster.login("publisher");
    let sent = publisher::publish(&url, &["generate", "--count", "5000"]).await;
    sent.succeeded();
    let before = world.aggregator.api().settled().await;
    assert_eq!(world.cluster.replicated().await, (1, 1));

    world.restart(&REPLICATED).await;
    let replicas = async |world: &World, wanted: usize| {
        eventually("the replicas are as configured", async || {
            let replicas = world.cluster.replicated().await;
            holds(replicas == (wanted, wanted), replicas)
        })
        .await;
    };
    replicas(&world, 3).await;
    // No server fails here: one that is killed soon after its stream was raised makes nats-server 2.14.6 lose messages when it comes
    // back (compose/README.md, "Another number of replicas").
    let publisher = world.endless_publisher();
    world.goes_on().await;
    publisher.finished().await.succeeded();
    let raised = world.aggregator.api().settled().await;
    assert_eq!(raised.stats.rejected, 0);
    assert!(raised.counts()[0] > before.counts()[0], "{raised:?}");
    let verify = ["verify", "--nats-url", &world.cluster.login("aggregator")];
    let verified = world.aggregator.command(&verify).await;
    assert_eq!(
        verified.code,
        Some(0),
        "{}\n{}",
        verified.stdout,
        verified.stderr
    );

    world.restart(&[]).await;
    replicas(&world, 1).await;
    assert_eq!(
        world.aggregator.api().settled().await.counts(),
        raised.counts()
    );
    let lives = Store::of(world.data.path()).number("SELECT count(*) FROM incarnations");
    assert_eq!(lives, 1);
}

#[tokio::test]
async fn a_cluster_with_too_few_servers_keeps_the_replicas_that_it_has() {
    let Some(mut world) = World::start(&REPLICATED).await else {
        return;
    };
    world.restart(&["--stream-replicas", "5"]).await;
    let notice = eventually("it is reported", async || {
        let notice = world.notice().await?;
        holds(notice.is_string(), &notice)?;
        Ok(notice.to_string())
    })
    .await;
    assert!(notice.contains("keeps 3 of 5 replicas"), "{notice}");
    assert!(notice.contains("add servers"), "{notice}");
    world
        .aggregator
        .api()
        .publish(&events("orders", 0..10))
        .await;
    assert_eq!(world.aggregator.api().settled().await.counts(), [10, 10, 0]);
    assert_eq!(world.cluster.replicated().await, (3, 3));
    world.restart(&REPLICATED).await;
    eventually("the notice disappears", async || {
        let notice = world.notice().await?;
        holds(notice.is_null(), &notice)
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_too_few_servers_can_keep_is_not_created_with_less() {
    if !cluster::is_available() {
        return;
    }
    let (cluster, data) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let url = cluster.login("aggregator");
    let aggregator = Aggregator::start(&url, data.path(), &["--stream-replicas", "5"]).await;
    eventually("the reason is given", async || {
        let health = aggregator.api().get("/health").await?;
        let reason = health.json()["checks"]["consumer"].to_string();
        holds(reason.contains("too few servers"), health.text())
    })
    .await;
    let jetstream = cluster.jetstream().await;
    assert!(jetstream.get_stream("EVENTS").await.is_err());
}

#[tokio::test]
async fn a_single_broker_that_is_asked_for_three_replicas_says_what_to_do() {
    let (broker, data) = (Broker::start().await, tempfile::tempdir().unwrap());
    let refused = async || {
        let ended = Aggregator::refused(&broker.url(), data.path(), &REPLICATED).await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("a single server"), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("--stream-replicas 1"),
            "{}",
            ended.stderr
        );
    };
    refused().await;
    let mut aggregator = Aggregator::start(&broker.url(), data.path(), &[]).await;
    aggregator.healthy().await;
    aggregator.api().publish(&events("orders", 0..10)).await;
    let before = aggregator.api().settled().await;
    aggregator.stop().await;
    // It keeps the stream and its messages.
    refused().await;
    aggregator.start_again().await;
    aggregator.healthy().await;
    aggregator.api().publish(&events("orders", 5..20)).await;
    assert_eq!(before.counts(), [10, 10, 0]);
    assert_eq!(aggregator.api().settled().await.counts(), [25, 20, 5]);
}
