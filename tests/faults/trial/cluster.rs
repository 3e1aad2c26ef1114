//! Many kills of three aggregators that share a store, of the stream's leader and of the database, while the real publisher sends.

use std::time::Duration;

use e2e::publisher::Publisher;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    check::{self, Found, shared},
    world::{Setup, World},
};

/// Time from one kill of an aggregator to the next.
const LIFE: Duration = Duration::from_secs(5);

/// The stream's leader is killed with each fourth kill of an aggregator.
const LEADER: u32 = 4;

/// Events sent per second, so that two million of them last for 40 kills.
const RATE: u64 = 10_000;

/// How long each of them is away.
const AWAY: Duration = Duration::from_secs(1);

/// More than the publisher and its verification take on a slow machine.
const DRAIN: Duration = Duration::from_mins(15);

/// Kills while a publisher sends. Returns whether the publisher's verification, the recount of the store and the command `verify` succeeded.
pub async fn cluster_kills(events: u64, seed: u64) -> bool {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::start(Setup::Shared).await;
    let (count, rate) = (events.to_string(), RATE.to_string());
    let url = world.api().url().to_owned();
    let arguments = [
        "generate",
        "--count",
        &count,
        "--rate",
        &rate,
        "--duplicates",
        "0.3",
        "--verify",
        &url,
    ];
    let kills = u32::try_from(events / RATE / LIFE.as_secs())
        .unwrap_or(u32::MAX)
        .max(3);
    println!("{events} events, {RATE} a second, {kills} kills of an aggregator, seed {seed}");
    let mut publisher = Publisher::start(&world.login("publisher"), &arguments);
    let mut next = Instant::now();
    for number in 1..=kills {
        next += LIFE;
        sleep_until(next).await;
        let struck = random.random_range(0..world.aggregators().len());
        world.aggregators()[struck].kill();
        if number % LEADER == 0 {
            let leader = world.nats.cluster().leader().await;
            world.nats.cluster().kill(leader);
        }
        let is_database_struck = number == kills / 3 || number == 2 * kills / 3;
        if is_database_struck {
            world.database().kill();
        }
        println!(
            "kill {number}: aggregator {struck}{}{}",
            if number % LEADER == 0 { ", leader" } else { "" },
            if is_database_struck { ", database" } else { "" }
        );
        sleep(AWAY).await;
        world.nats.cluster().restore();
        world.nats.ready().await;
        if is_database_struck {
            world.database().start_again().await;
        }
        world.aggregators()[struck].start_again().await;
    }
    println!(
        "the kills are over; the publisher {}",
        if publisher.service().is_running() {
            "is still running"
        } else {
            "has ended"
        }
    );
    let run = publisher.ended_within(DRAIN).await;
    println!(
        "publisher: exit {:?}\n{}\n{}",
        run.code, run.summary, run.stderr
    );
    let mut found = Found::default();
    let database = world.database();
    shared::by_recount(database, &mut found);
    check::by_verify(&world, &mut found).await;
    println!("recount and verify: {:?}", found.wrong);
    run.code == Some(0) && found.is_exact()
}
