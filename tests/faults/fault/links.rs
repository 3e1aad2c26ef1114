//! The connections between aggregators and the database, for one of the aggregators or for all of them.

use std::time::{Duration, Instant};

use e2e::proxy::Conditions;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use super::{Aggregators, Link, nodes};
use crate::world::World;

/// How long messages that arrive together take in each direction: a batch takes five round trips.
const DELAY: Duration = Duration::from_millis(50);

/// Bytes per second of each connection in each direction: a large batch takes several seconds.
const RATE: u32 = 200_000;

/// The longest time between two cuts, in milliseconds.
const LONGEST_PAUSE: u64 = 200;

pub async fn strike(
    world: &mut World,
    (which, link): (Aggregators, Link),
    lasts: Duration,
    random: &mut ChaCha8Rng,
) {
    let struck = which.of(world.links.len(), random);
    let set = |conditions| {
        for index in &struck {
            world.links[*index].set(conditions);
        }
    };
    match link {
        Link::Cut => {
            let began = Instant::now();
            while began.elapsed() < lasts {
                set(Conditions::CutInFrame);
                let pause = random.random_range(0..LONGEST_PAUSE);
                sleep(Duration::from_millis(pause)).await;
            }
        }
        Link::CutAtCommits => {
            set(Conditions::CutAtCommits);
            sleep(lasts).await;
        }
        Link::Delay => {
            set(Conditions::Delay(DELAY));
            sleep(lasts * 2).await;
        }
        Link::Throttle => {
            set(Conditions::Rate(RATE));
            sleep(lasts * 2).await;
        }
        Link::Silent => {
            set(Conditions::Hold);
            // Sometimes longer than the server waits for the next statement of a transaction.
            sleep(lasts * 5).await;
        }
    }
    set(Conditions::default());
    nodes::report(world, "the connections to the database again").await;
}
