//! Servers of a cluster that are killed or suspended, one, two or all of them, and how long their clients notice it.

use std::time::{Duration, Instant};

use e2e::{
    broker::cluster::SERVERS,
    event::event,
    wait::{holds, within},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use super::{End, Nodes};
use crate::world::World;

/// Far more than an election takes on a slow machine.
const RECOVERY: Duration = Duration::from_mins(2);

pub async fn strike(
    world: &mut World,
    (nodes, end): (Nodes, End),
    lasts: Duration,
    random: &mut ChaCha8Rng,
) {
    let any = random.random_range(0..SERVERS);
    let struck = match nodes {
        Nodes::One => vec![any],
        Nodes::Leader => vec![world.nats.cluster().leader().await],
        Nodes::LeaderOfDurable => vec![world.nats.cluster().leader_of_durable().await],
        Nodes::Two => {
            let leader = world.nats.cluster().leader().await;
            vec![leader, (leader + 1 + any % 2) % SERVERS]
        }
        Nodes::Rolling => return roll(world).await,
    };
    let began = Instant::now();
    for index in &struck {
        put_down(world, *index, end);
    }
    if struck.len() == 1 {
        report_since(world, began, "one server less").await;
    } else {
        // Sometimes longer than a leader without a quorum remains one.
        sleep(lasts * 4).await;
    }
    let began = Instant::now();
    world.nats.cluster().restore();
    world.nats.ready().await;
    report_since(world, began, "all servers again").await;
    if end == End::Erased {
        // Until then the others must not fail.
        let replicas = world.nats.cluster().replicated().await;
        assert_eq!(replicas, (SERVERS, SERVERS));
        println!(
            "    everything is copied after {:.1} s",
            began.elapsed().as_secs_f32()
        );
    }
}

/// As for an upgrade: each server is restarted once the others have everything.
async fn roll(world: &mut World) {
    for index in 0..SERVERS {
        world.nats.cluster().kill(index);
        world.nats.cluster().restore();
        world.nats.ready().await;
        world.nats.cluster().replicated().await;
    }
}

fn put_down(world: &mut World, index: usize, end: End) {
    let cluster = world.nats.cluster();
    match end {
        End::Killed => cluster.kill(index),
        End::Suspended => cluster.suspend(index),
        End::Erased => cluster.erase(index),
    }
}

/// Waits until events are accepted and stored, and prints how long that took from now on.
pub async fn report(world: &World, what: &str) {
    report_since(world, Instant::now(), what).await;
}

/// The same, from an earlier moment on.
async fn report_since(world: &World, began: Instant, what: &str) {
    let probe = event("faults.probe", &format!("{began:?}"));
    within(RECOVERY, "an event is accepted", async || {
        let accepted = world.api().try_publish(std::slice::from_ref(&probe)).await;
        match &accepted {
            Ok(()) => world.truth.one_more(),
            // It may be in the stream.
            Err(_) => world.truth.others(0, 1),
        }
        accepted
    })
    .await;
    let accepted = began.elapsed();
    within(RECOVERY, "the event is stored", async || {
        let query = [("topic", "faults.probe"), ("event_id", &probe.event_id)];
        let found = world.api().ask("/events", &query).await;
        let events = found.json()["events"].as_array().map_or(0, Vec::len);
        holds(events == 1, found.text())
    })
    .await;
    let stored = began.elapsed();
    println!(
        "    {what}: accepted after {:.1} s, stored after {:.1} s",
        accepted.as_secs_f32(),
        stored.as_secs_f32()
    );
}
