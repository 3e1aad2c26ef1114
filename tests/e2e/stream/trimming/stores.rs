//! Several stores on one stream: no store loses unapplied messages to another one's trimming.

use super::*;

/// A second store on the stream of a system, with the durable `other`.
async fn second(system: &System, data: &std::path::Path) -> Aggregator {
    let flags = [&KEEPS_LITTLE[..], &["--durable", "other"]].concat();
    let second = Aggregator::start(&system.broker.url(), data, &flags).await;
    second.healthy().await;
    second
}

/// Waits until trimming is held back by a durable, and returns the notice in `/health`.
async fn held_by(system: &System, durable: &str) -> String {
    let notice = eventually("trimming is held back", async || {
        let health = system.api().get("/health").await?;
        assert_eq!(health.status, 200, "it is no failure: {}", health.text());
        let notice = health.json()["notices"]["trimming"].clone();
        notice
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| health.text().to_owned())
    })
    .await;
    assert!(notice.contains(durable), "{notice}");
    let metrics = system.api().get("/metrics").await.unwrap();
    let series = format!("aggregator_trimming_held_messages{{durable=\"{durable}\"}} ");
    let held = metrics.text().lines().find_map(|l| l.strip_prefix(&series));
    assert!(held.is_some_and(|held| held != "0"), "{}", metrics.text());
    notice
}

#[tokio::test]
async fn messages_not_acked_by_a_stopped_store_are_not_trimmed_and_it_gets_all_of_them() {
    let system = System::with(&KEEPS_LITTLE).await;
    let data = tempfile::tempdir().unwrap();
    let mut other = second(&system, data.path()).await;
    other.stop().await;
    for number in 0..40 {
        system.api().publish(&[large(number)]).await;
    }
    system.settled().await;
    let notice = held_by(&system, "other").await;
    let directory = data.path().file_name().unwrap().to_str().unwrap();
    assert!(notice.contains(directory), "{directory} in {notice}");
    assert_eq!(info(&system).await.state.messages, 40);

    other.start_again().await;
    other.healthy().await;
    let books = other.api().settled().await;
    assert_eq!(books.counts(), [40, 40, 0]);
    assert_eq!(books.stats.missing, 0);
    trimmed(&system).await;
    eventually("nothing is held back any more", async || {
        let health = system.api().get("/health").await?;
        holds(health.json()["notices"].is_null(), health.text())
    })
    .await;
    let metrics = system.api().get("/metrics").await.unwrap();
    assert!(!metrics.text().contains("aggregator_trimming_held"));
}

#[tokio::test]
async fn a_store_that_is_gone_for_good_is_released_by_deleting_its_durable() {
    let system = System::with(&KEEPS_LITTLE).await;
    let data = tempfile::tempdir().unwrap();
    drop(second(&system, data.path()).await);
    for number in 0..10 {
        system.api().publish(&[large(number)]).await;
    }
    system.settled().await;
    held_by(&system, "other").await;
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    stream.delete_consumer("other").await.unwrap();
    trimmed(&system).await;
}

#[tokio::test]
async fn a_copy_of_a_store_with_its_own_durable_holds_trimming_back_too() {
    let mut system = System::with(&KEEPS_LITTLE).await;
    system.aggregator.stop().await;
    let data = tempfile::tempdir().unwrap();
    std::fs::copy(
        system.data_dir().join("aggregator.db"),
        data.path().join("aggregator.db"),
    )
    .unwrap();
    system.aggregator.start_again().await;
    let mut copy = second(&system, data.path()).await;
    copy.stop().await;
    for number in 0..10 {
        system.api().publish(&[large(number)]).await;
    }
    system.settled().await;
    held_by(&system, "other").await;
    copy.start_again().await;
    assert_eq!(copy.api().settled().await.counts(), [10, 10, 0]);
}

#[tokio::test]
async fn a_store_killed_repeatedly_loses_nothing_to_the_trimming_of_another() {
    let system = System::with(&KEEPS_LITTLE).await;
    let data = tempfile::tempdir().unwrap();
    let mut other = second(&system, data.path()).await;
    for round in 0..5 {
        // It holds deliveries when it is killed, so its durable is recreated.
        let lock = e2e::store::Store::of(data.path()).lock();
        for number in 0..8 {
            system.api().publish(&[large(8 * round + number)]).await;
        }
        system.settled().await;
        held_by(&system, "other").await;
        other.kill();
        drop(lock);
        other.start_again().await;
    }
    other.healthy().await;
    let books = other.api().settled().await;
    assert_eq!((books.counts(), books.stats.missing), ([40, 40, 0], 0));
    trimmed(&system).await;
}

#[tokio::test]
async fn a_position_that_a_killed_aggregator_left_holds_trimming_back_until_it_is_started() {
    let system = System::with(&KEEPS_LITTLE).await;
    let data = tempfile::tempdir().unwrap();
    let mut other = second(&system, data.path()).await;
    other.stop().await;
    // As if it had been killed between deleting its durable and creating it again.
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let left = stream.consumer_info("other").await.unwrap();
    let config = pull::Config {
        durable_name: Some("other~position".to_owned()),
        description: left.config.description,
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: 1 },
        ack_policy: AckPolicy::Explicit,
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.unwrap();
    stream.delete_consumer("other").await.unwrap();
    for number in 0..10 {
        system.api().publish(&[large(number)]).await;
    }
    system.settled().await;
    held_by(&system, "other~position").await;
    other.start_again().await;
    other.healthy().await;
    assert_eq!(other.api().settled().await.counts(), [10, 10, 0]);
    trimmed(&system).await;
    assert!(stream.consumer_info("other~position").await.is_err());
}

#[tokio::test]
async fn the_notice_of_trimming_ends_with_the_session_that_found_it() {
    let mut system = System::with(&KEEPS_LITTLE).await;
    let data = tempfile::tempdir().unwrap();
    second(&system, data.path()).await.stop().await;
    for number in 0..10 {
        system.api().publish(&[large(number)]).await;
    }
    system.settled().await;
    held_by(&system, "other").await;
    system.broker.stop().await;
    eventually("there is no notice of trimming", async || {
        let health = system.api().get("/health").await?;
        holds(health.json()["notices"].is_null(), health.text())?;
        let metrics = system.api().get("/metrics").await?;
        let is_held = metrics.text().contains("aggregator_trimming_held");
        holds(!is_held, metrics.text())
    })
    .await;
    system.broker.start_again().await;
    system.aggregator.healthy().await;
    held_by(&system, "other").await;
}
