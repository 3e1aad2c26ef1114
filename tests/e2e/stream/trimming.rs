//! The stream is kept small, but never at the cost of messages that are not applied.

mod stores;

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
async fn the_stream_shrinks_to_its_budget_while_messages_pass_through_it() {
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
        // The broker purges by sequence, so a part of one message may be purged in excess.
        holds(state.bytes <= (512 + 101) * KIBIBYTE as u64, &state)?;
        Ok(state)
    })
    .await;
    assert!(
        state.messages > 0,
        "what is within the budget is kept: {state:?}"
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

    // Nothing of it is applied, so nothing of it is trimmed, although it far exceeds the budget.
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
    // And there is space again, without intervention.
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
async fn consumption_of_a_trimmed_stream_continues_after_a_restart() {
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

/// A stream large enough for everything that these tests publish, and that keeps next to nothing of what every store
/// has acked.
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

#[tokio::test]
async fn messages_of_the_largest_size_always_fit_once_everything_is_applied() {
    let flags = ["--stream-max-bytes", "3MiB", "--stream-keep-bytes", "2MiB"];
    let system = System::with(&flags).await;
    let jetstream = system.broker.jetstream().await;
    for number in 0..12 {
        // Two events, together slightly smaller than the broker's largest message.
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
async fn many_gaps_in_the_stream_are_one_log_line_and_counted_exactly() {
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
    let lines: Vec<_> = log
        .iter()
        .filter(|line| line.contains("were never applied"))
        .collect();
    let [line] = lines.as_slice() else {
        panic!("{} lines", lines.len())
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
async fn trimming_removes_at_most_one_message_too_much_whatever_the_sizes_of_the_oldest() {
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
        // The rest of the previous round is trimmed, and a part of this one that ends among its large messages.
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
        // And it stays so: later messages are trimmed with the same estimate of sizes.
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
