//! Many kills while the real publisher sends; its own verification must find the exact counts.

use std::{str::FromStr, time::Duration};

use e2e::publisher::Publisher;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep};

use crate::world::{Setup, World};

/// The number of kills of each process, and of events sent meanwhile.
#[derive(Debug, Clone)]
pub struct Kills {
    aggregator: u64,
    broker: u64,
    events: u64,
}

impl FromStr for Kills {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([aggregator, broker, events]) if *aggregator > 0 => Ok(Self {
                aggregator: *aggregator,
                broker: *broker,
                events: *events,
            }),
            _ => Err("three numbers, such as 100,20,2000000".to_owned()),
        }
    }
}

/// Average time from one kill to the next, unless the restart takes longer.
const LIFE: Duration = Duration::from_secs(3);

/// Kills the aggregator and the broker at random while a publisher sends. Returns whether the publisher's verification and
/// the command `verify` both succeeded.
pub async fn kills(kills: &Kills, seed: u64) -> bool {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::start(Setup::One).await;
    // Paced so that sending takes about as long as the kills.
    let seconds = LIFE.as_secs() * (kills.aggregator + kills.broker);
    let rate = (kills.events / seconds).max(1).to_string();
    let (count, url) = (kills.events.to_string(), world.api().url().to_owned());
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
    println!("{kills:?}, seed {seed}, {rate} events/s");
    let publisher = Publisher::start(&world.login("publisher"), &arguments);
    let mut left = (kills.aggregator, kills.broker);
    while left != (0, 0) {
        let next = Instant::now() + LIFE.mul_f64(random.random_range(0.5..1.5));
        if random.random_range(0..left.0 + left.1) < left.0 {
            left.0 -= 1;
            world.aggregator.kill();
            world.aggregator.start_again().await;
        } else {
            left.1 -= 1;
            world.nats.kill();
            world.nats.start_again();
            world.nats.ready().await;
        }
        sleep(next.saturating_duration_since(Instant::now())).await;
    }
    println!("the kills are over");
    let run = publisher.ended_within(Duration::from_mins(15)).await;
    println!(
        "publisher: exit {:?}\n{}\n{}",
        run.code, run.summary, run.stderr
    );
    let verify = ["verify", "--nats-url", &world.login("aggregator")];
    let verified = world.aggregator.command(&verify).await;
    println!("verify: exit {:?}\n{}", verified.code, verified.stdout);
    run.code == Some(0) && verified.code == Some(0)
}
