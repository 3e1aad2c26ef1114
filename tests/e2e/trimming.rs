//! The stream is kept small, but never at the cost of what is not applied.

use async_nats::jetstream::{
    consumer::{AckPolicy, DeliverPolicy, pull},
    stream::{Info, State},
};
use e2e::{
    System,
    aggregator::Aggregator,
    event::{Event, array, event},
    wait::{eventually, holds},
};

const KIBIBYTE: usize = 1024;

/// A stream of 2 MiB that keeps 512 KiB of what was applied.
const SMALL: [&str; 4] = [
    "--stream-max-bytes",
    "2MiB",
    "--stream-keep-bytes",
    "512KiB",
];

fn large(number: u32) -> Event {
    event("orders", &number.to_string()).with_size(100 * KIBIBYTE)
}

#[tokio::test]
async fn the_stream_shrinks_to_its_budget_while_ever_more_passes_through_it() {
    let system = System::with(&SMALL).await;
    // Five times what the stream can hold.
    for number in 0..100 {
        eventually("there is room in the stream", async || {
            let answer = system.api().post(array(&[large(number)])).await;
            holds(answer.status == 200, answer.text())
        })
        .await;
    }
    let books = system.settled().await;
    assert_eq!(books.stats.unique_processed, 100);
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let state = eventually("the stream is within its budget", async || {
        let state = stream
            .get_info()
            .await
            .map_err(|err| err.to_string())?
            .state;
        // The broker purges by sequence: a part of a message may be too much.
        holds(state.bytes <= (512 + 101) * KIBIBYTE as u64, &state)?;
        Ok(state)
    })
    .await;
    assert!(
        state.messages > 0,
        "what is within the budget stays: {state:?}"
    );
}

#[tokio::test]
async fn a_full_stream_refuses_with_503_and_loses_nothing_that_is_not_applied() {
    let system = System::with(&SMALL).await;
    let lock = system.store().lock();
    let mut accepted = 0;
    let refused = loop {
        let answer = system.api().post(array(&[large(accepted)])).await;
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 100, "the stream is never full");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    assert!(accepted >= 15, "2 MiB hold more than {accepted}");

    // Nothing of it is applied, so nothing of it goes, though it is far beyond the budget.
    system.aggregator.unhealthy().await;
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let state = stream.get_info().await.unwrap().state;
    assert_eq!(
        (state.first_sequence, state.messages),
        (1, u64::from(accepted))
    );

    drop(lock);
    let books = system.settled().await;
    assert_eq!(books.counts(), [accepted.into(), accepted.into(), 0]);
    // And there is room again, by itself.
    eventually("there is room again", async || {
        let answer = system.api().post(array(&[large(accepted)])).await;
        holds(answer.status == 200, answer.text())
    })
    .await;
    assert_eq!(
        system.settled().await.stats.unique_processed,
        u64::from(accepted) + 1
    );
}

#[tokio::test]
async fn a_stream_that_was_trimmed_is_consumed_on_after_a_restart() {
    let mut system = System::with(&SMALL).await;
    for number in 0..12 {
        system.api().publish(&[large(number)]).await;
    }
    system.settled().await;
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    eventually("the stream is trimmed", async || {
        let state = stream
            .get_info()
            .await
            .map_err(|err| err.to_string())?
            .state;
        holds(state.first_sequence > 1, &state)
    })
    .await;
    system.aggregator.kill();
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    system.api().publish(&[large(11), large(12)]).await;
    let books = system.settled().await;
    assert_eq!(books.counts(), [14, 13, 1]);
}

/// A stream that holds all that these tests publish, and that keeps next to nothing of what every store has acked.
const KEEPS_LITTLE: [&str; 4] = [
    "--stream-max-bytes",
    "32MiB",
    "--stream-keep-bytes",
    "256KiB",
];

async fn info(system: &System) -> Info {
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    stream.get_info().await.unwrap()
}

async fn trimmed(system: &System) -> State {
    eventually("the stream is within its budget", async || {
        let state = info(system).await.state;
        holds(state.bytes <= 256 * KIBIBYTE as u64, &state)?;
        Ok(state)
    })
    .await
}

/// A store of its own on the stream of a system, with the durable `other`.
async fn second(system: &System, data: &std::path::Path) -> Aggregator {
    let flags = [&KEEPS_LITTLE[..], &["--durable", "other"]].concat();
    let second = Aggregator::start(&system.broker.url(), data, &flags).await;
    second.healthy().await;
    second
}

/// Waits until trimming is held back by a durable, and returns what `/health` says of it.
async fn held_by(system: &System, durable: &str) -> String {
    let told = eventually("trimming is held back", async || {
        let health = system.api().get("/health").await?;
        assert_eq!(health.status, 200, "it is no failure: {}", health.text());
        let told = health.json()["notices"]["trimming"].clone();
        told.as_str()
            .map(str::to_owned)
            .ok_or_else(|| health.text().to_owned())
    })
    .await;
    assert!(told.contains(durable), "{told}");
    let metrics = system.api().get("/metrics").await.unwrap();
    let series = format!("aggregator_trimming_held_messages{{durable=\"{durable}\"}} ");
    let held = metrics.text().lines().find_map(|l| l.strip_prefix(&series));
    assert!(held.is_some_and(|held| held != "0"), "{}", metrics.text());
    told
}

#[tokio::test]
async fn what_a_stopped_store_has_not_acked_is_not_trimmed_and_it_gets_all_of_it() {
    let system = System::with(&KEEPS_LITTLE).await;
    let data = tempfile::tempdir().unwrap();
    let mut other = second(&system, data.path()).await;
    other.stop().await;
    for number in 0..40 {
        system.api().publish(&[large(number)]).await;
    }
    system.settled().await;
    let told = held_by(&system, "other").await;
    let place = data.path().file_name().unwrap().to_str().unwrap();
    assert!(told.contains(place), "{place} in {told}");
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
async fn a_store_that_is_gone_for_good_is_let_go_by_deleting_its_durable() {
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
async fn a_copy_of_a_store_with_a_durable_of_its_own_holds_trimming_back_too() {
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
async fn a_store_that_is_killed_over_and_over_loses_nothing_to_the_trimming_of_another() {
    let system = System::with(&KEEPS_LITTLE).await;
    let data = tempfile::tempdir().unwrap();
    let mut other = second(&system, data.path()).await;
    for round in 0..5 {
        // It has messages in hand when it is killed, so its durable is created again.
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
async fn messages_of_the_largest_size_always_find_room_once_everything_is_applied() {
    let flags = ["--stream-max-bytes", "3MiB", "--stream-keep-bytes", "2MiB"];
    let system = System::with(&flags).await;
    let jetstream = system.broker.jetstream().await;
    for number in 0..12 {
        // Two events, together a little less than the broker's largest message.
        let pair = [2 * number, 2 * number + 1];
        let pair = pair.map(|n| event("orders", &n.to_string()).with_size(520_000));
        eventually("there is room in the stream", async || {
            let sent = jetstream
                .publish("events.orders", array(&pair).into())
                .await;
            let acked = sent.map_err(|err| err.to_string())?.await;
            acked.map(drop).map_err(|err| err.to_string())
        })
        .await;
    }
    let books = system.settled().await;
    assert_eq!((books.stats.unique_processed, books.stats.missing), (24, 0));
}

#[tokio::test]
async fn many_holes_in_the_stream_are_one_line_of_the_log_and_counted_exactly() {
    let mut system = System::start().await;
    system.aggregator.stop().await;
    let jetstream = system.broker.jetstream().await;
    let mut acks = Vec::new();
    for number in 0..20_000_u32 {
        let topic = if number % 2 == 0 { "kept" } else { "lost" };
        let body = array(&[event(topic, &number.to_string())]);
        let sent = jetstream.publish(format!("events.{topic}"), body.into());
        acks.push(sent.await.unwrap());
        if acks.len() == 1_000 {
            for ack in acks.drain(..) {
                ack.await.unwrap();
            }
        }
    }
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let purged = stream.purge().filter("events.lost").await.unwrap().purged;
    assert_eq!(purged, 10_000);
    system.aggregator.start_again().await;
    let stats = eventually("all that is left is applied", async || {
        let stats = system.api().stats().await?;
        holds(stats.pending == Some(0) && stats.missing > 0, &stats)?;
        Ok(stats)
    })
    .await;
    assert_eq!((stats.received, stats.unique_processed), (10_000, 10_000));
    assert_eq!(stats.missing, 10_000);
    let log = system.aggregator.service().log();
    let told: Vec<_> = log
        .iter()
        .filter(|line| line.contains("were never applied"))
        .collect();
    let [line] = told.as_slice() else {
        panic!("{} lines", told.len())
    };
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["missing"], 10_000, "{line}");
    assert_eq!(line["ranges"], 10_000, "{line}");

    let listed = system.api().get("/missing").await.unwrap().json();
    let listed = listed["missing"].as_array().unwrap();
    assert_eq!(listed.len(), 1_000, "the latest of them");
    assert_eq!(
        (&listed[0]["first"], &listed[0]["last"]),
        (&20_000.into(), &20_000.into())
    );
    assert_eq!(listed[999]["first"], 20_000 - 2 * 999);
    let ended = system.aggregator.command(&["acknowledge-missing"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(system.api().stats().await.unwrap().missing, 0);
    let health = system.api().get("/health").await.unwrap();
    assert!(health.json()["missing"].is_null(), "{}", health.text());
}

#[tokio::test]
async fn trimming_takes_at_most_one_message_too_much_whatever_the_sizes_of_the_oldest() {
    const SMALL: (u32, usize) = (3_000, 300);
    const LARGE: (u32, usize) = (20, 500_000);
    let mut system = System::with(&["--stream-keep-bytes", "100MiB"]).await;
    let jetstream = system.broker.jetstream().await;
    let mut number = 0;
    for blocks in [[SMALL, LARGE, SMALL], [LARGE, SMALL, LARGE]] {
        let held = info(&system).await.state.bytes;
        for (count, size) in blocks {
            let mut acks = Vec::new();
            for _ in 0..count {
                let event = event("orders", &number.to_string()).with_size(size);
                let body = array(&[event]);
                acks.push(
                    jetstream
                        .publish("events.orders", body.into())
                        .await
                        .unwrap(),
                );
                number += 1;
                if acks.len() == 500 {
                    for ack in acks.drain(..) {
                        ack.await.unwrap();
                    }
                }
            }
            for ack in acks {
                ack.await.unwrap();
            }
        }
        system.settled().await;
        let total = info(&system).await.state.bytes;
        // What was left of the round before goes, and a part of this one that ends among its large messages.
        let keep = (total - held) / 10 * 8;
        system.aggregator.stop().await;
        let kept = keep.to_string();
        let flags = ["--stream-keep-bytes", &kept];
        let trimming = Aggregator::start(&system.broker.url(), system.data_dir(), &flags).await;
        let state = eventually("the stream is within its budget", async || {
            let state = info(&system).await.state;
            holds(state.bytes <= keep, &state)?;
            Ok(state)
        })
        .await;
        // And stays so: what comes now is trimmed by the same reading of sizes.
        let more = event("orders", &format!("more {number}")).with_size(1_000);
        trimming.api().publish(&[more]).await;
        trimming.api().settled().await;
        let largest = 502_000;
        assert!(state.bytes >= keep - largest, "{state:?} of {keep}");
        drop(trimming);
        system.aggregator.start_again().await;
        system.aggregator.healthy().await;
    }
}

#[tokio::test]
async fn what_is_told_of_trimming_ends_with_the_session_that_found_it() {
    let mut system = System::with(&KEEPS_LITTLE).await;
    let data = tempfile::tempdir().unwrap();
    second(&system, data.path()).await.stop().await;
    for number in 0..10 {
        system.api().publish(&[large(number)]).await;
    }
    system.settled().await;
    held_by(&system, "other").await;
    system.broker.stop().await;
    eventually("nothing is told of trimming", async || {
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
