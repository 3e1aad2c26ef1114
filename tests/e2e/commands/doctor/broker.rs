//! The broker, the stream and the durable.

use async_nats::jetstream;
use e2e::{
    System,
    aggregator::Aggregator,
    broker::{Broker, Login},
    event::{array, event, events},
};
use serde_json::Value;

use super::doctor;

#[tokio::test]
async fn a_stopped_broker_is_reported_by_the_service_and_by_doctor_itself() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..10)).await;
    let broker = system.broker.url();
    system.broker.stop().await;
    system.aggregator.unhealthy().await;
    let examined = doctor(&["--url", system.api().url()]).await;
    examined.finds("aggregator: broker: ");
    examined.finds(&format!(
        "the broker at {} cannot be used",
        broker.trim_start_matches("nats://")
    ));
    assert_eq!(examined.json["broker"], Value::Null);
    assert!(examined.json["not_read"]["broker"].is_string());
    let store = &examined.json["data_dir"]["store"]["record"];
    assert_eq!(store["unique_processed"], 10);
}

async fn change(system: &System, change: impl FnOnce(&mut jetstream::stream::Config)) {
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    change(&mut config);
    jetstream.update_stream(config).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_would_lose_events_and_one_that_is_nearly_full_are_found() {
    let mut system =
        System::with(&["--stream-max-bytes", "2MiB", "--stream-keep-bytes", "1MiB"]).await;
    system.aggregator.stop().await;
    let large = |number: u32| event("orders", &number.to_string()).with_size(100 * 1024);
    for number in 0..19 {
        system.put("events.orders", &array(&[large(number)])).await;
    }
    change(&system, |config| {
        config.max_age = std::time::Duration::from_hours(1);
    })
    .await;
    let (broker, data) = (
        system.broker.url(),
        system.data_dir().to_str().unwrap().to_owned(),
    );
    let here = [
        "--url",
        system.api().url(),
        "--nats-url",
        &broker,
        "--data-dir",
        &data,
    ];
    let examined = doctor(&here).await;
    let found = examined.finds("has max_age");
    assert!(found.starts_with("broker: stream EVENTS"), "{found}");
    let found = examined.finds("% full");
    assert!(found.contains("19 of its messages"), "{found}");
}

#[tokio::test]
async fn the_durable_of_another_store_is_found() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    let other = tempfile::tempdir().unwrap();
    let data = other.path().to_str().unwrap();
    let flags = ["--durable", "other"];
    let second = Aggregator::start(&system.broker.url(), other.path(), &flags).await;
    second.healthy().await;
    let examined = doctor(&["--url", second.api().url(), "--durable", "aggregator"]).await;
    examined.finds("durable consumer aggregator belongs to another store");
    let examined = doctor(&["--url", second.api().url(), "--data-dir", data]).await;
    examined.finds_nothing();
}

#[tokio::test]
async fn passwords_and_tokens_are_in_neither_output() {
    for (login, url) in [
        (
            Login::Password("ann", "s3cret-pass"),
            "nats://ann:s3cret-pass@",
        ),
        (Login::Token("s3cret-token"), "nats://s3cret-token@"),
    ] {
        let broker = Broker::demanding(login).await;
        let url = broker.url().replacen("nats://", url, 1);
        let data = tempfile::tempdir().unwrap();
        let aggregator = Aggregator::start(&url, data.path(), &[]).await;
        aggregator.healthy().await;
        let api = aggregator.api().url();
        let wrong = url.replace("s3cret", "s3cret-wrong");
        let with_login = api.replace("//", "//bob:s3cret-http@");
        for arguments in [
            &["--url", api][..],
            &["--url", api, "--nats-url", &url],
            &["--url", api, "--nats-url", &wrong],
            &["--url", &with_login, "--nats-url", &url],
        ] {
            let examined = doctor(arguments).await;
            let printed = [
                &examined.ended.stdout,
                &examined.ended.stderr,
                &examined.written,
            ];
            for text in printed {
                assert!(!text.contains("s3cret"), "{arguments:?}: {text}");
            }
            // Without credentials the broker is not read, although the service is connected to it.
            let is_read = arguments.contains(&url.as_str());
            assert_eq!(
                examined.json["broker"].is_object(),
                is_read,
                "{}",
                examined.written
            );
            if arguments.contains(&wrong.as_str()) {
                examined.finds("the broker refuses");
            } else {
                examined.finds_nothing();
            }
        }
    }
}
