//! The stream's configuration: what is refused, changed and left alone, at a start and while it is consumed.

use std::time::Duration;

use async_nats::jetstream::{
    self,
    stream::{Config, ConsumerLimits, DiscardPolicy, PersistenceMode, SubjectTransform},
};
use e2e::{
    System,
    aggregator::Aggregator,
    broker::Broker,
    event::{Event, array, event, events},
    publisher::Publisher,
    wait::{eventually, holds},
};

const MEBIBYTE: i64 = 1024 * 1024;

fn flags<'a>(max: &'a str, keep: &'a str) -> [&'a str; 4] {
    ["--stream-max-bytes", max, "--stream-keep-bytes", keep]
}

async fn config(jetstream: &jetstream::Context) -> Config {
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    stream.cached_info().config.clone()
}

/// Waits until the stream has this maximum size.
async fn has_max_bytes(jetstream: &jetstream::Context, max_bytes: i64) {
    eventually("the stream has its size", async || {
        let found = config(jetstream).await.max_bytes;
        holds(found == max_bytes, found)
    })
    .await;
}

/// The notice of the stream's size in `/health`, once there is one.
async fn size_notice(aggregator: &Aggregator) -> String {
    eventually("the size is noticed", async || {
        let health = aggregator.api().get("/health").await?;
        let notice = health.json()["notices"]["stream_size"].clone();
        notice
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| health.text().to_owned())
    })
    .await
}

async fn no_notice(aggregator: &Aggregator) {
    eventually("there is nothing to notice", async || {
        let health = aggregator.api().get("/health").await?;
        let is_so = health.status == 200 && health.json()["notices"].is_null();
        holds(is_so, health.text())
    })
    .await;
}

#[tokio::test]
async fn a_lowered_limit_never_cuts_the_backlog_and_is_reached_once_it_is_applied() {
    let mut system = System::with(&flags("64MiB", "1MiB")).await;
    system.aggregator.stop().await;
    let large = |number: u32| event("orders", &number.to_string()).with_size(50 * 1024);
    for number in 0..300 {
        system.put("events.orders", &array(&[large(number)])).await;
    }
    // The store is locked before the aggregator reaches the stream, so that nothing of it is applied.
    system.broker.stop().await;
    let flags = flags("2MiB", "1MiB");
    let lowered = Aggregator::start(&system.broker.url(), system.data_dir(), &flags).await;
    let lock = system.store().lock();
    system.broker.start_again().await;
    let notice = size_notice(&lowered).await;
    assert!(notice.contains("2097152"), "{notice}");
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let found = stream.cached_info();
    assert_eq!(found.state.messages, 300);
    assert_eq!(found.config.max_bytes, 64 * MEBIBYTE);

    drop(lock);
    let books = lowered.api().settled().await;
    assert_eq!(books.counts(), [300, 300, 0]);
    assert_eq!(books.stats.missing, 0);
    has_max_bytes(&jetstream, 2 * MEBIBYTE).await;
    no_notice(&lowered).await;
}

#[tokio::test]
async fn two_aggregators_with_different_sizes_agree_on_the_larger_one() {
    let mut system = System::with(&flags("8MiB", "1MiB")).await;
    let jetstream = system.broker.jetstream().await;
    let data = tempfile::tempdir().unwrap();
    let larger = [&flags("32MiB", "1MiB")[..], &["--durable", "other"]].concat();
    let mut other = Aggregator::start(&system.broker.url(), data.path(), &larger).await;
    other.healthy().await;
    has_max_bytes(&jetstream, 32 * MEBIBYTE).await;
    for _ in 0..3 {
        system.aggregator.stop().await;
        system.aggregator.start_again().await;
        system.aggregator.healthy().await;
        // The stream has been checked by then.
        let notice = size_notice(&system.aggregator).await;
        assert!(notice.contains("other"), "{notice}");
        assert_eq!(config(&jetstream).await.max_bytes, 32 * MEBIBYTE);
        other.stop().await;
        other.start_again().await;
        other.healthy().await;
        assert_eq!(config(&jetstream).await.max_bytes, 32 * MEBIBYTE);
    }
    // The remaining one has the stream to itself.
    other.stop().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    stream.delete_consumer("other").await.unwrap();
    has_max_bytes(&jetstream, 8 * MEBIBYTE).await;
    no_notice(&system.aggregator).await;
}

type Change = fn(&mut Config);

#[tokio::test]
async fn a_stream_changed_while_it_is_consumed_is_detected_and_nothing_is_published() {
    let cases: [(&str, Change); 4] = [
        ("max_age", |c| c.max_age = Duration::from_hours(1)),
        ("allow_rollup_hdrs", |c| c.allow_rollup = true),
        ("duplicate_window", |c| {
            c.duplicate_window = Duration::from_secs(30);
        }),
        ("max_msg_size", |c| c.max_message_size = 1_000),
    ];
    let system = System::start().await;
    let jetstream = system.broker.jetstream().await;
    let usable = config(&jetstream).await;
    for (number, (field, change)) in cases.into_iter().enumerate() {
        let number = u32::try_from(number).unwrap();
        let mut changed = usable.clone();
        change(&mut changed);
        jetstream.update_stream(changed).await.unwrap();
        let health = system.aggregator.unhealthy().await;
        let reason = health["checks"]["stream"].as_str().unwrap();
        assert!(reason.contains(field), "{reason}");
        let refused = system.api().post(array(&events("orders", 0..1))).await;
        assert_eq!(refused.status, 503, "{field}: {}", refused.text());
        // Messages from other publishers are stored, so that they are not lost.
        let event: Event = event("others", &number.to_string());
        system.put("events.others", &array(&[event])).await;
        system
            .api()
            .received_at_least(u64::from(2 * number + 1))
            .await;

        jetstream.update_stream(&usable).await.unwrap();
        system.aggregator.healthy().await;
        system
            .api()
            .publish(&events("orders", number..number + 1))
            .await;
        system.settled().await;
    }
    assert_eq!(system.settled().await.counts(), [8, 8, 0]);
}

#[tokio::test]
async fn a_publisher_fails_and_names_the_field_when_the_stream_is_changed_under_it() {
    let cases: [(&str, Change); 2] = [
        ("discard", |c| c.discard = DiscardPolicy::Old),
        ("max_age", |c| c.max_age = Duration::from_hours(1)),
    ];
    let mut system = System::start().await;
    let jetstream = system.broker.jetstream().await;
    let usable = config(&jetstream).await;
    for (number, (field, change)) in cases.into_iter().enumerate() {
        let arguments = ["generate", "--count", "0", "--rate", "200"];
        let publisher = Publisher::start(&system.broker.url(), &arguments);
        let sent = u64::try_from(number).unwrap() + 1;
        let before = system.api().stats().await.unwrap().received;
        system.api().received_at_least(before + sent).await;
        let mut changed = usable.clone();
        change(&mut changed);
        jetstream.update_stream(changed).await.unwrap();
        // Across a reconnect, too.
        if number == 1 {
            system.broker.stop().await;
            system.broker.start_again().await;
        }
        let run = publisher.ended().await;
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(
            run.stderr.contains(&format!("has {field} ")),
            "{}",
            run.stderr
        );
        assert_eq!(run.summary["complete"], false, "{}", run.summary);
        jetstream.update_stream(&usable).await.unwrap();
        system.aggregator.healthy().await;
    }
}

#[tokio::test]
async fn a_stream_configured_to_lose_messages_is_refused_by_field_name() {
    let cases: [(&str, Change); 12] = [
        ("discard", |c| c.discard = DiscardPolicy::Old),
        ("max_age", |c| c.max_age = Duration::from_hours(1)),
        ("max_msgs", |c| c.max_messages = 1_000_000),
        ("max_msg_size", |c| c.max_message_size = 600_000),
        ("duplicate_window", |c| {
            c.duplicate_window = Duration::from_secs(60);
        }),
        ("no_ack", |c| c.no_ack = true),
        ("allow_rollup_hdrs", |c| c.allow_rollup = true),
        ("deny_purge", |c| c.deny_purge = true),
        ("subject_transform", |c| {
            c.subject_transform = Some(SubjectTransform {
                source: "events.>".to_owned(),
                destination: "all.>".to_owned(),
            });
        }),
        ("consumer_limits.inactive_threshold", |c| {
            c.consumer_limits = Some(ConsumerLimits {
                inactive_threshold: Duration::from_mins(5),
                max_ack_pending: 0,
            });
        }),
        ("allow_msg_ttl", |c| c.allow_message_ttl = true),
        ("persist_mode", |c| {
            c.persist_mode = Some(PersistenceMode::Async);
        }),
    ];
    let broker = Broker::start().await;
    let jetstream = broker.jetstream().await;
    let data = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for (field, change) in cases {
        let mut config = Config {
            name: "EVENTS".to_owned(),
            subjects: vec!["events.>".to_owned()],
            discard: DiscardPolicy::New,
            duplicate_window: Duration::from_mins(2),
            max_bytes: 64 * MEBIBYTE,
            num_replicas: 1,
            ..Config::default()
        };
        change(&mut config);
        // The broker may still be removing the files of the one before it.
        let stream = eventually("the stream is created", async || {
            let created = jetstream.create_stream(config.clone()).await;
            created.map_err(|err| err.to_string())
        })
        .await;
        let created = &stream.cached_info().config;
        let mut changed = created.clone();
        change(&mut changed);
        // Brokers ignore fields that they do not know.
        if changed == *created {
            let ended = Aggregator::refused(&broker.url(), data.path(), &[]).await;
            assert_eq!(ended.code, Some(1), "{field}: {}", ended.stderr);
            assert!(
                ended.stderr.contains(&format!("has {field} ")),
                "{}",
                ended.stderr
            );
            tried += 1;
        }
        jetstream.delete_stream("EVENTS").await.unwrap();
    }
    assert!(tried >= 10, "{tried}");
}

#[tokio::test]
async fn a_stream_whose_sequences_begin_later_lacks_nothing() {
    let broker = Broker::start().await;
    let jetstream = broker.jetstream().await;
    let config = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        discard: DiscardPolicy::New,
        first_sequence: Some(1_000_000),
        num_replicas: 1,
        ..Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(&broker.url(), data.path(), &[]).await;
    aggregator.healthy().await;
    aggregator.api().publish(&events("orders", 0..5)).await;
    let books = aggregator.api().settled().await;
    assert_eq!((books.counts(), books.stats.missing), ([5, 5, 0], 0));
}
