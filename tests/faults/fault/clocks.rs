//! The wall clocks of aggregators that share a store.

use e2e::wait::{eventually, holds};
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{NotTried, nodes};
use crate::world::World;

/// How far a clock is ahead or behind, in seconds: the latter is more than an aggregator may be silent, and than any lease lasts.
const FURTHEST: i64 = 600;
const NEAREST: i64 = 90;

/// Sets the clock of one aggregator ahead, and that of another one back. They stay so until the repair, so that the faults that follow
/// in the round meet aggregators that disagree about the time.
pub async fn set_apart(world: &mut World, random: &mut ChaCha8Rng) -> Result<(), NotTried> {
    let clocks = world.clocks.as_ref().map_err(Clone::clone)?;
    let mut shifts: Vec<i64> = vec![0; clocks.len()];
    shifts[0] = random.random_range(NEAREST..FURTHEST);
    shifts[1] = -random.random_range(NEAREST..FURTHEST);
    shifts.shuffle(random);
    for (clock, shift) in clocks.iter().zip(&shifts) {
        clock.shift(*shift);
    }
    println!("    seconds ahead: {shifts:?}");
    for aggregator in world.aggregators() {
        aggregator.healthy().await;
    }
    let all = world.apis().len();
    for api in world.apis() {
        eventually("all aggregators are alive", async || {
            let stats = api.get("/stats").await?.json();
            let alive = stats["aggregators"].as_array().map_or(0, Vec::len);
            holds(alive == all, &stats)
        })
        .await;
    }
    nodes::report(world, "clocks apart").await;
    Ok(())
}
