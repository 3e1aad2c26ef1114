//! Aggregators that share a store and are killed or suspended: one, two or all of them.

use std::time::Duration;

use e2e::service::Signal;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use super::{Aggregators, End, nodes};
use crate::world::World;

impl Aggregators {
    /// The numbers of the aggregators that are meant, of this number of them.
    pub(super) fn of(self, aggregators: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
        let mut all: Vec<_> = (0..aggregators).collect();
        all.shuffle(random);
        match self {
            Self::One => all.truncate(1),
            Self::Two => all.truncate(2),
            Self::All => {}
        }
        all
    }
}

pub async fn strike(
    world: &mut World,
    (which, end): (Aggregators, End),
    lasts: Duration,
    random: &mut ChaCha8Rng,
) {
    let struck = which.of(world.aggregators().len(), random);
    for index in &struck {
        let aggregator = &mut *world.aggregators()[*index];
        match end {
            End::Killed => aggregator.kill(),
            End::Suspended => aggregator.service().signal(Signal::STOP),
            End::Erased => panic!("an aggregator that shares a store has no data"),
        }
    }
    // Sometimes longer than the broker waits until it gives their messages to the others, and the database until it ends their
    // transactions.
    sleep(lasts * 4).await;
    for index in &struck {
        let aggregator = &mut *world.aggregators()[*index];
        match end {
            End::Killed => aggregator.start_again().await,
            End::Suspended | End::Erased => aggregator.service().signal(Signal::CONT),
        }
    }
    nodes::report(world, "all aggregators again").await;
}
