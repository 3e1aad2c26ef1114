//! Several aggregators that share a store in a database, and a durable.

mod balancer;

use std::path::Path;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use e2e::{
    aggregator::Aggregator,
    api::Api,
    broker::Broker,
    database::Database,
    event::{array, event},
    publisher::Publisher,
    tail::Tail,
    verification::verify,
    wait::{eventually, holds},
};
use tempfile::TempDir;

/// A broker, a database, and a directory that must stay empty.
struct Cluster {
    broker: Broker,
    database: Database,
    directory: TempDir,
}

impl Cluster {
    /// `None` if there is no PostgreSQL.
    async fn start() -> Option<Self> {
        Some(Self {
            database: Database::new()?,
            broker: Broker::start().await,
            directory: tempfile::tempdir().unwrap(),
        })
    }

    fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Verifies the store, also against the broker's messages.
    async fn proves(&self) {
        let (store, nats) = (self.database.url(), self.broker.url_of("aggregator"));
        let arguments = ["--store", &store, "--nats-url", &nats, "--json"];
        verify(self.data_dir(), &arguments).await.proves();
    }

    async fn aggregator(&self) -> Aggregator {
        self.aggregator_with(&[]).await
    }

    async fn aggregator_with(&self, flags: &[&str]) -> Aggregator {
        let url = self.database.url();
        let nats = self.broker.url_of("aggregator");
        let flags = [&["--store", url.as_str()], flags].concat();
        let aggregator = Aggregator::start(&nats, self.data_dir(), &flags).await;
        aggregator.healthy().await;
        aggregator
    }

    /// Makes the database read-only, as a standby is, or lets it be written to again. No connection keeps what was so before.
    fn set_read_only(&self, is_on: bool) {
        let name = self.database.sql("SELECT current_database()");
        let value = if is_on { "on" } else { "off" };
        self.database.sql(&format!(
            "BEGIN; SET TRANSACTION READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = {value}; COMMIT"
        ));
        self.database.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }
}

/// The names of the aggregators that are alive, and whether each is the one that answers.
async fn alive(api: &Api) -> Vec<(String, bool)> {
    let stats = api.get("/stats").await.unwrap().json();
    let alive = stats["aggregators"].as_array().unwrap().iter();
    let alive = alive.map(|one| {
        assert!(
            one["since"].is_string() && one["last_seen"].is_string(),
            "{one}"
        );
        let name = one["name"].as_str().unwrap().to_owned();
        (name, one["this"].as_bool().unwrap())
    });
    alive.collect()
}

#[tokio::test]
async fn counts_are_exact_when_one_of_two_aggregators_is_killed_while_events_pass() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let mut one = cluster.aggregator().await;
    let other = cluster.aggregator().await;
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
    let publisher = Publisher::start(&cluster.broker.url_of("publisher"), &arguments);
    other.api().received_at_least(3_000).await;
    one.kill();
    // While the other one writes.
    cluster.proves().await;
    let run = publisher.ended().await;
    assert_eq!(run.verified(), [20_000, 14_000, 6_000]);
    // Both did a part of it, and count the same.
    one.start_again().await;
    one.healthy().await;
    for api in [one.api(), other.api()] {
        assert_eq!(api.settled().await.counts(), [20_000, 14_000, 6_000]);
    }
    let by_slot = "SELECT count(DISTINCT writer / 8) FROM counters WHERE received > 0";
    assert_eq!(cluster.database.sql(by_slot), "2");
    cluster.proves().await;
    let files = std::fs::read_dir(cluster.data_dir()).unwrap().count();
    assert_eq!(files, 0, "the data directory is not used");
}

#[tokio::test]
async fn a_connection_of_every_aggregator_may_be_cut_at_any_time() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let one = cluster.aggregator().await;
    let _other = cluster.aggregator().await;
    let arguments = [
        "generate",
        "--count",
        "10000",
        "--batch",
        "10",
        "--rate",
        "4000",
        "--verify",
        one.api().url(),
    ];
    let publisher = Publisher::start(&cluster.broker.url_of("publisher"), &arguments);
    for received in (500..9_000).step_by(500) {
        one.api().received_at_least(received).await;
        cluster.database.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }
    let run = publisher.ended().await;
    let [sent, unique, duplicates] = run.sent();
    assert_eq!(run.verified(), [sent, unique, duplicates]);
    cluster.proves().await;
}

#[tokio::test]
async fn each_aggregator_answers_with_what_the_others_stored() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let one = cluster.aggregator().await;
    let mut other = cluster.aggregator().await;
    let events: Vec<_> = (0..50).map(|n| event("orders", &n.to_string())).collect();
    let answer = one.api().post(array(&events)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for api in [one.api(), other.api()] {
        assert_eq!(api.settled().await.counts(), [50, 50, 0]);
        let page = api.get("/events?topic=orders&limit=100").await.unwrap();
        assert_eq!(page.json()["events"].as_array().unwrap().len(), 50);
    }
    let listed = [alive(one.api()).await, alive(other.api()).await];
    let [(first, true), (second, false)] = listed[0].as_slice() else {
        panic!("{listed:?}");
    };
    assert_ne!(first, second);
    let as_seen_by_other = [(first.clone(), false), (second.clone(), true)];
    assert_eq!(listed[1], as_seen_by_other);
    let ended = other.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(alive(one.api()).await, listed[0][..1]);
    let alive = "SELECT count(*) FROM aggregators WHERE alive_until > now()";
    assert_eq!(cluster.database.sql(alive), "1", "its slot is free");
}

/// The counts of `/histogram` of a topic, added up.
async fn over_time(api: &Api, topic: &str) -> (u64, u64) {
    let answer = api.get(&format!("/histogram?topic={topic}")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let histogram = answer.json();
    let buckets = histogram["buckets"].as_array().unwrap().iter();
    buckets.fold((0, 0), |(stored, duplicates), bucket| {
        let count = |name: &str| bucket[name].as_u64().unwrap();
        (stored + count("stored"), duplicates + count("duplicates"))
    })
}

#[tokio::test]
async fn each_aggregator_answers_what_all_of_them_counted_and_marked() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let one = cluster.aggregator().await;
    let other = cluster.aggregator().await;
    let by_slot = "SELECT count(DISTINCT writer / 8) FROM repeats";
    // Each message goes to one of them, and each round has a duplicate and a conflict.
    let mut rounds = 0;
    while rounds < 10 || cluster.database.sql(by_slot) != "2" {
        assert!(rounds < 1_000, "one aggregator gets all messages");
        let first = event("orders", &rounds.to_string());
        let differing = first.clone().with_payload(r#"{"n": 1}"#);
        one.api().publish(&[first.clone(), first]).await;
        one.api().settled().await;
        one.api().publish(&[differing]).await;
        one.api().settled().await;
        rounds += 1;
    }
    let mut listed = Vec::new();
    for api in [one.api(), other.api()] {
        assert_eq!(over_time(api, "orders").await, (rounds, 2 * rounds));
        assert_eq!(over_time(api, "none").await, (0, 0));
        let answer = api
            .get("/duplicates?topic=orders&limit=1000")
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let duplicates = answer.json();
        assert_eq!(duplicates["total"], 2 * rounds);
        let often = duplicates["often"].as_array().unwrap();
        assert_eq!(often.len() as u64, rounds);
        for identity in often {
            assert_eq!(
                (&identity["at_least"], &identity["at_most"]),
                (&2.into(), &2.into()),
                "{identity}"
            );
        }
        let conflicts = duplicates["recent"].as_array().unwrap().iter();
        let conflicts = conflicts.filter(|again| again["conflict"] == true);
        assert_eq!(conflicts.count() as u64, rounds);
        listed.push(duplicates);
        let found = api.get("/event?topic=orders&event_id=0").await.unwrap();
        assert_eq!(
            found.json()["duplicates"],
            serde_json::json!({"at_least": 2, "at_most": 2})
        );
        let topics = api.get("/topics?recent=true").await.unwrap().json();
        let recent = topics["topics"][0]["recent"].as_array().unwrap().iter();
        let recent: u64 = recent.map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(recent, 3 * rounds);
    }
    assert_eq!(listed[0], listed[1]);
    let page = one.api().get("/conflicts?limit=1").await.unwrap().json();
    let latest = page["conflicts"][0]["id"].as_u64().unwrap();
    let marked = other
        .api()
        .post_to(&format!("/conflicts/seen?up_to={latest}"), "")
        .await;
    assert_eq!(
        marked.json(),
        serde_json::json!({"seen": latest, "count": rounds})
    );
    let stats = one.api().get("/stats").await.unwrap().json();
    assert_eq!(
        (&stats["conflicts_seen"], &stats["conflicts_seen_up_to"]),
        (&rounds.into(), &latest.into())
    );
    assert_eq!(stats["rejected_seen"], 0);
    cluster.proves().await;
}

#[tokio::test]
async fn a_request_that_waits_learns_the_outcome_whichever_aggregator_appends_the_event() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let one = cluster.aggregator().await;
    let _other = cluster.aggregator().await;
    let api = one.api();
    let by_slot = "SELECT count(DISTINCT writer / 8) FROM counters WHERE received > 0";
    // Each message goes to one of them.
    for number in 0.. {
        let first = event("orders", &number.to_string());
        for (event, outcome) in [(&first, "stored"), (&first, "duplicate")] {
            let answer = api.store(std::slice::from_ref(event)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.json()["outcome"], outcome, "{}", answer.text());
        }
        let other = first.with_payload(r#"{"n": 1}"#);
        let answer = api.store(&[other]).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        if number >= 10 && cluster.database.sql(by_slot) == "2" {
            break;
        }
        assert!(number < 1_000, "one aggregator gets all messages");
    }
}

#[tokio::test]
async fn a_tail_continues_at_another_aggregator_and_misses_nothing() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let one = cluster.aggregator().await;
    let other = cluster.aggregator().await;
    let mut last = None;
    for number in 0..30 {
        let (here, there) = if number % 2 == 0 {
            (&one, &other)
        } else {
            (&other, &one)
        };
        // It begins before this aggregator has read the floor that the other one had when it sent the event.
        let mut tail = Tail::open(here.api(), &[], last).await;
        assert_eq!(last.unwrap_or(tail.position), tail.position);
        let id = number.to_string();
        there.api().publish(&[event("orders", &id)]).await;
        let message = tail.message().await;
        assert_eq!(message.event_id(), id);
        last = Some(message.id);
    }
    let ahead = last.map(|last| last + (1 << 40));
    let tail = Tail::open(one.api(), &[], ahead).await;
    assert!(
        Some(tail.position) < ahead,
        "an id that none has sent is unknown"
    );
}

#[tokio::test]
async fn a_database_that_cannot_be_written_to_is_reported_also_while_nothing_is_stored() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let one = cluster.aggregator().await;
    cluster.set_read_only(true);
    eventually("the reason is given", async || {
        let health = one.unhealthy().await;
        let reason = health["checks"]["store"].as_str().unwrap_or_default();
        holds(reason.contains("a standby or read-only"), &health)
    })
    .await;
    eventually("the failures are counted", async || {
        let metrics = one.api().get("/metrics").await?;
        let counted = r#"aggregator_database_retries_total{reason="read_only"}"#;
        let mut lines = metrics.text().lines();
        let counted = lines.find_map(|line| line.strip_prefix(counted));
        holds(counted.is_some_and(|n| n.trim() != "0"), counted)
    })
    .await;
    cluster.set_read_only(false);
    one.healthy().await;
}

#[tokio::test]
async fn a_guard_that_an_aggregator_left_is_deleted_and_the_durable_is_kept() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let _one = cluster.aggregator().await;
    let jetstream = cluster.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let durable = stream.consumer_info("aggregator").await.unwrap();
    // As if another one had been killed after it had created the durable again.
    let guard = pull::Config {
        durable_name: Some("aggregator~position".to_owned()),
        description: durable.config.description,
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: 1 },
        ack_policy: AckPolicy::Explicit,
        ..pull::Config::default()
    };
    stream.create_consumer(guard).await.unwrap();
    let _other = cluster.aggregator().await;
    assert!(stream.consumer_info("aggregator~position").await.is_err());
    let kept = stream.consumer_info("aggregator").await.unwrap();
    assert_eq!(kept.created, durable.created);
}
