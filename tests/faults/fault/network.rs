//! The network between a service and the broker, and manual changes to the broker.

use std::time::Duration;

use async_nats::jetstream;
use e2e::{
    broker::users,
    proxy::Conditions,
    wait::{eventually, holds},
};
use tokio::time::sleep;

use super::Side;
use crate::world::World;

pub async fn trouble(world: &mut World, side: Side, conditions: Conditions, lasts: Duration) {
    let proxy = match side {
        Side::Aggregator => &world.inside,
        Side::Publisher => &world.outside,
    };
    proxy.set(conditions);
    sleep(lasts).await;
    proxy.set(Conditions::default());
}

pub async fn jetstream(world: &World) -> jetstream::Context {
    let client = users::options()
        .connect(world.url().split(',').collect::<Vec<_>>())
        .await;
    jetstream::new(client.expect("the broker can be connected to"))
}

pub async fn delete_durable(world: &mut World) {
    world.aggregator.healthy().await;
    let jetstream = jetstream(world).await;
    let stream = jetstream.get_stream("EVENTS").await.expect("a stream");
    let deleted = stream.delete_consumer("aggregator").await;
    deleted.expect("a durable can be deleted");
    eventually("the durable is recreated", async || {
        let info = stream.consumer_info("aggregator").await;
        info.map(drop).map_err(|err| err.to_string())
    })
    .await;
}

/// What was confirmed and not applied is lost with the stream, so its senders must send it again.
pub async fn delete_stream(world: &mut World) {
    world.aggregator.healthy().await;
    let jetstream = jetstream(world).await;
    let deleted = jetstream.delete_stream("EVENTS").await;
    world.truth.forget_since(None);
    deleted.expect("a stream can be deleted");
    eventually("the stream is recreated", async || {
        let stream = jetstream.get_stream("EVENTS").await;
        stream.map(drop).map_err(|err| err.to_string())
    })
    .await;
    eventually("it is consumed", async || {
        let stats = world.api().stats().await?;
        holds(stats.pending.is_some(), &stats)
    })
    .await;
    // A second time, for what the old stream confirmed just before it was deleted.
    world.truth.forget_since(None);
}
