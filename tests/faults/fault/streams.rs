//! Faults of the stream and its users: it fills up, another store trims it, a message requests a rollup.

use std::time::Duration;

use async_nats::{HeaderMap, jetstream::stream::Config};
use e2e::{
    aggregator::Aggregator,
    event::array,
    wait::{eventually, holds},
};
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use super::network;
use crate::{
    truth::{event, name},
    world::World,
};

/// Space left in the stream before it is filled.
const ROOM: i64 = 1024 * 1024;

/// Events of a message that fills it.
const FILLING: u32 = 500;

/// Another store on the stream, which keeps nothing of what is applied.
const SECOND: [&str; 6] = [
    "--durable",
    "second",
    "--stream-max-bytes",
    "200MiB",
    "--stream-keep-bytes",
    "0",
];

/// The stream is full while the aggregator is stopped; only what was confirmed until then may be in it.
pub async fn fill_up(world: &mut World, lasts: Duration, random: &mut ChaCha8Rng) {
    world.aggregator.healthy().await;
    world.aggregator.kill();
    let jetstream = network::jetstream(world).await;
    let stream = jetstream.get_stream("EVENTS").await.expect("a stream");
    let info = stream.cached_info();
    let held = i64::try_from(info.state.bytes).expect("fewer than 2^63 bytes");
    let small = Config {
        max_bytes: held + ROOM,
        ..info.config.clone()
    };
    // The aggregator enlarges it when it is back.
    let updated = jetstream.update_stream(&small).await;
    updated.expect("a stream can be shrunk");
    loop {
        let chosen = world.truth.choose(FILLING, random);
        let events: Vec<_> = chosen.iter().copied().map(event).collect();
        let subject = format!("events.{}", name(chosen[0].0));
        let sent = jetstream.publish(subject, array(&events).into()).await;
        match sent.expect("a message can be sent").await {
            Ok(_) => world.truth.confirm(&chosen),
            Err(refused) => {
                println!("  the stream is full: {refused}");
                break;
            }
        }
    }
    sleep(lasts).await;
    world.aggregator.start_again().await;
    world.aggregator.healthy().await;
}

/// A second store continues, and trims, while the first one is stopped.
pub async fn second_store(world: &mut World, lasts: Duration) {
    world.aggregator.healthy().await;
    let directory = world.copy("second");
    // The permissions of the user aggregator are for one durable.
    let second = Aggregator::start(&world.login_of_tests(), &directory, &SECOND).await;
    second.healthy().await;
    world.aggregator.stop().await;
    eventually("the stopped store holds trimming back", async || {
        let health = second.api().get("/health").await?;
        let notice = health.json()["notices"]["trimming"].to_string();
        holds(notice.contains("durable aggregator "), health.text())
    })
    .await;
    sleep(lasts).await;
    world.aggregator.start_again().await;
    world.aggregator.healthy().await;
    sleep(lasts).await;
    drop(second);
    let jetstream = network::jetstream(world).await;
    let stream = jetstream.get_stream("EVENTS").await.expect("a stream");
    let deleted = stream.delete_consumer("second").await;
    deleted.expect("a durable can be deleted");
    // The next time it is a different store.
    std::fs::remove_dir_all(directory).expect("its directory can be removed");
}

/// Messages request that the broker purge everything before them, which the stream does not allow. When the stream is
/// changed to allow it, the aggregator reports that.
pub async fn roll_up(world: &mut World) {
    world.aggregator.healthy().await;
    let jetstream = network::jetstream(world).await;
    for kind in ["all", "sub"] {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Rollup", kind);
        let subject = format!("events.{}", name(0));
        let sent = jetstream
            .publish_with_headers(subject, headers, "[]".into())
            .await;
        let acked = sent.expect("a message can be sent").await;
        assert!(acked.is_err(), "a rollup of {kind} is confirmed");
    }
    let stream = jetstream.get_stream("EVENTS").await.expect("a stream");
    let config = stream.cached_info().config.clone();
    let allowing = Config {
        allow_rollup: true,
        ..config.clone()
    };
    let updated = jetstream.update_stream(&allowing).await;
    updated.expect("a stream can be changed");
    let health = world.aggregator.unhealthy().await;
    println!("  with rollups allowed: {}", health["checks"]);
    let updated = jetstream.update_stream(&config).await;
    updated.expect("a stream can be changed back");
    world.aggregator.healthy().await;
}
