//! Processes that are killed, stopped, or started twice.

use std::time::Duration;

use e2e::{aggregator::Aggregator, publisher::Publisher, service::Signal};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use crate::world::{Run, World};

pub async fn kill_aggregator(world: &mut World, lasts: Duration) {
    world.aggregator.kill();
    sleep(lasts / 4).await;
    world.aggregator.start_again().await;
    sleep(lasts).await;
}

pub async fn stop_aggregator(world: &mut World, lasts: Duration) {
    world.aggregator.service().signal(Signal::STOP);
    sleep(lasts).await;
    world.aggregator.service().signal(Signal::CONT);
}

pub async fn kill_broker(world: &mut World, lasts: Duration) {
    world.nats.kill();
    sleep(lasts / 4).await;
    world.nats.start_again();
    world.nats.ready().await;
    sleep(lasts).await;
}

pub async fn stop_broker(world: &mut World, lasts: Duration) {
    world.nats.suspend();
    // Sometimes longer than a client waits before it considers a silent broker lost.
    sleep(lasts * 4).await;
    world.nats.resume();
}

/// Kills a publisher with its own truth, and sends the same events again.
pub async fn kill_publisher(world: &mut World, lasts: Duration, random: &mut ChaCha8Rng) {
    let run = Run {
        id: format!("r{}", world.runs.len()),
        seed: random.random_range(0..1_000_000),
    };
    let mut killed: Publisher = world.publisher(&run);
    sleep(lasts / 4).await;
    killed.service().kill();
    drop(killed);
    world.publisher(&run).ended().await.succeeded();
    // Of the first attempt nothing, a part, or everything was received.
    world.truth.others(World::RUN_EVENTS, 2 * World::RUN_EVENTS);
    world.runs.push(run);
}

/// A second aggregator on the data directory of the first refuses to start, and does no harm to it.
pub async fn second_on_directory(world: &mut World) {
    let url = world.users().login("aggregator", &world.inside.url());
    let ended = Aggregator::refused(&url, &world.store.path(), &[]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("is in use by"), "{}", ended.stderr);
}

/// A second store on the durable of the first refuses to start, and receives none of its messages.
pub async fn second_on_durable(world: &mut World) {
    world.aggregator.healthy().await;
    let other = world.copy("other");
    let url = world.users().login("aggregator", &world.inside.url());
    let ended = Aggregator::refused(&url, &other, &World::FLAGS).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("--take-over"), "{}", ended.stderr);
}
