//! Replacement of data with older copies.

use std::time::{Duration, Instant};

use e2e::disk::copy_directory;
use tokio::time::sleep;

use crate::world::World;

/// The store is reset to an earlier state, while the broker has acks for later messages.
pub async fn older_store(world: &mut World, lasts: Duration) {
    let (store, copy) = (world.store.path(), world.copy("store"));
    world.aggregator.kill();
    copy_directory(&store, &copy);
    world.aggregator.start_again().await;
    sleep(lasts).await;
    world.aggregator.kill();
    copy_directory(&copy, &store);
    world.aggregator.start_again().await;
}

/// The broker loses its newest messages and reuses their sequences. Senders send again what was confirmed and lost;
/// what had been applied stays stored.
pub async fn older_stream(world: &mut World, lasts: Duration, while_aggregator_runs: bool) {
    let (stream, copy) = (world.stream.path(), world.copy("stream"));
    world.nats.stop().await;
    copy_directory(&stream, &copy);
    let copied_at = Instant::now();
    world.nats.start_again();
    world.nats.ready().await;
    sleep(lasts).await;

    if !while_aggregator_runs {
        world.aggregator.kill();
    }
    world.nats.kill();
    copy_directory(&copy, &stream);
    world.truth.forget_since(Some(copied_at));
    world.nats.start_again();
    world.nats.ready().await;
    world.truth.forget_since(Some(copied_at));
    // Sequences are reused, including those beyond the last one applied.
    sleep(lasts).await;
    if !while_aggregator_runs {
        world.aggregator.start_again().await;
    }
}
